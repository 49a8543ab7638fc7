//! The loop: fills a batch, starts and finishes writes, hands partitions over, drains.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::batch::{Batch, size_of};
use super::burial::{self, Graveyard};
use super::flight::{Flights, Landed};
use super::health::Report;
use super::nothing::Nothing;
use super::pause::Pauses;
use super::policy::stops_within;
use super::shared::{Shared, Target};
use super::standing::Standing;
use super::{Pipeline, PipelineError, Policy, parking, probe, write};
use crate::bus::{BusError, Handover, Received, Subscription};
use crate::decode::{Decoded, Decoder};
use crate::message::{Message, Partition};
use crate::sink::Row;

/// Parts of the pipeline that health names. Two pipelines of one writer have each their own: that one of them reads is no sign that
/// the other may.
struct Parts {
    /// The bus does not answer.
    bus: &'static str,
    /// The bus does not let partitions go. Not the bus itself: that it has let them go is no sign that it can be read, since
    /// a client that is refused gives up its partitions as well.
    letting_go: &'static str,
}

impl Parts {
    const fn of(policy: &Policy) -> Self {
        if policy.beside {
            Self { bus: "bus, of what is parked", letting_go: "partitions of what is parked that go" }
        } else {
            Self { bus: "bus", letting_go: "partitions that go" }
        }
    }
}

/// A bus that takes longer than this to let partitions go is in trouble, and health says so.
const LETS_GO_WITHIN: Duration = Duration::from_secs(10);

/// What a message waits for, for health.
const WAITED_FOR: &str = "environments";

/// How soon a message that waits for something is looked at again.
const LOOKS_AGAIN_IN: Duration = Duration::from_millis(250);

/// How often partitions were taken away.
const HANDOVERS: &str = "chalk_writer_handovers_total";

/// What the loop holds: messages not yet in a batch, the batch being filled, those being written.
pub(super) struct Loop<R: Row> {
    subscription: Subscription,
    decoder: Arc<dyn Decoder<R>>,
    shared: Arc<Shared<R>>,
    incoming: VecDeque<Message>,
    /// The next message, decoded, where it did not fit any more.
    ahead: Option<(Message, Decoded<R>, usize)>,
    decoded: Decoded<R>,
    nothing: Nothing,
    standing: Standing,
    /// Values left out on purpose so far.
    skipped: u64,
    filling: Batch<R>,
    /// One that was written, cleared: the next one's memory.
    spare: Option<Batch<R>>,
    flights: Flights<R>,
    /// Whether health says that a message waits.
    waiting: bool,
    /// When the first of what has arrived is to be decoded again, because it waits for something.
    later: Option<Instant>,
    /// When the bus may be asked again after it failed.
    bus_again: Option<Instant>,
    bus_pauses: Pauses,
    ended: bool,
    /// When a shutdown is to be over; `None` before one was asked for.
    stops_at: Option<Instant>,
    _probes: Vec<AbortOnDropHandle<()>>,
}

impl<R: Row> Loop<R> {
    pub(super) fn new(pipeline: Pipeline<R>) -> Self {
        let Pipeline { subscription, decoder, destinations, emission, dead_letters, parking, away, policy, health } =
            pipeline;
        let graveyard = dead_letters.map(|(publisher, topic)| Graveyard::new(publisher, topic));
        health.has(Parts::of(&policy).bus, true);
        if graveyard.is_some() {
            health.has(burial::PART, true);
        }
        burial::count_from_zero();
        for destination in &destinations {
            write::count_from_zero(&destination.name);
        }
        if let Some(emission) = &emission {
            health.has(&emission.name, true);
            write::count_from_zero(&emission.name);
        }
        let bus_pauses = Pauses::new(policy.retry);
        let target = Target { destinations, emission, transactions: subscription.transactions.clone() };
        if parking.is_some() {
            health.has(parking::PART, true);
        }
        let shared = Arc::new(Shared::new(target, graveyard, parking, away, policy, health));
        Self {
            _probes: probe::start(&shared),
            subscription,
            decoder,
            bus_pauses,
            shared,
            incoming: VecDeque::new(),
            ahead: None,
            decoded: Decoded::default(),
            nothing: Nothing::default(),
            standing: Standing::default(),
            skipped: 0,
            filling: Batch::default(),
            spare: None,
            flights: Flights::default(),
            waiting: false,
            later: None,
            bus_again: None,
            ended: false,
            stops_at: None,
        }
    }

    /// Turns until there is nothing more to do, or until it cannot go on.
    pub(super) async fn turn(&mut self, shutdown: &CancellationToken) -> Result<(), PipelineError> {
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
            if self.ended && self.incoming.is_empty() && self.filling.is_empty() && self.flights.is_empty() {
                return Ok(());
            }
            let may_read = !full && self.incoming.is_empty() && !self.ended && self.bus_again.is_none();
            // Every branch is cancel-safe: a handle, a token, a channel, timers, and a source that
            // promises it. The source comes last: a bus that always has more starves nothing else.
            tokio::select! {
                biased;
                landed = self.flights.next(), if !self.flights.is_empty() => self.acknowledge(landed?),
                () = shutdown.cancelled() => return self.drain().await,
                Some(handover) = self.subscription.handovers.recv() => self.hand_over(handover, shutdown).await?,
                _ = tick.tick() => self.report(),
                () = sleep_until(self.filling.due()), if may_write && !self.filling.is_empty() => self.start_write(),
                () = wait_until(self.bus_again), if self.bus_again.is_some() => self.bus_again = None,
                () = wait_until(self.later), if self.later.is_some() => self.later = None,
                received = self.subscription.source.next(), if may_read => self.take(received)?,
            }
        }
    }

    /// Cancels what is being written, makes every acknowledgement durable and leaves the group.
    pub(super) async fn leave(&mut self) -> Result<(), BusError> {
        self.flights.abandon();
        if std::mem::take(&mut self.waiting) {
            self.shared.health.is_over(WAITED_FOR);
        }
        self.report();
        self.standing.end(&self.shared.health);
        self.nothing.say();
        let Some(at) = self.stops_at else {
            // Bounded by the bus itself, which knows what it waits for.
            return self.subscription.source.close().await;
        };
        if let Ok(closed) = timeout_at(at, self.subscription.source.close()).await {
            return closed;
        }
        let within = stops_within(self.shared.policy.drain_within);
        let left = self.subscription.source.unsettled();
        let left = left.unwrap_or_else(|| "what is not committed".to_owned());
        Err(BusError::Unavailable(format!(
            "the bus was not left within {within:?} of the signal (`drain_timeout`): {left} is delivered again"
        )))
    }

    /// Moves what has arrived into the batch, as far as it fits.
    fn fill(&mut self) {
        let policy = &self.shared.policy;
        if let Some((message, mut decoded, size)) = self.ahead.take() {
            if !self.filling.has_room_for(&decoded, size, policy) {
                self.ahead = Some((message, decoded, size));
                return;
            }
            self.filling.push(message, &mut decoded, size, policy);
        }
        while !self.filling.is_full(policy)
            && self.later.is_none()
            && let Some(message) = self.incoming.front()
        {
            self.decoded.clear();
            self.decoder.decode(message, &mut self.decoded);
            if let Some(what) = self.decoded.waits_for.take() {
                self.shared.health.failed(WAITED_FOR, &what, false);
                self.waiting = true;
                self.later = Some(Instant::now() + LOOKS_AGAIN_IN);
                // What is at hand is not held up by it.
                self.filling.hurry();
                return;
            }
            if std::mem::take(&mut self.waiting) {
                self.shared.health.works(WAITED_FOR);
            }
            for (reason, values) in &self.decoded.skipped {
                metrics::counter!("chalk_writer_values_skipped_total", "reason" => *reason).increment(*values);
                self.skipped += values;
            }
            self.nothing.look(message, &self.decoded);
            let size = size_of(message, &self.decoded);
            let Some(message) = self.incoming.pop_front() else { return };
            if !self.filling.has_room_for(&self.decoded, size, policy) {
                self.ahead = Some((message, std::mem::take(&mut self.decoded), size));
                return;
            }
            self.filling.push(message, &mut self.decoded, size, policy);
            if size > policy.max_bytes {
                // Its lists are as large as the message was.
                self.decoded = Decoded::default();
            }
        }
    }

    fn take(&mut self, received: Result<Received, BusError>) -> Result<(), PipelineError> {
        match received {
            Ok(received) => {
                self.shared.health.works(Parts::of(&self.shared.policy).bus);
                self.bus_pauses.reset();
                match received {
                    Received::Messages(messages) => {
                        metrics::counter!("chalk_writer_messages_received_total").increment(messages.len() as u64);
                        if self.incoming.is_empty() {
                            self.incoming = messages.into();
                        } else {
                            self.incoming.extend(messages);
                        }
                    }
                    Received::CaughtUp if self.shared.policy.eager => self.filling.hurry(),
                    Received::CaughtUp => {}
                    Received::End => {
                        self.ended = true;
                        self.filling.hurry();
                    }
                }
                Ok(())
            }
            Err(error) if error.is_transient() => {
                let part = Parts::of(&self.shared.policy).bus;
                self.shared.health.failed(part, &error.to_string(), matches!(error, BusError::Denied(_)));
                self.bus_again = Some(Instant::now() + self.bus_pauses.next(None));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn start_write(&mut self) {
        let batch = std::mem::replace(&mut self.filling, self.spare.take().unwrap_or_default());
        self.flights.start(&self.shared, batch);
    }

    fn acknowledge(&mut self, landed: Landed<R>) {
        self.subscription.source.acknowledge(landed.last);
        landed.count(&self.shared);
        let mut batch = landed.into_batch();
        // One that held a message larger than a batch is not kept: its lists are as large as that.
        if batch.bytes() <= self.shared.policy.max_bytes {
            batch.clear();
            self.spare = Some(batch);
        }
    }

    /// Partitions go to another consumer.
    async fn hand_over(&mut self, handover: Handover, shutdown: &CancellationToken) -> Result<(), PipelineError> {
        let Handover { partitions, release, mut gone } = handover;
        metrics::counter!(HANDOVERS).increment(1);
        self.forget_unwritten(&partitions);
        let deadline = Instant::now() + self.shared.policy.drain_within;
        let (in_time, lost) = tokio::select! {
            settled = self.settle(&partitions) => { settled?; (true, false) }
            () = sleep_until(deadline) => (false, false),
            // Whoever stops has no time for this, and a bus that has let go does not wait for it.
            () = shutdown.cancelled() => (false, false),
            _ = &mut gone => (false, true),
        };
        if !in_time {
            tracing::warn!(
                partitions = partitions.len(),
                "partitions went before their messages were written; their next owner reads them again"
            );
        }
        self.let_go(&partitions);
        drop(release);
        if lost {
            return Ok(());
        }
        let within = self.shared.policy.writes_within();
        let give_up = async {
            shutdown.cancelled().await;
            sleep(within).await;
        };
        self.until_gone(gone, give_up).await
    }

    /// Writes and acknowledges until nothing of these partitions is at hand. Dropped in between,
    /// what is being written is written on.
    async fn settle(&mut self, partitions: &[Partition]) -> Result<(), PipelineError> {
        loop {
            let cut = self.filling.involves(partitions);
            if cut && self.flights.len() < self.shared.policy.in_flight {
                self.start_write();
            } else if cut || self.flights.involve(partitions) {
                let landed = self.flights.next().await?;
                self.acknowledge(landed);
            } else {
                return Ok(());
            }
        }
    }

    /// Waits until the bus has let partitions go. Until then nothing may be acknowledged: it would
    /// be taken for their messages that were thrown away.
    async fn until_gone(
        &mut self,
        mut gone: tokio::sync::oneshot::Receiver<()>,
        give_up: impl Future<Output = ()>,
    ) -> Result<(), PipelineError> {
        tokio::pin!(give_up);
        let report = Report::new(&self.shared.health, Parts::of(&self.shared.policy).letting_go);
        loop {
            tokio::select! {
                _ = &mut gone => {
                    report.works();
                    return Ok(());
                }
                () = &mut give_up => return Err(PipelineError::DrainTimeout { messages: self.in_hand() }),
                () = sleep(LETS_GO_WITHIN) => report.failed("they cannot be let go yet", false),
            }
        }
    }

    /// Messages that are in no batch yet.
    fn forget_unwritten(&mut self, going: &[Partition]) {
        self.incoming.retain(|message| !going.contains(&message.partition));
        if self.ahead.as_ref().is_some_and(|(message, ..)| going.contains(&message.partition)) {
            self.ahead = None;
        }
        // The first may be another one now.
        self.later = None;
        if std::mem::take(&mut self.waiting) {
            self.shared.health.is_over(WAITED_FOR);
        }
    }

    fn let_go(&mut self, going: &[Partition]) {
        self.filling.forget(going);
        self.flights.forget(going);
    }

    /// Shutdown: what is in the batch is written; what has not been decoded yet is left to the bus.
    async fn drain(&mut self) -> Result<(), PipelineError> {
        let within = self.shared.policy.writes_within();
        let deadline = Instant::now() + within;
        self.stops_at = Some(Instant::now() + stops_within(self.shared.policy.drain_within));
        tracing::info!(?within, messages = self.in_hand(), "stopping: writing what is at hand");
        self.incoming.clear();
        self.ahead = None;
        loop {
            // What a second signal would leave is told from this.
            self.report();
            if !self.filling.is_empty() && self.flights.len() < self.shared.policy.in_flight {
                self.start_write();
                continue;
            }
            if self.flights.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                landed = self.flights.next() => self.acknowledge(landed?),
                Some(handover) = self.subscription.handovers.recv() => {
                    metrics::counter!(HANDOVERS).increment(1);
                    // The next owner does not wait for a process that is leaving anyway.
                    self.let_go(&handover.partitions);
                    drop(handover.release);
                    self.until_gone(handover.gone, sleep_until(deadline)).await?;
                }
                () = sleep_until(deadline) => return Err(PipelineError::DrainTimeout { messages: self.in_hand() }),
            }
        }
    }

    fn in_hand(&self) -> usize {
        self.incoming.len() + usize::from(self.ahead.is_some()) + self.filling.messages.len() + self.flights.messages()
    }

    /// Once a second, busy or not: that the loop turns, what it holds, and what its destinations say.
    fn report(&mut self) {
        self.nothing.remind();
        let bus = Parts::of(&self.shared.policy).bus;
        self.standing.look(&self.subscription.status.borrow(), &self.shared.health, bus);
        self.shared.health.remind(bus);
        let stuck = self.subscription.source.stuck();
        if self.shared.policy.beside {
            return;
        }
        let in_hand = self.in_hand() as u64;
        metrics::gauge!("chalk_writer_in_hand_messages").set(in_hand as f64);
        let destinations = self.shared.destinations.iter();
        let summaries = destinations.filter_map(|known| Some((known.name.clone(), known.sink.summary()?))).collect();
        self.shared.health.update(|state| {
            state.in_hand = in_hand;
            state.skipped = self.skipped;
            state.summaries = summaries;
            state.turned = Some(std::time::Instant::now());
            state.bus_stuck = stuck;
        });
    }
}

async fn wait_until(at: Option<Instant>) {
    if let Some(at) = at {
        sleep_until(at).await;
    }
}
