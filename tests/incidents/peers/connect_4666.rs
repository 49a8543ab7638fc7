//! `redpanda-data/connect#4666`: after a commit whose fate was unknown its files are deleted, though it had landed. `#4591` and
//! `#4605`: files are there twice, and their ends tell wrong numbers of rows. Here a file that is in its place is never
//! touched again, by the process that put it there or by the next ones, whenever the first was killed.

use std::collections::BTreeMap;

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, results};
use crate::lake::{Lake, lake};
use crate::setup::eventually;

const KILLS: u64 = 8;
const A_ROUND: u64 = 1_500;

#[test]
fn a_file_in_its_place_is_never_touched_again_whoever_is_killed() {
    let lake_of = Lake::new();
    let config = json!({"environments": lake(lake_of.0.path()), "batch": {"max_rows": 40}});
    let plant = Plant::new(On::Local, 3, "OFFLINE_WRITER", &config);
    let mut seen = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(4666);
    for round in 0..KILLS {
        plant.publish(results(round * A_ROUND..(round + 1) * A_ROUND));
        let writer = plant.start();
        let so_many = random.u64(1..A_ROUND / 2);
        eventually(PATIENCE, "in the middle", || writer.status()["acknowledged"].as_u64() >= Some(so_many));
        writer.kill();
        let now = lake_of.files();
        assert!(seen.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "one of an earlier process is changed");
        seen = now;
    }
    plant.drain();
    let now = lake_of.files();
    assert!(seen.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "one of a killed process is changed");
    let doubled = lake_of.has_all(KILLS * A_ROUND, &plant);
    println!("{doubled} rows are there twice after {KILLS} kills, and told by their `__observation_id__`");
}
