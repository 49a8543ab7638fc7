//! The torture checker: numbered messages, several writer processes, and everything that happens to
//! processes in production, at random from a seed. Then the stores are compared with what was sent.
//!
//! A seed is four runs of `ONLINE_WRITER` and `OFFLINE_WRITER`, two on each bus, to which it deals the stores ([`deal`]):
//! each of them comes in every seed. Messages come in every encoding ([`bodies`]). And it is two runs of all other
//! writers, one on each bus ([`rows`]), and one of the two on Google's emulator of Pub/Sub.
//!
//! `TORTURE_SECONDS` (default 30) says how long a run is, though every scene ([`scenes`], [`people`]) is played
//! at least once, which takes longer; `TORTURE_REPORT` names a file to which a line for each writer is appended, of which
//! `table.py` makes a table; `TORTURE_SEED` repeats the choices of a seed, as far as processes and
//! clocks let a run be repeated. On a failure the folder with every log is kept, and the lake in it.
//!
//! # What is checked
//! What may come of what has happened is what `explain` says of the configuration ([`told`]): a row that is there
//! twice where that is excluded fails the run.
//! In the end all that was sent is stored or buried, the newest on top, and nothing else. What comes right when
//! its dead letter is sent again was sent again, marked once, and is stored like everything else. On the way all
//! that a group has committed is there already, at moments when nobody can write ([`check`]).
//! So the lake alone may have a row twice, and not by a handover in which nothing else happened.
//!
//! # Seen to fail
//! Each by hand in the writer, one at a time. With either bus, Redis or SQLite, and the lake:
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
//! With the other stores, encodings and commands:
//! - *Postgres*: the online store takes a row though what it has is newer. Older on top. A write that failed, as
//!   over a cut connection or a restart in mid-`COPY`, counts as written. Acknowledged and not there. A row has
//!   another `__observation_id__` each time it is read. There twice.
//! - *Redis Cluster*: calls that a dead node did not answer count as written. Acknowledged and not there.
//! - *Arrow*: the last row of each table is left out of the history. Acknowledged and not there.
//! - *Compression*: of some packed bodies nothing is unpacked. Acknowledged and not there.
//! - *`dlq replay`*: no marks, or `content-encoding` stays on a body that was edited. Not replayed and marked
//!   once. Marks first and messages then. Lost, and not marked once. Messages without their `ce_id`. There twice.
//! - *`skip`*: one message too many is passed over; or what lies before is not written. Acknowledged and not there,
//!   and not passed over by itself.
//!
//! Not seen to fail here: a pipeline that goes on before the bus has let partitions go. Two batches would
//! have to be written within some five milliseconds; the property test of `tests/runtime` finds it. Nor
//! `wait_replicas` that is ignored: on one machine a replica is hardly ever behind; the contract suite of the
//! stores finds that.

// A test has no users: `pub` here only means that another module of it calls it.
#![allow(unreachable_pub, clippy::unwrap_used)]

mod bodies;
mod bus;
#[path = "../services/certificates.rs"]
mod certificates;
mod chaos;
mod check;
mod clock;
mod config;
mod deal;
mod keepers;
mod logs;
mod look;
mod own;
mod people;
#[path = "../services/postgres/server.rs"]
mod postgres;
#[path = "../services/proxy.rs"]
mod proxy;
mod recovery;
#[path = "../services/redis.rs"]
mod redis;
#[path = "../services/redis_cluster.rs"]
mod redis_cluster;
mod report;
mod rows;
mod scenes;
mod sent;
mod set_back;
mod stores;
mod told;
mod wire;
mod writers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chaos::Chaos;
use check::{Checker, Problem, Wrong};
use serde_json::{Value, json};
use told::Told;
use writers::{Job as _, Kind, Writers};

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// One for all runs of this process.
static SEED: LazyLock<u64> =
    LazyLock::new(|| variable("TORTURE_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()));

fn folder(run: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("chalk-writer-torture-{run}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn nothing_is_lost_doubled_or_older_on_top_in_run_0_of_a_seed() {
    torture(0);
}

#[test]
fn nothing_is_lost_doubled_or_older_on_top_in_run_1_of_a_seed() {
    torture(1);
}

#[test]
fn nothing_is_lost_doubled_or_older_on_top_in_run_2_of_a_seed() {
    torture(2);
}

#[test]
fn nothing_is_lost_doubled_or_older_on_top_in_run_3_of_a_seed() {
    torture(3);
}

fn torture(run: usize) {
    let (seed, seconds) = (*SEED, variable("TORTURE_SECONDS", 30));
    let folder = folder(&run.to_string());
    let hand = deal::to(run, seed);
    println!("torture: run {run} of seed {seed}, {hand:?}, {seconds} s, {}", folder.display());
    let (bus, online, offline) = (hand.bus(&folder), hand.online(&folder), hand.offline(&folder));
    let config = config::write(&folder, &*bus, &online.uri(), &offline.uri());
    let mut writers = Writers::new(&folder, &config, &Kind::ALL);
    for kind in Kind::ALL {
        writers.at_least(kind, 2);
    }
    let checker = Checker::new(online.reader(), offline.reader(), Told::of(&config, &Kind::ALL));
    let mut chaos = Chaos::new(run, seed.wrapping_add(run as u64), bus, [online, offline], writers, checker);
    chaos.run(Duration::from_secs(seconds));
    chaos.say(&format!("{} messages sent; draining", chaos.producer.sent.len()));
    chaos.writers.leave();
    chaos.checker.told.note("SIGTERM");
    chaos.writers.drain(&Kind::ALL);
    chaos.replay_everything();
    chaos.writers.drain(&Kind::ALL);
    chaos.checker.finish(&chaos.producer.sent, &mut *chaos.bus);
    chaos.checker.problems.sort();
    chaos.checker.problems.dedup();
    report(run, seed, &chaos);
    let problems = &chaos.checker.problems;
    assert!(
        problems.is_empty(),
        "run {run} of seed {seed}: {} problems, logs in {}:\n{}",
        problems.len(),
        folder.display(),
        some_of_each(problems)
    );
    drop(chaos);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What happened, in a few lines.
fn report(run: usize, seed: u64, chaos: &Chaos) {
    report::append(&Kind::ALL.map(|kind| line(run, seed, chaos, kind)));
    let Chaos { bus, stores, producer, checker, faults, .. } = chaos;
    let faults: Vec<String> = faults.iter().map(|(what, times)| format!("{times} × {what}")).collect();
    let (letters, again) = checker.letters();
    let count = |wrong| checker.problems.iter().filter(|(found, _)| *found == wrong).count();
    let stores = stores.each_ref().map(|store| store.name()).join(" and ");
    println!(
        "torture: run {run} of seed {seed}, {} to {stores}, {} s
torture: {}
torture: {} messages, {} promises checked on the way; {} rows of history, {} of them written again; {letters} dead letters, {again} of them buried again, {} replayed
torture: {} lost, {} older on top, {} acknowledged and not there, {} doubled by a handover in peace, {} there twice, {} never sent, {} not replayed and marked once, {} not passed over by itself",
        bus.name(),
        chaos.begun.elapsed().as_secs(),
        faults.join(", "),
        producer.sent.len(),
        checker.promises,
        checker.history.rows.len(),
        checker.history.doubled(),
        checker.marks(),
        count(Wrong::Lost),
        count(Wrong::OlderOnTop),
        count(Wrong::AcknowledgedTooEarly),
        count(Wrong::DoubledInPeace),
        count(Wrong::Doubled),
        count(Wrong::NeverSent),
        count(Wrong::NotMarkedOnce),
        count(Wrong::NotPassedOver),
    );
}

/// The same of one writer, for `tests/torture/table.py`.
fn line(run: usize, seed: u64, chaos: &Chaos, kind: Kind) -> Value {
    let prefix = format!("{kind:?}: ");
    let problems = || chaos.checker.problems.iter().filter(|(_, what)| what.starts_with(&prefix));
    let count = |wrong| problems().filter(|(found, _)| *found == wrong).count();
    let sent = &chaos.producer.sent;
    let duplicates = if kind == Kind::Offline { chaos.checker.history.doubled() } else { 0 };
    json!({
        "seed": seed, "run": run.to_string(), "seconds": chaos.begun.elapsed().as_secs(),
        "bus": chaos.bus.name(), "store": chaos.stores[kind as usize].name(), "writer": kind.type_name(),
        "messages": sent.len(), "bad": sent.iter().filter(|message| message.content.bad.is_some()).count(),
        "faults": chaos.faults, "promises": chaos.checker.promises,
        "lost": count(Wrong::Lost), "acknowledged_too_early": count(Wrong::AcknowledgedTooEarly),
        "older_on_top": count(Wrong::OlderOnTop), "doubled": count(Wrong::Doubled),
        "doubled_in_peace": count(Wrong::DoubledInPeace), "never_sent": count(Wrong::NeverSent),
        "duplicates": duplicates, "seconds_to_recover": chaos.recovery.of(kind.group()),
    })
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
