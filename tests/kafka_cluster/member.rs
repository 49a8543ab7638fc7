//! A folder with a configuration, and writers as processes of their own.
//!
//! The writer is that of usage, whose store has a row for each event: what is lost or doubled shows in a count.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
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

    /// The same with more settings.
    pub fn write_and(&self, kafka: &Value, more: &[(&str, Value)]) {
        let servers = ("kafka_bootstrap_servers", json!(self.servers));
        let secret = json!({"username": "writer", "password": "right"});
        self.write_with("SCRAM-SHA-512", kafka, &secret, &[&[servers], more].concat());
    }

    /// Without signing in: who comes is known by a certificate, if at all.
    pub fn write_for_certificates(&self, servers: &str, kafka: &Value) {
        let secret = json!({"username": "nobody", "password": "hunter2"});
        self.write_with("PLAIN", kafka, &secret, &[("kafka_bootstrap_servers", json!(servers))]);
        let path = self.path("chalk.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["kafka_security_protocol"] = json!("SSL");
        for name in ["kafka_sasl_mechanism", "kafka_sasl_secret"] {
            config.as_object_mut().unwrap().remove(name);
        }
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// Nobody writes to the store for as long as this is there.
    pub fn lock_store(&self) -> rusqlite::Connection {
        let file = rusqlite::Connection::open(self.path("usage.db")).unwrap();
        file.busy_timeout(PATIENCE).unwrap();
        file.execute_batch("BEGIN IMMEDIATE").unwrap();
        file
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

    /// One event in one partition, by a client that waits until the broker has it.
    pub fn send(&self, cluster: &Cluster, partition: i32) {
        let producer: BaseProducer = cluster.client().create().unwrap();
        self.enqueue(&producer, partition);
        producer.flush(PATIENCE).unwrap();
    }

    /// The same, by a producer that is not waited for.
    pub fn enqueue(&self, producer: &BaseProducer, partition: i32) {
        let number = self.numbered.get();
        self.numbered.set(number + 1);
        let payload = event(number).to_string();
        let headers = OwnedHeaders::new()
            .insert(Header { key: "ce_type", value: Some("chalk.usage.v1") })
            .insert(Header { key: "content-type", value: Some("application/json") });
        let record = BaseRecord::<str, str>::to(&self.topic).partition(partition).payload(&payload).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub fn rows(&self) -> u64 {
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

fn event(number: u64) -> Value {
    json!({"events": [{
        "event_id": format!("event-{number}"), "environment_id": "prod", "kind": "USAGE_KIND_QUERY",
        "subject": "fraud_check", "quantity": 1, "unit": "queries",
        "started_at": "2026-11-22T18:32:00Z", "ended_at": "2026-11-22T18:32:07Z",
    }]})
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
        Self::start_with(plant, name, &["--listen", "off"])
    }

    /// One whose port can be asked.
    pub fn listening(plant: &Plant, name: &str) -> Self {
        Self::start_with(plant, name, &["--listen", "127.0.0.1:0"])
    }

    fn start_with(plant: &Plant, name: &str, more: &[&str]) -> Self {
        let log = plant.path(&format!("{name}.log"));
        let mut command = plant.command(&[&["--type", "USAGE_BUS_WRITER"], more].concat());
        let process = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { process, log }
    }

    /// All that it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What its port answers; nothing while it does not listen yet.
    pub fn ask(&self, path: &str) -> Option<String> {
        let said = self.said();
        let (_, after) = said.split_once(r#""listening":""#)?;
        let mut stream = TcpStream::connect(after.split_once('"')?.0).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: writer\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// What it says of one partition.
    pub fn partition(&self, number: usize) -> Option<Value> {
        let status: Value = serde_json::from_str(&self.ask("/status.json")?).ok()?;
        let partitions = status["partitions"].as_array()?;
        partitions.iter().find(|partition| partition["partition"] == number).cloned()
    }

    /// Waits until this is so.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "{what}: {:?}\n{}", self.ask("/status.json"), self.said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
    }

    /// Waits until it has ended in whatever way. Returns its exit code and all that it has said.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(ended) = self.process.try_wait().unwrap() {
                return (ended.code(), self.said());
            }
            assert!(Instant::now() < end, "it does not end by itself:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks it to stop; it must end well. Returns all that it has said.
    pub fn stop(mut self) -> String {
        self.terminate();
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
