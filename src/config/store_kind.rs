//! The stores that an environment has.

/// A kind of store in an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreKind {
    Online,
    Offline,
    Metrics,
    Usage,
    Vector,
}

impl StoreKind {
    /// The field of an environment.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Online => "online_store",
            Self::Offline => "offline_store",
            Self::Metrics => "metrics_store",
            Self::Usage => "usage_store",
            Self::Vector => "vector_store",
        }
    }
}
