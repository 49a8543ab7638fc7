//! A bus, a configuration and writers of the built binary; and how far a group of it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalk_writer::bus::{self, Bus, BusError};
use chalk_writer::config::settings::{BusSettings, KafkaSettings, LocalSettings};
use chalk_writer::message::Outgoing;
use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::setup::{Deployment, Ended, Running, ask, eventually};

/// The longest that one thing may take. It bounds a hang and nothing else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Which bus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum On {
    Local,
    Kafka,
}

/// The Kafka that the tests share.
pub(crate) fn servers() -> String {
    std::env::var("CHALK_WRITER_TEST_KAFKA").unwrap_or_else(|_| {
        panic!(
            "CHALK_WRITER_TEST_KAFKA is not set: this test needs a real Kafka; `./dev test` installs and starts one \
             and sets it"
        )
    })
}

/// A deployment of one writer, with topics and a group that no other run has.
pub(crate) struct Plant {
    pub(crate) folder: Deployment,
    pub(crate) topic: String,
    pub(crate) letters: String,
    pub(crate) group: String,
    /// What its writers find in their environment beyond the usual.
    pub(crate) variables: Vec<(&'static str, String)>,
    writer_type: &'static str,
    bus: Arc<dyn Bus>,
    runtime: tokio::runtime::Runtime,
}

impl Plant {
    /// With a topic of so many partitions; `config` is laid over what every plant has.
    pub(crate) fn new(on: On, partitions: u32, writer_type: &'static str, config: &Value) -> Self {
        let servers = (on == On::Kafka).then(servers);
        Self::made(servers.as_deref(), partitions, writer_type, config)
    }

    /// The same on brokers of a test's own.
    pub(crate) fn on_kafka(servers: &str, partitions: u32, writer_type: &'static str, config: &Value) -> Self {
        Self::made(Some(servers), partitions, writer_type, config)
    }

    fn made(servers: Option<&str>, partitions: u32, writer_type: &'static str, config: &Value) -> Self {
        let folder = Deployment::new();
        let run = uuid::Uuid::new_v4().simple().to_string();
        let (topic, letters, name) = (format!("results-{run}"), format!("dlq-{run}"), format!("w-{run}"));
        let mut whole = json!({
            "common_persistence_specs": {
                "bus_backend": "LOCAL", "kafka_dlq_topic": letters, "result_bus_topic_id": topic,
                "secret_client": "FILE",
            },
            "metadata_provider": "CONFIG",
            "batch": {"max_age": "20ms"},
            "retry": {"first_pause": "20ms", "max_pause": "500ms"},
            "writers": [{"bus_subscriber_type": writer_type, "name": name}],
        });
        let settings = match servers {
            None => BusSettings::Local(LocalSettings { path: folder.path().join("chalk-bus.sqlite") }),
            Some(servers) => {
                whole["common_persistence_specs"]["bus_backend"] = json!("KAFKA");
                whole["kafka_bootstrap_servers"] = json!(servers);
                // Short, so that what a stopped member had moves soon.
                whole["kafka"] = json!({"session.timeout.ms": "4000", "heartbeat.interval.ms": "500"});
                BusSettings::Kafka(KafkaSettings {
                    bootstrap_servers: vec![servers.to_owned()],
                    security_protocol: "PLAINTEXT".to_owned(),
                    sasl_mechanism: None,
                    sasl_secret: None,
                    properties: std::collections::BTreeMap::new(),
                })
            }
        };
        lay_over(&mut whole, config);
        folder.write("chalk.json", &whole.to_string());
        let bus = bus::open(&settings).expect("the settings are right");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let group = format!("chalk-{name}");
        let plant = Self { folder, topic, letters, group, variables: Vec::new(), writer_type, bus, runtime };
        plant.create_topic(&plant.topic, partitions);
        plant.create_topic(&plant.letters, 1);
        plant
    }

    pub(crate) fn create_topic(&self, topic: &str, partitions: u32) {
        self.runtime.block_on(self.bus.create_topic(topic, partitions)).expect("made");
    }

    /// Whether the bus takes what changes it.
    pub(crate) fn takes_writes(&self) -> bool {
        self.runtime.block_on(self.bus.create_topic(&self.letters, 1)).is_ok()
    }

    /// Changes the configuration.
    pub(crate) fn configure(&self, more: &Value) {
        let mut config: Value = serde_json::from_str(&self.folder.text("chalk.json")).expect("JSON");
        lay_over(&mut config, more);
        self.folder.write("chalk.json", &config.to_string());
    }

    /// Publishes bodies, in turns to the partitions; `None` is a null value.
    pub(crate) fn publish(&self, bodies: impl IntoIterator<Item = Option<String>>) {
        let partitions = self.positions().len() as i32;
        let messages: Vec<Outgoing> = bodies
            .into_iter()
            .enumerate()
            .map(|(number, body)| Outgoing {
                topic: self.topic.clone(),
                partition: Some(number as i32 % partitions),
                payload: body.map(Bytes::from),
                ..Outgoing::default()
            })
            .collect();
        self.send(&messages);
    }

    /// Publishes messages as they are.
    pub(crate) fn send(&self, messages: &[Outgoing]) {
        let publishing = async { Ok::<_, BusError>(self.bus.publisher().await?.publish(messages).await?) };
        self.runtime.block_on(publishing).expect("published");
    }

    /// Starts a writer.
    pub(crate) fn start(&self) -> Writer {
        self.start_by("chalk.json")
    }

    /// The same by another file.
    pub(crate) fn start_by(&self, file: &str) -> Writer {
        self.start_as(self.writer_type, file)
    }

    /// One of another type, which the file has.
    pub(crate) fn start_as(&self, writer_type: &str, file: &str) -> Writer {
        let arguments = ["--type", writer_type, "--config", file, "--listen", "127.0.0.1:0"];
        let running = self.folder.start_with(&arguments, |command| {
            command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        });
        let address = running.listening();
        Writer { running, address }
    }

    /// Runs a writer until the bus is empty.
    #[track_caller]
    pub(crate) fn drain(&self) -> Ended {
        let ended = self.folder.drain(self.writer_type);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// How far the group is in each partition, and where each ends.
    pub(crate) fn positions(&self) -> Vec<(i64, i64)> {
        self.positions_of(&self.topic, &self.group)
    }

    /// The same of any group and topic.
    pub(crate) fn positions_of(&self, topic: &str, group: &str) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        // A Kafka that has just made a topic may not know it yet.
        eventually(PATIENCE, "told how far the group is", || {
            match self.runtime.block_on(self.bus.positions(topic, group)) {
                Ok(positions) => found = positions,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            !found.is_empty()
        });
        found.sort_by_key(|position| position.partition);
        found.iter().map(|position| (position.next(), position.end)).collect()
    }

    /// Messages below the group's positions, over all partitions.
    pub(crate) fn committed(&self) -> i64 {
        self.positions().iter().map(|(committed, _)| committed).sum()
    }

    /// Waits until the group is at the end of every partition.
    #[track_caller]
    pub(crate) fn is_done(&self) {
        eventually(PATIENCE, "everything is committed", || self.positions().iter().all(|(at, end)| at == end));
    }

    /// Classes of the dead letters, and where each was read.
    pub(crate) fn letters(&self) -> Vec<(String, String)> {
        let text = |letter: &Value, name: &str| letter[name].as_str().expect("text").to_owned();
        self.folder.letters().iter().map(|letter| (text(letter, "class"), text(letter, "origin"))).collect()
    }
}

/// A running writer; killed where a test forgets it.
pub(crate) struct Writer {
    pub(crate) running: Running,
    address: String,
}

impl Writer {
    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&ask(&self.address, "/status.json").1).expect("JSON")
    }

    /// Whether `/readyz` answers 200.
    pub(crate) fn is_ready(&self) -> bool {
        ask(&self.address, "/readyz").0 == 200
    }

    /// The sum of a metric over its labels, as far as they contain this text.
    pub(crate) fn metric(&self, name: &str, with: &str) -> f64 {
        let text = ask(&self.address, "/metrics").1;
        let ours = |line: &&str| line.split(['{', ' ']).next() == Some(name) && line.contains(with);
        text.lines().filter(ours).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// What does not work now, as it says itself.
    pub(crate) fn troubles(&self) -> String {
        self.status()["troubles"].to_string()
    }

    /// Waits until it says that something does not work, in these words.
    #[track_caller]
    pub(crate) fn is_in_trouble(&self, words: &str) {
        eventually(PATIENCE, words, || self.troubles().contains(words));
    }

    /// Partitions that are assigned to it.
    pub(crate) fn assigned(&self) -> f64 {
        self.metric("chalk_writer_assigned_partitions", "")
    }

    /// Which those are.
    pub(crate) fn partitions(&self) -> BTreeSet<u64> {
        let status = self.status();
        let partitions = status["partitions"].as_array().expect("a list");
        partitions.iter().map(|partition| partition["partition"].as_u64().expect("a number")).collect()
    }

    pub(crate) fn stand_still(&self) {
        self.running.signal(Signal::SIGSTOP);
    }

    pub(crate) fn go_on(&self) {
        self.running.signal(Signal::SIGCONT);
    }

    /// SIGKILL.
    pub(crate) fn kill(self) {
        self.running.kill();
    }

    /// SIGTERM; it must end well.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.running.terminate();
        let ended = self.running.wait(PATIENCE);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }
}

/// Lays one JSON over another: objects become one, null takes away, anything else takes the place of what was there.
fn lay_over(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                if value.is_null() {
                    below.remove(name);
                } else {
                    lay_over(below.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (below, above) => *below = above.clone(),
    }
}

/// A result of one entity of namespace `user` in environment `prod`; the number is its id and tells its time.
pub(crate) fn result(number: u64, features: &Value) -> Option<String> {
    result_in("prod", number, features)
}

/// The same in another environment.
pub(crate) fn result_in(environment: &str, number: u64, features: &Value) -> Option<String> {
    result_of(environment, number, number, features)
}

/// The same of any entity, at the second of that number.
pub(crate) fn result_of(environment: &str, id: u64, second: u64, features: &Value) -> Option<String> {
    let observed_at = format!("2026-11-22T{:02}:{:02}:{:02}Z", second / 3600 % 24, second / 60 % 60, second % 60);
    let row = json!({"id": id, "features": features});
    let result = json!({
        "environment_id": environment, "operation_id": format!("op-{second}"), "observed_at": observed_at,
        "tables": [{"namespace": "user", "rows": {"rows": [row]}}],
    });
    Some(result.to_string())
}

/// Results of `user.seq`, which is the number.
pub(crate) fn results(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Option<String>> {
    numbers.map(|number| result(number, &json!({"user.seq": number})))
}

/// Moves a group's position in partition 0 by hand.
pub(crate) fn commit(topic: &str, group: &str, position: i64) {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers()).set("group.id", group).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(position)).expect("an offset");
    consumer.commit(&list, CommitMode::Sync).expect("committed");
}
