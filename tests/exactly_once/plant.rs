//! A bus, a configuration of `METRICS_WRITER` on it, and what its topics hold.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::{BrowseFrom, Bus};
use chalk_writer::message::Message;
use chalk_writer::proto::metrics::v1::{
    MetricBatch, Metrics1ProtoRepresentationName, Metrics1ProtoRepresentationNamespace, metric::Value as Of,
};
use chalk_writer::proto::pubsub::v1::QueryMessagePubSub;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost::Message as _;
use serde_json::{Value, json};

/// The longest that one wait may take: a session and a transaction that have to run out, and then some.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Plant {
    folder: tempfile::TempDir,
    /// For the test itself.
    bus: Arc<dyn Bus>,
    results: String,
    metrics: String,
    name: String,
    sent: u64,
}

/// A writer, killed when dropped.
pub struct Writer(Child);

impl Writer {
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.id(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Plant {
    /// With topics of its own; the part of the configuration that names the bus is given.
    pub async fn new(folder: tempfile::TempDir, bus: Arc<dyn Bus>, backend: &str, more: &[(&str, Value)]) -> Self {
        let name = |hint: &str| format!("{hint}-{}", uuid::Uuid::new_v4().simple());
        let (results, metrics, dlq) = (name("results"), name("metrics"), name("dlq"));
        for (topic, partitions) in [(&results, 4), (&metrics, 2), (&dlq, 1)] {
            bus.create_topic(topic, partitions).await.unwrap();
        }
        let name = name("metrics");
        let mut config = json!({
            "common_persistence_specs": {
                "bus_backend": backend, "result_bus_topic_id": results, "metrics_bus_topic_id": metrics,
                "kafka_dlq_topic": dlq,
            },
            "metadata_provider": "CONFIG",
            // Some results to a batch: many transactions.
            "batch": {"max_rows": 700, "max_age": "20ms"},
            "retry": {"first_pause": "10ms", "max_pause": "200ms"},
            "writers": [{"bus_subscriber_type": "METRICS_WRITER", "name": name}],
        });
        for (key, value) in more {
            config[*key] = value.clone();
        }
        std::fs::write(folder.path().join("chalk.json"), config.to_string()).unwrap();
        Self { folder, bus, results, metrics, name, sent: 0 }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
        command.args(arguments).args(["--config", "chalk.json"]).current_dir(self.folder.path());
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    pub fn start(&self) -> Writer {
        let mut command = self.command(&["--type", "METRICS_WRITER", "--listen", "off"]);
        Writer(command.stderr(Stdio::null()).spawn().unwrap())
    }

    /// Results that no message before had.
    pub fn publish(&mut self, count: u64) {
        self.sent += count;
        let (count, seed) = (count.to_string(), self.sent.to_string());
        let what = ["publish", "--type", "METRICS_WRITER", "--generate", &count, "--seed", &seed, "--start", "1h"];
        let done = self.command(&what).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Where the group is in all of its partitions together; `None` while a transaction is open.
    async fn position(&self) -> Option<i64> {
        let group = format!("chalk-{}", self.name);
        let positions = self.bus.positions(&self.results, &group).await.ok()?;
        Some(positions.iter().map(|position| position.committed.unwrap_or_default()).sum())
    }

    /// Waits until the group has moved from where it is.
    pub async fn moves(&self) {
        let from = self.position().await.unwrap_or_default();
        self.reaches("the position moves", from + 1).await;
    }

    /// Waits until all that was published is committed.
    pub async fn is_done(&self) {
        self.reaches("all is committed", self.sent as i64).await;
    }

    async fn reaches(&self, what: &str, position: i64) {
        let reached = async {
            while self.position().await.is_none_or(|at| at < position) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{what} in time"));
    }

    /// What a reader of a topic finds who reads what was committed.
    async fn messages(&self, topic: &str) -> Vec<Message> {
        let mut browse = self.bus.browse(topic, BrowseFrom::Earliest).await.unwrap();
        let mut all = Vec::new();
        loop {
            match browse.next().await.unwrap() {
                more if more.is_empty() => return all,
                more => all.extend(more),
            }
        }
    }

    /// Holds what was published to what was read: each result counts once.
    pub async fn counted_once(&self) {
        self.is_done().await;
        let (expected, counted) = (self.expected().await, self.counted().await);
        let wrong: Vec<_> = expected
            .keys()
            .chain(counted.keys())
            .filter(|name| expected.get(*name) != counted.get(*name))
            .map(|name| (name, expected.get(name), counted.get(name)))
            .take(5)
            .collect();
        assert!(wrong.is_empty(), "(what, in the results, in the metrics): {wrong:?}");
    }

    /// What is to be counted, from the bodies of the results themselves.
    async fn expected(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        let mut count = |what: String| *counts.entry(what).or_default() += 1;
        let results = self.messages(&self.results).await;
        assert_eq!(results.len() as u64, self.sent);
        for message in results {
            let result: Value = serde_json::from_slice(message.body()).unwrap();
            let query = &result["query"];
            count(format!("query {}", query["query_name"].as_str().unwrap()));
            count(format!("row of {}", query["operation_id"].as_str().unwrap()));
            let tables = result["tables"].as_array().unwrap().iter();
            for row in tables.flat_map(|table| table["rows"]["rows"].as_array().unwrap()) {
                for feature in row["features"].as_object().unwrap().keys() {
                    count(format!("feature {feature}"));
                }
            }
        }
        counts
    }

    /// What was counted, for who adds up the metrics.
    async fn counted(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for message in self.messages(&self.metrics).await {
            let kind = message.headers.get_str("ce_type").map(str::to_owned).unwrap_or_default();
            match &*kind {
                "chalk.metrics.v1" => {
                    for metric in MetricBatch::decode(message.body()).unwrap().metrics {
                        let what = match metric.namespace() {
                            Metrics1ProtoRepresentationNamespace::Feature => "feature",
                            Metrics1ProtoRepresentationNamespace::Query => "query",
                            _ => continue,
                        };
                        if metric.metric_name() == Metrics1ProtoRepresentationName::Request {
                            let Some(Of::Numeric(sum)) = metric.value else { panic!("a sum") };
                            *counts.entry(format!("{what} {}", metric.source)).or_default() += sum.value as u64;
                        }
                    }
                }
                "chalk.query.v1" => {
                    let query = QueryMessagePubSub::decode(message.body()).unwrap();
                    *counts.entry(format!("row of {}", query.operation_id)).or_default() += 1;
                }
                _ => {}
            }
        }
        counts
    }
}
