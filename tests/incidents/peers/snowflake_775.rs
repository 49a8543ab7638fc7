//! `snowflakedb/snowflake-kafka-connector#775`: messages without rows (null values, dead letters) leave gaps in the positions, at which
//! reading stops. Here they are acknowledged with the others, wherever they lie, also in the end and alone.

use serde_json::json;

use crate::kit::{On, Plant, results};

fn messages_without_rows(on: On) {
    let environments = json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}});
    // Half of them are bad, as they may be here.
    let config = json!({
        "environments": environments, "batch": {"max_rows": 2}, "dlq": {"max_ratio": 1.0, "max_consecutive": 1000},
    });
    let plant = Plant::new(on, 1, "ONLINE_WRITER", &config);
    let null = || std::iter::repeat_n(None, 3);
    let bad = || std::iter::repeat_n(Some("{\"environment_id\": \"prod\", \"tables\": 5}".to_owned()), 3);
    let empty = || std::iter::repeat_n(Some("{\"environment_id\": \"prod\"}".to_owned()), 3);
    let writer = plant.start();
    let mut sent = 0;
    let mut publish = |bodies: Vec<Option<String>>| {
        sent += bodies.len() as i64;
        plant.publish(bodies);
        plant.is_done();
        assert_eq!(plant.committed(), sent);
    };
    publish(null().collect());
    publish(results(0..4).chain(bad()).chain(results(4..5)).chain(null()).chain(empty()).collect());
    publish(bad().collect());
    publish(empty().collect());
    publish(results(5..9).collect());
    let status = writer.status();
    assert_eq!(status["stored"], json!(9), "{status}");
    assert_eq!(status["acknowledged"].as_i64(), Some(sent), "{status}");
    writer.stop();
    assert!(plant.drain().stderr.contains("\"acknowledged\":0"));
}

#[test]
fn on_kafka_messages_without_rows_stop_nothing() {
    messages_without_rows(On::Kafka);
}

#[test]
fn on_the_embedded_bus_messages_without_rows_stop_nothing() {
    messages_without_rows(On::Local);
}
