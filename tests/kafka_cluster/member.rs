//! A folder with a configuration, and writers as processes of their own.
//!
//! The writer is that of usage, whose store has a row for each event: what is lost or doubled shows in a count.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// The longest that one thing may take. It bounds a hang and nothing else.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs until everything that there is was written.
pub const DRAIN: [&str; 5] = ["--type", "USAGE_BUS_WRITER", "--drain", "--listen", "off"];

pub struct Plant {
    folder: tempfile::TempDir,
    servers: String,
    /// The topic of this plant alone, which is also its group's name.
    pub topic: String,
    /// Events that were given a number so far.
    numbered: std::cell::Cell<u64>,
}

impl Plant {
    pub fn new(cluster: &Cluster, topic: &str) -> Self {
        let (folder, servers) = (tempfile::tempdir().unwrap(), cluster.servers.clone());
        Self { folder, servers, topic: topic.to_owned(), numbered: std::cell::Cell::default() }
    }

    /// The configuration, in the names of the documented example.
    pub fn write(&self, mechanism: &str, kafka: &Value, secret: &Value) {
        self.write_with(mechanism, kafka, secret, &[("kafka_bootstrap_servers", json!(self.servers))]);
    }

    /// The same, where only the secret names the brokers.
    pub fn write_without_brokers(&self, mechanism: &str, kafka: &Value, secret: &Value) {
        self.write_with(mechanism, kafka, secret, &[]);
    }

    /// Another secret, in the same place.
    pub fn write_secret(&self, secret: &Value) {
        std::fs::write(self.path("secret"), secret.to_string()).unwrap();
    }

    fn write_with(&self, mechanism: &str, kafka: &Value, secret: &Value, more: &[(&str, Value)]) {
        self.write_secret(secret);
        let store = format!("sqlite://{}", self.path("usage.db").display());
        let mut config = json!({
            "common_persistence_specs": {
                "bus_backend": "KAFKA", "secret_client": "FILE", "usage_bus_topic_id": self.topic,
                "kafka_dlq_topic": "dead-letters",
            },
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": mechanism,
            "kafka_sasl_secret": self.path("secret"),
            "kafka": kafka,
            "environments": {"prod": {"usage_store": {"uri": store}}},
            "writers": [{"bus_subscriber_type": "USAGE_BUS_WRITER", "kafka_consumer_group_override": self.topic}],
        });
        for (name, value) in more {
            config[*name] = value.clone();
        }
        std::fs::write(self.path("chalk.json"), config.to_string()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
        command.args(arguments).args(["--config", "chalk.json", "--log-format", "json"]);
        command.current_dir(self.folder.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// What a command says, results and log, or what it complains of.
    pub fn tried(&self, arguments: &[&str]) -> Result<String, String> {
        let done = self.command(arguments).output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap();
        if done.status.success() { Ok(said) } else { Err(format!("{arguments:?}: {} {said}", done.status)) }
    }

    /// What a command says; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.tried(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A file of so many events, each with a number that no other has, and the command that publishes it.
    fn publishing(&self, events: u64) -> Command {
        self.publishing_to(&self.topic, events)
    }

    fn publishing_to(&self, topic: &str, events: u64) -> Command {
        let first = self.numbered.get();
        self.numbered.set(first + events);
        let event = |number| {
            json!({"events": [{
                "event_id": format!("event-{number}"), "environment_id": "prod", "kind": "USAGE_KIND_QUERY",
                "subject": "fraud_check", "quantity": 1, "unit": "queries",
                "started_at": "2026-11-22T18:32:00Z", "ended_at": "2026-11-22T18:32:07Z",
            }]})
        };
        let lines: String = (first..first + events).map(|number| format!("{}\n", event(number))).collect();
        let file = format!("events-{first}.jsonl");
        std::fs::write(self.path(&file), lines).unwrap();
        self.command(&["publish", "--topic", topic, "--ce-type", "chalk.usage.v1", "--file", &file])
    }

    pub fn publish(&self, events: u64) -> Result<(), String> {
        self.publish_to(&self.topic, events)
    }

    /// The same to the topic of another plant.
    pub fn publish_to(&self, topic: &str, events: u64) -> Result<(), String> {
        let done = self.publishing_to(topic, events).output().unwrap();
        if done.status.success() { Ok(()) } else { Err(String::from_utf8(done.stderr).unwrap()) }
    }

    /// Publishes in the background, in many pieces.
    pub fn publish_slowly(&self, events: u64) -> Publishing {
        const PIECES: u64 = 20;
        let mut pieces: Vec<Command> = (0..PIECES).map(|_| self.publishing(events / PIECES)).collect();
        Publishing(std::thread::spawn(move || {
            for piece in &mut pieces {
                // A broker that has just died may cost a command its patience; then the piece is sent again.
                while !piece.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success() {}
            }
        }))
    }

    fn rows(&self) -> u64 {
        let file = rusqlite::Connection::open(self.path("usage.db"));
        // Its table is there once something was written.
        file.and_then(|file| file.query_row("SELECT count(*) FROM usage_events", [], |row| row.get::<_, i64>(0)))
            .unwrap_or(0) as u64
    }

    /// Waits until there are at least so many events in the store.
    pub async fn has_stored(&self, events: u64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let stored = self.rows();
            if stored >= events {
                return;
            }
            assert!(Instant::now() < until, "{}: {stored} of {events} stored: {}", self.topic, self.last_words());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn last_words(&self) -> String {
        let logs = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let last = logs.map(|path| {
            let log = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            format!("\n{}: {lines:#?}", path.display())
        });
        last.collect()
    }
}

/// A thread that publishes.
pub struct Publishing(JoinHandle<()>);

impl Publishing {
    pub fn finish(self) {
        self.0.join().unwrap();
    }
}

/// A member of the plant's group, killed when dropped.
pub struct Member {
    process: Child,
    log: PathBuf,
}

impl Member {
    pub fn start(plant: &Plant, name: &str) -> Self {
        let log = plant.path(&format!("{name}.log"));
        let mut command = plant.command(&["--type", "USAGE_BUS_WRITER", "--listen", "off"]);
        let process = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { process, log }
    }

    /// Asks it to stop; it must end well. Returns all that it has said.
    pub fn stop(mut self) -> String {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
        let ended = self.process.wait().unwrap();
        let said = std::fs::read_to_string(&self.log).unwrap();
        assert!(ended.success(), "it ended with {ended}:\n{said}");
        said
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
