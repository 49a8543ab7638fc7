//! Two stores for every row: neither loses nor doubles, whichever of them is away and whenever the writer dies.

#[path = "../services/postgres/server.rs"]
mod postgres;
#[path = "../services/proxy.rs"]
mod proxy;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalk_writer::bus::Bus;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::message::Outgoing;
use chalk_writer::proto::common::v1::ChalkError;
use chalk_writer::proto::metrics::v1;
use chalk_writer::proto::pubsub::v1::QueryMessagePubSub;
use chalk_writer::proto::writer::v1::{ErrorBatch, ErrorRow};
use chalk_writer::result::encode::timestamp;
use postgres::{PostgresServer, Version};
use prost::Message as _;
use proxy::Proxy;
use serde_json::json;

/// 2026-11-22T18:32:00Z
const NOON: i64 = 1_795_372_320_000_000;
const TOPIC: &str = "metrics";
/// Metrics in a message.
const METRICS: i64 = 5;

/// A bus, a configuration, and two databases behind proxies.
struct Plant {
    folder: tempfile::TempDir,
    sides: [PostgresServer; 2],
    proxies: [Proxy; 2],
    sent: i64,
}

/// A writer, killed when dropped.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it ends");
    }
}

fn bus(folder: &Path) -> LocalBus {
    LocalBus::new(folder.join("chalk-bus.sqlite"), Options::default())
}

impl Plant {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sides = [Version::Debian, Version::Newest].map(|version| PostgresServer::start(version, &[]));
        let proxies = [Proxy::of(sides[0].port()), Proxy::of(sides[1].port())];
        let [main, other] = [0, 1].map(|side: usize| sides[side].uri_through(proxies[side].port()));
        let config = json!({
            "common_persistence_specs": {
                "bus_backend": "LOCAL", "metrics_bus_topic_id": TOPIC, "kafka_dlq_topic": "dlq",
            },
            "metadata_provider": "CONFIG",
            "environments": {"prod": {
                "metrics_store": {"uri": main, "clickhouse_uri": other, "victoria_metrics_uri": other},
            }},
            "batch": {"max_age": "20ms", "max_rows": 40},
            "retry": {"first_pause": "10ms", "max_pause": "100ms"},
            "writers": [{
                "bus_subscriber_type": "GO_METRICS_BUS_WRITER",
                "name": "metrics",
                "chalk_queries_clickhouse_write_mode": "DUAL",
                "chalk_errors_clickhouse_write_mode": "DUAL",
                "metrics_emission_mode": "DUAL_WRITE",
            }],
        });
        std::fs::write(folder.path().join("chalk.json"), config.to_string()).expect("written");
        for topic in [TOPIC, "dlq"] {
            bus(folder.path()).create_topic(topic, 3).await.expect("made");
        }
        Self { folder, sides, proxies, sent: 0 }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
        command.args(["--type", "METRICS_BUS_WRITER", "--config", "chalk.json", "--listen", "off"]).args(more);
        command.current_dir(self.folder.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    fn start(&self) -> Writer {
        let quiet = self.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Writer(quiet.expect("the binary runs"))
    }

    /// Publishes so many messages of each kind.
    async fn publish(&mut self, count: i64) {
        let publisher = bus(self.folder.path()).publisher().await.expect("a publisher");
        let messages: Vec<Outgoing> = (self.sent..self.sent + count).flat_map(messages).collect();
        publisher.publish(&messages).await.expect("published");
        self.sent += count;
    }

    /// Waits until a side has rows of so many messages with metrics.
    fn wait_for(&self, side: usize, messages: i64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.sides[side].try_sql("SELECT count(DISTINCT emitter) FROM chalk.metrics");
            if found.as_ref().is_ok_and(|found| found.parse::<i64>().is_ok_and(|found| found >= messages)) {
                return;
            }
            assert!(Instant::now() < deadline, "{found:?} of {messages} on side {side}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads what is left, and holds both sides to what was sent.
    fn drained(&self) {
        let done = self.command(&["--drain", "--drain-timeout", "120s"]).output().expect("the binary runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let sent = self.sent;
        let sum: i64 = (0..sent * METRICS).sum();
        for side in &self.sides {
            let counts = "SELECT (SELECT count(*) FROM chalk.metrics), (SELECT sum(value)::bigint FROM chalk.metrics), \
                          (SELECT sum(value)::bigint FROM chalk.metrics_merged), (SELECT count(*) FROM chalk.queries), \
                          (SELECT count(*) FROM chalk.query_errors), (SELECT count(*) FROM chalk.resolver_errors)";
            assert_eq!(side.sql(counts), format!("{}|{sum}|{sum}|{sent}|{sent}|{sent}", sent * METRICS));
        }
    }
}

/// A message of each kind; every number is in one metric.
fn messages(number: i64) -> Vec<Outgoing> {
    let metric = |at: i64| v1::Metric {
        environment_id: "prod".to_owned(),
        observed_at: Some(timestamp(NOON + number)),
        metric_name: v1::Metrics1ProtoRepresentationName::Request.into(),
        source: format!("feature-{}", at % 3),
        aggregation_type: Some(v1::Metrics1ProtoAggregationType::Sum.into()),
        value: Some(v1::metric::Value::Numeric(v1::NumericMetric { value: (number * METRICS + at) as f64 })),
        ..v1::Metric::default()
    };
    let query = QueryMessagePubSub {
        environment_id: "prod".to_owned(),
        operation_id: format!("q-{number}"),
        created_at: NOON,
        ..QueryMessagePubSub::default()
    };
    let errors = ErrorBatch {
        environment_id: "prod".to_owned(),
        errors: vec![ErrorRow { error: Some(ChalkError::default()), ..ErrorRow::default() }],
        ..ErrorBatch::default()
    };
    let batch = v1::MetricBatch { metrics: (0..METRICS).map(metric).collect() };
    [
        ("chalk.metrics.v1", batch.encode_to_vec()),
        ("chalk.query.v1", query.encode_to_vec()),
        ("chalk.query_error.v1", errors.encode_to_vec()),
        ("chalk.resolver_error.v1", errors.encode_to_vec()),
    ]
    .into_iter()
    .map(|(kind, body)| {
        let id = format!("{kind}-{number}");
        Outgoing {
            topic: TOPIC.to_owned(),
            partition: Some((number % 3) as i32),
            payload: Some(Bytes::from(body)),
            headers: [("ce_type", kind), ("ce_id", &*id), ("ce_source", "engine")].into_iter().collect(),
            ..Outgoing::default()
        }
    })
    .collect()
}

/// What one side has and the other has not is not done: the writer dies, and both end with every row once.
#[tokio::test(flavor = "multi_thread")]
async fn one_side_away_neither_loses_nor_doubles() {
    let mut plant = Plant::new().await;
    plant.publish(5).await;
    plant.drained();
    for away in [0, 1] {
        let writer = plant.start();
        plant.sides[away].kill();
        let before = plant.sent;
        plant.publish(20).await;
        // Its position cannot have moved: that is read again, and this side has it already. The rest is not read while
        // one side is away.
        plant.wait_for(1 - away, before + 1);
        drop(writer);
        plant.sides[away].start_again();
        plant.drained();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_in_trouble_by_turns_end_with_every_row_once() {
    let mut plant = Plant::new().await;
    let mut writer = plant.start();
    for round in 0..12 {
        plant.publish(40).await;
        let side = round / 2 % 2;
        match round % 4 {
            // Cut in the middle of a transaction, somewhere else each time.
            0 | 2 => plant.proxies[side].cut_after(3_000 + 1_700 * round),
            1 => {
                plant.sides[side].kill();
                plant.sides[side].start_again();
            }
            _ => {
                drop(writer);
                writer = plant.start();
            }
        }
        plant.wait_for(1 - side, plant.sent);
    }
    plant.proxies.iter().for_each(Proxy::mend);
    plant.wait_for(0, plant.sent);
    plant.wait_for(1, plant.sent);
    drop(writer);
    plant.drained();
}
