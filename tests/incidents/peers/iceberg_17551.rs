//! One that was thought dead goes on. In `apache/iceberg#17551` and `#17637` it commits after its successor and rows are lost, in
//! `#17340` and `#15710` its files are in the table a second time; in `redpanda-data/connect#4477` its late acknowledgement
//! moves the position of a partition that has gone. Here its positions are refused, what its successor wrote stands, and
//! rows that both wrote have one `__observation_id__`.

use crate::kit::{On, PATIENCE, Plant, results};
use crate::lake::{Lake, lake};
use crate::setup::eventually;
use serde_json::json;

const PARTITIONS: u32 = 4;
const ROUNDS: u64 = 3;
const A_ROUND: u64 = 2_000;

fn stopped_and_going_on(on: On) {
    let lake_of = Lake::new();
    let config = json!({
        "environments": lake(lake_of.0.path()),
        // Many small files, so that it is stopped with one under way.
        "batch": {"max_rows": 50},
    });
    let plant = Plant::new(on, PARTITIONS, "OFFLINE_WRITER", &config);
    let mut zombie = plant.start();
    let mut sent = 0;
    for _ in 0..ROUNDS {
        let acknowledged = || zombie.status()["acknowledged"].as_u64().expect("a number");
        let before = acknowledged();
        plant.publish(results(sent..sent + A_ROUND));
        sent += A_ROUND;
        eventually(PATIENCE, "in the middle", || acknowledged() > before);
        zombie.stand_still();
        // Not in a transaction of the embedded bus, whose file would be held until it goes on.
        while !plant.takes_writes() {
            zombie.go_on();
            zombie.stand_still();
        }
        let successor = plant.start();
        eventually(PATIENCE, "its partitions moved", || successor.assigned() == f64::from(PARTITIONS));
        plant.is_done();
        let (positions, files) = (plant.positions(), lake_of.files());
        zombie.go_on();
        // It joins again, and has what it held thrown away.
        eventually(PATIENCE, "it has found out", || (1.0..4.0).contains(&zombie.assigned()));
        assert_eq!(plant.positions(), positions, "the group does not go back");
        let now = lake_of.files();
        assert!(files.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "what the successor wrote stands");
        zombie.stop();
        zombie = successor;
    }
    zombie.stop();
    let doubled = lake_of.has_all(sent, &plant);
    println!("{on:?}: {doubled} of {sent} rows are there twice, and told by their `__observation_id__`");
    assert!(plant.drain().stderr.contains("\"acknowledged\":0"));
}

#[test]
fn on_kafka_one_that_was_thought_dead_takes_nothing_back() {
    stopped_and_going_on(On::Kafka);
}

#[test]
fn on_the_embedded_bus_one_that_was_thought_dead_takes_nothing_back() {
    stopped_and_going_on(On::Local);
}
