//! Usage is counted once: what is delivered again, by a writer that was killed, by two of them, or by a producer that
//! repeats itself, is in the store once.
//!
//! Seen to fail when a repeated row replaced the first, and when rows were inserted without a key.

#[path = "../services/postgres/server.rs"]
mod postgres;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use bytes::Bytes;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{BrowseFrom, Bus};
use chalk_writer::message::Outgoing;
use chalk_writer::proto::pubsub::v1::{NodeStatusPubSub, PodStatusPubSub};
use chalk_writer::proto::writer::v1::{UsageBatch, UsageEvent};
use chalk_writer::result::encode::timestamp;
use chalk_writer::store::offline::lake::read;
use postgres::{PostgresServer, Version};
use prost::Message as _;
use serde_json::json;

/// 2026-11-22T18:32:00Z
const NOON: i64 = 1_795_372_320_000_000;
const TOPIC: &str = "usage";
/// Events in a batch.
const EVENTS: i64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// Where usage is kept, and how it is read by somebody else.
enum Store {
    Sqlite(PathBuf),
    Postgres(Box<PostgresServer>),
}

impl Store {
    fn uri(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres(server) => server.uri(),
        }
    }

    /// One text; tables are named without a schema.
    fn ask(&self, question: &str) -> String {
        self.try_ask(question).expect(question)
    }

    fn try_ask(&self, question: &str) -> Result<String, String> {
        match self {
            Self::Sqlite(path) => rusqlite::Connection::open(path)
                .and_then(|file| file.query_row(question, [], |row| row.get(0)))
                .map_err(|error| error.to_string()),
            Self::Postgres(server) => server.try_sql(&format!("SET search_path = chalk; {question}")),
        }
    }

    /// Lets nobody write events until it is dropped.
    fn held(&self) -> Held {
        match self {
            Self::Sqlite(path) => Held::file(path),
            Self::Postgres(server) => {
                let mut session = server.psql().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql");
                let (input, output) = (session.stdin.as_mut().expect("piped"), session.stdout.as_mut().expect("piped"));
                let lock = "BEGIN; LOCK TABLE chalk.usage_events IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n";
                std::io::Write::write_all(input, lock.as_bytes()).expect("psql listens");
                std::io::Read::read_exact(output, &mut [0; 5]).expect("it is held");
                Held::Session(session)
            }
        }
    }
}

/// A store or a bus that nobody else writes to.
enum Held {
    File(rusqlite::Connection),
    Session(Child),
}

impl Held {
    fn file(path: &Path) -> Self {
        let file = rusqlite::Connection::open(path).expect("a file");
        file.busy_timeout(PATIENCE).expect("set");
        file.execute_batch("BEGIN IMMEDIATE").expect("it is held");
        Self::File(file)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Self::File(file) => file.execute_batch("ROLLBACK").expect("it is let go"),
            Self::Session(session) => {
                drop(session.stdin.take());
                session.wait().expect("psql ends");
            }
        }
    }
}

/// A writer, killed when dropped.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it ends");
    }
}

struct Plant {
    folder: tempfile::TempDir,
    bus: LocalBus,
}

impl Plant {
    async fn new(uri: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = |name: &str| json!({"bus_subscriber_type": "USAGE_BUS_WRITER", "name": name});
        let uri = uri(folder.path());
        // Two groups into a lake are refused: there everything would be twice.
        let names: &[&str] = if uri.starts_with("file:") { &["usage"] } else { &["usage", "again"] };
        let config = json!({
            "common_persistence_specs": {
                "bus_backend": "LOCAL", "usage_bus_topic_id": TOPIC, "kafka_dlq_topic": "dlq",
            },
            "environments": {"prod": {"usage_store": {"uri": uri}}},
            "batch": {"max_age": "20ms", "max_rows": 40},
            "retry": {"first_pause": "10ms", "max_pause": "100ms"},
            "writers": names.iter().map(|name| writer(name)).collect::<Vec<_>>(),
        });
        std::fs::write(folder.path().join("chalk.json"), config.to_string()).expect("written");
        let bus = LocalBus::new(folder.path().join("chalk-bus.sqlite"), Options::default());
        for topic in [TOPIC, "dlq"] {
            bus.create_topic(topic, 3).await.expect("made");
        }
        Self { folder, bus }
    }

    fn command(&self, writer: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
        command.args(["--writer", writer, "--config", "chalk.json", "--listen", "off"]).args(more);
        command.current_dir(self.folder.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    fn start(&self, writer: &str) -> Writer {
        let quiet = self.command(writer, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Writer(quiet.expect("the binary runs"))
    }

    fn drained(&self, writer: &str) {
        let Output { status, stderr, .. } =
            self.command(writer, &["--drain", "--drain-timeout", "120s"]).output().expect("the binary runs");
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }

    async fn publish(&self, messages: &[Outgoing]) {
        self.bus.publisher().await.expect("a publisher").publish(messages).await.expect("published");
    }

    /// Messages that a group has left to read.
    async fn left(&self, writer: &str) -> i64 {
        let positions = self.bus.positions(TOPIC, &format!("chalk-{writer}")).await.expect("positions");
        positions.iter().map(|position| position.end - position.committed.unwrap_or_default()).sum()
    }
}

fn message(kind: &str, id: &str, partition: i64, body: Vec<u8>) -> Outgoing {
    Outgoing {
        topic: TOPIC.to_owned(),
        partition: Some((partition % 3) as i32),
        payload: Some(Bytes::from(body)),
        headers: [("ce_type", kind), ("ce_id", id), ("ce_source", "engine")].into_iter().collect(),
        ..Outgoing::default()
    }
}

/// An event whose quantity is its number.
fn event(number: i64) -> UsageEvent {
    UsageEvent {
        event_id: format!("e-{number}"),
        environment_id: "prod".to_owned(),
        quantity: number as f64,
        started_at: Some(timestamp(NOON + number)),
        dimensions: [("pool".to_owned(), "spot".to_owned())].into(),
        ..UsageEvent::default()
    }
}

/// Batches of events, and the state of a node and a pod with each; `try` tells one publication from the next.
fn messages(batches: std::ops::Range<i64>, attempt: &str) -> Vec<Outgoing> {
    let of_batch = |number: i64| {
        let id = |kind: &str| format!("{kind}-{number}-{attempt}");
        let events = (number * EVENTS..(number + 1) * EVENTS).map(event).collect();
        let node = NodeStatusPubSub {
            uid: format!("n-{}", number % 4),
            observed_timestamp: NOON / 1_000_000 + number,
            ..NodeStatusPubSub::default()
        };
        let pod = PodStatusPubSub {
            uid: format!("p-{}", number % 4),
            observed_timestamp: NOON / 1_000_000 + number,
            ..PodStatusPubSub::default()
        };
        // What is published again lands in another partition.
        let at = number + attempt.len() as i64;
        [
            message("chalk.usage.v1", &id("usage"), at, UsageBatch { events }.encode_to_vec()),
            message("chalk.node_status.v1", &id("node"), at, node.encode_to_vec()),
            message("chalk.pod_status.v1", &id("pod"), at, pod.encode_to_vec()),
        ]
    };
    batches.flat_map(of_batch).collect()
}

/// Counts and the sum, as they are when each of so many batches is there once.
const COUNTS: &str = "SELECT (SELECT count(*) FROM usage_events) || ' ' || (SELECT cast(sum(quantity) AS bigint) FROM \
                      usage_events) || ' ' || (SELECT count(*) FROM node_status) || ' ' || (SELECT count(*) FROM \
                      pod_status)";

fn counts(batches: i64) -> String {
    let events = batches * EVENTS;
    format!("{events} {} {batches} {batches}", (0..events).sum::<i64>())
}

async fn each_once(store: &Store) {
    let plant = Plant::new(|_| store.uri()).await;
    plant.publish(&messages(0..30, "")).await;
    plant.publish(&messages(0..30, "x")).await;
    // Two of one group, and another group beside them, all at once.
    let writers = [plant.start("usage"), plant.start("usage")];
    plant.drained("again");
    plant.publish(&messages(20..40, "xx")).await;
    let deadline = Instant::now() + PATIENCE;
    while plant.left("usage").await > 0 {
        assert!(Instant::now() < deadline, "{} messages are left", plant.left("usage").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(writers);
    plant.drained("again");
    assert_eq!(store.ask(COUNTS), counts(40));
}

/// The store has the rows, the bus not the position: the writer dies, and the next one reads them again.
async fn killed_between_write_and_acknowledgement(store: &Store) {
    let plant = Plant::new(|_| store.uri()).await;
    plant.publish(&messages(0..3, "")).await;
    let writer = plant.start("usage");
    let deadline = Instant::now() + PATIENCE;
    while plant.left("usage").await > 0 {
        assert!(Instant::now() < deadline, "it reads");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let held = store.held();
    plant.publish(&messages(3..8, "")).await;
    let bus = Held::file(&plant.folder.path().join("chalk-bus.sqlite"));
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while store.ask("SELECT cast(count(*) AS text) FROM usage_events") != (8 * EVENTS).to_string() {
        assert!(Instant::now() < deadline, "{} are written", store.ask(COUNTS));
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(writer);
    drop(bus);
    assert_eq!(plant.left("usage").await, 15, "nothing of it is acknowledged");
    plant.drained("usage");
    assert_eq!((plant.left("usage").await, store.ask(COUNTS)), (0, counts(8)));
}

fn sqlite(folder: &tempfile::TempDir) -> Store {
    Store::Sqlite(folder.path().join("usage.sqlite"))
}

fn postgres() -> Store {
    Store::Postgres(Box::new(PostgresServer::start(Version::Newest, &[])))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_once_in_sqlite_whoever_delivers_it_how_often() {
    let folder = tempfile::tempdir().expect("a folder");
    each_once(&sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_once_in_postgres_whoever_delivers_it_how_often() {
    each_once(&postgres()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_between_write_and_acknowledgement_doubles_nothing_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    killed_between_write_and_acknowledgement(&sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_between_write_and_acknowledgement_doubles_nothing_in_postgres() {
    killed_between_write_and_acknowledgement(&postgres()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_has_what_came_again_again_and_its_readers_tell_it_by_the_events_id() {
    let plant = Plant::new(|folder| format!("file://{}/lake", folder.display())).await;
    let root = plant.folder.path().join("lake");
    plant.publish(&messages(0..4, "")).await;
    plant.drained("usage");
    plant.publish(&messages(0..4, "x")).await;
    plant.drained("usage");
    assert_eq!(read::count(&root, "usage_events").expect("read"), 2 * 4 * EVENTS as u64);
    let rows = read::sample(&root, "usage_events", 1_000).expect("read").expect("rows");
    let column = |name: &str| rows.column_by_name(name).expect(name).as_string::<i32>();
    let ids: BTreeSet<&str> = column("event_id").iter().flatten().collect();
    assert_eq!((ids.len() as i64, column("dimensions").value(0)), (4 * EVENTS, r#"{"pool":"spot"}"#));
    assert_eq!(read::count(&root, "node_status").expect("read"), 8);
    let again = plant.command("usage", &["--from-time", "2020-01-01T00:00:00Z"]).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("--force"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_is_buried_with_its_message_and_its_siblings_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = sqlite(&folder);
    let plant = Plant::new(|_| store.uri()).await;
    let bad = [
        UsageEvent { event_id: String::new(), ..event(90) },
        UsageEvent { quantity: f64::NAN, ..event(91) },
        UsageEvent { environment_id: "nowhere".to_owned(), ..event(92) },
        UsageEvent { ended_at: Some(timestamp(i64::MAX)), ..event(93) },
    ];
    let batch = |(at, bad): (usize, UsageEvent)| {
        let events = vec![event(2 * at as i64), bad, event(2 * at as i64 + 1)];
        message("chalk.usage.v1", &format!("bad-{at}"), 0, UsageBatch { events }.encode_to_vec())
    };
    let mut all: Vec<Outgoing> = bad.into_iter().enumerate().map(batch).collect();
    // Too many bad messages of few would stop the writer.
    all.extend((0..100).map(|n| {
        message(
            "chalk.usage.v1",
            &format!("good-{n}"),
            0,
            messages(0..1, "")[0].payload.clone().expect("a body").to_vec(),
        )
    }));
    plant.publish(&all).await;
    plant.drained("usage");
    assert_eq!(store.ask("SELECT count(*) || ' ' || cast(sum(quantity) AS bigint) FROM usage_events"), "8 28");
    let mut browse = plant.bus.browse("dlq", BrowseFrom::Earliest).await.expect("a topic");
    let mut classes = Vec::new();
    loop {
        let letters = browse.next().await.expect("read");
        if letters.is_empty() {
            break;
        }
        let header = |letter: &chalk_writer::message::Message, name: &str| {
            String::from_utf8_lossy(letter.headers.get(name).unwrap_or_default()).into_owned()
        };
        classes.extend(letters.iter().map(|letter| {
            format!("{} {}", header(letter, "chalk_dlq_error_class"), header(letter, "chalk_dlq_error_row"))
        }));
    }
    classes.sort_unstable();
    let expected = [
        "DECODE usage_events/e-93",
        "DECODE usage_events[1]",
        "UNKNOWN_ENVIRONMENT usage_events/e-92",
        "VALUE_REFUSED usage_events/e-91",
    ];
    assert_eq!(classes, expected);
}
