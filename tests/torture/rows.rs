//! Runs of rows: every writer at once, each with numbered messages of its own, under faults that a seed chooses. One small
//! checker compares what is in the stores with what was sent, and with what `explain` says may come of what happened.
//!
//! A [`role::Role`] says of a writer how its message is made and what that leaves. Every writer of the program's registry
//! has one here, and every store of it a place ([`super::keepers`]). One of two environments has a store that can be away
//! while that of the other is there ([`parking`]). The first run can be on servers of one's own ([`super::own`]).
//!
//! # Seen to fail
//! Each by hand in the writer, one at a time, and gone again:
//! - *`METRICS_WRITER`*: the last result of each batch is left out of it. Lost, in the sums and among the queries.
//! - *`METRICS_BUS_WRITER`*: a partial is keyed by something else each time that its message is read. There twice.
//! - *`USAGE_BUS_WRITER`*: the third event of a message is left out. Lost.
//! - *`OFFLINE_STORE_BULK_INSERT_WRITER`*: the ledger in Postgres is not asked what has landed. There twice.
//! - *`ONLINE_VECTOR_STORE_WRITER`*: a vector is taken though what is there is newer. Older on top.
//! - *`QUERY_MIRROR_CONSUMER`*: each seventh outcome of a batch is not published; each third query is passed over and not
//!   counted. Lost.
//! - *`OFFLINE_WRITER` that republishes*: a row has another `__observation_id__` each time it is read. There twice, under two
//!   ids.
//! - *every one with a store*, `OFFLINE_STORE_STREAMING_INSERT_WRITER` too: a write that failed, as over a restart or a
//!   lost answer, counts as written. Lost: of loads, events, rows of history, sums, queries and vectors.
//! - *doubles*, in runs with kills: a second group writes usage into the lake; writes, partials and outcomes of some batches are
//!   made twice; acknowledgements come a second late. There twice, though not every one of them: `docs/torture.md` has the runs.

mod api;
mod bulk;
mod check;
mod compare;
mod config;
mod deal;
mod doubles;
mod faults;
mod features;
mod flight;
mod history;
mod log;
mod metrics;
mod metrics_bus;
mod mirror;
mod parking;
mod place;
mod report;
mod republish;
mod role;
mod run;
mod shed;
mod stores;
mod usage;
mod vectors;

use std::collections::BTreeSet;
use std::time::Duration;

use chalk_writer::writer::WRITERS;

use super::writers::Job;
use super::{SEED, folder, some_of_each, variable};
use role::Role;
use run::Run;

/// All of them. Those of history are dealt: they read one topic.
static ROLES: &[&Role] = &[
    &features::ROLE,
    &history::ROLE,
    &metrics::ROLE,
    &metrics_bus::ROLE,
    &usage::ROLE,
    &republish::ROLE,
    &bulk::ROLE,
    &vectors::ROLE,
    &mirror::ROLE,
];

/// A type of writer, as a process of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Type(&'static str);

impl Job for Type {
    fn type_name(self) -> &'static str {
        self.0
    }

    /// What it sheds is counted, and nowhere else.
    fn listens(self) -> bool {
        self.0 == mirror::ROLE.writers[0]
    }
}

impl Type {
    /// Those of some roles, each once.
    fn of(roles: &[&Role]) -> Vec<Self> {
        let types: BTreeSet<Self> = roles.iter().flat_map(|role| role.writers).map(|name| Self(name)).collect();
        types.into_iter().collect()
    }

    /// As the configuration has it, where the bus calls it no other.
    fn name(self) -> String {
        self.0.to_lowercase().replace('_', "-")
    }

    /// What it reads.
    fn topic(self) -> &'static str {
        let first = ROLES.iter().find(|role| role.writers[0] == self.0).map(|role| role.topic.0);
        let behind = ROLES.iter().find(|role| role.writers.contains(&self.0)).map(|role| role.more_topics);
        first.or_else(|| Some(behind?.first()?.0)).expect("each reads something")
    }
}

#[test]
fn every_writer_of_the_registry_is_tortured() {
    let tortured: BTreeSet<&str> = Type::of(ROLES).into_iter().map(Job::type_name).collect();
    let registered: BTreeSet<&str> = WRITERS.iter().map(|writer| writer.facts().writer_type.as_str()).collect();
    assert_eq!(tortured, registered, "each writer needs a role in `tests/torture/rows.rs`");
}

#[test]
fn every_row_is_there_as_often_as_promised_in_run_0_of_a_seed() {
    torture(0);
}

#[test]
fn every_row_is_there_as_often_as_promised_in_run_1_of_a_seed() {
    torture(1);
}

#[test]
fn every_row_is_there_as_often_as_promised_on_pub_sub() {
    torture(2);
}

fn torture(run: usize) {
    let (seed, seconds) = (*SEED, variable("TORTURE_SECONDS", 30));
    let folder = folder(&format!("rows-{run}"));
    let mut run = Run::new(run, seed, &folder);
    run.go_on_for(Duration::from_secs(seconds));
    run.finish();
    let problems = run.report();
    assert!(
        problems.is_empty(),
        "rows, seed {seed}: {} problems, logs in {}:\n{}",
        problems.len(),
        folder.display(),
        some_of_each(&problems)
    );
    drop(run);
    std::fs::remove_dir_all(folder).unwrap();
}
