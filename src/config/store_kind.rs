//! The stores that an environment has, by kind.

use super::settings::{Environment, MetricsStores, StoreSettings};

/// A kind of store in an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKind {
    /// Newest values.
    Online,
    /// History.
    Offline,
    /// Metrics, query rows and errors.
    Metrics,
    /// Usage events.
    Usage,
    /// Vectors.
    Vector,
}

impl StoreKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Online, Self::Offline, Self::Metrics, Self::Usage, Self::Vector];

    /// The field of an environment.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Online => "online_store",
            Self::Offline => "offline_store",
            Self::Metrics => "metrics_store",
            Self::Usage => "usage_store",
            Self::Vector => "vector_store",
        }
    }

    /// What a store of this kind is called in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online store",
            Self::Offline => "offline store",
            Self::Metrics => "metrics store",
            Self::Usage => "usage store",
            Self::Vector => "vector store",
        }
    }

    /// Whether an older value is kept away by a tombstone, which expires: what was evicted can come back after that.
    pub const fn has_tombstones(self) -> bool {
        matches!(self, Self::Online | Self::Vector)
    }

    /// The kind of a field.
    pub fn of_field(field: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.field() == field)
    }
}

impl Environment {
    /// Its stores of a kind, each with the field of its URI: several only of metrics.
    pub fn stores(&self, kind: StoreKind) -> Vec<(&'static str, &StoreSettings)> {
        let one = match kind {
            StoreKind::Online => &self.online_store,
            StoreKind::Offline => &self.offline_store,
            StoreKind::Usage => &self.usage_store,
            StoreKind::Vector => &self.vector_store,
            StoreKind::Metrics => return self.metrics_store.iter().flat_map(MetricsStores::all).collect(),
        };
        one.iter().map(|store| ("uri", store)).collect()
    }

    /// Its store of a kind that a field of the store's names.
    pub fn store(&self, kind: StoreKind, uri: &str) -> Option<&StoreSettings> {
        self.stores(kind).into_iter().find_map(|(field, store)| (field == uri).then_some(store))
    }
}
