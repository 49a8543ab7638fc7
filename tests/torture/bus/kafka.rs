//! A real Apache Kafka: one broker of this test alone, or three with three copies of everything; or brokers of somebody
//! else, of which only topics and groups are touched that have the run's name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaErrorCode;

use crate::certificates::Authority;
use crate::own::{Access, Own, Theirs, fail};

use super::admin::{
    ANSWERS_WITHIN, SAYS_WITHIN, answer, create_topics, remove_groups, remove_topics, try_to_create_topics,
};
use super::{LETTERS, Parked, Place, Record, Sending, TestBus, Topic, parked, record};

pub struct Kafka {
    folder: PathBuf,
    brokers: Brokers,
    /// What topics and groups begin with.
    prefix: String,
    theirs: Option<Theirs>,
    /// The one of three that is killed next, or is away.
    next: i32,
    access: Access,
    topics: BTreeMap<&'static str, i32>,
    producer: BaseProducer<Placing>,
    /// One client per group: asking for positions does not join it.
    groups: BTreeMap<String, BaseConsumer>,
    letters: BaseConsumer,
    /// Dead letters that were read.
    letters_read: i64,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brokers {
    One,
    /// Two of which have to have a message before it is confirmed.
    Three,
    /// Those of somebody else.
    Theirs,
}

impl Brokers {
    /// The script of tests that runs them.
    fn script(self) -> &'static str {
        match self {
            Self::One => "tests/services/kafka/kafka.sh",
            Self::Three => "tests/services/kafka/cluster.sh",
            Self::Theirs => panic!("brokers of somebody else are not ours to start or stop"),
        }
    }

    fn copies(self) -> i32 {
        match self {
            Self::One => 1,
            Self::Three => 3,
            // As they have it for topics of which nobody says it.
            Self::Theirs => -1,
        }
    }
}

/// Notes where each message of a publish landed, by its number there.
#[derive(Default)]
struct Placing {
    placed: Mutex<Vec<(usize, Result<Place, KafkaError>)>>,
    /// What the client complained of.
    said: Mutex<BTreeSet<String>>,
}

impl ClientContext for Placing {
    fn error(&self, _error: KafkaError, reason: &str) {
        // Each comes again and again, with another time in its end.
        let reason = reason.split(" (after ").next().unwrap_or_default().to_owned();
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(reason);
    }
}

impl ProducerContext for Placing {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let place = match result {
            Ok(message) => Ok(Place { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone()),
        };
        self.placed.lock().unwrap_or_else(PoisonError::into_inner).push((number, place));
    }
}

impl Kafka {
    pub fn start(folder: &Path, brokers: Brokers, topics: &[Topic]) -> Self {
        let folder = folder.join("broker");
        std::fs::create_dir_all(&folder).unwrap();
        if brokers == Brokers::Three {
            certify(&folder);
        }
        let bootstrap = bootstrap(brokers, &script(brokers, "start", &folder, None));
        let access = Access::free(bootstrap);
        let producer = producer(&access).unwrap();
        let topics = with_letters(topics);
        create_topics(&access, brokers.copies(), "", &topics);
        Self::of(folder, brokers, String::new(), None, access, topics, producer)
    }

    /// Those of somebody else. What is wrong with them ends the process.
    pub fn own(folder: &Path, own: &Own, theirs: &Theirs, topics: &[Topic]) -> Self {
        const VARIABLE: &str = "TORTURE_KAFKA";
        let access = theirs.access.clone();
        let producer = producer(&access).unwrap_or_else(|error| fail(VARIABLE, error));
        let prefix = format!("{}-", own.name);
        let known = producer.client().fetch_metadata(None, SAYS_WITHIN).unwrap_or_else(|error| {
            // One event a call.
            for _ in 0..50 {
                producer.poll(Duration::from_millis(20));
            }
            let said: Vec<String> =
                producer.context().said.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
            let (at, said) = (&access.bootstrap, said.join("; "));
            fail(VARIABLE, format!("{at}: no broker answers: {error}; the client says: {said}"))
        });
        if let Some(topic) = known.topics().iter().find(|topic| topic.name().starts_with(&prefix)) {
            let name = topic.name();
            fail(VARIABLE, format!("topic `{name}` is there already; delete it, or give another TORTURE_NAME"));
        }
        let topics = with_letters(topics);
        if let Err(error) = try_to_create_topics(&access, Brokers::Theirs.copies(), &prefix, &topics) {
            remove_topics(&access, &prefix, topics.keys().copied());
            fail(VARIABLE, format!("topics that begin with `{prefix}` cannot be made: {error}"));
        }
        Self::of(folder.to_owned(), Brokers::Theirs, prefix, Some(theirs.clone()), access, topics, producer)
    }

    fn of(
        folder: PathBuf,
        brokers: Brokers,
        prefix: String,
        theirs: Option<Theirs>,
        access: Access,
        topics: BTreeMap<&'static str, i32>,
        producer: BaseProducer<Placing>,
    ) -> Self {
        let letters = reader(&access, &format!("{prefix}{}", LETTERS.0), LETTERS.1);
        let groups = BTreeMap::new();
        Self { folder, brokers, prefix, theirs, next: 1, access, topics, producer, groups, letters, letters_read: 0 }
    }

    fn kill(&mut self) {
        let one = (self.brokers == Brokers::Three).then_some(self.next);
        script(self.brokers, "kill", &self.folder, one);
    }

    fn start_again(&mut self) {
        match self.brokers {
            Brokers::One => {
                assert_eq!(script(self.brokers, "start", &self.folder, None), self.access.bootstrap);
            }
            Brokers::Three | Brokers::Theirs => {
                script(self.brokers, "again", &self.folder, Some(self.next));
                self.next = self.next % 3 + 1;
            }
        }
    }
}

/// Runs a script that all tests share; `start` goes on with the data and ports of an earlier start.
fn script(brokers: Brokers, command: &str, folder: &Path, one: Option<i32>) -> String {
    let one = one.map(|one| one.to_string());
    let output = Command::new(brokers.script()).arg(command).arg(folder).args(one).output().unwrap();
    assert!(output.status.success(), "{} {command}: {}", brokers.script(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Addresses without TLS: of three brokers those at which they speak to one another, three above those of clients.
fn bootstrap(brokers: Brokers, printed: &str) -> String {
    if brokers == Brokers::One {
        return printed.to_owned();
    }
    let among = |address: &str| {
        let (host, port) = address.trim().split_once(':').expect("an address");
        format!("{host}:{}", port.parse::<u16>().expect("a port") + 3)
    };
    printed.split(',').map(among).collect::<Vec<_>>().join(",")
}

/// What three brokers want to have for clients with TLS and tokens, which come in other tests.
fn certify(folder: &Path) {
    let authority = Authority::new("brokers");
    let signed = authority.sign("localhost", "DNS:localhost,IP:127.0.0.1");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    std::fs::write(folder.join("server.pem"), read(&signed.key) + &read(&signed.certificate)).unwrap();
    std::fs::write(folder.join("jwks.json"), r#"{"keys": []}"#).unwrap();
}

fn producer(access: &Access) -> Result<BaseProducer<Placing>, KafkaError> {
    access
        .client()
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "180000")
        .set("linger.ms", "0")
        // Three copies of millions of messages are to find room.
        .set("compression.type", "lz4")
        .create_with_context(Placing::default())
}

fn with_letters(topics: &[Topic]) -> BTreeMap<&'static str, i32> {
    topics.iter().copied().chain([LETTERS]).collect()
}

/// A reader of a topic outside every group.
fn reader(access: &Access, topic: &str, partitions: i32) -> BaseConsumer {
    let consumer: BaseConsumer =
        access.client().set("group.id", "checker").set("enable.auto.commit", "false").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    consumer
}

/// Reads on for as long as something comes now and then; in the end it says what the client said.
struct Patience {
    what: &'static str,
    last: Instant,
    said: String,
}

impl Patience {
    fn new(what: &'static str) -> Self {
        Self { what, last: Instant::now(), said: "nothing".to_owned() }
    }

    fn read<'a>(&mut self, reader: &'a BaseConsumer) -> Option<BorrowedMessage<'a>> {
        match reader.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                self.last = Instant::now();
                return Some(message);
            }
            Some(Err(error)) => self.said = error.to_string(),
            None => {}
        }
        assert!(self.last.elapsed() < ANSWERS_WITHIN, "{}; the client says: {}", self.what, self.said);
        None
    }
}

impl Kafka {
    /// Shows all that a reader of a topic finds.
    fn each(&mut self, topic: &str, mut show: impl FnMut(&BorrowedMessage<'_>)) {
        let mut missing = self.ends(topic);
        missing.retain(|_, end| *end > 0);
        let reader = reader(&self.access, &self.named(topic), self.topics[topic]);
        let mut patience = Patience::new("a topic cannot be read");
        while !missing.is_empty() {
            let Some(message) = patience.read(&reader) else { continue };
            show(&message);
            missing.retain(|partition, end| *partition != message.partition() || message.offset() + 1 < *end);
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        match self.brokers {
            Brokers::One => script(self.brokers, "kill", &self.folder, None),
            Brokers::Three => script(self.brokers, "stop", &self.folder, None),
            Brokers::Theirs => {
                remove_groups(&self.access, self.groups.keys().map(String::as_str));
                remove_topics(&self.access, &self.prefix, self.topics.keys().copied());
                String::new()
            }
        };
    }
}

impl TestBus for Kafka {
    fn name(&self) -> &'static str {
        match self.brokers {
            Brokers::One => "Kafka",
            Brokers::Three => "Kafka, three brokers",
            Brokers::Theirs => "Kafka, of one's own",
        }
    }

    fn waits_by_the_time_of_day(&self) -> bool {
        true
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn configure(&self, config: &mut serde_json::Value) {
        config["common_persistence_specs"]["bus_backend"] = "KAFKA".into();
        let mut properties = serde_json::json!({});
        // Short, so that a killed member's partitions move soon; brokers of somebody else allow no less.
        let session = if self.theirs.is_some() { "6000" } else { "4000" };
        properties["session.timeout.ms"] = session.into();
        properties["heartbeat.interval.ms"] = "500".into();
        config["kafka"] = properties;
        if let Some(theirs) = &self.theirs {
            theirs.configure(config, &self.folder);
        } else {
            config["kafka_bootstrap_servers"] = self.access.bootstrap.clone().into();
            config["kafka_security_protocol"] = "PLAINTEXT".into();
        }
    }

    fn publish(&mut self, messages: &[&Sending]) -> Option<Vec<Place>> {
        for (number, message) in messages.iter().enumerate() {
            let topic = self.named(message.topic);
            let headers = message
                .headers()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let record = BaseRecord::with_opaque_to(&topic, number).key(&message.key);
            let mut record = record.payload(&message.packed.body).headers(headers);
            while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) =
                self.producer.send(record)
            {
                record = again;
                self.producer.poll(Duration::from_millis(10));
            }
        }
        // Bounded by the producer's own limit for each message.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(10));
        }
        let context = self.producer.context();
        let mut placed = std::mem::take(&mut *context.placed.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(placed.len(), messages.len(), "every message is confirmed once");
        placed.sort_by_key(|(number, _)| *number);
        Some(placed.into_iter().map(|(_, place)| place.expect("the broker takes every message")).collect())
    }

    fn restart(&mut self) -> bool {
        if self.theirs.is_some() {
            return false;
        }
        self.kill();
        std::thread::sleep(Duration::from_millis(500));
        self.start_again();
        true
    }

    fn lose_one(&mut self) -> bool {
        if self.brokers != Brokers::Three {
            return false;
        }
        self.kill();
        true
    }

    fn regain_one(&mut self) {
        self.start_again();
    }

    fn committed(&mut self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer = self
            .groups
            .entry(group.to_owned())
            .or_insert_with(|| self.access.client().set("group.id", group).create().unwrap());
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&format!("{}{topic}", self.prefix), 0, self.topics[topic] - 1);
        let there = answer("committed positions cannot be read", || {
            let there = consumer.committed_offsets(list.clone(), Duration::from_secs(10))?;
            there.elements().iter().try_for_each(TopicPartitionListElem::error)?;
            Ok::<_, KafkaError>(there)
        });
        let position = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        there.elements().iter().map(|element| (element.partition(), position(element.offset()))).collect()
    }

    fn ends(&mut self, topic: &str) -> BTreeMap<i32, i64> {
        let named = self.named(topic);
        let end = |partition| {
            let (_, end) = answer("the end of a partition cannot be read", || {
                self.letters.fetch_watermarks(&named, partition, Duration::from_secs(10))
            });
            (partition, end)
        };
        (0..self.topics[topic]).map(end).collect()
    }

    fn new_records(&mut self) -> Vec<Record> {
        let letters = self.named(LETTERS.0);
        let (_, end) = answer("the end of the dead letters cannot be read", || {
            let ends = self.letters.fetch_watermarks(&letters, 0, Duration::from_secs(10));
            if ends.is_err() {
                // A client that has asked before the broker knew of the topic asks again of itself minutes later.
                let _ = self.letters.fetch_metadata(Some(&letters), Duration::from_secs(10));
            }
            ends
        });
        let mut records = Vec::new();
        let mut patience = Patience::new("dead letters cannot be read");
        while self.letters_read < end {
            let Some(message) = patience.read(&self.letters) else { continue };
            self.letters_read = message.offset() + 1;
            let headers = message.headers().expect("a dead letter has headers");
            let header = |name: &str| {
                let found = headers.iter().find(|header| header.key == name)?.value?;
                Some(std::str::from_utf8(found).unwrap())
            };
            records.push(record(message.offset(), message.payload().unwrap_or_default(), header));
        }
        records
    }

    fn bodies(&mut self, topic: &str) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        self.each(topic, |message| bodies.push(message.payload().unwrap_or_default().to_vec()));
        bodies
    }

    fn parked(&mut self, topic: &str) -> Vec<Parked> {
        let mut all = Vec::new();
        self.each(topic, |message| {
            let headers = message.headers().expect("a parked message has headers");
            let header = |name: &str| {
                let found = headers.iter().find(|header| header.key == name)?.value?;
                Some(std::str::from_utf8(found).unwrap())
            };
            all.push(parked((message.partition(), message.offset()), message.key(), header));
        });
        all
    }

    fn delete_letters(&mut self) -> bool {
        let admin: AdminClient<_> = self.access.client().create().unwrap();
        let letters = self.named(LETTERS.0);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        answer("the topic of dead letters cannot be deleted", || {
            let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
            let deleting = admin.delete_topics(&[&letters], &options);
            let deleted = runtime.block_on(deleting).map_err(|error| error.to_string())?;
            match &deleted[..] {
                [Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic))] => {
                    Ok(())
                }
                _ => Err(format!("{deleted:?}")),
            }
        });
        true
    }

    fn create_letters(&mut self) {
        create_topics(&self.access, self.brokers.copies(), &self.prefix, &BTreeMap::from([LETTERS]));
        self.letters = reader(&self.access, &self.named(LETTERS.0), LETTERS.1);
        self.letters_read = 0;
    }
}
