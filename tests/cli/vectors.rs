//! Vectors from a topic to their store, by the built binary and the example configuration.

use chalk_writer::value::time::{format_timestamp, now};
use rusqlite::Connection;

use super::setup::Deployment;

const RESULT: &str = r#"{"environment_id": "prod", "observed_at": "TIME0", "tables": [{"namespace": "user", "rows": {"rows": [
 {"id": 42, "features": {"user.embedding": [1, 2, 3, 4, 5, 6, 7, 8], "user.score": 0.5}}, {"id": 43, "features": {"user.embedding": [1, 2]}}]}}]}"#;

const BATCH: &str = r#"{"environment_id": "prod", "feature": "user.embedding", "upserts": [
 {"int_id": 42, "vector": {"fp32": {"elements": [8, 7, 6, 5, 4, 3, 2, 1]}}, "observed_at": "TIME1", "payload": {"lang": {"string_value": "en"}}},
 {"int_id": 44, "vector": {"fp32": {"elements": [1, 0, 0, 0, 0, 0, 0, 0]}}, "observed_at": "TIME1"}],
 "deletes": [{"int_id": 44, "observed_at": "TIME2"}]}"#;

#[test]
fn results_and_batches_end_in_the_store_and_what_cannot_is_buried() {
    let folder = Deployment::new();
    folder.write("chalk.json", include_str!("../../config/vectors.json"));
    for topic in ["results", "dead-letters"] {
        folder.run(&["publish", "--config", "chalk.json", "--topic", topic, "--generate", "0"]).ok();
    }
    let checked = folder.run(&["check", "--config", "chalk.json"]).ok();
    assert!(checked.contains("ONLINE_VECTOR_STORE_WRITER"), "{checked}");
    // Of today, so that a tombstone is not swept before it is looked at.
    let begun = now() - 60_000_000;
    let at = |text: &str| {
        let time = |second: i64| format_timestamp(begun + second * 1_000_000);
        text.replace("TIME0", &time(0)).replace("TIME1", &time(1)).replace("TIME2", &time(2))
    };
    folder.write("result.json", &at(RESULT));
    folder.write("batch.json", &at(BATCH));
    let publish = |file: &str, ce_type: &str| {
        let topic = ["publish", "--config", "chalk.json", "--topic", "results", "--file", file, "--ce-type", ce_type];
        folder.run(&topic).ok();
    };
    // The newer first: what is older, and what comes twice, changes nothing.
    publish("batch.json", "chalk.vector_batch.v1");
    publish("result.json", "chalk.result.v1");
    publish("batch.json", "chalk.vector_batch.v1");
    let kind = ["--type", "ONLINE_VECTOR_STORE_WRITER", "--config", "chalk.json"];
    let peeked = folder.run(&[&["peek"], &kind[..], &["--limit", "3"]].concat()).ok();
    assert!(
        peeked.contains("a vector to the vector store of prod") && peeked.contains("DIMENSION_MISMATCH"),
        "{peeked}"
    );
    folder.run(&[&kind[..], &["--drain", "--listen", "off"]].concat()).ok();
    let file = Connection::open(folder.path().join("vectors.sqlite")).expect("the store");
    let mut statement = file
        .prepare("SELECT id || '|' || evicted || '|' || coalesce(payload, '') || '|' || coalesce(hex(embedding), '') FROM vectors_user__embedding ORDER BY id")
        .expect("the table");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    let rows: Vec<String> = rows.collect::<Result<_, _>>().expect("rows");
    let elements: String = (1..=8_u8)
        .rev()
        .flat_map(|element| f32::from(element).to_le_bytes())
        .map(|byte| format!("{byte:02X}"))
        .collect();
    assert_eq!(rows, [format!("42|0|{{\"lang\":\"en\"}}|{elements}"), "44|1||".to_owned()]);
    let metric: String = file.query_row("SELECT metric FROM vector_tables", [], |row| row.get(0)).expect("a row");
    assert_eq!(metric, "cos");
    let letters = folder.run(&["dlq", "list", "--config", "chalk.json"]).ok();
    assert!(letters.contains("DIMENSION_MISMATCH") && letters.contains("user/43"), "{letters}");
}
