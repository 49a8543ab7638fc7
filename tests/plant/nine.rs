//! Every writer at once, from `config/plant.json`: a message of each kind is put on the bus, and found where its
//! writer keeps it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use axum::routing::post;
use axum::{Json, Router};
use chalk_writer::bus::{self, BrowseFrom, Bus};
use chalk_writer::config::{Overrides, Selection, load};
use chalk_writer::proto::writer::v1::MirrorOutcome;
use chalk_writer::writer::{WRITERS, registry};
use parquet::arrow::ArrowWriter;
use prost::Message as _;
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::postgres::{PostgresServer, Version};
use crate::process::{Writer, eventually, run, tried};
use crate::stores::{Embedded, Stores};

const TOPICS: [&str; 8] =
    ["results", "metrics", "inserts", "usage", "uploads", "query-log", "query-mirror", "dead-letters"];

/// What the engine would publish: a query with a number and a vector.
fn result() -> Value {
    json!({
        "environment_id": "prod", "operation_id": "018f-42", "operation_kind": "ONLINE_QUERY",
        "query": {"query_name": "risk", "output_features": ["customer.score"], "status": "SUCCESSFUL"},
        "tables": [{"namespace": "customer", "rows": {"rows": [{
            "id": 42,
            "features": {"customer.score": 0.7, "customer.embedding": {"vector_value": {"fp32": {"elements": [0.6, 0.8]}}}},
        }]}}],
    })
}

fn logged_query() -> Value {
    json!({
        "environment_id": "prod", "operation_id": "018f-42",
        "request": r#"{"inputs": {"customer.id": 42}, "outputs": ["customer.score"], "query_name": "risk"}"#,
        "recorded": {"outputs": r#"{"customer.score": 0.7}"#, "duration_seconds": 0.004},
    })
}

fn usage() -> Value {
    json!({"event_id": "018f-42", "environment_id": "prod", "kind": "USAGE_KIND_QUERY", "quantity": 1})
}

/// A file of one row, and the load of it.
fn bulk_insert(folder: &Path) -> Value {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![42]));
    let rows = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let path = folder.join("upload.parquet");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let uri = format!("file://{}", path.display());
    json!({"environment_id": "prod", "load_id": "load-1", "table": "uploaded", "files": [{"uri": uri, "row_count": 1}]})
}

/// The server that the mirror asks: it has come to another answer by now.
async fn api_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = || async { Json(json!({"data": [{"field": "customer.score", "value": 0.75}]})) };
    let router = Router::new().route("/v1/query/online", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// `config/plant.json`, with what the test has to say.
async fn configuration() -> Value {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/plant.json");
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(example).unwrap()).unwrap();
    file["api_server_host"] = json!(api_server().await);
    file["batch"] = json!({"max_age": "100ms"});
    file
}

/// A plant in a folder.
struct Plant<'a> {
    folder: PathBuf,
    bus: Arc<dyn Bus>,
    stores: &'a dyn Stores,
}

impl<'a> Plant<'a> {
    fn new(folder: &Path, file: &Value, subscriptions: &[(&str, &str)], stores: &'a dyn Stores) -> Self {
        let path = folder.join("chalk.json");
        std::fs::write(&path, file.to_string()).unwrap();
        let loaded = load(&path, &Overrides::default(), &registry()).unwrap();
        let any = loaded.writer(&Selection::Type("ONLINE_WRITER".to_owned())).unwrap();
        let bus = bus::open(&any.bus).unwrap();
        for topic in TOPICS {
            run(folder, &["publish", "--topic", topic, "--partitions", "2", "--generate", "0"]);
        }
        for (topic, subscription) in subscriptions {
            let make = ["publish", "--topic", topic, "--subscription", subscription, "--generate", "0"];
            run(folder, &make);
        }
        Self { folder: folder.to_owned(), bus, stores }
    }

    fn publish(&self, topic: &str, event_type: &str, body: &Value) {
        let name = format!("{event_type}.json");
        std::fs::write(self.folder.join(&name), body.to_string()).unwrap();
        run(&self.folder, &["publish", "--topic", topic, "--ce-type", event_type, "--file", &name]);
    }

    /// Waits until a query about the stores finds this.
    async fn finds(&self, what: &str, look: impl Fn(&dyn Stores) -> Result<String, String>, wanted: &str) {
        eventually(what, &self.folder, async || match look(self.stores) {
            Ok(found) if found == wanted => Ok(()),
            other => Err(format!("{other:?}, not {wanted}")),
        })
        .await;
    }

    /// The outcomes that the mirror has published.
    async fn outcomes(&self) -> Result<Vec<MirrorOutcome>, String> {
        let mut browse = self.bus.browse("query-mirror", BrowseFrom::Earliest).await.map_err(|e| e.to_string())?;
        let mut outcomes = Vec::new();
        loop {
            match browse.next().await.map_err(|error| error.to_string())? {
                none if none.is_empty() => return Ok(outcomes),
                more => outcomes.extend(more.iter().map(|message| MirrorOutcome::decode(message.body()).unwrap())),
            }
        }
    }

    async fn works(&self) {
        let types: BTreeSet<&str> = WRITERS.iter().map(|writer| writer.facts().writer_type.as_str()).collect();
        let writers: Vec<Writer> = types.into_iter().map(|name| Writer::start(&self.folder, name)).collect();
        self.publish("results", "chalk.result.v1", &result());
        self.publish("query-log", "chalk.query_log.v1", &logged_query());
        // Twice, and counted once.
        self.publish("usage", "chalk.usage.v1", &usage());
        self.publish("usage", "chalk.usage.v1", &usage());
        self.publish("uploads", "chalk.bulk_insert.v1", &bulk_insert(&self.folder));

        self.finds(
            "ONLINE_WRITER: the newest values",
            |_| {
                let get = ["get", "--environment", "prod", "customer", "42", "--json"];
                Ok(if tried(&self.folder, &get)?.contains("0.7") { "0.7" } else { "none" }.to_owned())
            },
            "0.7",
        )
        .await;
        // Published by the first, written by the second.
        let history = "OFFLINE_WRITER and OFFLINE_STORE_STREAMING_INSERT_WRITER: history";
        self.finds(history, |stores| stores.rows_of_history("customer"), "1").await;
        self.finds("OFFLINE_WRITER: the query", |stores| stores.rows_of_history("query_log"), "1").await;
        let loads = "OFFLINE_STORE_BULK_INSERT_WRITER: a file's row";
        self.finds(loads, |stores| stores.rows_of_history("uploaded"), "1").await;
        let counted = "namespace = 'FEATURE' AND metric_name = 'REQUEST' AND source = 'customer.score' AND value = 1";
        self.finds("METRICS_WRITER: a series", |stores| stores.rows_of_metrics("metrics", counted), "1").await;
        let query = "operation_id = '018f-42'";
        self.finds("METRICS_BUS_WRITER: the query", |stores| stores.rows_of_metrics("queries", query), "1").await;
        self.finds("ONLINE_VECTOR_STORE_WRITER: a vector", |stores| stores.vectors("customer", "embedding"), "1").await;
        self.finds("USAGE_BUS_WRITER: an event", |stores| stores.rows_of_usage("usage_events"), "1").await;
        let outcome = eventually("QUERY_MIRROR_CONSUMER: an outcome", &self.folder, async || {
            self.outcomes().await?.pop().ok_or_else(|| "none".to_owned())
        })
        .await;
        assert_eq!(outcome.operation_id, "018f-42");
        assert_eq!(outcome.differences.iter().map(|found| &*found.output).collect::<Vec<_>>(), ["customer.score"]);
        writers.into_iter().for_each(Writer::stop);
        let mut buried = self.bus.browse("dead-letters", BrowseFrom::Earliest).await.unwrap();
        assert!(buried.next().await.unwrap().is_empty(), "nothing was buried");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_writer_at_once_on_the_embedded_bus_and_embedded_stores() {
    let folder = tempfile::TempDir::new().unwrap();
    let stores = Embedded::new(folder.path());
    Plant::new(folder.path(), &configuration().await, &[], &stores).works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_writer_at_once_on_kafka_and_postgres() {
    let folder = tempfile::TempDir::new().unwrap();
    let (broker, server) = (Broker::start(folder.path()), PostgresServer::start(Version::Newest, &[]));
    // The writer's role may not make it.
    server.sql("CREATE EXTENSION vector");
    let mut file = configuration().await;
    file["common_persistence_specs"]["bus_backend"] = json!("KAFKA");
    file["kafka_bootstrap_servers"] = json!(broker.open);
    file["kafka_security_protocol"] = json!("PLAINTEXT");
    let prod = file["environments"]["prod"].as_object_mut().unwrap();
    for (name, store) in prod {
        if name.ends_with("_store") {
            store["uri"] = json!(server.uri());
        }
    }
    Plant::new(folder.path(), &file, &[], &server).works().await;
}

/// Every field that names what a writer reads, the topic, and what the subscription is called there.
const SUBSCRIPTIONS: [(&str, &str, &str); 9] = [
    ("result_bus_online_store_subscription_id", "results", "results-online"),
    ("result_bus_offline_store_subscription_id", "results", "results-offline"),
    ("result_bus_metrics_subscription_id", "results", "results-metrics"),
    ("vector_store_subscription_id", "results", "results-vectors"),
    ("metrics_bus_subscription_id", "metrics", "metrics-store"),
    ("bigquery_streaming_write_subscription_id", "inserts", "inserts-store"),
    ("bigquery_parquet_upload_subscription_id", "uploads", "uploads-store"),
    ("usage_events_subscription_id", "usage", "usage-store"),
    ("query_log_subscription_id", "query-log", "query-log-mirror"),
];

// The same file on another bus: its name, and those of its subscriptions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_writer_at_once_on_the_emulator_of_pub_sub_and_embedded_stores() {
    let address = std::env::var("CHALK_WRITER_TEST_PUBSUB").expect("`./dev test` starts the emulator and names it");
    let folder = tempfile::TempDir::new().unwrap();
    let stores = Embedded::new(folder.path());
    let mut file = configuration().await;
    let common = &mut file["common_persistence_specs"];
    common["bus_backend"] = json!("PUBSUB");
    common["google_cloud_project"] = json!(format!("plant-{}", std::process::id()));
    for (field, _, name) in SUBSCRIPTIONS {
        common[field] = json!(name);
    }
    file["pubsub_emulator_host"] = json!(address);
    file["pubsub"] = json!({"browse_idle": "1s"});
    let subscriptions = SUBSCRIPTIONS.map(|(_, topic, name)| (topic, name));
    Plant::new(folder.path(), &file, &subscriptions, &stores).works().await;
}
