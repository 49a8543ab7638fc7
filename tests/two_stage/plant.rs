//! A bus in a file, a configuration, and writers of the built program that read it to its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{BrowseFrom, Bus};
use chalk_writer::message::{Message, Outgoing};
use serde_json::{Value, json};

/// For what has no reason to take long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const RESULTS: &str = "results";
pub(crate) const INSERTS: &str = "inserts";
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// A bus and what is written from it: by one stage into a store, by two into another.
pub(crate) struct Plant {
    folder: tempfile::TempDir,
}

/// A writer that runs, killed when dropped.
pub(crate) struct Writer(pub(crate) Child);

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Which of the writers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// Results into the first store.
    Direct,
    /// Results onto the topic of inserts.
    First,
    /// Inserts into the second store.
    Second,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

impl Plant {
    /// For two stores by their URIs.
    pub(crate) async fn new(direct: &str, staged: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plant = Self { folder };
        for (file, store) in [("direct.json", direct), ("staged.json", staged)] {
            let writers = if file == "direct.json" {
                json!([{"bus_subscriber_type": "OFFLINE_WRITER", "name": "direct"}])
            } else {
                json!([
                    {"bus_subscriber_type": "OFFLINE_WRITER", "name": "first", "offline_mode": "republish"},
                    {"bus_subscriber_type": "OFFLINE_STORE_STREAMING_INSERT_WRITER", "name": "second"},
                ])
            };
            let config = json!({
                "common_persistence_specs": {
                    "bus_backend": "LOCAL", "result_bus_topic_id": RESULTS, "bigquery_streaming_write_topic": INSERTS,
                    "kafka_dlq_topic": DEAD_LETTERS,
                },
                "environments": {
                    "prod": {"offline_store": {"uri": store}, "features": [
                        {"fqn": "user.price", "dtype": "decimal(10,2)"},
                        {"fqn": "user.tags", "dtype": "list<string>"},
                        {"fqn": "user.half", "dtype": "vector<fp16, 3>"},
                    ]},
                    "*": {"offline_store": {"uri": store}},
                },
                "batch": {"max_age": "50ms"},
                "retry": {"first_pause": "10ms", "max_pause": "100ms"},
                "dlq": {"max_ratio": 1, "max_consecutive": 1000},
                "writers": writers,
            });
            std::fs::write(plant.path().join(file), config.to_string()).expect("written");
        }
        for topic in [RESULTS, INSERTS, DEAD_LETTERS] {
            plant.bus().create_topic(topic, 2).await.expect("made");
        }
        plant
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn bus_file(&self) -> PathBuf {
        self.path().join("chalk-bus.sqlite")
    }

    pub(crate) fn bus(&self) -> LocalBus {
        LocalBus::new(self.bus_file(), Options::default())
    }

    pub(crate) async fn publish(&self, messages: &[Outgoing]) {
        self.bus().publisher().await.expect("a publisher").publish(messages).await.expect("published");
    }

    fn command(&self, stage: Stage, more: &[&str]) -> Command {
        let config = if matches!(stage, Stage::Direct) { "direct.json" } else { "staged.json" };
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
        command.args(["--writer", stage.name(), "--config", config, "--listen", "off"]).args(more);
        command.current_dir(self.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self, stage: Stage) -> Writer {
        let quiet = self.command(stage, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Writer(quiet.expect("the binary runs"))
    }

    /// Reads what is there to its end; the answer is what the writer said.
    pub(crate) fn drain(&self, stage: Stage) -> String {
        let Output { status, stderr, .. } =
            self.command(stage, &["--drain", "--drain-timeout", "120s"]).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert!(status.success(), "{stage:?}: {said}");
        said
    }

    /// What `peek` shows of a writer's topic, as text.
    pub(crate) fn peek(&self, stage: Stage) -> String {
        let config = if matches!(stage, Stage::Direct) { "direct.json" } else { "staged.json" };
        let peek = Command::new(env!("CARGO_BIN_EXE_chalk-writer"))
            .args(["peek", "--config", config, "--writer", stage.name(), "--from-start", "--json"])
            .current_dir(self.path())
            .output()
            .expect("the binary runs");
        assert!(peek.status.success(), "{}", String::from_utf8_lossy(&peek.stderr));
        String::from_utf8(peek.stdout).expect("text")
    }

    /// Every message of a topic.
    pub(crate) async fn messages(&self, topic: &str) -> Vec<Message> {
        let mut browse = self.bus().browse(topic, BrowseFrom::Earliest).await.expect("a topic");
        let mut all = Vec::new();
        loop {
            let some = browse.next().await.expect("messages");
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    /// Class and text of every dead letter, sorted.
    pub(crate) async fn buried(&self) -> Vec<(String, String)> {
        let header = |message: &Message, name: &str| message.headers.get_str(name).unwrap_or_default().to_owned();
        let letters = self.messages(DEAD_LETTERS).await;
        let mut buried: Vec<_> = letters
            .iter()
            .map(|letter| (header(letter, "chalk_dlq_error_class"), header(letter, "chalk_dlq_error_message")))
            .collect();
        buried.sort();
        buried
    }

    /// The position that the group of the second stage has committed, over all partitions.
    pub(crate) async fn committed(&self) -> i64 {
        let positions = self.bus().positions(INSERTS, "chalk-second").await.expect("positions");
        positions.iter().map(|position| position.committed.unwrap_or(0)).sum()
    }
}

/// Waits until something holds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A result as a person writes it.
pub(crate) fn result(id: &str, body: &Value) -> Outgoing {
    let headers = [
        ("ce_id", id),
        ("ce_source", "engine"),
        ("ce_type", "chalk.result.v1"),
        ("ce_time", "2026-11-22T18:32:00Z"),
        ("content-type", "application/json"),
    ];
    Outgoing {
        topic: RESULTS.to_owned(),
        headers: headers.into_iter().collect(),
        payload: Some(body.to_string().into()),
        ..Outgoing::default()
    }
}
