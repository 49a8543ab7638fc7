//! The torture checker: numbered messages, several writer processes, and everything that happens to
//! processes in production, at random from a seed. Then the stores are compared with what was sent.
//!
//! `TORTURE_SECONDS` (default 60) says how long, though every scene ([`scenes`]) is played at least
//! once; `TORTURE_SEED` repeats the choices of a run, as far as processes and clocks let a run be
//! repeated. On a failure the folder with every log is kept, and the lake in it.
//!
//! # What is checked
//! In the end all that was sent is stored or buried, the newest on top, and nothing else. On the way
//! all that a group has committed is there already, at moments when nobody can write ([`check`]).
//! The lake alone may have a row twice, but not after a handover in which nothing else happened.
//!
//! # Seen to fail
//! Each by hand in the writer, one at a time, with either bus:
//! - *Blind overwrite*: the online store takes a row though what it has is newer. Older on top.
//! - *Acknowledge before write*: a batch is acknowledged when it is cut, or after a second though it is
//!   not written yet; messages are acknowledged when they are received. Acknowledged and not there,
//!   online and in the lake, and then lost.
//! - *Drop a row*: of some batches one row is left out. Lost.
//! - *Ignore a partial revocation*:
//!   - as if everything went: what is in hand of kept partitions is thrown away as well. Lost.
//!   - messages of the going partitions are forgotten first and the kept ones of the same batch
//!     acknowledged then, which acknowledges both. Lost.
//!   - acknowledgements count for a partition whatever the assignment that it was read under.
//!     Acknowledged and not there.
//!   - the handover is let go at once, with nothing settled and nothing forgotten. That loses nothing,
//!     since the bus no longer counts acknowledgements; rows are doubled by a handover in peace.
//!
//! Not seen to fail here: a pipeline that goes on before the bus has let partitions go. Two batches would
//! have to be written within some five milliseconds; the property test of `tests/runtime` finds it.

// A test has no users: `pub` here only means that another module of it calls it.
#![allow(unreachable_pub, clippy::unwrap_used)]

mod bus;
mod chaos;
mod check;
mod logs;
mod look;
mod scenes;
mod sent;
mod stores;
mod writers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::TestBus;
use chaos::Chaos;
use check::{Checker, Problem, Wrong};
use look::Online;
use stores::{Lake, Redis, Sqlite, Store};
use writers::{Kind, Writers};

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
    let redis = Redis::start(&folder);
    let online = Online::Redis(redis.port());
    torture(&folder, Box::new(kafka), Box::new(redis), online);
}

#[test]
fn nothing_is_lost_and_nothing_older_is_on_top_with_the_embedded_bus_and_store() {
    let folder = folder("local");
    let path = folder.join("online.sqlite");
    torture(&folder, Box::new(bus::Local::new(&folder)), Box::new(Sqlite::new(path.clone())), Online::Sqlite(path));
}

fn torture(folder: &Path, bus: Box<dyn TestBus>, store: Box<dyn Store>, online: Online) {
    let (seed, seconds) = (seed(), variable("TORTURE_SECONDS", 60));
    println!("torture: seed {seed}, {seconds} s, {}", folder.display());
    let lake = Lake::mount(folder);
    let config = writers::write_config(folder, &*bus, &online.uri(), &lake.root());
    let mut writers = Writers::new(folder, &config);
    for kind in Kind::ALL {
        writers.at_least(kind, 2);
    }
    let checker = Checker::new(online, look::Lake::new(lake.root()));
    let mut chaos = Chaos::new(seed, bus, [store, Box::new(lake)], writers, checker);
    chaos.run(Duration::from_secs(seconds));
    chaos.say(&format!("{} messages sent; draining", chaos.producer.sent.len()));
    chaos.writers.finish();
    chaos.checker.finish(&chaos.producer.sent, &mut *chaos.bus);
    chaos.checker.problems.sort();
    chaos.checker.problems.dedup();
    report(seed, &chaos);
    let problems = &chaos.checker.problems;
    assert!(
        problems.is_empty(),
        "seed {seed}: {} problems, logs in {}:\n{}",
        problems.len(),
        folder.display(),
        some_of_each(problems)
    );
    drop(chaos);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What happened, in a few lines.
fn report(seed: u64, chaos: &Chaos) {
    let Chaos { bus, stores, producer, checker, faults, .. } = chaos;
    let faults: Vec<String> = faults.iter().map(|(what, times)| format!("{times} × {what}")).collect();
    let (letters, again) = checker.letters();
    let count = |wrong| checker.problems.iter().filter(|(found, _)| *found == wrong).count();
    let stores = stores.each_ref().map(|store| store.name()).join(" and ");
    println!(
        "torture: seed {seed}, {} to {stores}, {} s
torture: {}
torture: {} messages, {} promises checked on the way; {} rows of history in {} files, {} of them written again; {letters} dead letters, {again} of them buried again
torture: {} lost, {} older on top, {} acknowledged and not there, {} doubled by a handover in peace, {} never sent",
        bus.name(),
        chaos.begun.elapsed().as_secs(),
        faults.join(", "),
        producer.sent.len(),
        checker.promises,
        checker.lake.history.len(),
        checker.lake.files(),
        checker.lake.doubled(),
        count(Wrong::Lost),
        count(Wrong::OlderOnTop),
        count(Wrong::AcknowledgedTooEarly),
        count(Wrong::DoubledInPeace),
        count(Wrong::NeverSent),
    );
}

/// What is wrong, by kind and writer, and some of each.
fn some_of_each(problems: &[Problem]) -> String {
    let mut groups: BTreeMap<(Wrong, &str), Vec<&str>> = BTreeMap::new();
    for (wrong, what) in problems {
        let (writer, what) = what.split_once(": ").expect("a problem names its writer first");
        groups.entry((*wrong, writer)).or_default().push(what);
    }
    let some = |((wrong, writer), all): ((Wrong, &str), Vec<&str>)| {
        let some: Vec<String> = all.iter().take(5).map(|what| format!("  {what}")).collect();
        format!("{writer}: {} {wrong}\n{}", all.len(), some.join("\n"))
    };
    groups.into_iter().map(some).collect::<Vec<_>>().join("\n")
}
