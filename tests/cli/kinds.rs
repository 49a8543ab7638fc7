//! Made-up messages of every kind, as `publish --generate` sends them, and what their writers would make of them.

use chalk_writer::generate::Kind;
use chalk_writer::writer::{WRITERS, WriterType};
use serde_json::{Value, json};

use super::setup::Deployment;

/// A folder with every writer of this version.
fn plant() -> Deployment {
    let folder = Deployment::new();
    let writers: Vec<Value> =
        WRITERS.iter().map(|writer| json!({"bus_subscriber_type": writer.facts().writer_type.as_str()})).collect();
    let config = json!({
        "common_persistence_specs": {
            "bus_backend": "LOCAL",
            "kafka_dlq_topic": "dlq",
            "result_bus_topic_id": "results",
            "metrics_bus_topic_id": "metrics",
            "bigquery_streaming_write_topic": "inserts",
            "bq_upload_topic": "loads",
            "usage_bus_topic_id": "usage",
            "query_log_subscription_id": "queries",
            "query_log_result_topic": "mirrored",
        },
        "api_server_host": "http://127.0.0.1:9",
        "environments": {"prod": {
            "online_store": {"uri": "sqlite:online.sqlite"},
            "offline_store": {"uri": "file:./lake"},
            "metrics_store": {"uri": "sqlite:metrics.sqlite"},
            "usage_store": {"uri": "sqlite:usage.sqlite"},
            "vector_store": {"uri": "sqlite:vectors.sqlite"},
        }},
        "writers": writers,
    });
    folder.write("chalk.json", &config.to_string());
    folder
}

/// A writer of this version that reads a kind; those to come read some as well.
fn reader(kind: Kind) -> Option<WriterType> {
    let mut types = WRITERS.iter().map(|writer| writer.facts().writer_type);
    types.find(|known| known.info().messages.contains(&kind.event_type()))
}

const MADE: usize = 30;

/// What the writer of a kind would do with made-up messages of it.
fn peeked(kind: Kind, reader: WriterType, more: &[&str]) -> Vec<Value> {
    let folder = plant();
    let name = reader.as_str();
    let publish = ["publish", "--config", "chalk.json", "--type", name, "--what", kind.as_str(), "--generate", "30"];
    folder.run(&[&publish[..], &["--seed", "7", "--start", "1m"], more].concat()).ok();
    let peek = ["peek", "--config", "chalk.json", "--type", name, "--from-start", "--limit", "1000", "--json"];
    let shown = folder.run(&peek).ok();
    shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_kind_is_taken_by_its_writer_in_every_encoding_of_it() {
    let mut seen = 0;
    for kind in Kind::ALL {
        let Some(reader) = reader(kind) else { continue };
        let encodings: &[&[&str]] = match kind {
            Kind::StreamingInsert => &[&[]],
            Kind::BulkInsert => &[&["--files", "files"], &["--files", "files", "--encoding", "protobuf"]],
            _ => &[&[], &["--encoding", "protobuf"], &["--encoding", "json", "--compress", "zstd"]],
        };
        for more in encodings {
            let messages = peeked(kind, reader, more);
            assert_eq!(messages.len(), MADE, "{kind:?}");
            for message in &messages {
                assert_eq!(message["refused"], json!([]), "{kind:?} {more:?}");
                assert_eq!(message["environment"], "prod", "{kind:?}");
                let rows = message["rows"].as_array().expect("rows").len();
                assert!(rows > 0 || kind == Kind::Result, "{kind:?}: {message}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 30, "{seen}");
}

#[test]
fn a_writer_alone_says_what_is_made_up() {
    let folder = plant();
    for (writer, rows) in [
        ("METRICS_BUS_WRITER", "a row of metrics to"),
        ("USAGE_BUS_WRITER", "a row of usage_events to"),
        ("QUERY_MIRROR_CONSUMER", "a request to"),
        ("ONLINE_WRITER", "to the online store"),
    ] {
        let publish = ["publish", "--config", "chalk.json", "--type", writer, "--generate", "2", "--start", "1m"];
        folder.run(&publish).ok();
        let shown = folder.run(&["peek", "--config", "chalk.json", "--type", writer]).ok();
        assert!(shown.contains(rows), "{writer}: {shown}");
    }
}

#[test]
fn what_cannot_be_made_up_is_said_and_nothing_is_published() {
    let folder = plant();
    let publish = |more: &[&str]| {
        let ended = folder.run(&[&["publish", "--config", "chalk.json", "--generate", "1"], more].concat());
        assert_eq!((ended.code, &*ended.stdout), (Some(64), ""), "{ended:?}");
        ended.stderr
    };
    let said = publish(&["--type", "USAGE_BUS_WRITER", "--what", "vectors"]);
    assert!(said.contains("does not read vectors; it reads usage, node-status, pod-status"), "{said}");
    let said = publish(&["--topic", "t", "--what", "bulk-insert"]);
    assert!(said.contains("`--files DIR` says where to put them"), "{said}");
    let said = publish(&["--topic", "t", "--what", "usage", "--files", "files"]);
    assert!(said.contains("`--files` is for bulk-insert, not for usage"), "{said}");
    let said = publish(&["--topic", "t", "--what", "streaming-insert", "--encoding", "json"]);
    assert!(said.contains("streaming inserts are parquet files"), "{said}");
    let said = publish(&["--topic", "t", "--what", "metrics", "--encoding", "arrow"]);
    assert!(said.contains("metrics takes `json` or `protobuf`"), "{said}");
    let said = publish(&["--topic", "t", "--what", "usge"]);
    assert!(said.contains("'usage'"), "{said}");
    let shown = folder.run(&["peek", "--config", "chalk.json", "--type", "USAGE_BUS_WRITER"]);
    assert!(!shown.stdout.contains("usage_events"), "{shown:?}");
}
