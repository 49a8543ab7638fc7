//! The runtime: source → decode → batch → write → acknowledge.
//!
//! One loop fills one batch. A batch holds every message consumed since the last one was cut. Full
//! or old, it is written by a task of its own; up to [`Policy::in_flight`] such tasks run, and are
//! finished in the order in which they were cut. Finishing one acknowledges one number.
//!
//! # Why
//! Contiguous commits, a bounded memory, and one way to drain for shutdown, revocation and the end
//! of input follow from that by construction. Counting the rows of every message in lanes, or
//! acknowledging when the last reference is dropped, needs machinery of its own for each, and has
//! lost data elsewhere.
//!
//! # What a revocation does
//! Batches that hold messages of the partitions that go are given [`Policy::drain_within`]. After
//! that the partitions are let go: what is being filled forgets their messages, a batch that holds
//! nothing else is cancelled, and one that also holds messages of partitions that stay is written
//! on. So nothing of a kept partition is ever thrown away, and nothing has to be read again for it.

mod batch;
mod budget;
mod burial;
mod flight;
mod health;
mod pause;
mod policy;
mod write;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, Handover, PartitionStatus, Publisher, Received, Subscription};
use crate::decode::{Decoded, Decoder};
use crate::message::{Delivery, Message, Partition};
use crate::sink::{ErrorClass, Refusal, Row, Sink};
use batch::Batch;
use burial::Graveyard;
use flight::{Flights, Shared};
use pause::Pauses;

pub use health::{Health, HealthState, Trouble};
pub use policy::{DeadLetterBudget, DeadLetterTopic, Policy, Retry};

/// The part of the pipeline that health names when the bus does not answer.
const BUS: &str = "bus";

/// The longest that leaving the bus may take; its members wait for us no longer either.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// The longest that the bus may take to let partitions go: a commit, which it bounds itself.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// A place that rows of one pipeline go to.
pub struct Destination<R: Row> {
    /// What people know it by (`online store of prod`); never holds a credential.
    pub name: String,
    /// The store.
    pub sink: Arc<dyn Sink<R>>,
}

/// All that one writer needs to run.
pub struct Pipeline<R: Row> {
    /// Where messages come from.
    pub subscription: Subscription,
    /// What is made of them.
    pub decoder: Arc<dyn Decoder<R>>,
    /// Where rows go; [`Row::destination`] is an index into it.
    pub destinations: Vec<Destination<R>>,
    /// Where bad messages go; without it the first one stops the writer.
    pub dead_letters: Option<(Arc<dyn Publisher>, DeadLetterTopic)>,
    /// Limits and times.
    pub policy: Policy,
    /// What the pipeline says of itself while it runs.
    pub health: Arc<Health>,
}

/// A pipeline whose rows no longer show in its type: what the registry builds and `main` runs.
#[async_trait]
pub trait Run: Send {
    /// How far behind it is, partition by partition, for as long as it runs.
    fn status(&self) -> watch::Receiver<Vec<PartitionStatus>>;

    /// Runs until `shutdown` is cancelled and drained, until the source ends, or until it cannot go on.
    async fn run(self: Box<Self>, shutdown: CancellationToken) -> Result<(), PipelineError>;
}

/// Why a pipeline ended. Everything that was not acknowledged will be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The bus, beyond what is retried.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// More bad messages than the budget allows; exit code 65.
    #[error("stopped by the dead letter budget: {0}")]
    Budget(String),
    /// A bad message and no topic to bury it in; exit code 65.
    #[error("bad message and no dead letter topic (`kafka_dlq_topic`): {0}")]
    NoDeadLetterTopic(String),
    /// A drain ran out of time; says how much was left.
    #[error("{messages} messages were not written in time; they will be delivered again")]
    DrainTimeout {
        /// Messages that were not acknowledged.
        messages: usize,
    },
    /// A panic or an impossible state.
    #[error("bug: {0}")]
    Bug(String),
}

#[async_trait]
impl<R: Row> Run for Pipeline<R> {
    fn status(&self) -> watch::Receiver<Vec<PartitionStatus>> {
        self.subscription.status.clone()
    }

    async fn run(self: Box<Self>, shutdown: CancellationToken) -> Result<(), PipelineError> {
        let mut turning = Loop::new(*self);
        let ended = turning.turn(&shutdown).await;
        // Whatever ended it: what was acknowledged is made durable, and the group is told.
        turning.flights.abandon();
        let closed = timeout(CLOSE_WITHIN, turning.subscription.source.close()).await;
        ended?;
        match closed {
            Ok(result) => Ok(result?),
            Err(_) => Err(BusError::Unavailable(format!("leaving took longer than {CLOSE_WITHIN:?}")).into()),
        }
    }
}

/// The loop and what it holds: messages not yet in a batch, the batch being filled, those being written.
struct Loop<R: Row> {
    subscription: Subscription,
    decoder: Arc<dyn Decoder<R>>,
    shared: Arc<Shared<R>>,
    incoming: VecDeque<Message>,
    /// The next message, decoded, where it did not fit any more.
    ahead: Option<(Message, Decoded<R>)>,
    decoded: Decoded<R>,
    filling: Batch<R>,
    flights: Flights<R>,
    /// An acknowledgement that the bus has not taken yet.
    owed: Option<Delivery>,
    /// When the bus may be asked again after it failed.
    bus_again: Option<Instant>,
    bus_pauses: Pauses,
    ended: bool,
}

impl<R: Row> Loop<R> {
    fn new(pipeline: Pipeline<R>) -> Self {
        let Pipeline { subscription, decoder, destinations, dead_letters, policy, health } = pipeline;
        let graveyard = dead_letters.map(|(publisher, topic)| Graveyard { publisher, topic });
        Self {
            subscription,
            decoder,
            bus_pauses: Pauses::new(policy.retry),
            shared: Arc::new(Shared::new(destinations, graveyard, policy, health)),
            incoming: VecDeque::new(),
            ahead: None,
            decoded: Decoded::default(),
            filling: Batch::default(),
            flights: Flights::default(),
            owed: None,
            bus_again: None,
            ended: false,
        }
    }

    /// Turns until there is nothing more to do, or until it cannot go on.
    async fn turn(&mut self, shutdown: &CancellationToken) -> Result<(), PipelineError> {
        let shared = self.shared.clone();
        let policy = &shared.policy;
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill();
            let may_write = self.flights.len() < policy.in_flight;
            let full = self.ahead.is_some() || self.filling.is_full(policy);
            if may_write && full {
                self.start_write();
                continue;
            }
            if self.ended && self.filling.is_empty() && self.flights.is_empty() && self.owed.is_none() {
                return Ok(());
            }
            let may_read = !full && self.incoming.is_empty() && !self.ended && self.bus_again.is_none();
            // Every branch is cancel-safe: a handle, a token, a channel, a timer, and a source that promises it.
            tokio::select! {
                biased;
                landed = self.flights.next(), if !self.flights.is_empty() => self.acknowledge(landed?).await?,
                () = shutdown.cancelled() => return self.drain().await,
                Some(handover) = self.subscription.handovers.recv() => self.hand_over(handover).await?,
                () = sleep_until(self.filling.due()), if may_write && !self.filling.is_empty() => self.start_write(),
                () = wait_until(self.bus_again), if self.bus_again.is_some() => self.ask_bus_again().await?,
                received = self.subscription.source.next(), if may_read => self.take(received)?,
                _ = tick.tick() => self.report(),
            }
        }
    }

    /// Moves what has arrived into the batch, as far as it fits.
    fn fill(&mut self) {
        let policy = &self.shared.policy;
        if let Some((message, mut decoded)) = self.ahead.take() {
            if !self.filling.has_room_for(&message, &decoded, policy) {
                self.ahead = Some((message, decoded));
                return;
            }
            self.filling.push(message, &mut decoded, policy);
        }
        while !self.filling.is_full(policy)
            && let Some(message) = self.incoming.pop_front()
        {
            self.decoded.clear();
            decode(&*self.decoder, &message, &mut self.decoded, policy);
            if !self.filling.has_room_for(&message, &self.decoded, policy) {
                self.ahead = Some((message, std::mem::take(&mut self.decoded)));
                return;
            }
            self.filling.push(message, &mut self.decoded, policy);
        }
    }

    fn take(&mut self, received: Result<Received, BusError>) -> Result<(), PipelineError> {
        match received {
            Ok(Received::Messages(messages)) => {
                metrics::counter!("chalk_writer_messages_received_total").increment(messages.len() as u64);
                self.shared.health.works(BUS);
                self.bus_pauses.reset();
                self.incoming.extend(messages);
                Ok(())
            }
            Ok(Received::CaughtUp) => {
                self.shared.health.works(BUS);
                self.bus_pauses.reset();
                if self.shared.policy.eager && !self.filling.is_empty() {
                    self.filling.hurry();
                }
                Ok(())
            }
            Ok(Received::End) => {
                self.ended = true;
                self.filling.hurry();
                Ok(())
            }
            Err(error) => self.bus_failed(error),
        }
    }

    fn bus_failed(&mut self, error: BusError) -> Result<(), PipelineError> {
        if !error.is_transient() {
            return Err(error.into());
        }
        self.shared.health.failed(BUS, &error.to_string(), matches!(error, BusError::Denied(_)));
        self.bus_again = Some(Instant::now() + self.bus_pauses.next(None));
        Ok(())
    }

    async fn ask_bus_again(&mut self) -> Result<(), PipelineError> {
        self.bus_again = None;
        match self.owed.take() {
            Some(last) => self.acknowledge_up_to(last).await,
            None => Ok(()),
        }
    }

    fn start_write(&mut self) {
        let batch = std::mem::take(&mut self.filling);
        self.flights.start(&self.shared, batch);
    }

    async fn acknowledge(&mut self, landed: flight::Landed) -> Result<(), PipelineError> {
        self.acknowledge_up_to(landed.last).await?;
        landed.measure(&self.shared);
        Ok(())
    }

    async fn acknowledge_up_to(&mut self, last: Delivery) -> Result<(), PipelineError> {
        match self.subscription.source.acknowledge(last).await {
            Ok(()) => {
                self.owed = None;
                Ok(())
            }
            Err(error) => {
                self.owed = Some(last);
                self.bus_failed(error)
            }
        }
    }

    /// Partitions go to another consumer.
    async fn hand_over(&mut self, handover: Handover) -> Result<(), PipelineError> {
        let going = handover.partitions.clone();
        metrics::counter!("chalk_writer_rebalances_total").increment(1);
        self.incoming.retain(|message| !going.contains(&message.partition));
        if self.ahead.as_ref().is_some_and(|(message, _)| going.contains(&message.partition)) {
            self.ahead = None;
        }
        let deadline = Instant::now() + self.shared.policy.drain_within;
        let in_time = self.settle(deadline, Some(&going)).await?;
        if !in_time {
            tracing::warn!(
                partitions = going.len(),
                "partitions were taken before their messages were written; their next owner reads them again"
            );
        }
        self.let_go(&going);
        release(handover).await
    }

    fn let_go(&mut self, going: &[Partition]) {
        self.filling.forget(going);
        self.flights.forget(going);
    }

    /// Writes what is at hand until the deadline: everything, or what involves some partitions.
    /// Returns whether all of it was done.
    async fn settle(&mut self, deadline: Instant, only: Option<&[Partition]>) -> Result<bool, PipelineError> {
        let in_flight = self.shared.policy.in_flight;
        loop {
            let cut = !self.filling.is_empty() && only.is_none_or(|partitions| self.filling.involves(partitions));
            if cut && self.flights.len() < in_flight {
                self.start_write();
                continue;
            }
            if !cut && only.map_or(self.flights.is_empty(), |partitions| !self.flights.involve(partitions)) {
                return Ok(true);
            }
            match timeout_at(deadline, self.flights.next()).await {
                Ok(landed) => self.acknowledge(landed?).await?,
                Err(_) => return Ok(false),
            }
        }
    }

    /// Shutdown: what is in the batch is written; what has not been decoded yet is left to the bus.
    async fn drain(&mut self) -> Result<(), PipelineError> {
        let policy = &self.shared.policy;
        let deadline = Instant::now() + policy.drain_within;
        tracing::info!(within = ?policy.drain_within, messages = self.in_hand(), "stopping: writing what is at hand");
        self.incoming.clear();
        self.ahead = None;
        loop {
            let handover = tokio::select! {
                biased;
                // Its own futures are timers and handles: dropped, nothing is lost.
                settled = Self::settle_all(&mut self.filling, &mut self.flights, &self.shared) => match settled? {
                    Some(landed) => { self.acknowledge(landed).await?; continue }
                    None => break,
                },
                Some(handover) = self.subscription.handovers.recv() => handover,
                () = sleep_until(deadline) => break,
            };
            // The next owner does not wait for a process that is leaving anyway.
            self.let_go(&handover.partitions);
            release(handover).await?;
        }
        while let Some(last) = self.owed.take() {
            self.acknowledge_up_to(last).await?;
            if self.owed.is_some() {
                if Instant::now() >= deadline {
                    break;
                }
                wait_until(self.bus_again.take()).await;
            }
        }
        match self.in_hand() {
            0 if self.owed.is_none() => Ok(()),
            messages => Err(PipelineError::DrainTimeout { messages }),
        }
    }

    /// The next batch to land of all that is at hand; `None` when there is none left.
    async fn settle_all(
        filling: &mut Batch<R>,
        flights: &mut Flights<R>,
        shared: &Arc<Shared<R>>,
    ) -> Result<Option<flight::Landed>, PipelineError> {
        if !filling.is_empty() && flights.len() < shared.policy.in_flight {
            flights.start(shared, std::mem::take(filling));
        }
        if flights.is_empty() { Ok(None) } else { flights.next().await.map(Some) }
    }

    fn in_hand(&self) -> usize {
        self.incoming.len() + usize::from(self.ahead.is_some()) + self.filling.messages.len() + self.flights.messages()
    }

    /// Once a second, busy or not: that the loop turns, and what it holds.
    fn report(&self) {
        let in_hand = self.in_hand() as u64;
        metrics::gauge!("chalk_writer_in_hand_messages").set(in_hand as f64);
        self.shared.health.update(|state| {
            state.in_hand = in_hand;
            state.turned = Some(std::time::Instant::now());
        });
    }
}

/// Decodes a message; one that is larger than the limit is refused unread.
fn decode<R>(decoder: &dyn Decoder<R>, message: &Message, decoded: &mut Decoded<R>, policy: &Policy) {
    let size = message.body().len();
    if size > policy.max_message_bytes {
        let limit = policy.max_message_bytes;
        decoded.refused.push(Refusal::new(
            ErrorClass::TooLarge,
            format!("the message has {size} bytes, more than {limit} (`max_message_bytes`)"),
        ));
        return;
    }
    decoder.decode(message, decoded);
    for (reason, values) in &decoded.skipped {
        metrics::counter!("chalk_writer_values_skipped_total", "reason" => *reason).increment(*values);
    }
}

/// Lets partitions go, and waits until the bus has. Until then an acknowledgement of later messages
/// would be taken for those of these partitions that were thrown away.
async fn release(handover: Handover) -> Result<(), PipelineError> {
    drop(handover.release);
    match timeout(GONE_WITHIN, handover.gone).await {
        Ok(_) => Ok(()),
        Err(_) => Err(BusError::Failed(format!("the bus did not let partitions go within {GONE_WITHIN:?}")).into()),
    }
}

async fn wait_until(at: Option<Instant>) {
    if let Some(at) = at {
        sleep_until(at).await;
    }
}
