//! What writers have written, as `show` has it for people and for programs.

use serde_json::{Value, json};

use super::setup::Deployment;

const CONFIG: &str = r#"{
  "common_persistence_specs": {
    "bus_backend": "LOCAL", "kafka_dlq_topic": "dlq", "result_bus_topic_id": "results",
    "metrics_bus_topic_id": "metrics", "usage_bus_topic_id": "usage"
  },
  "environments": {
    "prod": {
      "online_store": {"uri": "redis://127.0.0.1:1"},
      "offline_store": {"uri": "file:./lake"},
      "metrics_store": {"uri": "sqlite:metrics.sqlite"},
      "usage_store": {"uri": "sqlite:usage.sqlite"},
      "vector_store": {"uri": "sqlite:vectors.sqlite"}
    }
  }
}"#;

fn folder() -> Deployment {
    let folder = Deployment::new();
    folder.write("chalk.json", CONFIG);
    for topic in ["results", "dlq", "metrics", "usage"] {
        folder.run(&["publish", "--config", "chalk.json", "--topic", topic, "--generate", "0"]).ok();
    }
    folder
}

fn filled(writers: &[&str]) -> Deployment {
    let folder = folder();
    for writer in writers {
        // What one writes another reads.
        if !matches!(*writer, "METRICS_BUS_WRITER") {
            let publish = ["publish", "--config", "chalk.json", "--type", writer, "--generate", "50", "--start", "1m"];
            folder.run(&publish).ok();
        }
        folder.drain(writer).ok();
    }
    folder
}

fn show(folder: &Deployment, writer: &str, more: &[&str]) -> String {
    folder.run(&[&["show", "--config", "chalk.json", "--type", writer], more].concat()).ok()
}

/// Rows of each table of the first destination.
fn counts(shown: &Value) -> Vec<(String, Option<u64>)> {
    let tables = shown[0]["tables"].as_array().expect("tables").iter();
    tables.map(|table| (table["table"].as_str().expect("a name").to_owned(), table["rows"].as_u64())).collect()
}

fn json_of(folder: &Deployment, writer: &str, more: &[&str]) -> Value {
    serde_json::from_str(&show(folder, writer, &[more, &["--json"]].concat())).expect("JSON")
}

#[test]
fn tables_are_shown_with_their_newest_rows() {
    let folder = filled(&["USAGE_BUS_WRITER"]);
    let file = rusqlite::Connection::open(folder.path().join("usage.sqlite")).expect("the store");
    let count: i64 = file.query_row("SELECT count(*) FROM usage_events", [], |row| row.get(0)).expect("rows");
    let newest: String =
        file.query_row("SELECT max(started_at) FROM usage_events", [], |row| row.get(0)).expect("a row");
    let shown = show(&folder, "USAGE_BUS_WRITER", &[]);
    assert!(shown.starts_with(&format!("usage store of prod\n  usage_events: {count} rows\n")), "{shown}");
    let shown = json_of(&folder, "USAGE_BUS_WRITER", &["--limit", "2"]);
    assert_eq!(shown[0]["destination"], "usage store of prod");
    assert_eq!(counts(&shown), [("usage_events".to_owned(), Some(count.unsigned_abs()))]);
    let rows = shown[0]["tables"][0]["newest"].as_array().expect("rows");
    assert_eq!((rows.len(), &rows[0]["started_at"]), (2, &json!(newest)));
    assert!(rows[0]["dimensions"]["pool"].is_string(), "JSON is shown as what it is: {}", rows[0]);
    let whole = show(&folder, "USAGE_BUS_WRITER", &["--table", "usage_events", "--limit", "1"]);
    for column in ["event_id", "environment_id", "cost_micros", "dimensions"] {
        assert!(whole.lines().any(|line| line.trim_start().starts_with(column)), "{column}: {whole}");
    }
}

#[test]
fn every_store_without_a_server_and_the_topics_that_are_published_to_are_shown() {
    let folder = filled(&["OFFLINE_WRITER", "METRICS_WRITER", "METRICS_BUS_WRITER", "ONLINE_VECTOR_STORE_WRITER"]);
    let lake = show(&folder, "OFFLINE_WRITER", &[]);
    assert!(lake.contains("  user: ") && lake.contains(" parquet file") && lake.contains("__id__"), "{lake}");
    let user = json_of(&folder, "OFFLINE_WRITER", &["--table", "user", "--limit", "1"]);
    assert!(user[0]["tables"][0]["newest"][0]["__observation_id__"].is_string(), "{user}");

    let metrics = json_of(&folder, "METRICS_BUS_WRITER", &[]);
    let counts = counts(&metrics);
    assert!(counts.iter().any(|(name, rows)| name == "metrics" && rows.is_some_and(|rows| rows > 0)), "{counts:?}");
    assert!(counts.contains(&("metrics_merged".to_owned(), None)), "a view is not counted: {counts:?}");
    let merged = json_of(&folder, "METRICS_BUS_WRITER", &["--table", "metrics_merged", "--limit", "2"]);
    assert_eq!(merged[0]["tables"][0]["newest"].as_array().map(Vec::len), Some(2));

    let messages = json_of(&folder, "METRICS_WRITER", &["--limit", "100"]);
    let messages = messages[0]["messages"].as_array().expect("messages").clone();
    let of = |kind: &str| messages.iter().find(|message| message["type"] == kind).expect(kind);
    assert!(of("chalk.metrics.v1")["body"]["metrics"][0]["source"].is_string(), "protobuf is shown as JSON");
    assert!(of("chalk.query.v1")["body"]["query_name"].is_string());
    let shown = show(&folder, "METRICS_WRITER", &[]);
    assert!(shown.starts_with("topic `metrics`\n") && shown.contains("chalk.query.v1  environment prod"), "{shown}");

    let vectors = show(&folder, "ONLINE_VECTOR_STORE_WRITER", &[]);
    assert!(vectors.contains("vectors_merchant__embedding: ") && vectors.contains("vector_tables: 1 row"), "{vectors}");
    assert!(!vectors.contains("vector_index_1_"), "the tables of an index are its own: {vectors}");
}

#[test]
fn what_is_not_there_is_said() {
    let folder = folder();
    assert_eq!(show(&folder, "USAGE_BUS_WRITER", &[]), "usage store of prod\n  no tables yet\n");
    assert!(!folder.path().join("usage.sqlite").exists(), "looking makes nothing");
    assert_eq!(show(&folder, "OFFLINE_WRITER", &[]), "offline store of prod\n  no tables yet\n");
    assert_eq!(show(&folder, "METRICS_WRITER", &[]), "topic `metrics`\n  no messages yet\n");
    let failing = |writer: &str, more: &[&str]| {
        let ended = folder.run(&[&["show", "--config", "chalk.json", "--type", writer], more].concat());
        (ended.code, ended.stderr)
    };
    let (code, said) = failing("METRICS_WRITER", &["--table", "x"]);
    assert!(code == Some(64) && said.contains("METRICS_WRITER publishes messages and has no tables"), "{said}");
    let (code, said) = failing("ONLINE_WRITER", &[]);
    let none = "online store of prod: there are no tables to show in a `redis:` store; there are in sqlite, postgres";
    assert!(code == Some(1) && said.contains(none), "{said}");
    let folder = filled(&["USAGE_BUS_WRITER"]);
    let ended = folder.run(&["show", "--config", "chalk.json", "--type", "USAGE_BUS_WRITER", "--table", "user'\"; --"]);
    let known = "usage store of prod: no table `user'\"; --`; there is `usage_events`";
    assert!(ended.code == Some(1) && ended.stderr.contains(known), "{ended:?}");
}
