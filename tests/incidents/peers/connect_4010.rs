//! `redpanda-data/connect#4010`: in a cooperative rebalance seven partitions lost what was in flight in each, 10,433 messages. Here
//! the store is slow, so that each partition has something in flight whenever members come and go; every row is there.

use std::time::Duration;

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, Writer, results};
use crate::postgres::{PostgresServer, Version};
use crate::proxy::Proxy;
use crate::setup::eventually;

const PARTITIONS: u32 = 7;
const A_STEP: u64 = 1_000;

#[test]
fn what_is_in_flight_when_partitions_move_is_written_once() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let proxy = Proxy::of(server.port());
    let uri = server.uri_through(proxy.port());
    let config = json!({
        "environments": {"prod": {"offline_store": {"uri": uri}}},
        "batch": {"max_rows": 200},
        "kafka": {"session.timeout.ms": "45000"},
    });
    let plant = Plant::new(On::Kafka, PARTITIONS, "OFFLINE_WRITER", &config);
    let mut members: Vec<Writer> = vec![plant.start()];
    let mut sent = 0;
    for wanted in [3, 1, 2, 4] {
        // So slow that it shows in what a writer tells of itself once a second.
        proxy.be_slow(Duration::from_millis(300));
        plant.publish(results(sent..sent + A_STEP));
        sent += A_STEP;
        eventually(PATIENCE, "something is in flight", || {
            members.iter().any(|member| member.status()["in_hand"].as_u64() > Some(0))
        });
        while members.len() < wanted {
            members.push(plant.start());
        }
        while members.len() > wanted {
            members.remove(0).stop();
        }
        eventually(PATIENCE, "shared among them", || {
            members.iter().map(Writer::assigned).sum::<f64>() == f64::from(PARTITIONS)
        });
        proxy.mend();
    }
    plant.is_done();
    let found = server.sql("SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM \"user\"");
    assert_eq!(found, format!("{sent}|{sent}|0|{}", sent - 1));
    assert!(plant.letters().is_empty());
}
