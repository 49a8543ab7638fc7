//! `apache/beam#26515` and `#26520`: a write was done and its answer lost; the next attempt hears "I have that already", which is
//! taken for a failure, and rows are lost. `GoogleCloudPlatform/DataflowTemplates#2016`: failures are taken for success. Here the same
//! rows are sent again until it is known what became of them, and what the server has already counts as written, once.

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, results};
use crate::postgres::{PostgresServer, Version};
use crate::proxy::Proxy;
use crate::redis::{RedisServer, Reply};
use crate::setup::eventually;

const SENT: u64 = 300;

#[test]
fn of_rows_that_postgres_has_committed_unheard_each_is_there_once() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let proxy = Proxy::of(server.port());
    let uri = format!("{}?statement_timeout=1s", server.uri_through(proxy.port()));
    let environments = json!({"prod": {"offline_store": {"uri": uri}}});
    let plant = Plant::new(On::Local, 1, "OFFLINE_WRITER", &json!({"environments": environments}));
    let writer = plant.start();
    plant.publish(results(0..1));
    plant.is_done();
    for round in 0..3 {
        let (from, to) = (1 + round * SENT, 1 + (round + 1) * SENT);
        proxy.lose_answers_to(b"COMMIT\0");
        plant.publish(results(from..to));
        eventually(PATIENCE, "a commit is on its way", || proxy.loses_answers());
        eventually(PATIENCE, "the server has it", || server.sql("SELECT max(seq) FROM \"user\"") >= from.to_string());
        writer.is_in_trouble("offline store of prod");
        assert!(plant.committed() < to as i64, "what was not heard is not acknowledged");
        proxy.mend();
        plant.is_done();
    }
    let all = 1 + 3 * SENT;
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT seq) FROM \"user\""), format!("{all}|{all}"));
    // It was told of each by the second answer: these rows are not news to the server.
    let stale = writer.status()["stale"].as_u64();
    assert!(stale > Some(0), "{}", writer.status());
    writer.stop();
    assert!(plant.letters().is_empty());
}

#[test]
fn of_values_that_redis_has_set_unheard_the_newest_stand() {
    let server = RedisServer::start(&[]);
    let proxy = Proxy::of(server.port());
    let environments = json!({"prod": {"online_store": {"uri": format!("redis://127.0.0.1:{}", proxy.port())}}});
    let plant = Plant::new(On::Local, 1, "ONLINE_WRITER", &json!({"environments": environments}));
    let writer = plant.start();
    plant.publish(results(0..1));
    plant.is_done();
    proxy.lose_answers_to(b"EVALSHA");
    plant.publish(results(1..SENT));
    eventually(PATIENCE, "a write is on its way", || proxy.loses_answers());
    let has = |number: u64| server.command(&["HEXISTS", &format!("prod/user/{{{number}}}"), "seq"]) == Reply::Number(1);
    eventually(PATIENCE, "the server has it", || (1..SENT).any(has));
    writer.is_in_trouble("online store of prod");
    assert!(plant.committed() < SENT as i64, "what was not heard is not acknowledged");
    proxy.mend();
    plant.is_done();
    assert!((0..SENT).all(has));
    let status = writer.status();
    assert!(status["stale"].as_u64() > Some(0), "{status}");
    assert_eq!((&status["acknowledged"], &status["buried"]), (&json!(SENT), &json!(0)), "{status}");
    writer.stop();
}
