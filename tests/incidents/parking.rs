//! Two environments in one process on a real Kafka, and the store of one of them is dead for a while. By default the other one
//! waits with it; with `park_after` it goes on, and what is parked comes back, in the order of each key, whoever has
//! joined, stopped or died meanwhile.

use bytes::Bytes;
use chalk_writer::message::Outgoing;
use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, result_of};
use crate::postgres::{PostgresServer, Version};
use crate::setup::eventually;

/// Keys of the messages, each an entity's.
const KEYS: u64 = 7;

const OTHER: &str = "offline store of other";

/// A writer, its stores, and how many rows it writes at a time.
#[derive(Clone, Copy)]
struct Kind {
    writer_type: &'static str,
    store: &'static str,
    max_rows: u64,
}

const HISTORY: Kind = Kind { writer_type: "OFFLINE_WRITER", store: "offline_store", max_rows: 10 };

/// One at a time, so that no value is passed over for a newer one of the same write.
const FEATURES: Kind = Kind { writer_type: "ONLINE_WRITER", store: "online_store", max_rows: 1 };

struct Two {
    kind: Kind,
    plant: Plant,
    sound: PostgresServer,
    /// The one that dies.
    other: PostgresServer,
    sent: u64,
}

impl Two {
    fn new(kind: Kind) -> Self {
        let [sound, other] = [(); 2].map(|()| PostgresServer::start(Version::Debian, &[]));
        let store = |server: &PostgresServer| json!({kind.store: {"uri": server.uri()}});
        let config = json!({
            "environments": {"prod": store(&sound), "other": store(&other)},
            "batch": {"max_rows": kind.max_rows},
        });
        let plant = Plant::new(On::Kafka, 4, kind.writer_type, &config);
        let mut two = Self { kind, plant, sound, other, sent: 0 };
        // Both tables are made.
        two.send(20);
        two.plant.drain();
        two
    }

    /// So many messages for both in turns, those of a key in one partition.
    fn send(&mut self, count: u64) {
        let message = |number: u64| {
            let (environment, key) = (["prod", "other"][(number % 2) as usize], number / 2 % KEYS);
            Outgoing {
                topic: self.plant.topic.clone(),
                key: Some(Bytes::from(format!("{environment}/{key}"))),
                payload: result_of(environment, key, number, &json!({"user.seq": number})).map(Bytes::from),
                ..Outgoing::default()
            }
        };
        self.plant.send(&(self.sent..self.sent + count).map(message).collect::<Vec<_>>());
        self.sent += count;
    }

    /// How many rows each has, of which none may be there twice.
    fn rows(server: &PostgresServer) -> u64 {
        let found = server.sql("SELECT count(*), count(DISTINCT seq) FROM \"user\"");
        let (rows, distinct) = found.split_once('|').expect("two numbers");
        assert_eq!(rows, distinct, "a row is there twice");
        rows.parse().expect("a number")
    }

    fn has_all(&self) {
        assert_eq!([Self::rows(&self.sound), Self::rows(&self.other)], [self.sent / 2; 2]);
        assert!(self.plant.letters().is_empty());
    }
}

#[test]
fn by_default_the_other_environment_waits_and_nothing_is_lost() {
    let mut two = Two::new(HISTORY);
    two.other.stop();
    let writer = two.plant.start();
    let before = two.plant.committed();
    two.send(200);
    eventually(PATIENCE, "it is away, and said", || {
        writer.metric("chalk_writer_store_errors_total", OTHER) >= 10.0 && writer.troubles().contains(OTHER)
    });
    assert!(two.plant.committed() < before + 100, "half of it is for the one that is away");
    assert!(Two::rows(&two.sound) < two.sent / 2, "this one waits with it");
    two.other.start_again();
    two.plant.is_done();
    writer.stop();
    two.has_all();
}

#[test]
fn what_is_parked_comes_back_whoever_joins_stops_and_dies_meanwhile() {
    let mut two = Two::new(HISTORY);
    let (parking, group) = (format!("parked-{}", two.plant.topic), format!("{}-parked", two.plant.group));
    two.plant.create_topic(&parking, 3);
    two.plant.configure(&json!({"park_after": "1s", "parking_topic": parking}));
    let parked = |two: &Two| -> (i64, i64) {
        let found = two.plant.positions_of(&parking, &group);
        (found.iter().map(|(at, _)| at).sum(), found.iter().map(|(_, end)| end).sum())
    };
    two.other.stop();
    let first = two.plant.start();
    two.send(200);
    two.plant.is_done();
    assert_eq!(Two::rows(&two.sound), two.sent / 2, "the sound one goes on");
    assert_eq!(parked(&two), (0, 100), "what is for the other waits");
    assert_eq!(first.status()["parked"], json!(100));
    eventually(PATIENCE, "what waits is told", || first.metric("chalk_writer_parked_waiting_messages", "") == 100.0);

    // Partitions of both topics move to one that joins, while it is all parked.
    let second = two.plant.start();
    eventually(PATIENCE, "shared", || first.assigned() == 2.0 && second.assigned() == 2.0);
    two.send(100);
    two.plant.is_done();
    assert_eq!(Two::rows(&two.sound), two.sent / 2);
    let (position, end) = parked(&two);
    assert!(position == 0 && end >= 150, "{position} of {end}");
    // One stops in order, the other does not.
    first.stop();
    eventually(PATIENCE, "the other has all", || second.assigned() == 4.0);
    two.send(100);
    two.plant.is_done();
    second.kill();
    let (position, end) = parked(&two);
    assert!(position == 0 && end >= 200, "{position} of {end}");

    // A drain does not end before what is parked is written.
    let drain =
        ["--type", two.kind.writer_type, "--config", "chalk.json", "--listen", "off", "--drain", "--drain-timeout"];
    let ended = two.plant.folder.run(&[&drain[..], &["8s"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(parked(&two).0, 0);

    two.other.start_again();
    two.plant.drain();
    two.has_all();
    let (position, end) = parked(&two);
    assert_eq!(position, end);

    // What arrives now goes there directly.
    let writer = two.plant.start();
    two.send(40);
    two.plant.is_done();
    assert_eq!(writer.status()["parked"], json!(0));
    writer.stop();
    two.has_all();
    assert_eq!(parked(&two), (end, end));
}

/// A value that came back after a newer one of its key would be counted as stale.
#[test]
fn what_is_parked_comes_back_in_the_order_of_its_keys() {
    let mut two = Two::new(FEATURES);
    let parking = format!("parked-{}", two.plant.topic);
    two.plant.create_topic(&parking, 3);
    two.plant.configure(&json!({"park_after": "1s", "parking_topic": parking}));
    two.other.stop();
    let writer = two.plant.start();
    two.send(300);
    two.plant.is_done();
    assert_eq!(writer.status()["parked"], json!(150));
    two.other.start_again();
    eventually(PATIENCE, "all of it is back", || {
        two.plant.positions_of(&parking, &format!("{}-parked", two.plant.group)).iter().all(|(at, end)| at == end)
    });
    let status = writer.status();
    assert_eq!((&status["stored"], &status["stale"]), (&json!(300), &json!(0)), "{status}");
    writer.stop();
    let newest = two.other.sql("SELECT count(*), min(value::text::int), max(value::text::int) FROM online_features");
    assert_eq!(newest, format!("{KEYS}|{}|{}", two.sent - 2 * KEYS + 1, two.sent - 1));
}

/// A writer whose parked messages are under way when it is asked to stop ends well, soon, and leaves them where they are.
#[test]
fn a_writer_that_reads_parked_messages_back_in_vain_stops_in_order() {
    let mut two = Two::new(HISTORY);
    let parking = format!("parked-{}", two.plant.topic);
    two.plant.create_topic(&parking, 2);
    two.plant.configure(&json!({"park_after": "1s", "parking_topic": parking}));
    two.other.stop();
    two.send(60);
    for _ in 0..2 {
        let writer = two.plant.start();
        two.plant.is_done();
        eventually(PATIENCE, "some are read back", || writer.troubles().contains(OTHER));
        let ended = writer.stop();
        assert!(ended.stderr.contains("writer ends"), "{}", ended.stderr);
    }
    two.other.start_again();
    two.plant.drain();
    two.has_all();
}
