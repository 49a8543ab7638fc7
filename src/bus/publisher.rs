//! Sending messages.

use async_trait::async_trait;

use super::BusError;
use crate::message::{Outgoing, Partition};

/// Sends messages.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Sends messages and returns once the bus has all of them for good, with where each landed.
    ///
    /// After an error some may have landed; sending them again is the caller's decision.
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, BusError>;
}

/// Where a published message landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: Partition,
    /// Its offset there.
    pub offset: i64,
}
