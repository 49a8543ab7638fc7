//! The buses of the torture checker: how messages are sent, the broker restarted, dead letters read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chalk_writer::bus::{self, BrowseFrom, Bus, Publisher};
use chalk_writer::config::settings::{BusSettings, LocalSettings};
use chalk_writer::message::Outgoing;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

const RESULTS_PARTITIONS: u32 = 4;

/// What the checker needs of a bus.
pub trait TestBus {
    /// Adds the bus to a configuration.
    fn configure(&self, config: &mut serde_json::Value);

    /// Sends to `results` and returns once every message is confirmed.
    fn publish(&mut self, keys: &[String], bodies: &[Vec<u8>]);

    /// Kills the broker and starts it again.
    fn restart(&mut self);

    /// Returns once the broker answers.
    fn ensure_up(&mut self);

    /// Body and error class of every dead letter.
    fn dead_letters(&self) -> Vec<(Vec<u8>, String)>;
}

/// A real Apache Kafka of one broker, of this test alone.
pub struct Kafka {
    folder: PathBuf,
    bootstrap: String,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Kafka {
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("broker");
        std::fs::create_dir_all(&folder).unwrap();
        let bootstrap = Self::script("start", &folder);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "180000")
            .set("log_level", "0")
            .create()
            .unwrap();
        let kafka = Self { folder, bootstrap, producer };
        kafka.create_topics();
        kafka
    }

    /// The script that all tests share; `start` goes on with the data and ports of an earlier start.
    fn script(command: &str, folder: &Path) -> String {
        let output = Command::new("tests/services/kafka/kafka.sh").arg(command).arg(folder).output().unwrap();
        assert!(output.status.success(), "kafka.sh {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn create_topics(&self) {
        let admin: rdkafka::admin::AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let topic = |name, partitions: u32| {
            rdkafka::admin::NewTopic::new(name, partitions as i32, rdkafka::admin::TopicReplication::Fixed(1))
        };
        let topics = [topic("results", RESULTS_PARTITIONS), topic("dlq", 1)];
        let options = rdkafka::admin::AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let made = tokio::runtime::Runtime::new().unwrap().block_on(admin.create_topics(&topics, &options)).unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        Self::script("kill", &self.folder);
    }
}

impl TestBus for Kafka {
    fn configure(&self, config: &mut serde_json::Value) {
        config["common_persistence_specs"]["bus_backend"] = "KAFKA".into();
        config["kafka_bootstrap_servers"] = self.bootstrap.clone().into();
        config["kafka_security_protocol"] = "PLAINTEXT".into();
        // The shortest that brokers allow: a killed member's partitions move soon.
        config["kafka"] = serde_json::json!({"session.timeout.ms": "6000"});
    }

    fn publish(&mut self, keys: &[String], bodies: &[Vec<u8>]) {
        for (key, body) in keys.iter().zip(bodies) {
            let mut record = BaseRecord::to("results").key(key).payload(body);
            while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) =
                self.producer.send(record)
            {
                record = again;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.producer.flush(Duration::from_secs(200)).expect("the broker confirms within its own limit");
        assert_eq!(self.producer.in_flight_count(), 0);
    }

    fn restart(&mut self) {
        Self::script("kill", &self.folder);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(Self::script("start", &self.folder), self.bootstrap);
    }

    fn ensure_up(&mut self) {
        self.producer.client().fetch_metadata(Some("results"), Duration::from_secs(60)).unwrap();
    }

    fn dead_letters(&self) -> Vec<(Vec<u8>, String)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", "checker")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset("dlq", 0, Offset::Beginning).unwrap();
        consumer.assign(&assignment).unwrap();
        let mut letters = Vec::new();
        let begun = Instant::now();
        loop {
            match consumer.poll(Duration::from_secs(1)) {
                Some(Ok(message)) => {
                    let headers = message.headers().expect("a dead letter has headers");
                    let class = headers
                        .iter()
                        .find(|header| header.key == "chalk_dlq_error_class")
                        .and_then(|header| header.value);
                    let class = String::from_utf8(class.expect("the class is given").to_vec()).unwrap();
                    letters.push((message.payload().unwrap_or_default().to_vec(), class));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return letters,
                Some(Err(error)) if begun.elapsed() > Duration::from_secs(60) => {
                    panic!("dead letters cannot be read: {error}")
                }
                None if begun.elapsed() > Duration::from_secs(60) => panic!("dead letters cannot be read"),
                _ => {}
            }
        }
    }
}

/// The embedded bus: a file, which no restart disturbs.
pub struct Local {
    path: PathBuf,
    runtime: tokio::runtime::Runtime,
    bus: Arc<dyn Bus>,
    publisher: Arc<dyn Publisher>,
}

impl Local {
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("bus.sqlite");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bus = bus::open(&BusSettings::Local(LocalSettings { path: path.clone() })).unwrap();
        let publisher = runtime.block_on(async {
            bus.create_topic("results", RESULTS_PARTITIONS).await.unwrap();
            bus.create_topic("dlq", 1).await.unwrap();
            bus.publisher().await.unwrap()
        });
        Self { path, runtime, bus, publisher }
    }
}

impl TestBus for Local {
    fn configure(&self, config: &mut serde_json::Value) {
        config["common_persistence_specs"]["bus_backend"] = "LOCAL".into();
        config["local_bus_path"] = self.path.to_str().unwrap().into();
    }

    fn publish(&mut self, keys: &[String], bodies: &[Vec<u8>]) {
        let messages: Vec<Outgoing> = keys
            .iter()
            .zip(bodies)
            .map(|(key, body)| Outgoing {
                topic: "results".to_owned(),
                key: Some(key.clone().into()),
                payload: Some(body.clone().into()),
                ..Outgoing::default()
            })
            .collect();
        let placed = self.runtime.block_on(self.publisher.publish(&messages)).unwrap();
        assert_eq!(placed.len(), messages.len());
    }

    fn restart(&mut self) {}

    fn ensure_up(&mut self) {}

    fn dead_letters(&self) -> Vec<(Vec<u8>, String)> {
        self.runtime.block_on(async {
            let mut browse = self.bus.browse("dlq", BrowseFrom::Earliest).await.unwrap();
            let mut letters = Vec::new();
            loop {
                let messages = browse.next().await.unwrap();
                if messages.is_empty() {
                    return letters;
                }
                letters.extend(messages.iter().map(|message| {
                    let class = message.headers.get_str("chalk_dlq_error_class").expect("the class is given");
                    (message.body().to_vec(), class.to_owned())
                }));
            }
        })
    }
}
