//! What a writer decided before anything is connected.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::WriterType;
use super::destinations::{Destinations, PlannedDestination};
use super::preview::{Preview, Shown};
use super::start::{self, Start, StartError};
use crate::bus::OnGap;
use crate::config::in_flight;
use crate::config::secret::expose;
use crate::config::settings::{StoreSettings, Tuning, WriterSettings};
use crate::decode::Decoder;
use crate::message::Message;
use crate::runtime::{DeadLetterBudget, Policy, Retry, Run};
use crate::sink::Row;

/// Why a writer cannot work with its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A type that is known and that this version does not have; exit code 64.
    #[error("{}", super::registry().refusal(*.0))]
    NotInThisVersion(WriterType),
    /// Settings that can never work; exit code 78.
    #[error("{0}")]
    Settings(String),
}

/// All that a writer decides before anything is connected.
pub struct Plan<R: Row> {
    /// Where its messages come from.
    pub reads: Reads,
    /// Where its dead letters go; without a topic a bad row stops it.
    pub dead_letter_topic: Option<String>,
    /// What it makes of a message.
    pub decoder: Arc<dyn Decoder<R>>,
    /// Its stores; rows name them by index.
    pub destinations: Vec<PlannedDestination<R>>,
    /// Limits that hold for each of its stores.
    pub store_limits: StoreLimits,
    /// Limits and times.
    pub policy: Policy,
}

impl<R: Row> Plan<R> {
    /// With what every writer takes from its settings in the same way.
    pub fn new(settings: &WriterSettings, destinations: Destinations<R>, decoder: impl Decoder<R> + 'static) -> Self {
        Self {
            reads: Reads::new(settings),
            dead_letter_topic: settings.dlq_topic.clone(),
            decoder: Arc::new(decoder),
            store_limits: StoreLimits::new(&settings.tuning, destinations.planned.len()),
            destinations: destinations.planned,
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
}

/// Limits that hold for each store.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Requests at a time.
    pub concurrency: usize,
    /// How long a tombstone is kept.
    pub tombstone_retention: Duration,
    /// Memory for building files, in bytes.
    pub memory_limit: usize,
}

/// A [`Plan`] whose row type no longer shows.
#[async_trait]
pub trait AnyPlan: Send + Sync {
    /// Where its messages come from.
    fn reads(&self) -> &Reads;

    /// Its stores, by name, in the order of a [`Preview`]'s destinations.
    fn destinations(&self) -> Vec<(&str, &StoreSettings)>;

    /// What a message would write, without writing it.
    fn preview(&self, message: &Message) -> Preview;

    /// Those of its stores that hold a row twice where it is written twice, each with a word of doubt where
    /// its secret is not here to tell.
    async fn doubling(&self) -> Vec<String>;

    /// Fetches secrets, opens stores, checks topics and subscribes.
    ///
    /// A bus that is away is asked again until it answers or `shutdown` is cancelled.
    async fn start(self: Box<Self>, with: Start) -> Result<Box<dyn Run>, StartError>;
}

#[async_trait]
impl<R: Row + Shown> AnyPlan for Plan<R> {
    fn reads(&self) -> &Reads {
        &self.reads
    }

    fn destinations(&self) -> Vec<(&str, &StoreSettings)> {
        self.destinations.iter().map(|planned| (planned.name.as_str(), &planned.settings)).collect()
    }

    fn preview(&self, message: &Message) -> Preview {
        Preview::of(&*self.decoder, &self.destinations, message)
    }

    async fn doubling(&self) -> Vec<String> {
        let mut doubling = Vec::new();
        for PlannedDestination { name, settings, absorbs_repeats, .. } in &self.destinations {
            let absorbs = match settings.uri.fetch().await {
                Ok(uri) => absorbs_repeats(expose(&uri)).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match absorbs {
                Ok(true) => {}
                Ok(false) => doubling.push(name.clone()),
                Err(error) => doubling.push(format!("{name} (perhaps: {error})")),
            }
        }
        doubling
    }

    async fn start(self: Box<Self>, with: Start) -> Result<Box<dyn Run>, StartError> {
        start::start(*self, with).await
    }
}

impl Reads {
    /// From the settings: a quarter of the memory is for what is fetched ahead.
    pub fn new(settings: &WriterSettings) -> Self {
        Self {
            subscription: settings.subscription.clone(),
            named_by: fields(settings.writer_type),
            group: settings.group.clone(),
            fetch_bytes: (settings.tuning.memory_limit / 4).max(1 << 20),
            on_gap: settings.tuning.on_gap,
        }
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

impl StoreLimits {
    /// From the settings: a quarter of the memory is for building files, of all stores together.
    pub fn new(tuning: &Tuning, stores: usize) -> Self {
        Self {
            concurrency: tuning.concurrency,
            tombstone_retention: tuning.tombstone_retention,
            memory_limit: tuning.memory_limit / 4 / stores.max(1),
        }
    }
}

/// Messages in a batch at the most: those without rows take next to no memory, but not none.
const MAX_MESSAGES: usize = 100_000;

/// Limits and times from the settings.
///
/// Batches (those being written, the one that fills and the one that waits) take half of the memory.
pub fn policy(settings: &WriterSettings) -> Policy {
    let (tuning, in_flight) = (&settings.tuning, in_flight(settings.writer_type));
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
        retry: Retry { first: tuning.retry_first_pause, longest: tuning.retry_max_pause },
        budget: DeadLetterBudget { max_ratio: tuning.dlq_max_ratio, max_consecutive: tuning.dlq_max_consecutive },
    }
}
