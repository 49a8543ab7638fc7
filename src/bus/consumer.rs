//! A consumer of a group: what it asks for, what it is handed, and how far it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::{BusError, Transactions};
use crate::config::settings::OnGap;
use crate::message::{Delivery, Message, Partition};

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
