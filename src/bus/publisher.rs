//! Sending messages.

use async_trait::async_trait;

use super::landing::{Placed, Undelivered};
use crate::message::Outgoing;

/// Sends messages.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Sends messages and returns once the bus has all of them for good, with where each landed.
    ///
    /// Each has an answer of its own: one that is not taken keeps no other from landing, and the error says which landed all the
    /// same. [A verdict](super::BusError::is_verdict) is on that one message, and it did not land. After any other error it may
    /// have; sending it again is the caller's decision.
    ///
    /// They land in their order, of each partition or key, where all are taken at the first attempt. What was refused together with
    /// others is tried again by itself, and by then what came after it may have landed.
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered>;
}
