//! `confluentinc/kafka-connect-bigquery#481`: a quota is used up, and the connector stops without a word. `#333`, `#68`, `#74` and
//! `Aiven-Open/bigquery-connector-for-apache-kafka#151`: a part of a batch fails, and rows are lost or positions are wrong. Here a
//! quota is waited for and said, and of a batch with bad rows in it those alone are kept aside.

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, results};
use crate::postgres::{PostgresServer, Version};
use crate::setup::eventually;

fn postgres() -> (PostgresServer, serde_json::Value) {
    let server = PostgresServer::start(Version::Debian, &[]);
    let environments = json!({"prod": {"offline_store": {"uri": server.uri()}}});
    (server, environments)
}

#[test]
fn a_quota_that_is_used_up_is_said_and_waited_for() {
    let (server, environments) = postgres();
    let plant = Plant::new(On::Local, 2, "OFFLINE_WRITER", &json!({"environments": environments}));
    let writer = plant.start();
    plant.publish(results(0..100));
    plant.is_done();
    // No connection more for this role, and none left.
    server.sql("ALTER ROLE writer CONNECTION LIMIT 0");
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'");
    plant.publish(results(100..400));
    writer.is_in_trouble("53300");
    let before = writer.metric("chalk_writer_store_errors_total", "offline store of prod");
    eventually(PATIENCE, "asked again and again", || {
        writer.metric("chalk_writer_store_errors_total", "offline store of prod") >= before + 5.0
    });
    let status = writer.status();
    assert_eq!((&status["phase"], &status["lag_messages"]), (&json!("running"), &json!(300)), "{status}");
    assert_eq!((plant.committed(), plant.letters().len()), (100, 0));
    server.sql("ALTER ROLE writer CONNECTION LIMIT -1");
    plant.is_done();
    assert_eq!(writer.status()["troubles"], json!([]));
    writer.stop();
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT seq) FROM \"user\""), "400|400");
}

#[test]
fn of_a_batch_in_which_some_rows_fail_those_alone_are_kept_aside() {
    let (server, environments) = postgres();
    let config = json!({"environments": environments, "batch": {"max_age": "1s"}});
    let plant = Plant::new(On::Local, 1, "OFFLINE_WRITER", &config);
    plant.publish(results(0..10));
    plant.drain();
    // What only the server can say, and does not say of which row.
    server.sql("ALTER TABLE \"user\" ADD CHECK (seq NOT IN (10, 47, 48, 129))");
    plant.publish(results(10..130));
    let ended = plant.drain();
    assert!(ended.stderr.contains("\"acknowledged\":120") && ended.stderr.contains("\"buried\":4"), "{ended:?}");
    let place = |number| ("VALUE_REFUSED".to_owned(), format!("{}/0/{number}", plant.topic));
    assert_eq!(plant.letters(), [10, 47, 48, 129].map(place));
    let found = server.sql("SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM \"user\"");
    assert_eq!(found, "126|126|0|128");
    assert_eq!(plant.committed(), 130);
    assert!(plant.drain().stderr.contains("\"acknowledged\":0"));
}
