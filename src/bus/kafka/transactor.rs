//! One transaction after the other, by calls that wait.
//!
//! The broker takes positions from who is in the group in its present generation. So that is asked for last,
//! and then once more whether the partitions are ours: what is taken from us after that makes a new
//! generation, in which ours is refused.
//!
//! A commit that is not answered may have happened. Then another producer takes over the same transactional
//! id, for which the broker first ends the old transaction, in one way or the other; and since positions
//! are part of it, the group's positions tell which way that was. This is why the id is made once and
//! not with every producer. All partitions are asked about, and not only those of the transaction that happens to
//! come next: it need not be the one whose commit was not answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::access::Access;
use super::client::{self, code_of};
use super::ledger::{Claim, Standing};
use super::publisher::{self, Client};
use super::rebalance::Shared;
use super::{group, properties};
use crate::bus::{BusError, Subscribe};
use crate::config::settings::KafkaSettings;
use crate::message::Outgoing;

/// How long one question of the protocol may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long librdkafka may keep a call that was to end after [`ANSWER_WITHIN`].
const GIVEN_UP_AFTER: Duration = Duration::from_secs(15);
/// How long a commit is asked for, before it is found out in the other way.
const COMMIT_WITHIN: Duration = Duration::from_secs(30);
/// How long attempts go on before whoever waits hears of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the failure of one message may come after the reports of those that were thrown out for it.
const PURGE_EXPLAINED_WITHIN: Duration = Duration::from_secs(1);
/// Attempts that do not land are told of no oftener.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Between two attempts, and between two looks at whether it is time to end.
const PAUSE: Duration = Duration::from_millis(50);

/// The partitions that stood in the way of a transaction, of which nothing landed where there are any.
pub(super) type Landed = Vec<i32>;

/// Makes the transactions of one consumer.
pub(super) struct Transactor {
    settings: Arc<KafkaSettings>,
    topic: String,
    group: String,
    /// The transactional id: that of this consumer and of no other.
    id: String,
    shared: Arc<Shared>,
    ending: Arc<AtomicBool>,
    runtime: Handle,
    client: Option<Client>,
    /// What the broker has of earlier transactions is not known, until it was asked.
    unknown: bool,
    /// Attempts that did not land since that was last told, and when that was.
    setbacks: u64,
    said: Option<Instant>,
}

/// Why an attempt did not land.
enum Setback {
    /// Another one may.
    Again(String),
    /// A request with several messages was refused; each may be taken by itself.
    NotTogether,
    /// It is for the caller.
    Told(BusError),
}

impl Transactor {
    pub(super) fn new(
        settings: Arc<KafkaSettings>,
        subscribe: &Subscribe,
        shared: Arc<Shared>,
        ending: Arc<AtomicBool>,
        runtime: Handle,
    ) -> Self {
        let (topic, group) = (subscribe.topic.clone(), subscribe.group.clone());
        // Rights are given by the prefix.
        let id = format!("chalk-{group}-{}", uuid::Uuid::new_v4());
        let (client, unknown, setbacks, said) = (None, false, 0, None);
        Self { settings, topic, group, id, shared, ending, runtime, client, unknown, setbacks, said }
    }

    /// Makes the producer, where there is none, and has the broker end what one before it left open.
    pub(super) fn prepare(&mut self) -> Result<(), BusError> {
        if self.client.is_some() {
            return Ok(());
        }
        // The one before, if there was one, did not work.
        let access = self.runtime.block_on(Access::fetch_again(&self.settings))?;
        let client = Client::new(&properties::transactor(&self.settings, &access, &self.id), &access)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match client.producer.init_transactions(PAUSE * 20) {
                Ok(()) => break,
                Err(error) if is_retriable(&error) && Instant::now() < until && !self.is_ending() => {
                    if let Some((code, reason)) = client.complaints.last().filter(|(code, _)| client::is_denied(*code))
                    {
                        let told = client.complaints.classify(code, format!("transactions are not possible: {reason}"));
                        client.forget_token();
                        self.drop_apart(client);
                        return Err(told);
                    }
                }
                Err(error) => {
                    let told = client.complaints.explain("transactions are not possible", &error);
                    self.drop_apart(client);
                    return Err(transient(told));
                }
            }
        }
        self.client = Some(client);
        self.unknown = true;
        Ok(())
    }

    /// Publishes and commits in one, if all of these partitions are still ours.
    pub(super) fn land(&mut self, messages: &[Outgoing], claims: &[Claim]) -> Result<Landed, BusError> {
        let until = Instant::now() + PATIENCE;
        let mut alone = false;
        loop {
            if self.is_ending() {
                return Err(BusError::Unavailable("the consumer is being closed".to_owned()));
            }
            self.prepare()?;
            self.find_out()?;
            let open = match self.shared.ledger.standing(claims) {
                Standing::Lost(lost) => return Ok(lost),
                Standing::Open(open) if open.is_empty() && !claims.is_empty() => return Ok(Landed::new()),
                Standing::Open(open) => open,
            };
            match self.attempt(messages, &open, alone) {
                Ok(lost) => return Ok(lost),
                Err(Setback::NotTogether) => alone = true,
                Err(Setback::Told(error)) => return Err(error),
                Err(Setback::Again(reason)) => {
                    self.set_back(&reason);
                    if Instant::now() > until {
                        return Err(BusError::Unavailable(reason));
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// One attempt more that did not land. A rebalance costs a few; that there is one after the other is what people should see.
    fn set_back(&mut self, reason: &str) {
        metrics::counter!("chalk_writer_transaction_setbacks_total").increment(1);
        self.setbacks += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            self.said = Some(Instant::now());
            let setbacks = std::mem::take(&mut self.setbacks);
            tracing::warn!(topic = self.topic, setbacks, "a transaction did not land and is made again: {reason}");
        } else {
            tracing::debug!(topic = self.topic, "a transaction did not land, trying again: {reason}");
        }
    }

    /// Drops the producer. A transaction that it has open is ended by the next one of this id, or by the broker.
    pub(super) fn discard(&mut self) {
        if let Some(client) = self.client.take() {
            self.drop_apart(client);
        }
    }

    /// Notes which positions the broker has, where that is not known: those of every partition that is held, because
    /// the transaction in doubt may be of any.
    fn find_out(&mut self) -> Result<(), BusError> {
        if !self.unknown {
            return Ok(());
        }
        let held = self.shared.ledger.holdings();
        if !held.is_empty() {
            let partitions = held.iter().map(|claim| claim.partition).collect();
            let reached = self.runtime.block_on(async {
                let access = Access::fetch(&self.settings).await?;
                group::reached(&self.settings, &access, &self.topic, &self.group, partitions).await
            })?;
            let landed =
                held.into_iter().filter_map(|claim| Some(Claim { next: *reached.get(&claim.partition)?, ..claim }));
            // Of partitions that went meanwhile nothing is noted: the generation is that of before the question.
            self.shared.ledger.landed(&landed.collect::<Vec<_>>());
        }
        self.unknown = false;
        Ok(())
    }

    fn attempt(&mut self, messages: &[Outgoing], open: &[Claim], alone: bool) -> Result<Landed, Setback> {
        let Some(client) = self.client.clone() else {
            return Err(Setback::Again("there is no producer".to_owned()));
        };
        if let Err(error) = client.producer.begin_transaction() {
            self.discard();
            return Err(Setback::Again(format!("a transaction did not begin: {error}")));
        }
        let sent = match self.send(&client, messages, alone) {
            Ok(()) => self.add_positions(&client, open),
            Err(setback) => Err(setback),
        };
        match sent {
            Ok(lost) if lost.is_empty() => self.commit(&client, open).map(|()| lost),
            // Of a producer that was given up the next one ends the transaction.
            sent if self.client.is_none() => sent,
            sent => {
                self.abort(&client);
                sent
            }
        }
    }

    /// Sends messages, and returns once the broker has them, for nobody to see yet.
    fn send(&self, client: &Client, messages: &[Outgoing], alone: bool) -> Result<(), Setback> {
        let together = async {
            let mut sent = FuturesUnordered::new();
            for message in messages {
                let delivery = publisher::enqueue(client, message).await.map_err(Setback::Told)?;
                sent.push(delivery.map(move |outcome| (message, publisher::flatten(outcome))));
            }
            // Whichever comes first: after a failure librdkafka keeps back the others that are under way.
            while let Some((message, outcome)) = sent.next().await {
                if outcome.as_ref().is_err_and(is_purged) {
                    return Err(self.reason_of_a_purge(client, sent, messages.len()).await);
                }
                self.judge(client, message, outcome, messages.len() > 1)?;
            }
            Ok(())
        };
        let one_by_one = async {
            for message in messages {
                let outcome = publisher::enqueue(client, message).await.map_err(Setback::Told)?.await;
                self.judge(client, message, publisher::flatten(outcome), false)?;
            }
            Ok(())
        };
        let ending = async {
            while !self.is_ending() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                sent = together, if !alone => sent,
                sent = one_by_one, if alone => sent,
                refusal = publisher::refused(client) => Err(Setback::Told(refusal)),
                () = ending => Err(Setback::Again("the consumer is being closed".to_owned())),
            }
        })
    }

    /// Why messages that were not under way yet were thrown out: another one has failed, and that may be told after it.
    async fn reason_of_a_purge(
        &self,
        client: &Client,
        mut others: impl Stream<Item = (&Outgoing, Result<(i32, i64), KafkaError>)> + Unpin,
        messages: usize,
    ) -> Setback {
        let told = async {
            while let Some((message, outcome)) = others.next().await {
                if !outcome.as_ref().is_err_and(is_purged)
                    && let Err(reason) = self.judge(client, message, outcome, messages > 1)
                {
                    return Some(reason);
                }
            }
            None
        };
        let told = tokio::time::timeout(PURGE_EXPLAINED_WITHIN, told).await;
        told.ok().flatten().unwrap_or_else(|| Setback::Again("messages of a transaction were thrown out".to_owned()))
    }

    /// What became of one message. Once one has failed, the others do for no reason of their own.
    fn judge(
        &self,
        client: &Client,
        message: &Outgoing,
        outcome: Result<(i32, i64), KafkaError>,
        has_neighbours: bool,
    ) -> Result<(), Setback> {
        let Err(error) = outcome else { return Ok(()) };
        match code_of(&error) {
            Some(code) if has_neighbours && client::is_of_a_request(code) => Err(Setback::NotTogether),
            _ if is_purged(&error) => {
                Err(Setback::Again(format!("a message of a transaction was thrown out: {error}")))
            }
            _ if client.producer.client().fatal_error().is_some() => {
                Err(Setback::Again(format!("the producer is beyond repair: {error}")))
            }
            _ => Err(Setback::Told(transient(publisher::explain(client, message, &error)))),
        }
    }

    /// Adds positions to the transaction, in the name of what the group takes the consumer for. Returns the
    /// partitions that are not ours any more.
    fn add_positions(&mut self, client: &Client, open: &[Claim]) -> Result<Landed, Setback> {
        let Some(metadata) = self.shared.group_metadata() else {
            return Err(Setback::Again("the consumer is not in its group".to_owned()));
        };
        // After the question: what went before it is seen here, what goes after it has another generation.
        if let Standing::Lost(lost) = self.shared.ledger.standing(open) {
            return Ok(lost);
        }
        let mut list = TopicPartitionList::with_capacity(open.len());
        for Claim { partition, next, .. } in open {
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*next));
            added.map_err(|error| Setback::Told(BusError::Failed(format!("a position cannot be named: {error}"))))?;
        }
        let Some(taken) = take_positions(client, list, metadata) else {
            self.discard();
            tracing::warn!(
                topic = self.topic,
                within = ?GIVEN_UP_AFTER,
                "the client did not come back with an answer to positions of a transaction; a new one takes over"
            );
            return Err(Setback::Again("positions were not taken into the transaction: no answer".to_owned()));
        };
        match taken {
            Ok(()) => Ok(Landed::new()),
            Err(error) if code_of(&error).is_some_and(client::is_denied) => {
                Err(Setback::Told(client.complaints.explain("positions were not taken into the transaction", &error)))
            }
            // A rebalance, mostly: until it is over the ledger does not know whose the partitions are.
            Err(error) => Err(Setback::Again(format!("positions were not taken into the transaction: {error}"))),
        }
    }

    /// Commits; an answer that does not come is found out by the next producer.
    fn commit(&mut self, client: &Client, open: &[Claim]) -> Result<(), Setback> {
        let until = Instant::now() + COMMIT_WITHIN;
        loop {
            match client.producer.commit_transaction(PAUSE * 20) {
                Ok(()) => {
                    client.complaints.clear();
                    self.shared.ledger.landed(open);
                    tracing::debug!(topic = self.topic, ?open, "a transaction has landed");
                    return Ok(());
                }
                Err(error) if is_retriable(&error) && Instant::now() < until => {}
                Err(error) => {
                    self.discard();
                    return Err(Setback::Again(format!("it is not known whether a transaction landed: {error}")));
                }
            }
        }
    }

    /// Nothing of it is to be seen by anyone. Where that is not confirmed, the next producer has it confirmed.
    fn abort(&mut self, client: &Client) {
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            match client.producer.abort_transaction(PAUSE * 20) {
                Ok(()) => return,
                Err(error) if is_retriable(&error) && Instant::now() < until => {}
                Err(error) => {
                    tracing::debug!(topic = self.topic, %error, "a transaction was not aborted");
                    return self.discard();
                }
            }
        }
    }

    /// Ending a producer waits for its threads.
    fn drop_apart(&self, client: Client) {
        self.runtime.spawn_blocking(move || drop(client));
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}

/// Asks for positions to be taken into the transaction; none where the call does not come back. librdkafka (2.12) keeps to no limit where
/// the group's coordinator has just gone: it waits for that broker, and not for another one. What is left behind then is a thread that waits.
fn take_positions(
    client: &Client,
    list: TopicPartitionList,
    metadata: ConsumerGroupMetadata,
) -> Option<Result<(), KafkaError>> {
    let (tell, told) = mpsc::channel();
    let producer = client.producer.clone();
    let call = move || {
        let answer = producer.send_offsets_to_transaction(&list, &metadata, ANSWER_WITHIN);
        // Whoever asked may be gone.
        tell.send(answer).ok();
    };
    match std::thread::Builder::new().name("kafka-positions".to_owned()).spawn(call) {
        Ok(_) => told.recv_timeout(GIVEN_UP_AFTER).ok(),
        Err(error) => {
            tracing::warn!(%error, "no thread for positions of a transaction");
            None
        }
    }
}

/// Whether a message was thrown out with its transaction, which says nothing of the message.
fn is_purged(error: &KafkaError) -> bool {
    matches!(code_of(error), Some(Code::PurgeQueue | Code::PurgeInflight))
}

/// Whether the same call may go on where it was.
fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.is_fatal() && !error.txn_requires_abort(),
        // Messages are still on their way.
        KafkaError::Flush(_) => true,
        _ => false,
    }
}

/// A state of this producer is not one of the next.
fn transient(error: BusError) -> BusError {
    match error {
        BusError::Failed(text) => BusError::Unavailable(text),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rdkafka::config::FromClientConfigAndContext;
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::mocking::{MockCluster, MockCoordinator};
    use rdkafka::producer::DefaultProducerContext;

    use super::*;
    use crate::bus::OnGap;
    use crate::bus::kafka::client::Asking;
    use crate::bus::kafka::positions::Start;

    // Seen to fail when a new producer took nothing that was before it for possible.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_landed_without_our_hearing_of_it_is_not_published_again() {
        assert_eq!(published_again(Vec::new()).await, (Ok(Landed::new()), 0));
    }

    // Seen to fail when a new producer asked only about the partitions of the transaction that came first.
    #[tokio::test(flavor = "multi_thread")]
    async fn nor_is_it_when_a_position_of_another_partition_was_committed_meanwhile() {
        let passed = Claim { partition: 1, generation: 2, next: 7 };
        assert_eq!(published_again(vec![passed]).await, (Ok(Landed::new()), 0));
    }

    // Seen to fail, by never ending, when the call was made on this thread.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_coordinator_that_goes_in_mid_transaction_is_not_waited_for_without_end() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(2).expect("a mock cluster");
        cluster.create_topic("t", 1, 2).expect("made");
        let settings = settings(&cluster);
        let access = Access::fetch(&settings).await.expect("no secret");
        let config = properties::browser(&settings, &access, "g");
        let shared = Arc::new(Shared::new(true));
        let mut transactor = Transactor::new(settings, &subscribe(), shared, Arc::default(), Handle::current());
        cluster.coordinator(MockCoordinator::Transaction(transactor.id.clone()), 1).expect("broker 1");
        cluster.coordinator(MockCoordinator::Group("g".to_owned()), 2).expect("broker 2");
        let begun = tokio::task::spawn_blocking(move || {
            transactor.prepare().expect("broker 1 is there");
            let client = transactor.client.clone().expect("it was made");
            client.producer.begin_transaction().expect("begun");
            client
        });
        let client = begun.await.expect("no panic");
        cluster.broker_down(2).expect("it was up");
        let asked = tokio::task::spawn_blocking(move || {
            let member = BaseConsumer::from_config_and_context(&config, Asking::default()).expect("a client");
            let mut list = TopicPartitionList::new();
            list.add_partition_offset("t", 0, Offset::Offset(5)).expect("a position");
            take_positions(&client, list, member.group_metadata().expect("it has a group"))
        });
        let taken = asked.await.expect("no panic");
        // What is left waiting for it may end.
        cluster.broker_up(2).expect("it was down");
        assert!(!matches!(taken, Some(Ok(()))), "{taken:?}");
    }

    #[tokio::test]
    async fn attempts_that_do_not_land_are_counted_and_told_at_most_once_a_minute() {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).expect("a mock cluster");
        let shared = Arc::new(Shared::new(true));
        let mut transactor =
            Transactor::new(settings(&cluster), &subscribe(), shared, Arc::default(), Handle::current());
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            transactor.set_back("a rebalance");
            let first = transactor.said;
            transactor.set_back("a rebalance");
            transactor.set_back("a rebalance");
            assert_eq!((transactor.said, transactor.setbacks), (first, 2), "two were not told yet");
        });
        let counted = recorder.handle().render();
        assert!(counted.contains("chalk_writer_transaction_setbacks_total 3"), "{counted}");
    }

    fn settings(cluster: &MockCluster<'static, DefaultProducerContext>) -> Arc<KafkaSettings> {
        Arc::new(KafkaSettings {
            bootstrap_servers: vec![cluster.bootstrap_servers()],
            security_protocol: "PLAINTEXT".to_owned(),
            sasl_mechanism: None,
            sasl_secret: None,
            properties: BTreeMap::new(),
        })
    }

    fn subscribe() -> Subscribe {
        Subscribe {
            topic: "t".to_owned(),
            group: "g".to_owned(),
            drain: false,
            fetch_bytes: 1 << 20,
            hold: crate::bus::Hold { bytes: 3 << 20, messages: 1_000 },
            on_gap: OnGap::Stop,
            transactional: true,
        }
    }

    /// A commit of partition 0 landed unheard, and so did one of partition 1. Then `before` is committed without a
    /// message, as positions are that moved over markers, and then partition 0 is tried again. What came of that,
    /// and how many messages are in the topic that it publishes to.
    async fn published_again(before: Vec<Claim>) -> (Result<Landed, String>, i64) {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).expect("a mock cluster");
        for (topic, partitions) in [("t", 2), ("out", 1)] {
            cluster.create_topic(topic, partitions, 1).expect("made");
        }
        let (settings, subscribe) = (settings(&cluster), subscribe());
        let shared = Arc::new(Shared::new(true));
        shared.ledger.take(&[0, 1].map(|partition| Start { partition, offset: 0, committed: true, lost_from: None }));
        let access = Access::fetch(&settings).await.expect("no secret");
        let config = properties::browser(&settings, &access, "g");
        let mut transactor =
            Transactor::new(settings, &subscribe, Arc::clone(&shared), Arc::default(), Handle::current());
        let landed = tokio::task::spawn_blocking(move || {
            let group = BaseConsumer::from_config_and_context(&config, Asking::default()).expect("a client");
            let mut list = TopicPartitionList::new();
            list.add_partition_offset("t", 0, Offset::Offset(5)).expect("a position");
            list.add_partition_offset("t", 1, Offset::Offset(7)).expect("a position");
            group.commit(&list, CommitMode::Sync).expect("committed");
            let message = Outgoing { topic: "out".to_owned(), payload: Some("once".into()), ..Outgoing::default() };
            let claims = [Claim { partition: 0, generation: 1, next: 5 }];
            if !before.is_empty() {
                transactor.land(&[], &before).expect("the broker has it");
            }
            let landed = transactor.land(&[message], &claims).map_err(|error| error.to_string());
            drop(list);
            (landed, group.fetch_watermarks("out", 0, ANSWER_WITHIN).expect("an answer").1)
        });
        let landed = landed.await.expect("no panic");
        assert_eq!(shared.ledger.positions()[&0], 5);
        landed
    }
}
