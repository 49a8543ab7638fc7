//! SIGTERM in mid-load, with a store that is slow: within the limit everything that was taken is written and committed, and
//! nothing comes twice; beyond it the writer ends by itself before it would be killed, and nothing is lost. The frame is
//! Kubernetes' default, SIGKILL 30 seconds after SIGTERM; the limit is the default, 25 seconds, of which the last fifth is for leaving.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::kit::{On, PATIENCE, Plant, results};
use crate::postgres::{PostgresServer, Version};
use crate::proxy::Proxy;
use crate::setup::{Ended, eventually};

const SENT: u64 = 2_000;

/// A writer that was asked to stop while its store was slow, and everything that it had to do with.
struct Stopped {
    plant: Plant,
    server: PostgresServer,
    proxy: Proxy,
    /// Messages that were acknowledged before.
    before: u64,
    ended: Ended,
}

/// The last line of a writer's log that says how it ended.
fn last(ended: &Ended) -> Value {
    let line = ended.stderr.lines().rev().find(|line| line.contains("\"acknowledged\":")).expect("a last line");
    serde_json::from_str(line).expect("JSON")
}

/// Rows of history wait for as long as this is there.
struct Lock(Child);

impl Lock {
    fn of(server: &PostgresServer) -> Self {
        let mut psql = server.psql();
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql can be started");
        let lock = b"BEGIN; LOCK TABLE \"user\" IN SHARE ROW EXCLUSIVE MODE; SELECT 'locked';\n";
        psql.stdin.as_mut().expect("piped").write_all(lock).expect("sent");
        let mut said = String::new();
        BufReader::new(psql.stdout.as_mut().expect("piped")).read_line(&mut said).expect("an answer");
        assert_eq!(said.trim(), "locked");
        Self(psql)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The end of what it reads is its end, and that of its transaction.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The store is hindered in mid-load by what `hinder` gives, which is dropped once the writer knows that it is to stop.
fn stopped<T>(on: On, hinder: impl FnOnce(&PostgresServer, &Proxy) -> T) -> Stopped {
    let server = PostgresServer::start(Version::Debian, &[]);
    let proxy = Proxy::of(server.port());
    let uri = server.uri_through(proxy.port());
    let config = json!({
        "environments": {"prod": {"offline_store": {"uri": uri}}}, "batch": {"max_rows": 100},
        "kafka": {"session.timeout.ms": "45000"},
    });
    let plant = Plant::new(on, 3, "OFFLINE_WRITER", &config);
    plant.publish(results(0..SENT));
    let writer = plant.start();
    eventually(PATIENCE, "in mid-load", || writer.status()["acknowledged"].as_u64() >= Some(300));
    let hindrance = hinder(&server, &proxy);
    let acknowledged = || writer.status()["acknowledged"].as_u64().expect("a number");
    let mut before = 0;
    // What has been written by now is acknowledged a moment later.
    eventually(PATIENCE, "nothing moves, and something is on its way", || {
        let last = std::mem::replace(&mut before, acknowledged());
        last == before && writer.status()["in_hand"].as_u64() > Some(0)
    });
    let asked = Instant::now();
    writer.running.terminate();
    eventually(PATIENCE, "stopping", || writer.status()["phase"] == "stopping");
    drop(hindrance);
    let ended = writer.running.wait(PATIENCE);
    println!("{on:?}: ended with {:?} {:?} after SIGTERM", ended.code, asked.elapsed());
    assert!(ended.stderr.contains("\"within\":\"25s\""), "{}", ended.stderr);
    Stopped { plant, server, proxy, before, ended }
}

impl Stopped {
    fn rows(&self) -> u64 {
        self.server.sql("SELECT count(*) FROM \"user\"").parse().expect("a number")
    }

    /// What the next process does, which must bring everything to its end.
    fn next(&self) -> Value {
        self.proxy.mend();
        let next = last(&self.plant.drain());
        assert_eq!(self.server.sql("SELECT count(*), count(DISTINCT seq) FROM \"user\""), format!("{SENT}|{SENT}"));
        assert!(self.plant.letters().is_empty());
        next
    }
}

fn within_the_limit(on: On) {
    let stopped = stopped(on, |server, _| Lock::of(server));
    let first = last(&stopped.ended);
    assert_eq!(stopped.ended.code, Some(0), "{:?}", stopped.ended);
    let written = first["acknowledged"].as_u64().expect("a number");
    assert!(written < SENT, "it was in the middle: {first}");
    assert!(written > stopped.before, "what was on its way is written: {first}");
    assert_eq!((stopped.rows(), stopped.plant.committed()), (written, written as i64), "what was taken, and no more");
    let next = stopped.next();
    assert_eq!((&next["acknowledged"], &next["stale"]), (&json!(SENT - written), &json!(0)), "nothing comes twice");
}

fn beyond_the_limit(on: On) {
    // The server does what it is asked, and is not heard any more.
    let stopped = stopped(on, |_, proxy| {
        proxy.lose_answers_to(b"COMMIT\0");
        eventually(PATIENCE, "a commit is on its way", || proxy.loses_answers());
    });
    assert_eq!(stopped.ended.code, Some(1), "{:?}", stopped.ended);
    assert!(stopped.ended.stderr.contains("not written"), "{:?}", stopped.ended);
    let (committed, rows) = (stopped.plant.committed() as u64, stopped.rows());
    assert!(committed < rows, "{committed} are committed, and {rows} there");
    let next = stopped.next();
    let again = next["acknowledged"].as_u64().expect("a number");
    assert_eq!(again, SENT - committed, "{next}");
    println!("{on:?}: {again} of {SENT} were read by the next one, of which the store had {} already", next["stale"]);
    assert_eq!(next["stale"].as_u64(), Some(rows - committed), "{next}");
}

#[test]
fn on_kafka_what_is_at_hand_is_written_within_the_limit_and_nothing_comes_twice() {
    within_the_limit(On::Kafka);
}

#[test]
fn on_the_embedded_bus_what_is_at_hand_is_written_within_the_limit_and_nothing_comes_twice() {
    within_the_limit(On::Local);
}

#[test]
fn on_kafka_a_store_that_is_not_heard_costs_no_message_when_the_limit_is_over() {
    beyond_the_limit(On::Kafka);
}

#[test]
fn on_the_embedded_bus_a_store_that_is_not_heard_costs_no_message_when_the_limit_is_over() {
    beyond_the_limit(On::Local);
}
