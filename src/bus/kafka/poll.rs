//! The thread that owns the consumer: creates it, polls it, commits for it, closes and drops it.
//!
//! Everything happens here because librdkafka calls back into whichever thread polls or closes it,
//! and those calls wait for the pipeline. When there is no room for what was fetched, the thread
//! waits for two seconds; only then it pauses the partitions, which throws away what was fetched
//! ahead, and goes on polling so that the group still sees a living member.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::access::Access;
use super::chunk::Filling;
use super::client::{self, Complaints};
use super::positions::{self, NoStart};
use super::properties;
use super::rebalance::{COMMIT_WITHIN, Member, Shared};
use super::source::Item;
use crate::bus::{BusError, Handover, PartitionStatus, Subscribe};
use crate::config::settings::KafkaSettings;

/// How long a full channel is waited for before partitions are paused.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait for a message, and so for a request to close.
const POLL: Duration = Duration::from_millis(100);
/// Between two commits.
const TICK: Duration = Duration::from_secs(1);
/// The same while a drain waits for its end.
const DRAIN_TICK: Duration = Duration::from_millis(200);
/// Between two questions for the end of paused partitions, which the fetcher does not tell.
const ASK_ENDS: Duration = Duration::from_secs(5);
/// How long a refusal may last before credentials are read again.
const DENIED_FOR: Duration = Duration::from_secs(3);
/// Pauses before a new client is made.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The state of the thread.
pub(super) struct Poller {
    settings: Arc<KafkaSettings>,
    subscribe: Subscribe,
    topic: Arc<str>,
    shared: Arc<Shared>,
    items: mpsc::Sender<Item>,
    handovers: mpsc::Sender<Handover>,
    status: watch::Sender<Vec<PartitionStatus>>,
    runtime: Handle,
    /// The brokers that are asked, for people.
    brokers: String,
    /// Read, and no room for it yet.
    outbox: VecDeque<Item>,
    filling: Filling,
    /// Partition and generation of the last message, as of an epoch of the ledger.
    current: (u64, i32, Option<u64>),
    /// Partitions of which nothing was read since their end was reached.
    at_end: BTreeSet<i32>,
    announced: bool,
    trouble: Option<BusError>,
    denied_since: Option<Instant>,
    worked: bool,
    out_of_range: bool,
    failed: bool,
    ended: bool,
}

/// Why a client is done with.
enum Parting {
    /// The source is closed or gone.
    Closing,
    /// Another client may do better, at once or after a pause.
    Again { at_once: bool },
}

impl Poller {
    pub(super) fn new(
        settings: Arc<KafkaSettings>,
        subscribe: Subscribe,
        shared: Arc<Shared>,
        items: mpsc::Sender<Item>,
        handovers: mpsc::Sender<Handover>,
        status: watch::Sender<Vec<PartitionStatus>>,
        runtime: Handle,
    ) -> Self {
        let topic: Arc<str> = Arc::from(subscribe.topic.as_str());
        Self {
            settings,
            subscribe,
            filling: Filling::new(Arc::clone(&topic)),
            topic,
            shared,
            items,
            handovers,
            status,
            runtime,
            brokers: String::new(),
            outbox: VecDeque::new(),
            current: (u64::MAX, 0, None),
            at_end: BTreeSet::new(),
            announced: false,
            trouble: None,
            denied_since: None,
            worked: false,
            out_of_range: false,
            failed: false,
            ended: false,
        }
    }

    /// Runs until the source is closed or gone. Says through `ready` whether the settings make a client.
    pub(super) fn run(
        mut self,
        mut access: Access,
        ready: oneshot::Sender<Result<(), BusError>>,
    ) -> Result<(), BusError> {
        let mut ready = Some(ready);
        let mut pause = FIRST_PAUSE;
        loop {
            self.brokers.clone_from(&access.brokers);
            match self.connect(&access) {
                Ok(consumer) => {
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Ok(()));
                    }
                    self.worked = false;
                    let parting = self.consume(&consumer);
                    let committed = match parting {
                        Parting::Closing => commit_all(&consumer),
                        Parting::Again { .. } => Ok(()),
                    };
                    leave(&consumer);
                    // Its callback commits and hands over what is still held.
                    drop(consumer);
                    self.shared.ledger.let_go(&self.shared.ledger.held());
                    self.forget_what_was_read();
                    match parting {
                        Parting::Closing => return committed,
                        Parting::Again { at_once: true } => continue,
                        Parting::Again { at_once: false } => {}
                    }
                }
                Err(error) => match ready.take() {
                    Some(ready) => {
                        let _ = ready.send(Err(error));
                        return Ok(());
                    }
                    None => self.complain(error),
                },
            }
            pause = if self.worked { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            if !self.wait(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) {
                return Ok(());
            }
            match self.runtime.block_on(Access::fetch(&self.settings)) {
                Ok(fresh) => access = fresh,
                Err(error) => self.complain(error),
            }
        }
    }

    fn connect(&self, access: &Access) -> Result<BaseConsumer<Member>, BusError> {
        let config = properties::member(&self.settings, access, &self.subscribe);
        let member = Member {
            shared: Arc::clone(&self.shared),
            topic: Arc::clone(&self.topic),
            drain: self.subscribe.drain,
            on_gap: self.subscribe.on_gap,
            handovers: self.handovers.clone(),
            patience: Duration::from_millis(properties::patience_ms(&self.settings)),
            complaints: Complaints::default(),
            connected: AtomicBool::new(false),
            refused: Mutex::new(None),
        };
        let consumer =
            BaseConsumer::from_config_and_context(&config, member).map_err(|error| properties::unfit(&error))?;
        consumer.subscribe(&[&self.topic]).map_err(|error| properties::unfit(&error))?;
        Ok(consumer)
    }

    fn consume(&mut self, consumer: &BaseConsumer<Member>) -> Parting {
        let mut full_since = None;
        let mut next_tick = Instant::now();
        let mut ends_asked = Instant::now();
        self.shared.paused.store(false, Ordering::Release);
        loop {
            if self.shared.is_closing() || !self.send() {
                return Parting::Closing;
            }
            if let Some(parting) = self.judge(consumer) {
                return parting;
            }
            let now = Instant::now();
            if now >= next_tick {
                self.tick(consumer);
                next_tick = now + if self.subscribe.drain { DRAIN_TICK } else { TICK };
            }
            let paused = self.shared.paused.load(Ordering::Acquire);
            if self.outbox.is_empty() {
                full_since = None;
                if paused && !self.failed {
                    self.set_paused(consumer, false);
                }
            } else if !paused {
                if full_since.get_or_insert(now).elapsed() < PATIENCE {
                    // Woken by the source as soon as it takes something.
                    std::thread::park_timeout(POLL);
                    continue;
                }
                self.set_paused(consumer, true);
            } else if ends_asked.elapsed() > ASK_ENDS {
                ends_asked = now;
                self.ask_ends(consumer);
            }
            self.fill(consumer, POLL.min(next_tick.saturating_duration_since(now)));
        }
    }

    /// Puts into the channel what there is room for. Returns false when nobody takes it any more.
    fn send(&mut self) -> bool {
        while let Some(item) = self.outbox.pop_front() {
            match self.items.try_send(item) {
                Ok(()) => {}
                Err(TrySendError::Full(item)) => {
                    self.outbox.push_front(item);
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        true
    }

    /// Reads what is there, up to a chunk.
    fn fill(&mut self, consumer: &BaseConsumer<Member>, mut wait: Duration) {
        let mut reached = Vec::new();
        while !self.filling.is_full() {
            match consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let (epoch, partition) = (self.shared.ledger.epoch(), message.partition());
                    if (epoch, partition) != (self.current.0, self.current.1) {
                        self.current = (epoch, partition, self.shared.ledger.generation(partition));
                    }
                    if let Some(generation) = self.current.2 {
                        self.filling.push(&message, generation);
                        if !self.at_end.is_empty() {
                            self.at_end.remove(&partition);
                        }
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.at_end.insert(partition);
                    reached.push(partition);
                }
                Some(Err(error)) => self.hear(consumer, &error),
            }
            wait = Duration::ZERO;
        }
        if !self.filling.is_empty() {
            let chunk = self.filling.seal();
            self.shared.ledger.read(&chunk.runs);
            self.outbox.push_back(Item::Chunk(chunk));
            self.announced = false;
            self.works(consumer);
        }
        if !reached.is_empty() {
            self.works(consumer);
        }
        for partition in reached.into_iter().filter(|partition| self.at_end.contains(partition)) {
            self.shared.ledger.reached_end(partition);
        }
        if !self.announced && self.is_at_end() {
            self.announced = true;
            self.outbox.push_back(Item::CaughtUp);
        }
    }

    fn is_at_end(&self) -> bool {
        let held = self.shared.ledger.held();
        !held.is_empty() && held.iter().all(|partition| self.at_end.contains(partition))
    }

    fn tick(&mut self, consumer: &BaseConsumer<Member>) {
        self.pass_gaps(consumer);
        consumer.context().store(consumer);
        if self.trouble.is_some() && self.denied_since.is_none() && consumer.context().connected.load(Ordering::Acquire)
        {
            self.works(consumer);
        }
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
        self.status.send_replace(self.shared.ledger.status(&self.topic, now_ms));
        if self.subscribe.drain && !self.ended && self.is_drained(consumer) {
            self.ended = true;
            self.outbox.push_back(Item::End);
        }
    }

    /// Where everything read is dealt with and the end is reached, what lies before the end and is
    /// no message counts as read: markers of transactions, records that were compacted away.
    fn pass_gaps(&self, consumer: &BaseConsumer<Member>) {
        let idle = self.shared.ledger.idle();
        let passed = idle.into_iter().filter(|partition| self.at_end.contains(partition)).collect::<Vec<_>>();
        if passed.is_empty() {
            return;
        }
        if let Ok(positions) = consumer.position() {
            for element in positions.elements().iter().filter(|element| passed.contains(&element.partition())) {
                if let Offset::Offset(position) = element.offset() {
                    self.shared.ledger.pass(element.partition(), position);
                }
            }
        }
        // The ends were noted before these partitions were fetched from: an end that was reached since is not before them.
        for (partition, end) in self.shared.ends().unwrap_or_default() {
            if passed.contains(&partition) {
                self.shared.ledger.pass(partition, end);
            }
        }
    }

    /// Whether the group has committed all that a drain must read.
    fn is_drained(&self, consumer: &BaseConsumer<Member>) -> bool {
        let Some(ends) = self.shared.ends() else { return false };
        let positions = self.shared.ledger.positions();
        let done = ends.iter().all(|(partition, end)| positions.get(partition).is_none_or(|position| position >= end));
        done && positions::all_committed(consumer, &self.topic, &ends).unwrap_or_else(|error| {
            tracing::debug!(topic = &*self.topic, %error, "the group's positions could not be had");
            false
        })
    }

    fn ask_ends(&self, consumer: &BaseConsumer<Member>) {
        for partition in self.shared.ledger.held() {
            // A broker that does not answer at once is not asked for the other partitions.
            let Ok((_, end)) = consumer.fetch_watermarks(&self.topic, partition, TICK) else { return };
            self.shared.ledger.set_end(partition, end);
        }
    }

    fn set_paused(&self, consumer: &BaseConsumer<Member>, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
        let held = self.shared.ledger.held();
        if held.is_empty() {
            return;
        }
        let list = consumer.context().list(&held);
        let result = if paused { consumer.pause(&list) } else { consumer.resume(&list) };
        if let Err(error) = result {
            tracing::debug!(topic = &*self.topic, %error, paused, "pausing or resuming failed for some partitions");
        }
    }

    /// Looks at what the callbacks left behind.
    fn judge(&mut self, consumer: &BaseConsumer<Member>) -> Option<Parting> {
        let refused = consumer.context().refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        match refused {
            Some(NoStart::Gap(text)) => {
                self.failed = true;
                self.set_paused(consumer, true);
                self.outbox.push_back(Item::Failed(BusError::Gap(text)));
            }
            Some(NoStart::Unanswered(error)) => {
                self.complain(consumer.context().complaints.explain("positions could not be had", &error));
                return Some(Parting::Again { at_once: false });
            }
            None => {}
        }
        if let Some((code, reason)) = consumer.client().fatal_error() {
            self.complain(client::classify(code, format!("{code}: {reason}")));
            return Some(Parting::Again { at_once: false });
        }
        if self.denied_since.is_some_and(|since| since.elapsed() > DENIED_FOR) {
            self.denied_since = None;
            return Some(Parting::Again { at_once: false });
        }
        if std::mem::take(&mut self.out_of_range) {
            return Some(Parting::Again { at_once: true });
        }
        None
    }

    fn hear(&mut self, consumer: &BaseConsumer<Member>, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let context = consumer.context();
        match code {
            // The log went past us, or was cut: the next assignment finds out which.
            Code::AutoOffsetReset => self.out_of_range = true,
            Code::AllBrokersDown => {
                context.connected.store(false, Ordering::Release);
                let what = format!("no broker of {} answers", self.brokers);
                let explained = context.complaints.explain(&what, error);
                self.complain(explained);
            }
            code if client::is_denied(code) => {
                self.denied_since.get_or_insert_with(Instant::now);
                let reason = context.complaints.last().map_or_else(String::new, |(_, reason)| reason);
                self.complain(BusError::Denied(format!("{code}: {reason}")));
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                self.complain(BusError::Unavailable(format!("topic {} is not there: {code}", self.topic)));
            }
            code => tracing::debug!(topic = &*self.topic, %code, "librdkafka is busy with an error"),
        }
    }

    /// Says once what is wrong, until it is something else or works again.
    fn complain(&mut self, error: BusError) {
        let same = |known: &BusError| std::mem::discriminant(known) == std::mem::discriminant(&error);
        if self.trouble.as_ref().is_some_and(same) {
            return;
        }
        tracing::error!(
            topic = &*self.topic, group = self.subscribe.group, %error,
            "cannot read from Kafka; trying on (check `bootstrap_servers`, `security_protocol`, credentials and rights)"
        );
        if !matches!(self.outbox.back(), Some(Item::Trouble(_))) {
            self.outbox.push_back(Item::Trouble(error.clone()));
        }
        self.trouble = Some(error);
    }

    fn works(&mut self, consumer: &BaseConsumer<Member>) {
        self.worked = true;
        self.denied_since = None;
        if self.trouble.take().is_some() {
            tracing::info!(topic = &*self.topic, group = self.subscribe.group, "Kafka answers again");
            consumer.context().complaints.clear();
            // Whoever heard of the trouble hears of its end, even where there is nothing to read.
            self.announced = self.shared.ledger.held().is_empty();
            if self.announced {
                self.outbox.push_back(Item::CaughtUp);
            }
        }
    }

    fn forget_what_was_read(&mut self) {
        drop(self.filling.seal());
        self.at_end.clear();
        self.announced = false;
        self.current = (u64::MAX, 0, None);
    }

    /// Waits, and returns false when the source was closed meanwhile.
    fn wait(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.shared.is_closing() || !self.send() {
                return false;
            }
            std::thread::park_timeout(POLL);
        }
        true
    }
}

/// Commits everything that is dealt with, before leaving. A rebalance may be under way, in which
/// positions are not taken: polling takes part in it, after which they are, or are another member's.
fn commit_all(consumer: &BaseConsumer<Member>) -> Result<(), BusError> {
    let member = consumer.context();
    let until = Instant::now() + COMMIT_WITHIN;
    loop {
        match member.commit(consumer, &member.shared.ledger.held()) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(member.complaints.explain("the last positions were not committed", &error));
            }
            // What comes now is not numbered, hence read again by the next owner.
            Err(_) => drop(consumer.poll(POLL)),
        }
    }
}

/// Closing gives partitions back and leaves the group, but of a member without partitions it does
/// not tell the broker, and the others would wait for its session to end.
fn leave(consumer: &BaseConsumer<Member>) {
    if consumer.assignment().is_ok_and(|assigned| assigned.count() == 0) {
        consumer.unsubscribe();
    }
}
