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

/// How a bus is put through the suite.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// The longest that one wait may take: well above a rebalance.
    pub patience: Duration,
    /// Cases that run at the same time.
    pub cases_at_once: usize,
    /// What it cannot do.
    pub lacks: Lacks,
}

/// What a bus cannot do, each with why. It is excused from the cases that need it, which the suite prints.
pub type Lacks = &'static [(Capability, &'static str)];

impl Capabilities {
    /// Whether it can do this. A case that is nothing without it names it beside itself, in the list of cases, and asks here
    /// only where it expects more of those that can.
    pub fn has(&self, capability: Capability) -> bool {
        lack(self.lacks, capability).is_none()
    }
}

/// Why a bus cannot do this; `None` where it can.
pub fn lack(lacks: Lacks, capability: Capability) -> Option<&'static str> {
    lacks.iter().find(|(lacking, _)| *lacking == capability).map(|(_, why)| *why)
}

/// What one bus can do and another cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// A topic is a few logs: messages have numbers from 0 on in each, and a group a position.
    Positions,
    /// Each message of a subscription is acknowledged by itself.
    EachByItself,
    /// Headers and keys are any bytes, in any number and order, and no body is not an empty one.
    AnyBytes,
    /// Messages and positions move in one transaction.
    Transactions,
    /// A rebalance takes only the partitions that move; the others go on untouched.
    PartialHandover,
    /// A topic that nobody made is an error.
    RefusesUnknownTopics,
    /// `create_topic` of the bus itself works.
    MakesTopics,
    /// A message above the topic's limit is refused, and `topic` tells the limit.
    LimitsMessageSize,
    /// The timestamp of a message is kept as the publisher gave it.
    KeepsTimestamps,
    /// It knows which message is the first of a time.
    FindsTimes,
    /// A group that everybody has left takes a position from outside.
    FreesGroups,
    /// A member that has to let go of partitions can still commit what it did of them.
    TakesLastPositions,
    /// Positions that were committed in a transaction are there afterwards.
    KeepsPositionsOfTransactions,
}
