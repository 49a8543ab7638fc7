//! Partitions come and go: what librdkafka calls on the poll thread while it polls. How they come is in
//! [`assignment`](super::assignment).
//!
//! A partition that goes is closed in the ledger first, then announced, then waited for, then
//! committed, then let go. Nothing of it can be handed out after its handover was released.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::client::{self, Complaints};
use super::fetched::Queue;
use super::ledger::Ledger;
use super::positions::NoStart;
use super::statistics::{Away, Statistics};
use super::tokens::Tokens;
use super::waiting::{Ends, Waiting};
use crate::bus::{Handover, OnGap};
use crate::message::Partition;

/// How long the last commit of a partition is tried.
pub(super) const COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// How often a broker that answers may not have taken the last commit of a partition.
const ATTEMPTS: u32 = 10;
/// A failure so long after the last is told again.
const QUIET: Duration = Duration::from_secs(60);
/// How long librdkafka may take to hear where to go on; it asks nobody.
const PLACED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at something that has no way of waking this thread.
const LOOK: Duration = Duration::from_millis(5);

/// What outlives a client: the poll thread, its clients one after the other, and the source share it.
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    /// The source is closed or gone.
    pub(super) closing: AtomicBool,
    /// There has been no room for a while: nothing more is fetched once librdkafka has fetched ahead what it may.
    pub(super) full: AtomicBool,
    /// Where a drain ends, noted with the first assignment.
    pub(super) ends: Mutex<Option<Ends>>,
    /// Partitions that cannot be read now.
    pub(super) away: Mutex<Away>,
    /// Positions move in transactions only: the consumer commits nothing by itself.
    pub(super) transactional: bool,
    /// When the poll thread last came round.
    turned: Mutex<Instant>,
    /// The present client, for whoever needs to know what it is in the group.
    client: Mutex<Option<Arc<BaseConsumer<Member>>>>,
}

impl Shared {
    pub(super) fn new(transactional: bool) -> Self {
        let ledger = if transactional { Ledger::of_transactions() } else { Ledger::default() };
        let (closing, full) = (AtomicBool::default(), AtomicBool::default());
        let (ends, away, client) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { ledger, closing, full, ends, away, transactional, turned: Mutex::new(Instant::now()), client }
    }

    /// Shows a client, or hides it before it leaves: it must die on its own thread.
    pub(super) fn show(&self, client: Option<Arc<BaseConsumer<Member>>>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// What the group takes this consumer for at this moment; nothing while there is none. The answer is
    /// librdkafka's own thread's: it comes also while the poll thread waits for a handover.
    pub(super) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.as_ref().and_then(|client| client.group_metadata())
    }

    /// The poll thread lives: it comes round, or waits for somebody who is not a broker.
    pub(super) fn turns(&self) {
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When it last did.
    pub(super) fn turned(&self) -> Instant {
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is acknowledged and not known to be committed, for people.
    pub(super) fn unsettled(&self) -> String {
        match self.ledger.unsettled() {
            (0, _) => "what is not committed".to_owned(),
            (messages, partitions) => format!(
                "what is written and not known to be committed, up to {messages} messages of {partitions} partitions,"
            ),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The noted ends of a drain.
    pub(super) fn ends(&self) -> Option<Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The context of a member of a group.
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    pub(super) topic: Arc<str>,
    pub(super) group: String,
    pub(super) drain: bool,
    pub(super) on_gap: OnGap,
    pub(super) handovers: mpsc::Sender<Handover>,
    /// How long a handover is waited for.
    pub(super) patience: Duration,
    pub(super) complaints: Complaints,
    /// What makes the tokens that let it in.
    pub(super) tokens: Option<Tokens>,
    /// A broker that was asked and is silent for longer is taken to be away.
    pub(super) silent: Duration,
    /// Partitions that are assigned and cannot be read yet.
    pub(super) waiting: Mutex<Waiting>,
    /// A broker is connected, as far as the last statistics tell.
    pub(super) connected: AtomicBool,
    /// When a commit of librdkafka's own clock failed last.
    pub(super) commit_failed: Mutex<Option<Instant>>,
    /// An assignment was used since this was last looked at.
    pub(super) assigned: AtomicBool,
    /// Why a new assignment could not be used.
    pub(super) refused: Mutex<Option<NoStart>>,
    /// Where what is fetched of partitions goes.
    pub(super) fetched: OnceLock<Weak<Queue<Self>>>,
}

impl Member {
    /// A list of partitions of the topic.
    pub(super) fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    /// A list of partitions with positions.
    fn positions(&self, positions: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*position))?;
        }
        Ok(list)
    }

    /// Tells librdkafka what is dealt with. It commits soon after, and again what failed, without
    /// making this thread wait; its answers do not come through the client's interface.
    pub(super) fn store(&self, consumer: &BaseConsumer<Self>) {
        if self.shared.transactional {
            return;
        }
        let due = self.shared.ledger.to_store();
        if due.is_empty() {
            return;
        }
        tracing::debug!(topic = &*self.topic, positions = ?due, "positions stored");
        if let Err(error) = self.positions(&due).and_then(|list| consumer.store_offsets(&list)) {
            // Only of partitions that went meanwhile, whose positions are no longer ours to move.
            tracing::debug!(topic = &*self.topic, %error, "positions of lost partitions are not stored");
        }
    }

    /// Commits what is dealt with of some partitions, and returns once the broker has it, at the
    /// latest at `until`. A commit that waits for its answer has no bound in librdkafka, hence the
    /// positions are sent first and asked for then.
    pub(super) fn commit(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[i32],
        until: Instant,
    ) -> Result<(), Uncommitted> {
        let due = self.shared.ledger.uncommitted(partitions);
        if due.is_empty() || self.shared.transactional {
            return Ok(());
        }
        // Stored as well: what librdkafka has in store is older, and it would commit that on leaving, over ours.
        self.store(consumer);
        let list = self.positions(&due)?;
        consumer.commit(&list, CommitMode::Async)?;
        let left = until.saturating_duration_since(Instant::now()).max(LOOK);
        // Answered after the commit: both go to the group's coordinator, one after the other.
        let there = consumer.committed_offsets(list, left)?;
        for element in there.elements() {
            element.error()?;
            let wanted = due.iter().find(|(partition, _)| *partition == element.partition());
            let taken = matches!((element.offset(), wanted), (Offset::Offset(has), Some((_, due))) if has >= *due);
            if !taken {
                return Err(Uncommitted::NotTaken);
            }
        }
        tracing::debug!(topic = &*self.topic, positions = ?due, "positions committed");
        self.shared.ledger.committed(&due);
        Ok(())
    }

    /// The same for partitions that go, again and again while that may help.
    fn commit_leaving(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        let until = Instant::now() + COMMIT_WITHIN;
        let mut not_taken = 0;
        while let Err(error) = self.commit(consumer, partitions, until) {
            not_taken += u32::from(matches!(error, Uncommitted::NotTaken));
            // The broker answers and refuses: most likely another member owns them, and it waits for nothing.
            if not_taken >= ATTEMPTS || error.is_no_longer_ours() || Instant::now() > until {
                tracing::warn!(
                    topic = &*self.topic, ?partitions, %error,
                    "the last positions were not committed; the next owner reads some messages again"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Partitions that wait.
    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, revoked: &TopicPartitionList) {
        let numbers = numbers(revoked);
        self.waiting().forget(&numbers);
        let lost = consumer.assignment_lost();
        self.give_up(consumer, &numbers, lost);
        // Paused are those that wait. librdkafka remembers that beyond the assignment: should the partition come back
        // with a leader that answers, nobody would think of resuming it.
        if !numbers.is_empty() {
            let _ = consumer.resume(&self.list(&numbers));
        }
        if let Some(queue) = self.fetched.get().and_then(Weak::upgrade) {
            queue.let_go(&numbers);
        }
        let result = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(revoked),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        };
        if let Err(error) = result {
            tracing::debug!(topic = &*self.topic, %error, "a revocation was outdated when it came");
        }
    }

    /// Has librdkafka read those that stay from where this consumer is.
    ///
    /// It takes up every partition anew in each rebalance, from a position of its own. That one is not to be relied on: of
    /// what it has thrown away by then, the markers of transactions still move it, past the messages before them
    /// (`rd_kafka_op_handle_std`, 2.12), where many messages are taken by one call.
    ///
    /// The epoch of the log is not told along, as it is not when partitions come: where an election that is not clean cuts the
    /// log, and it has grown past this place before the next fetch, nobody notices.
    fn keep_place(&self, consumer: &BaseConsumer<Self>, others: &[i32]) {
        let mut places = self.shared.ledger.places();
        places.retain(|(partition, _)| !others.contains(partition));
        if places.is_empty() || self.shared.is_closing() {
            return;
        }
        tracing::debug!(topic = &*self.topic, ?places, "partitions that stay are read on");
        // One that had to wait may have been told to go on while a rebalance stopped it again: nobody else would tell it.
        let stay: Vec<i32> = places.iter().map(|(partition, _)| *partition).collect();
        let _ = consumer.resume(&self.list(&stay));
        let moved = self.positions(&places).and_then(|list| consumer.seek_partitions(list, PLACED_WITHIN));
        let moved = moved.and_then(|list| {
            // One that was not begun yet begins where it was told to; one that a next rebalance has stopped already is
            // told again after that.
            let spared = [Some(Code::State), Some(Code::Outdated)];
            let failed = |error: KafkaError| (!spared.contains(&error.rdkafka_error_code())).then_some(error);
            list.elements().iter().filter_map(|element| element.error().err()).find_map(failed).map_or(Ok(()), Err)
        });
        if let Err(error) = moved {
            // A new client begins at what is committed. Whatever else is known says more.
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert(NoStart::Unanswered(error));
        }
    }

    /// Parts with partitions: announced, waited for, committed, let go. Nothing is done about those
    /// that are not held.
    pub(super) fn give_up(&self, consumer: &BaseConsumer<Self>, numbers: &[i32], lost: bool) {
        let leaving = self.shared.ledger.leave(numbers);
        if !leaving.is_empty() {
            tracing::info!(topic = &*self.topic, partitions = ?leaving, lost, "partitions revoked");
            // Kept until acknowledgements no longer count for them.
            let not_gone = (!self.shared.is_closing()).then(|| self.hand_over(&leaving, lost));
            if !lost {
                self.commit_leaving(consumer, &leaving);
            }
            self.shared.ledger.let_go(&leaving);
            drop(not_gone);
        }
    }

    /// Tells the pipeline and waits until it is done with these partitions, at most for as long as
    /// the group waits for us. Lost ones have another owner already: nothing is waited for. What is
    /// returned is dropped once they are gone.
    fn hand_over(&self, numbers: &[i32], lost: bool) -> oneshot::Sender<()> {
        let partitions = numbers.iter().map(|&number| Partition { topic: Arc::clone(&self.topic), number });
        let (release, mut released) = oneshot::channel();
        let (not_gone, gone) = oneshot::channel();
        let mut handover = Handover { partitions: partitions.collect(), release, gone };
        let until = Instant::now() + if lost { Duration::from_secs(1) } else { self.patience };
        let is_over = || self.shared.is_closing() || Instant::now() > until;
        loop {
            match self.handovers.try_send(handover) {
                Ok(()) => break,
                Err(TrySendError::Closed(_)) => return not_gone,
                Err(TrySendError::Full(_)) if is_over() => return not_gone,
                Err(TrySendError::Full(back)) => handover = back,
            }
            std::thread::sleep(LOOK);
        }
        while !lost && matches!(released.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            self.shared.turns();
            if is_over() {
                tracing::warn!(
                    topic = &*self.topic, partitions = ?numbers,
                    "partitions were not released in time; what was not stored by now is read again by their next owner"
                );
                return not_gone;
            }
            std::thread::sleep(LOOK);
        }
        not_gone
    }
}

pub(super) fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}

/// Why positions are not known to be committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Uncommitted {
    /// The broker did not say.
    #[error(transparent)]
    Unanswered(#[from] KafkaError),
    /// The broker has other positions.
    #[error("the broker did not take the positions")]
    NotTaken,
}

impl Uncommitted {
    /// Whether trying the commit again is pointless.
    fn is_no_longer_ours(&self) -> bool {
        let Self::Unanswered(error) = self else { return false };
        matches!(
            error.rdkafka_error_code(),
            Some(Code::IllegalGeneration | Code::UnknownMemberId | Code::RebalanceInProgress | Code::FencedInstanceId)
        )
    }
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        // What kind of error it is becomes librdkafka's to say.
        client::token(self.tokens.as_ref()).map_err(|error| error.into_reason().into())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // The one place where a failed commit of librdkafka's own clock shows. It tries again soon.
        if facility == "COMMITFAIL" {
            metrics::counter!("chalk_writer_source_commit_errors_total").increment(1);
            let mut last = self.commit_failed.lock().unwrap_or_else(PoisonError::into_inner);
            let goes_on = last.replace(Instant::now()).is_some_and(|last| last.elapsed() < QUIET);
            if !goes_on {
                tracing::warn!(topic = &*self.topic, "positions are not committed; trying on: {text}");
            }
        }
        client::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.note(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Some(statistics) = Statistics::read(statistics) else { return };
        self.connected.store(statistics.is_connected(), Ordering::Release);
        // While nothing is fetched nobody has to say anything.
        let silent = if self.shared.full.load(Ordering::Acquire) { Duration::MAX } else { self.silent };
        let mut away = self.shared.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.hear(&statistics, &self.topic, silent);
        drop(away);
        for partition in statistics.partitions(&self.topic) {
            if let Some((stable, all)) = partition.ends() {
                self.shared.ledger.set_ends(partition.partition, stable, all);
            }
        }
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            _ => self.revoked(consumer, list),
        }
        self.keep_place(consumer, &numbers(list));
    }
}
