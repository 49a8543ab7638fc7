//! `snowflakedb/snowflake-kafka-connector#1538`: a topic of few messages freezes after the first, without an error. Here one message, then
//! nothing for longer than anything is kept open or counted as alive, then one more, in one partition and in others: each is
//! written and committed by itself.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{On, Plant, results};

/// Longer than sessions, leases and idle connections below.
const NOTHING: Duration = Duration::from_secs(7);

fn one_message_then_nothing_then_another(on: On, more: &Value) {
    let environments = json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}});
    let mut config = json!({"environments": environments});
    config["kafka"] = more.clone();
    let plant = Plant::new(on, 4, "ONLINE_WRITER", &config);
    let writer = plant.start();
    for number in 0..3 {
        plant.publish(results(number..number + 1));
        plant.is_done();
        assert_eq!(plant.committed(), number as i64 + 1);
        // The silence is what is tried here.
        std::thread::sleep(NOTHING);
        assert!(writer.is_ready(), "{}", writer.status());
    }
    // And where nothing has been yet.
    plant.publish(results(3..7));
    plant.is_done();
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"stored\":7") && ended.stderr.contains("\"acknowledged\":7"), "{ended:?}");
}

#[test]
fn on_kafka_a_topic_of_few_messages_is_read_on() {
    let idle = json!({"session.timeout.ms": "3000", "connections.max.idle.ms": "2000"});
    one_message_then_nothing_then_another(On::Kafka, &idle);
}

#[test]
fn on_a_kafka_that_assigns_by_itself_a_topic_of_few_messages_is_read_on() {
    let idle = json!({
        "group.protocol": "consumer", "connections.max.idle.ms": "2000",
        "session.timeout.ms": null, "heartbeat.interval.ms": null,
    });
    one_message_then_nothing_then_another(On::Kafka, &idle);
}

#[test]
fn on_the_embedded_bus_a_topic_of_few_messages_is_read_on() {
    one_message_then_nothing_then_another(On::Local, &json!(null));
}
