//! What a bus brings along to be put through the suite: connections, and what it can and cannot do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::bus::Bus;

/// A bus under test. One lives for a whole run; the cases keep apart by the names of their topics.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The name of the bus in the printed results.
    fn name(&self) -> &'static str;

    /// A connection of its own, as another process would have it.
    fn bus(&self) -> Arc<dyn Bus>;

    /// What this bus can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes a group where it does not come to be by being joined, to begin with the earliest message.
    async fn make_group(&self, _topic: &str, _group: &str) {}

    /// Makes a topic with exactly so many partitions, by whatever means the server offers.
    async fn create_topic(&self, name: &str, partitions: u32) {
        self.bus().create_topic(name, partitions).await.expect("the topic is made");
    }
}

/// What differs between buses, so that a case can ask for what is there.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// A topic is a few logs: messages have numbers from 0 on in each, and a group a position. Without that each message is
    /// acknowledged by itself, and the cases that speak of positions are not for it.
    pub has_positions: bool,
    /// Headers and keys are any bytes, in any number and order, and no body is not an empty one.
    pub carries_bytes: bool,
    /// The longest that one wait may take: well above a rebalance.
    pub patience: Duration,
    /// Cases that run at the same time.
    pub cases_at_once: usize,
    /// A rebalance takes only the partitions that move; the others go on untouched.
    pub partial_handover: bool,
    /// A topic that nobody made is an error (some test servers make it silently).
    pub refuses_unknown_topics: bool,
    /// `create_topic` of the bus itself works.
    pub creates_topics: bool,
    /// A message above the topic's limit is refused, and `topic` tells the limit.
    pub limits_message_size: bool,
    /// The timestamp of a message is kept as the publisher gave it.
    pub keeps_timestamps: bool,
    /// It knows which message is the first of a time.
    pub finds_times: bool,
    /// A group that everybody has left takes a position from outside.
    pub frees_groups: bool,
    /// A member that has to let go of partitions can still commit what it did of them.
    pub takes_last_positions: bool,
    /// Positions that were committed in a transaction are there afterwards.
    pub keeps_positions_of_transactions: bool,
}

impl Capabilities {
    /// Everything that the contract speaks of.
    pub const fn full() -> Self {
        Self {
            has_positions: true,
            carries_bytes: true,
            patience: Duration::from_secs(20),
            cases_at_once: 4,
            partial_handover: true,
            refuses_unknown_topics: true,
            creates_topics: true,
            limits_message_size: true,
            keeps_timestamps: true,
            finds_times: true,
            frees_groups: true,
            takes_last_positions: true,
            keeps_positions_of_transactions: true,
        }
    }
}
