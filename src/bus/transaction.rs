//! Publishing and committing in one: either a reader sees the messages and the positions have moved, or neither.

use async_trait::async_trait;

use super::BusError;
use crate::message::{Delivery, Outgoing, Partition};

/// What was read of one partition, to be committed with what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The partition.
    pub partition: Partition,
    /// Its last message that was dealt with. Only under the ownership in which that was delivered may
    /// the position move: a partition that went away and came back is read anew.
    pub last: Delivery,
    /// The position after it.
    pub next: i64,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of it landed, for good.
    Done,
    /// None of it landed: these partitions, at least one, are no longer this member's. Without what is
    /// theirs it may be tried again.
    Lost(Vec<Partition>),
}

/// Moves the positions of a subscription, and publishes what was made of what lies before them.
#[async_trait]
pub trait Transactions: Send + Sync {
    /// Publishes messages and commits positions in one transaction. One call after the other, in the
    /// order of delivery.
    ///
    /// After an error nothing is known of it. It may then be made again, the same or without some of its
    /// partitions and what belongs to them: what has landed by then is not published twice. A call that is
    /// dropped may land or not, and the next one comes after it.
    async fn commit(&self, messages: &[Outgoing], consumed: &[Consumed]) -> Result<Committed, BusError>;
}
