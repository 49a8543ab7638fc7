//! `snowflakedb/snowflake-kafka-connector#777`: what a connector writes it reads again, for ever. `#690`: the position that the store keeps
//! blocks loading again what was deleted; the whole table has to go. `#820`: after a failover to another cluster the
//! positions are not those of its log. Here loops are refused before the start, rows that were lost are loaded again from
//! the topic, and a log that ends before the group's position stops the writer, which says so.

use serde_json::json;

use crate::kit::{On, Plant, results};
use crate::postgres::{PostgresServer, Version};

#[test]
fn a_topic_that_is_written_to_and_read_is_refused() {
    let environments = json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}});
    let plant = Plant::new(On::Local, 1, "ONLINE_WRITER", &json!({"environments": environments}));
    let refused = |specs: serde_json::Value, writer_type: &'static str, mode: serde_json::Value| {
        let mut writer = json!({"bus_subscriber_type": writer_type, "name": "loop"});
        writer.as_object_mut().unwrap().extend(mode.as_object().unwrap().clone());
        plant.configure(&json!({"common_persistence_specs": specs, "writers": [writer]}));
        let checked = plant.folder.run(&["check", "--config", "chalk.json"]);
        assert_eq!(checked.code, Some(78), "{checked:?}");
        let started = plant.folder.drain(writer_type);
        assert_eq!(started.code, Some(78), "{started:?}");
        assert!(started.stderr.contains("`loop` reads"), "{started:?}");
        plant.configure(&json!({"common_persistence_specs": {
            "kafka_dlq_topic": plant.letters, "metrics_bus_topic_id": null, "bigquery_streaming_write_topic": null,
        }}));
    };
    refused(json!({"kafka_dlq_topic": plant.topic}), "ONLINE_WRITER", json!({}));
    refused(json!({"metrics_bus_topic_id": plant.topic}), "METRICS_WRITER", json!({}));
    refused(
        json!({"bigquery_streaming_write_topic": plant.topic}),
        "OFFLINE_WRITER",
        json!({"offline_mode": "republish"}),
    );
}

#[test]
fn rows_of_a_table_that_was_dropped_are_loaded_again_from_the_topic() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let environments = json!({"prod": {"offline_store": {"uri": server.uri()}}});
    let plant = Plant::new(On::Local, 2, "OFFLINE_WRITER", &json!({"environments": environments}));
    plant.publish(results(0..500));
    plant.drain();
    let all = "SELECT count(*), count(DISTINCT seq) FROM \"user\"";
    let again = ["--type", "OFFLINE_WRITER", "--config", "chalk.json", "--from-time", "1h"];
    for lose in ["DELETE FROM \"user\" WHERE seq % 3 = 0", "DROP TABLE \"user\"", "SELECT 1"] {
        server.sql(lose);
        plant.folder.run(&again).ok();
        assert_eq!(server.sql(all), "500|500", "after {lose}");
    }
    // The group has not moved, and goes on.
    plant.publish(results(500..600));
    assert!(plant.drain().stderr.contains("\"acknowledged\":100"));
    assert_eq!(server.sql(all), "600|600");
}

#[test]
fn a_log_that_ends_before_the_groups_position_stops_the_writer_which_says_so() {
    let environments = json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}});
    let plant = Plant::new(On::Kafka, 1, "ONLINE_WRITER", &json!({"environments": environments}));
    plant.publish(results(0..20));
    // As positions are that were brought over from another cluster.
    crate::kit::commit(&plant.topic, &plant.group, 500);
    let ended = plant.folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(65), "{ended:?}");
    for word in ["made anew", "500", plant.topic.as_str()] {
        assert!(ended.stderr.contains(word), "`{word}` is not in {ended:?}");
    }
    assert_eq!(plant.positions(), [(500, 20)], "nothing is passed over, and nothing is moved");
}
