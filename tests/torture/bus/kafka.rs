//! A real Apache Kafka of this test alone: one broker, or three with three copies of everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};

use crate::certificates::Authority;

use super::{LETTERS, Place, Record, Sending, TestBus, Topic, record};

/// How long the broker may take to answer the checker. It bounds a hang and nothing else.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

pub struct Kafka {
    folder: PathBuf,
    brokers: Brokers,
    /// The one of three that is killed next, or is away.
    next: i32,
    bootstrap: String,
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
}

impl Brokers {
    /// The script of tests that runs them.
    fn script(self) -> &'static str {
        match self {
            Self::One => "tests/services/kafka/kafka.sh",
            Self::Three => "tests/services/kafka/cluster.sh",
        }
    }

    fn copies(self) -> i32 {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// Notes where each message of a publish landed, by its number there.
#[derive(Default)]
struct Placing {
    placed: Mutex<Vec<(usize, Result<Place, KafkaError>)>>,
}

impl ClientContext for Placing {}

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
        let producer = client(&bootstrap)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "180000")
            .set("linger.ms", "0")
            // Three copies of millions of messages are to find room.
            .set("compression.type", "lz4")
            .create_with_context(Placing::default())
            .unwrap();
        let topics: BTreeMap<_, _> = topics.iter().copied().chain([LETTERS]).collect();
        create_topics(&bootstrap, brokers.copies(), &topics);
        let letters = reader(&bootstrap, LETTERS.0, LETTERS.1);
        let groups = BTreeMap::new();
        Self { folder, brokers, next: 1, bootstrap, topics, producer, groups, letters, letters_read: 0 }
    }

    fn kill(&mut self) {
        let one = (self.brokers == Brokers::Three).then_some(self.next);
        script(self.brokers, "kill", &self.folder, one);
    }

    fn start_again(&mut self) {
        match self.brokers {
            Brokers::One => {
                assert_eq!(script(self.brokers, "start", &self.folder, None), self.bootstrap);
            }
            Brokers::Three => {
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

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log_level", "0").set("reconnect.backoff.max.ms", "500");
    config
}

fn create_topics(bootstrap: &str, copies: i32, topics: &BTreeMap<&'static str, i32>) {
    let admin: AdminClient<_> = client(bootstrap).create().unwrap();
    let topic = |(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
    let topics: Vec<NewTopic<'_>> = topics.iter().map(|(name, partitions)| topic((*name, *partitions))).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // What the broker has done although its answer was late is there already.
    let is_there = |made: &Result<String, (String, RDKafkaErrorCode)>| {
        matches!(made, Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))
    };
    answer("topics cannot be made", || {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let made = runtime.block_on(admin.create_topics(&topics, &options)).map_err(|error| error.to_string())?;
        if made.iter().all(is_there) { Ok(()) } else { Err(format!("{made:?}")) }
    });
}

/// A reader of a topic outside every group.
fn reader(bootstrap: &str, topic: &str, partitions: i32) -> BaseConsumer {
    let consumer: BaseConsumer =
        client(bootstrap).set("group.id", "checker").set("enable.auto.commit", "false").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    consumer
}

/// Asks again while the broker comes back.
fn answer<T, E: std::fmt::Display>(what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if begun.elapsed() > ANSWERS_WITHIN => panic!("{what}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
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

impl Drop for Kafka {
    fn drop(&mut self) {
        match self.brokers {
            Brokers::One => script(self.brokers, "kill", &self.folder, None),
            Brokers::Three => script(self.brokers, "stop", &self.folder, None),
        };
    }
}

impl TestBus for Kafka {
    fn name(&self) -> &'static str {
        match self.brokers {
            Brokers::One => "Kafka",
            Brokers::Three => "Kafka, three brokers",
        }
    }

    fn configure(&self, config: &mut serde_json::Value) {
        config["common_persistence_specs"]["bus_backend"] = "KAFKA".into();
        config["kafka_bootstrap_servers"] = self.bootstrap.clone().into();
        config["kafka_security_protocol"] = "PLAINTEXT".into();
        // Short, so that a killed member's partitions move soon.
        config["kafka"] = serde_json::json!({"session.timeout.ms": "4000", "heartbeat.interval.ms": "500"});
    }

    fn publish(&mut self, messages: &[&Sending]) -> Option<Vec<Place>> {
        for (number, message) in messages.iter().enumerate() {
            let headers = message
                .headers()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
            let record = BaseRecord::with_opaque_to(message.topic, number).key(&message.key);
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
        self.kill();
        std::thread::sleep(Duration::from_millis(500));
        self.start_again();
        true
    }

    fn lose_one(&mut self) -> bool {
        if self.brokers == Brokers::One {
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
            .or_insert_with(|| client(&self.bootstrap).set("group.id", group).create().unwrap());
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, self.topics[topic] - 1);
        let there = answer("committed positions cannot be read", || {
            let there = consumer.committed_offsets(list.clone(), Duration::from_secs(10))?;
            there.elements().iter().try_for_each(TopicPartitionListElem::error)?;
            Ok::<_, KafkaError>(there)
        });
        let position = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        there.elements().iter().map(|element| (element.partition(), position(element.offset()))).collect()
    }

    fn ends(&mut self, topic: &str) -> BTreeMap<i32, i64> {
        let end = |partition| {
            let (_, end) = answer("the end of a partition cannot be read", || {
                self.letters.fetch_watermarks(topic, partition, Duration::from_secs(10))
            });
            (partition, end)
        };
        (0..self.topics[topic]).map(end).collect()
    }

    fn new_records(&mut self) -> Vec<Record> {
        let (_, end) = answer("the end of the dead letters cannot be read", || {
            self.letters.fetch_watermarks(LETTERS.0, 0, Duration::from_secs(10))
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
        let mut missing = self.ends(topic);
        missing.retain(|_, end| *end > 0);
        let reader = reader(&self.bootstrap, topic, self.topics[topic]);
        let mut bodies = Vec::new();
        let mut patience = Patience::new("a topic cannot be read");
        while !missing.is_empty() {
            let Some(message) = patience.read(&reader) else { continue };
            bodies.push(message.payload().unwrap_or_default().to_vec());
            missing.retain(|partition, end| *partition != message.partition() || message.offset() + 1 < *end);
        }
        bodies
    }

    fn delete_letters(&mut self) -> bool {
        let admin: AdminClient<_> = client(&self.bootstrap).create().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        answer("the topic of dead letters cannot be deleted", || {
            let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
            let deleting = admin.delete_topics(&[LETTERS.0], &options);
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
        create_topics(&self.bootstrap, self.brokers.copies(), &BTreeMap::from([LETTERS]));
        self.letters = reader(&self.bootstrap, LETTERS.0, LETTERS.1);
        self.letters_read = 0;
    }
}
