//! `vectordotdev/vector#24543` and `#24215`: a store answers 401 or 403 to one message of a partition. There the message is
//! dropped, and the position of a later one is committed: it is lost without a word. `#10870` asks that it be tried
//! again instead. Here nothing behind it is committed, nothing is buried, and it is written once the right is there.

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, results};
use crate::redis::{RedisServer, Reply};
use crate::setup::eventually;

const DENIED: u64 = 17;

fn one_message_is_denied(on: On) {
    let server = RedisServer::start(&[]);
    let key = |number: u64| format!("~prod/user/{{{number}}}");
    let mut rights: Vec<String> = (0..60).filter(|number| *number != DENIED).map(key).collect();
    rights.push("~__chalk_layout__".to_owned());
    let user = ["ACL", "SETUSER", "writer", "on", ">pass", "+@all"].map(str::to_owned);
    server.command(&[&user[..], &rights].concat());
    let uri = format!("redis://writer:pass@127.0.0.1:{}", server.port());
    let plant = Plant::new(
        on,
        1,
        "ONLINE_WRITER",
        // A batch for each message: those behind it could be written, and their positions committed.
        &json!({"environments": {"prod": {"online_store": {"uri": uri}}}, "batch": {"max_rows": 1}}),
    );
    plant.publish(results(0..60));
    let writer = plant.start();
    eventually(PATIENCE, "all before it is committed", || plant.committed() == DENIED as i64);
    writer.is_in_trouble("NOPERM");
    assert!(!writer.is_ready(), "{}", writer.status());
    assert!(writer.metric("chalk_writer_store_errors_total", "denied") > 0.0);
    // The next process meets the same message.
    writer.kill();
    let writer = plant.start();
    writer.is_in_trouble("NOPERM");
    let tries = writer.metric("chalk_writer_store_errors_total", "denied");
    eventually(PATIENCE, "tried again and again", || {
        writer.metric("chalk_writer_store_errors_total", "denied") >= tries + 5.0
    });
    assert_eq!(plant.committed(), DENIED as i64);
    assert!(plant.letters().is_empty());

    server.command(&["ACL", "SETUSER", "writer", &key(DENIED)]);
    plant.is_done();
    eventually(PATIENCE, "ready again", || writer.is_ready());
    writer.stop();
    assert!(plant.letters().is_empty());
    for number in 0..60 {
        assert_eq!(
            server.command(&["HEXISTS", &format!("prod/user/{{{number}}}"), "seq"]),
            Reply::Number(1),
            "{number}"
        );
    }
}

#[test]
fn on_kafka_nothing_behind_a_denied_message_is_committed_and_it_is_written_later() {
    one_message_is_denied(On::Kafka);
}

#[test]
fn on_the_embedded_bus_nothing_behind_a_denied_message_is_committed_and_it_is_written_later() {
    one_message_is_denied(On::Local);
}
