//! Message buses: where messages come from, and where results and dead letters go.
//!
//! A bus is one folder here and one line in [`BUSES`]. The rules that every bus must keep are in
//! `tests/bus_contract`, which walks them all.

pub mod inspect;
pub mod kafka;
pub mod local;
pub mod pubsub;
pub mod reread;
mod subscriptions;
mod transaction;
mod undelivered;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

pub use crate::config::settings::OnGap;
pub use subscriptions::Subscriptions;
pub use transaction::{Committed, Consumed, Transactions};
pub use undelivered::{Landing, Undelivered, all_landed};

use crate::config::settings::BusSettings;
use crate::message::{Delivery, Message, Outgoing, Partition};

/// What went wrong on the bus, by what the caller does about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// Not reachable, or busy: the same call may well succeed later.
    #[error("bus not available: {0}")]
    Unavailable(String),
    /// Credentials or rights are missing; retried, since they may change.
    #[error("bus denies access: {0}")]
    Denied(String),
    /// A topic or partition that is not there.
    #[error("no such topic: {0}")]
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

    /// Whether its consumers wait by the time of day, so that a clock that is set back makes them stand still for as long.
    fn waits_by_the_time_of_day(&self) -> bool {
        false
    }
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// The topic, which on Kafka is the subscription too.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// End once the group's committed positions have reached the ends that the topic's partitions
    /// had when the first assignment came.
    pub drain: bool,
    /// Bytes that may be fetched ahead.
    pub fetch_bytes: usize,
    /// What may be delivered and not acknowledged.
    pub hold: Hold,
    /// What to do when messages expired before they were read.
    pub on_gap: OnGap,
    /// Positions move in transactions, with what is published, and in no other way.
    pub transactional: bool,
}

/// What may be delivered and not acknowledged, on a bus that counts that: room for whatever is written, fills and waits. Where there
/// is less than a batch takes, it is written when it is old enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Bytes of messages as they were delivered.
    pub bytes: usize,
    /// Messages, whatever their size.
    pub messages: usize,
}

/// A place in a consumer group: its messages and, apart from them, what must be heard even when
/// there is no room to read another message.
pub struct Subscription {
    /// The messages.
    pub source: Box<dyn Source>,
    /// Partitions that are about to go to another consumer.
    pub handovers: mpsc::Receiver<Handover>,
    /// How far behind this consumer is.
    pub status: watch::Receiver<Vec<PartitionStatus>>,
    /// How positions move, where [`Subscribe::transactional`] was asked for and the bus has transactions:
    /// acknowledging then says only that a message is done with.
    pub transactions: Option<Arc<dyn Transactions>>,
}

/// Partitions are about to go to another consumer, which waits until `release` is dropped.
///
/// What is acknowledged by then is committed before they go. What is acknowledged after `gone` has
/// resolved is acknowledged for the partitions that are kept, and silently nothing for those that
/// went. In between nothing may be acknowledged: a number stands for everything delivered before
/// it, and of the partitions that go some of that has just been thrown away.
#[derive(Debug)]
pub struct Handover {
    /// What is going away.
    pub partitions: Vec<Partition>,
    /// Dropped, it lets them go.
    pub release: oneshot::Sender<()>,
    /// Resolves (or is dropped by the bus) once the bus no longer takes acknowledgements for them.
    pub gone: oneshot::Receiver<()>,
}

/// What [`Source::next`] brings.
#[derive(Debug)]
pub enum Received {
    /// Messages, numbered in order. At least one.
    Messages(Vec<Message>),
    /// Every assigned partition has been read up to its end, for now. A hint, not a promise.
    CaughtUp,
    /// There will be no more: a drain has reached its end.
    End,
}

/// The messages of a consumer.
#[async_trait]
pub trait Source: Send {
    /// The next messages, in the order of each partition; waits until there are some.
    ///
    /// Cancel-safe: a dropped call loses nothing. Messages of a partition that was taken away are
    /// never returned after its handover was released.
    async fn next(&mut self) -> Result<Received, BusError>;

    /// Everything delivered up to and including `last` is dealt with. Durable soon, not at once;
    /// at the latest when a handover is released, or in [`Source::close`]. What goes wrong with that
    /// is told by the next [`Source::next`], or by [`Source::close`].
    fn acknowledge(&mut self, last: Delivery);

    /// Makes every acknowledgement durable and leaves the group, within a bound of its own.
    async fn close(&mut self) -> Result<(), BusError>;

    /// For how long what serves it has been stuck, where that is longer than it waits for anything: a bus that is away never
    /// makes it so. `None` while it is not.
    fn stuck(&self) -> Option<Duration> {
        None
    }

    /// What is acknowledged and not known to be durable, for people: what would be delivered again if it ended now.
    fn unsettled(&self) -> Option<String> {
        None
    }
}

/// How far a consumer is in one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionStatus {
    /// Which one.
    pub partition: Partition,
    /// The next offset to be acknowledged, where known.
    pub position: Option<i64>,
    /// The end of the partition, where known.
    pub end: Option<i64>,
    /// Age of the oldest message that is not acknowledged; zero at the end.
    pub lag: Duration,
    /// What keeps its messages from coming, though the bus answers.
    pub held_up: HeldUp,
}

/// What holds one partition up; nothing where a bus has no such states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldUp {
    /// It cannot be read: since when, and why. How far it is behind is not known then.
    pub away: Option<(Instant, String)>,
    /// Messages behind the beginning of the oldest transaction that is open, which nobody may read before it is ended,
    /// and since when that has been the oldest one.
    pub open: Option<(u64, Instant)>,
}

/// Sends messages.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Sends messages and returns once the bus has all of them for good, with where each landed.
    ///
    /// Each has an answer of its own: one that is not taken keeps no other from landing, and the error says which landed all the
    /// same. [`BusError::TooLarge`] and [`BusError::Refused`] are verdicts on that one message, and it did not land. After any
    /// other error it may have; sending it again is the caller's decision.
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered>;
}

/// Where a published message landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: Partition,
    /// Its offset there.
    pub offset: i64,
}

/// Where a reading outside every group begins.
#[derive(Clone, Debug)]
pub enum BrowseFrom {
    /// The earliest message left.
    Earliest,
    /// The positions that a group has committed; the earliest where it has none.
    Group(String),
    /// The last so many messages of each partition.
    Last(u64),
    /// One position of one partition.
    Position(i32, i64),
    /// These stretches, each up to its own end. Partitions that are not named are left out.
    Stretches(Vec<Stretch>),
}

/// Messages of one partition that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The first offset beyond it.
    pub until: i64,
    /// The earliest offset that is left of the partition; what lay before it has expired.
    pub earliest: i64,
}

/// How far a group is in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPosition {
    /// The partition.
    pub partition: i32,
    /// The position that it has committed; `None` where it has none, and so starts at the earliest.
    pub committed: Option<i64>,
    /// The earliest offset that is left.
    pub earliest: i64,
    /// The end of the partition.
    pub end: i64,
}

impl GroupPosition {
    /// Where a member of the group would start to read.
    pub fn next(&self) -> i64 {
        self.committed.unwrap_or(self.earliest)
    }
}

/// A position to be moved by hand.
#[derive(Clone, Debug)]
pub struct Step {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The consumer group.
    pub group: String,
    /// Where it has to be: see [`GroupPosition::next`].
    pub from: i64,
    /// Where it is to be.
    pub to: i64,
}

/// What became of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// The position is moved, for good.
    Done,
    /// The group has members, which read on from positions of their own.
    InUse,
    /// It was somewhere else: here.
    Elsewhere(i64),
}

/// A reading outside every group.
#[async_trait]
pub trait Browse: Send {
    /// The next messages, or none at the end.
    async fn next(&mut self) -> Result<Vec<Message>, BusError>;
}

/// What a bus knows of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Number of partitions.
    pub partitions: u32,
    /// Largest message in bytes, where the bus has a limit.
    pub max_message_bytes: Option<usize>,
    /// Largest header in bytes, where the bus has a limit for one.
    pub max_header_bytes: Option<usize>,
    /// Messages in the topic now, as far as offsets tell; `None` where there are none.
    pub messages: Option<u64>,
    /// What the bus does with them later, where it does anything and tells.
    pub keeping: Keeping,
    /// Why the bus does not tell its limits and what it does later; nothing where it tells, or has none.
    pub untold: Option<&'static str>,
}

/// How long a bus keeps the messages of a topic; as far as it is not known, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Of the messages with one key only the last is kept.
    pub compacts: bool,
    /// So long after their timestamps messages are deleted.
    pub for_ms: Option<u64>,
    /// Messages whose timestamps are so far from the bus's clock are refused.
    pub refuses_beyond_ms: Option<u64>,
}

/// A kind of bus, as `bus_backend` names it.
pub struct BusKind {
    /// The value of `bus_backend`.
    pub name: &'static str,
    /// Makes a connection from checked settings; `None` where they are another kind's.
    pub open: fn(&BusSettings) -> Option<Result<Arc<dyn Bus>, BusError>>,
    /// The same, to be asked about itself.
    pub inspect: fn(&BusSettings) -> Option<Arc<dyn inspect::Inspect>>,
    /// How long it waits for a member; `None` where the settings are another kind's.
    pub waits: fn(&BusSettings) -> Option<Waits>,
    /// Whether messages and positions can move in one transaction.
    pub has_transactions: bool,
}

/// How long a bus waits for a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Who was silent for so long loses its partitions; `None` where the bus does not tell.
    pub session: Option<Duration>,
    /// What sets that, where anything does.
    pub session_by: Option<&'static str>,
    /// The longest that partitions are waited for which are to move; then they go.
    pub handover: Duration,
    /// What sets that.
    pub handover_by: &'static str,
}

/// Every bus of this version.
pub static BUSES: &[BusKind] = &[
    BusKind { name: "LOCAL", open: local::open, inspect: local::inspect, waits: local::waits, has_transactions: true },
    BusKind { name: "KAFKA", open: kafka::open, inspect: kafka::inspect, waits: kafka::waits, has_transactions: true },
    BusKind {
        name: "PUBSUB",
        open: pubsub::open,
        inspect: pubsub::inspect,
        waits: pubsub::waits,
        has_transactions: false,
    },
];

/// The bus that the settings name.
pub fn open(settings: &BusSettings) -> Result<Arc<dyn Bus>, BusError> {
    BUSES
        .iter()
        .find_map(|kind| (kind.open)(settings))
        .unwrap_or_else(|| Err(BusError::Settings(format!("{settings:?} is not a bus of this version"))))
}

/// Whether the bus that the settings name moves messages and positions in one transaction.
pub fn has_transactions(settings: &BusSettings) -> bool {
    BUSES.iter().any(|kind| kind.name == settings.name() && kind.has_transactions)
}

/// How long the bus that the settings name waits for a member of a group.
pub fn waits(settings: &BusSettings) -> Waits {
    let waits = BUSES.iter().find_map(|kind| (kind.waits)(settings));
    // A bus that is not in this version waits for nobody; no writer starts on it.
    waits.unwrap_or(Waits { session: None, session_by: None, handover: Duration::MAX, handover_by: "" })
}

/// The bus that the settings name, to be asked about itself.
pub fn inspect(settings: &BusSettings) -> Option<Arc<dyn inspect::Inspect>> {
    BUSES.iter().find_map(|kind| (kind.inspect)(settings))
}
