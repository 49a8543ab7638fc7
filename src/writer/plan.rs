//! What a writer decided before anything is connected.

use std::sync::Arc;
use std::time::Duration;

use super::WriterType;
use super::apart::SentTo;
use super::destinations::{Destinations, PlannedDestination};
use super::outlet::Publishes;
use crate::bus::OnGap;
use crate::config::settings::WriterSettings;
use crate::decode::Decoder;
use crate::runtime::{DeadLetterBudget, Policy, Retry};
use crate::sink::Row;
use crate::store::StoreLimits;

/// All that a writer decides before anything is connected.
pub struct Plan<R: Row> {
    /// Where its messages come from.
    pub reads: Reads,
    /// Where its dead letters go; without a topic a bad row stops it.
    pub dead_letter_topic: Option<String>,
    /// Where its messages go, where it publishes any.
    pub publishes: Option<Publishes>,
    /// What it makes of a message.
    pub decoder: Arc<dyn Decoder<R>>,
    /// Its stores, or what else it writes to; rows name them by index.
    pub destinations: Vec<PlannedDestination<R>>,
    /// Limits that hold for each of its stores.
    pub store_limits: StoreLimits,
    /// Where messages go whose destination has been away for long.
    pub parking: Option<ParkingTopic>,
    /// Limits and times.
    pub policy: Policy,
}

impl<R: Row> Plan<R> {
    /// With what every writer takes from its settings in the same way.
    pub fn new(settings: &WriterSettings, destinations: Destinations<R>, decoder: impl Decoder<R> + 'static) -> Self {
        Self {
            reads: Reads::new(settings),
            dead_letter_topic: settings.dlq_topic.clone(),
            publishes: None,
            decoder: Arc::new(decoder),
            store_limits: StoreLimits::new(&settings.tuning, destinations.planned.len()),
            destinations: destinations.planned,
            parking: ParkingTopic::of(settings),
            policy: policy(settings),
        }
    }
}

/// Where a writer's messages come from.
#[derive(Clone, Debug)]
pub struct Reads {
    /// The topic, or the subscription where the bus has both.
    pub subscription: String,
    /// The fields of the configuration that may have named it, for people.
    pub named_by: String,
    /// The consumer group.
    pub group: String,
    /// Bytes that may be fetched ahead.
    pub fetch_bytes: usize,
    /// What to do when messages expired before they were read.
    pub on_gap: OnGap,
    /// Whether the bus is the embedded one. Nobody makes topics there beforehand, so that of dead letters is made at the start.
    pub embedded: bool,
    /// Topics that the writer sends to, none of which may be what it reads.
    pub sent_to: Vec<SentTo>,
}

/// Where messages go whose destination has been away for long.
#[derive(Clone, Debug)]
pub struct ParkingTopic {
    /// How long it is waited for before.
    pub after: Duration,
    /// The topic.
    pub topic: String,
}

impl ParkingTopic {
    /// From the settings; `None` where every destination is waited for.
    pub fn of(settings: &WriterSettings) -> Option<Self> {
        Some(Self { after: settings.tuning.park_after?, topic: settings.tuning.parking_topic.clone()? })
    }

    /// The group that reads back what another one has parked.
    pub fn group(of: &str) -> String {
        format!("{of}-parked")
    }
}

impl Reads {
    /// From the settings: a quarter of the memory is for what is fetched ahead.
    pub fn new(settings: &WriterSettings) -> Self {
        Self {
            subscription: settings.subscription.clone(),
            named_by: if settings.bus.has_subscriptions() {
                format!("`{}`", settings.writer_type.info().reads)
            } else {
                fields(settings.writer_type)
            },
            group: settings.group.clone(),
            fetch_bytes: (settings.tuning.memory_limit / 4).max(1 << 20),
            on_gap: settings.tuning.on_gap,
            embedded: settings.bus.is_embedded(),
            sent_to: SentTo::of(settings, ParkingTopic::of(settings).map(|parking| parking.topic)),
        }
    }

    /// What is wrong with the topics that are sent to and come back, where this is the topic of what is read.
    pub fn coming_back(&self, topic: &str) -> impl Iterator<Item = String> {
        let same = self.sent_to.iter().filter(move |sent| sent.topic == topic);
        same.map(move |sent| sent.comes_back(&self.subscription, &self.named_by))
    }
}

/// The fields that may name what a type of writer reads.
fn fields(writer_type: WriterType) -> String {
    let info = writer_type.info();
    match info.reads_topic {
        Some(topic) => format!("`{topic}` or `{}`", info.reads),
        None => format!("`{}`", info.reads),
    }
}

/// Messages in a batch at the most: those without rows take next to no memory, but not none.
const MAX_MESSAGES: usize = 100_000;

/// Limits and times from the settings.
///
/// Batches (those being written, the one that fills and the one that waits) take half of the memory.
pub fn policy(settings: &WriterSettings) -> Policy {
    let (tuning, in_flight) = (&settings.tuning, settings.writer_type.info().in_flight);
    Policy {
        writer_type: settings.writer_type.as_str(),
        group: settings.group.clone(),
        max_rows: tuning.batch_max_rows,
        max_bytes: tuning.batch_max_bytes.min((tuning.memory_limit / 2 / (in_flight + 2)).max(1)),
        max_messages: MAX_MESSAGES,
        max_age: tuning.batch_max_age,
        in_flight,
        concurrency: tuning.concurrency,
        drain_within: tuning.drain_timeout,
        eager: false,
        beside: false,
        retry: Retry { first: tuning.retry_first_pause, longest: tuning.retry_max_pause },
        budget: DeadLetterBudget { max_ratio: tuning.dlq_max_ratio, max_consecutive: tuning.dlq_max_consecutive },
    }
}
