//! What goes wrong on a bus.

/// What went wrong on the bus, by what the caller does about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// Not reachable, or busy: the same call may well succeed later.
    #[error("bus not available: {0}")]
    Unavailable(String),
    /// Credentials or rights are missing; retried, since they may change.
    #[error("bus denies access: {0}")]
    Denied(String),
    /// A topic, one of its partitions, or a subscription that is not there.
    #[error("no such topic or subscription: {0}")]
    NotFound(String),
    /// A message larger than the topic takes.
    #[error("message too large: {0}")]
    TooLarge(String),
    /// A message that the bus or the topic never takes, for another reason than its size.
    #[error("message refused: {0}")]
    Refused(String),
    /// The log lost messages before they were read, and `on_gap` is `stop`.
    #[error("messages lost before they were read: {0}")]
    Gap(String),
    /// Settings that can never work.
    #[error("bus settings: {0}")]
    Settings(String),
    /// Anything else; the process ends.
    #[error("bus failed: {0}")]
    Failed(String),
}

impl BusError {
    /// What happened, without its kind.
    pub fn into_reason(self) -> String {
        match self {
            Self::Unavailable(reason)
            | Self::Denied(reason)
            | Self::NotFound(reason)
            | Self::TooLarge(reason)
            | Self::Refused(reason)
            | Self::Gap(reason)
            | Self::Settings(reason)
            | Self::Failed(reason) => reason,
        }
    }

    /// Whether the same call may succeed later without anyone changing the program or its settings.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Denied(_))
    }
}
