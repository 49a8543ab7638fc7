//! The thread that owns the consumer: creates it, polls it, commits for it, closes and drops it.
//!
//! Everything happens here because librdkafka calls back into whichever thread polls or closes it,
//! and those calls wait for the pipeline. When there is no room for what was fetched, it is left with
//! librdkafka, which fetches ahead only so much; the group is answered all the while.

mod tick;
mod trouble;
mod unfetched;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use unfetched::Unfetched;

use super::access::Access;
use super::chunk::{Filling, Item, Readable as _};
use super::client::Complaints;
use super::fetched::{Fetched, Record};
use super::properties;
use super::rebalance::{COMMIT_WITHIN, Member, Shared, Uncommitted};
use super::transactions::KafkaTransactions;
use crate::bus::{BusError, Handover, PartitionStatus, Subscribe};
use crate::config::settings::KafkaSettings;

/// A channel that is full for longer keeps librdkafka from fetching.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait; what comes, a request to close and room in the channel end it.
const POLL: Duration = Duration::from_millis(100);
/// Between two commits.
const TICK: Duration = Duration::from_secs(1);
/// The same while a drain waits for its end.
const DRAIN_TICK: Duration = Duration::from_millis(200);
/// Between two questions for the ends of partitions of which nothing is fetched that would tell them.
const ASK_ENDS: Duration = Duration::from_secs(5);
/// A broker that takes longer than this beyond a fetch's own wait is taken to be away.
const SILENT: Duration = Duration::from_secs(10);
/// How long a refusal may last before credentials are read again.
const DENIED_FOR: Duration = Duration::from_secs(3);
/// A client without partitions that lives so long was refused nothing.
const ALLOWED_AFTER: Duration = Duration::from_secs(30);
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
    /// How positions are committed that moved without a message, where the consumer commits none.
    transactions: Option<Arc<KafkaTransactions>>,
    /// The brokers that are asked, for people.
    brokers: String,
    /// Read, and no room for it yet.
    outbox: VecDeque<Item>,
    filling: Filling,
    /// Partition and generation of the last message, as of an epoch of the ledger.
    current: (u64, i32, Option<u64>),
    announced: bool,
    /// What is wrong and was said, most recent last.
    troubles: Vec<Trouble>,
    denied_since: Option<Instant>,
    /// What is told again and again of messages that cannot be had.
    unfetched: Unfetched,
    /// When the present client was made.
    client_since: Instant,
    worked: bool,
    out_of_range: bool,
    /// A message came where none may, and was dropped.
    astray: bool,
    failed: bool,
    ended: bool,
}

/// A kind of trouble, by what shows that it is over. A message and an end of a partition end all but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// No broker answers, until one does.
    Connection,
    /// Positions could not be had, until an assignment could be used.
    Positions,
    /// There is no client, or it is beyond repair, until an assignment could be used.
    Client,
    /// There is no topic, until partitions of it are assigned.
    Missing,
    /// Something is not allowed. That it is can only be seen where something is read.
    Denied,
    /// Brokers answer with an error that is of no partition, until that is told no more.
    Answers,
}

/// Partitions whose end was reached: under which assignment, and where it is.
type Ends = BTreeMap<i32, (u64, i64)>;

/// Why a client is done with.
enum Parting {
    /// The source is closed or gone.
    Closing,
    /// Another client may do better, at once or after a pause.
    Again { at_once: bool },
}

impl Poller {
    #[allow(clippy::too_many_arguments, reason = "each is a thing of its own")]
    pub(super) fn new(
        settings: Arc<KafkaSettings>,
        subscribe: Subscribe,
        shared: Arc<Shared>,
        items: mpsc::Sender<Item>,
        handovers: mpsc::Sender<Handover>,
        status: watch::Sender<Vec<PartitionStatus>>,
        runtime: Handle,
        transactions: Option<Arc<KafkaTransactions>>,
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
            transactions,
            brokers: String::new(),
            outbox: VecDeque::new(),
            current: (u64::MAX, 0, None),
            announced: false,
            troubles: Vec::new(),
            denied_since: None,
            unfetched: Unfetched::default(),
            client_since: Instant::now(),
            worked: false,
            out_of_range: false,
            astray: false,
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
                Ok((consumer, mut fetched)) => {
                    self.shared.show(Some(Arc::clone(&consumer)));
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Ok(()));
                    }
                    self.worked = false;
                    self.client_since = Instant::now();
                    let parting = self.consume(&consumer, &mut fetched);
                    // Given up before it leaves: while it does, the group's positions cannot be asked for.
                    let held = self.shared.ledger.held();
                    let committed = match parting {
                        Parting::Closing => self.part(&consumer),
                        Parting::Again { .. } => {
                            consumer.context().give_up(&consumer, &held, false);
                            Ok(())
                        }
                    };
                    self.shared.show(None);
                    self.shared.ledger.let_go(&self.shared.ledger.held());
                    leave(&consumer);
                    drop(fetched);
                    drop(consumer);
                    // An assignment may have come last of all.
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
                    None => self.complain(Trouble::Client, error),
                },
            }
            if self.worked {
                pause = FIRST_PAUSE;
            }
            if !self.wait(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) {
                return Ok(());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.runtime.block_on(Access::fetch_again(&self.settings)) {
                Ok(fresh) => access = fresh,
                Err(error) => self.complain(Trouble::Client, error),
            }
        }
    }

    /// Commits what is dealt with, and tells how far that was: the last figures of this source.
    fn part(&self, consumer: &BaseConsumer<Member>) -> Result<(), BusError> {
        let committed = commit_all(consumer);
        if committed.is_ok() && self.ask_ends(consumer) {
            self.tell_status(consumer);
        } else {
            self.status.send_replace(Vec::new());
        }
        committed
    }

    fn connect(&self, access: &Access) -> Result<(Arc<BaseConsumer<Member>>, Fetched<Member>), BusError> {
        let config = properties::member(&self.settings, access, &self.subscribe)?;
        let member = Member {
            shared: Arc::clone(&self.shared),
            topic: Arc::clone(&self.topic),
            group: self.subscribe.group.clone(),
            drain: self.subscribe.drain,
            on_gap: self.subscribe.on_gap,
            handovers: self.handovers.clone(),
            patience: Duration::from_millis(properties::patience_ms(&self.settings)),
            complaints: Complaints::of(access),
            tokens: access.tokens.clone(),
            silent: SILENT + properties::fetch_wait(&self.settings),
            waiting: Mutex::default(),
            connected: AtomicBool::new(false),
            commit_failed: Mutex::new(None),
            assigned: AtomicBool::new(false),
            refused: Mutex::new(None),
            fetched: OnceLock::new(),
        };
        let mut consumer =
            BaseConsumer::from_config_and_context(&config, member).map_err(|error| properties::unfit(&error))?;
        let this = std::thread::current();
        let woken = this.clone();
        consumer.set_nonempty_callback(move || woken.unpark());
        let consumer = Arc::new(consumer);
        let unfit = || BusError::Settings(format!("topic {}: not a name that Kafka knows", self.topic));
        let fetched = Fetched::of(&consumer, &self.topic, this).ok_or_else(unfit)?;
        let _ = consumer.context().fetched.set(fetched.queue());
        consumer.subscribe(&[&self.topic]).map_err(|error| properties::unfit(&error))?;
        Ok((consumer, fetched))
    }

    fn consume(&mut self, consumer: &BaseConsumer<Member>, fetched: &mut Fetched<Member>) -> Parting {
        let mut full_since = None;
        let mut next_tick = Instant::now();
        let mut ends_asked = Instant::now();
        self.shared.full.store(false, Ordering::Release);
        loop {
            self.shared.turns();
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
            if self.outbox.is_empty() {
                full_since = None;
            } else if full_since.get_or_insert(now).elapsed() > PATIENCE && ends_asked.elapsed() > ASK_ENDS {
                ends_asked = now;
                let _ = self.ask_ends(consumer);
            }
            let full = self.failed || full_since.is_some_and(|since| since.elapsed() > PATIENCE);
            self.shared.full.store(full, Ordering::Release);
            if !self.fill(consumer, fetched) {
                std::thread::park_timeout(POLL.min(next_tick.saturating_duration_since(now)));
            }
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

    /// Hears what concerns the group, and reads what is there, up to a chunk, where there is room for it. Returns whether
    /// there is something to send.
    fn fill(&mut self, consumer: &BaseConsumer<Member>, fetched: &mut Fetched<Member>) -> bool {
        // First: what is taken after a partition went is nobody's.
        loop {
            match consumer.poll(Duration::ZERO) {
                // All partitions put their messages elsewhere. One that does not has no bound, and no end.
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    tracing::error!(topic = &*self.topic, partition, offset, "a message came among the group's events");
                    self.astray = true;
                }
                Some(Err(error)) => self.hear(consumer, None, &error),
                None => {}
            }
            if self.astray || !fetched.has_events() {
                break;
            }
        }
        let mut reached = BTreeMap::new();
        if self.outbox.is_empty() && !self.failed {
            while !self.filling.is_full() && fetched.take(|record| self.take(consumer, record, &mut reached)) {}
        }
        let sends = self.outbox.len();
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
        for (partition, (generation, end)) in reached {
            self.shared.ledger.reached_end(partition, generation, end);
        }
        if !self.announced && self.shared.ledger.is_at_end() {
            self.announced = true;
            self.outbox.push_back(Item::CaughtUp);
        }
        self.outbox.len() > sends
    }

    /// Takes a message, or what is told instead of one. Returns whether there is room for more.
    fn take(&mut self, consumer: &BaseConsumer<Member>, record: &Record<'_>, reached: &mut Ends) -> bool {
        let partition = record.partition();
        match (record.error(), self.generation(partition)) {
            (None, Some(generation)) => {
                self.filling.push(record, generation);
                reached.remove(&partition);
                self.can_fetch(partition);
            }
            (Some(Code::PartitionEOF), Some(generation)) => {
                reached.insert(partition, (generation, record.offset()));
                self.can_fetch(partition);
            }
            (None | Some(Code::PartitionEOF), None) => {}
            // What is told of a partition may come after it went.
            (Some(_), None) if !consumer.context().waiting().partitions().contains(&partition) => {}
            (Some(code), _) => {
                let error = KafkaError::MessageConsumption(code);
                consumer.context().complaints.note(&error, &record.reason());
                self.hear(consumer, Some(partition), &error);
            }
        }
        !self.filling.is_full()
    }

    /// The assignment under which a partition is read now, asked again when it may be another.
    fn generation(&mut self, partition: i32) -> Option<u64> {
        let epoch = self.shared.ledger.epoch();
        if (epoch, partition) != (self.current.0, self.current.1) {
            self.current = (epoch, partition, self.shared.ledger.generation(partition));
        }
        self.current.2
    }

    fn forget_what_was_read(&mut self) {
        drop(self.filling.seal());
        self.unfetched = Unfetched::default();
        self.announced = false;
        self.current = (u64::MAX, 0, None);
    }

    /// Waits, and returns false when the source was closed meanwhile.
    fn wait(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.shared.turns();
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
        match member.commit(consumer, &member.shared.ledger.held(), until) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => {
                let what =
                    format!("{} is delivered again: the last positions were not committed", member.shared.unsettled());
                return Err(match error {
                    Uncommitted::Unanswered(error) => member.complaints.explain(&what, &error),
                    Uncommitted::NotTaken => BusError::Unavailable(format!("{what}: {error}")),
                });
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
