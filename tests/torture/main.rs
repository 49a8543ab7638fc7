//! The torture checker: numbered messages, several writer processes, and everything that happens to
//! processes in production, at random from a seed. Then the stores are compared with what was sent.
//!
//! `TORTURE_SECONDS` (default 60) says how long, `TORTURE_SEED` repeats the choices of a run, as far
//! as processes and clocks let a run be repeated. On a failure the folder with every log is kept.
//!
//! Seen to fail with a writer broken by hand: a store that overwrites blindly (an older value on
//! top), acknowledging before writing (rows lost), dropping one row of a batch (rows lost), and
//! ignoring that part of the partitions was taken away (rows lost).

// A test has no users: `pub` here only means that another module of it calls it.
#![allow(unreachable_pub, clippy::unwrap_used)]

mod bus;
mod chaos;
mod check;
mod processes;
mod sent;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bus::TestBus;
use chaos::{Aftermath, Chaos};
use processes::{Redis, Writers};

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("chalk-writer-torture-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn seed() -> u64 {
    variable("TORTURE_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

#[test]
fn nothing_is_lost_and_nothing_older_is_on_top_with_kafka_redis_and_the_lake() {
    let folder = folder("kafka");
    let kafka = bus::Kafka::start(&folder);
    torture(&folder, Box::new(kafka), true);
}

#[test]
fn nothing_is_lost_and_nothing_older_is_on_top_with_the_embedded_bus_and_store() {
    let folder = folder("local");
    let local = bus::Local::new(&folder);
    torture(&folder, Box::new(local), false);
}

fn torture(folder: &std::path::Path, bus: Box<dyn TestBus>, with_redis: bool) {
    let (seed, seconds) = (seed(), variable("TORTURE_SECONDS", 60));
    println!("torture: seed {seed}, {seconds} s, {}", folder.display());
    let redis = with_redis.then(|| Redis::start(folder));
    let config = processes::write_config(folder, &*bus, redis.as_ref());
    let mut writers = Writers::new(folder, &config);
    for _ in 0..2 {
        writers.start("ONLINE_WRITER");
        writers.start("OFFLINE_WRITER");
    }
    let mut chaos = Chaos::new(seed, bus, redis, writers);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let pause = chaos.act();
        chaos.let_pass(pause);
    }
    let Aftermath { bus, redis, mut writers, sent } = chaos.calm_down();
    println!("torture: {} messages sent; draining", sent.messages.len());
    writers.finish();
    let online = match &redis {
        Some(redis) => check::redis(&sent, redis),
        None => check::sqlite(&sent, &folder.join("online.sqlite")),
    };
    let problems = [online, check::lake(&sent, &folder.join("lake")), check::dead_letters(&sent, &bus.dead_letters())];
    drop((redis, writers, bus));
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    assert!(
        problems.is_empty(),
        "seed {seed}: {} problems, logs in {}:\n{}",
        problems.len(),
        folder.display(),
        problems.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    std::fs::remove_dir_all(folder).unwrap();
}
