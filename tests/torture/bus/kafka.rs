//! A real Apache Kafka of one broker, of this test alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};

use super::{LETTERS, Place, Record, Sending, TestBus, Topic, record};

/// How long the broker may take to answer the checker. It bounds a hang and nothing else.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

pub struct Kafka {
    folder: PathBuf,
    bootstrap: String,
    topics: BTreeMap<&'static str, i32>,
    producer: BaseProducer<Placing>,
    /// One client per group: asking for positions does not join it.
    groups: BTreeMap<String, BaseConsumer>,
    letters: BaseConsumer,
    /// Dead letters that were read.
    letters_read: i64,
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
    pub fn start(folder: &Path, topics: &[Topic]) -> Self {
        let folder = folder.join("broker");
        std::fs::create_dir_all(&folder).unwrap();
        let bootstrap = Self::script("start", &folder);
        let producer = client(&bootstrap)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "180000")
            .set("linger.ms", "0")
            .create_with_context(Placing::default())
            .unwrap();
        let topics: BTreeMap<_, _> = topics.iter().copied().chain([LETTERS]).collect();
        create_topics(&bootstrap, &topics);
        let letters = reader(&bootstrap, LETTERS.0, LETTERS.1);
        Self { folder, bootstrap, topics, producer, groups: BTreeMap::new(), letters, letters_read: 0 }
    }

    /// The script that all tests share; `start` goes on with the data and ports of an earlier start.
    fn script(command: &str, folder: &Path) -> String {
        let output = Command::new("tests/services/kafka/kafka.sh").arg(command).arg(folder).output().unwrap();
        assert!(output.status.success(), "kafka.sh {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log_level", "0").set("reconnect.backoff.max.ms", "500");
    config
}

fn create_topics(bootstrap: &str, topics: &BTreeMap<&'static str, i32>) {
    let admin: AdminClient<_> = client(bootstrap).create().unwrap();
    let topic = |(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topics: Vec<NewTopic<'_>> = topics.iter().map(|(name, partitions)| topic((*name, *partitions))).collect();
    let options = AdminOptions::new().operation_timeout(Some(ANSWERS_WITHIN));
    let made = tokio::runtime::Runtime::new().unwrap().block_on(admin.create_topics(&topics, &options)).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
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
fn answer<T>(what: &str, mut ask: impl FnMut() -> Result<T, KafkaError>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if begun.elapsed() > ANSWERS_WITHIN => panic!("{what}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        Self::script("kill", &self.folder);
    }
}

impl TestBus for Kafka {
    fn name(&self) -> &'static str {
        "Kafka"
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
        Self::script("kill", &self.folder);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(Self::script("start", &self.folder), self.bootstrap);
        true
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
            Ok(there)
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
        let begun = Instant::now();
        while self.letters_read < end {
            assert!(begun.elapsed() < ANSWERS_WITHIN, "dead letters cannot be read");
            let Some(Ok(message)) = self.letters.poll(Duration::from_secs(1)) else { continue };
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
        let begun = Instant::now();
        while !missing.is_empty() {
            assert!(begun.elapsed() < ANSWERS_WITHIN, "{topic} cannot be read");
            let Some(Ok(message)) = reader.poll(Duration::from_secs(1)) else { continue };
            bodies.push(message.payload().unwrap_or_default().to_vec());
            missing.retain(|partition, end| *partition != message.partition() || message.offset() + 1 < *end);
        }
        bodies
    }

    fn delete_letters(&mut self) -> bool {
        let admin: AdminClient<_> = client(&self.bootstrap).create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(ANSWERS_WITHIN));
        let deleting = admin.delete_topics(&[LETTERS.0], &options);
        let deleted = tokio::runtime::Runtime::new().unwrap().block_on(deleting).unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        true
    }

    fn create_letters(&mut self) {
        create_topics(&self.bootstrap, &BTreeMap::from([LETTERS]));
        self.letters = reader(&self.bootstrap, LETTERS.0, LETTERS.1);
        self.letters_read = 0;
    }
}
