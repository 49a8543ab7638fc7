//! Message buses: where messages come from, and where results and dead letters go.
//!
//! A bus is one folder here and one line in [`BUSES`]. The rules that every bus must keep are in
//! `tests/bus_contract`, which walks them all.

mod browse;
mod consumer;
mod error;
pub mod inspect;
pub mod kafka;
mod kinds;
mod landing;
pub mod local;
mod position;
mod publisher;
pub mod pubsub;
pub mod reread;
mod subscriptions;
mod topic;
mod transaction;
mod waiting;

use std::sync::Arc;

use async_trait::async_trait;

pub use crate::config::settings::OnGap;
pub use browse::{Browse, BrowseFrom, Stretch};
pub use consumer::{Handover, HeldUp, Hold, PartitionStatus, Received, Source, Subscribe, Subscription};
pub use error::BusError;
pub use kinds::{BUSES, BusKind, has_transactions, inspect, open, waits};
pub use landing::{Landing, Placed, Undelivered, all_landed};
pub use position::{GroupPosition, Step, Stepped};
pub use publisher::Publisher;
pub use subscriptions::Subscriptions;
pub use topic::{Keeping, TopicInfo};
pub use transaction::{Committed, Consumed, Transactions};
pub use waiting::Waits;

/// A connection to one bus. Cheap to make: nothing is contacted before a method is called.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Joins a consumer group. A new group starts at the earliest message.
    async fn subscribe(&self, subscription: Subscribe) -> Result<Subscription, BusError>;

    /// A publisher; one serves a whole process.
    async fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError>;

    /// Reads a topic outside every group, from `from` up to the end that each partition has now.
    async fn browse(&self, topic: &str, from: BrowseFrom) -> Result<Box<dyn Browse>, BusError>;

    /// What the bus knows of a topic; [`BusError::NotFound`] where it does not exist.
    async fn topic(&self, name: &str) -> Result<TopicInfo, BusError>;

    /// Its subscriptions, where a writer reads one of those by its name instead of a topic.
    fn subscriptions(&self) -> Option<&dyn Subscriptions> {
        None
    }

    /// Makes a topic; one that exists is left as it is.
    async fn create_topic(&self, name: &str, partitions: u32) -> Result<(), BusError>;

    /// Between two times, in milliseconds since 1970: of every partition what lies from the first
    /// message of `from_ms` or later up to the first of `until_ms` or later. Without that, and where
    /// there is none, up to the end that the partition has now.
    ///
    /// What counts is where messages lie: one between others that is older than `from_ms` belongs to it.
    async fn stretch(&self, topic: &str, from_ms: i64, until_ms: Option<i64>) -> Result<Vec<Stretch>, BusError>;

    /// Stretches as a source, outside every group, where the bus has a way of its own: that of others is [`reread::reread`].
    async fn reread(
        &self,
        _topic: &str,
        _stretches: &[Stretch],
        _hold: Hold,
    ) -> Option<Result<Subscription, BusError>> {
        None
    }

    /// How far a group is in every partition of a topic.
    async fn positions(&self, topic: &str, group: &str) -> Result<Vec<GroupPosition>, BusError>;

    /// Whether a group has read a topic, and would read what is sent there.
    async fn reads(&self, group: &str, topic: &str) -> Result<bool, BusError> {
        Ok(self.positions(topic, group).await?.iter().any(|position| position.committed.is_some()))
    }

    /// Moves the position of a group that nobody is in, by hand: only from where it is expected to be.
    ///
    /// From a position to itself it is a rehearsal: whether it would move, without moving it.
    async fn step(&self, step: &Step) -> Result<Stepped, BusError>;

    /// Which setting its address is from, for whoever waits for it to answer; nothing where that is no setting, or the error names it.
    fn addressed_by(&self) -> Option<String> {
        None
    }

    /// Whether its consumers wait by the time of day, so that a clock that is set back makes them stand still for as long.
    fn waits_by_the_time_of_day(&self) -> bool {
        false
    }
}
