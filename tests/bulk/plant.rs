//! A deployment in a folder: a bus, a configuration, and the writer of loads over it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalk_writer::bus::Bus;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::message::Outgoing;
use serde_json::{Value, json};

const TOPIC: &str = "uploads";

/// A bus, a configuration and a folder for files.
pub(crate) struct Plant {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A running writer, killed when dropped.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Plant {
    /// With the store of each environment, and settings of the writer.
    pub(crate) async fn new(stores: &[(&str, &str)], settings: Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let environments: serde_json::Map<String, Value> =
            stores.iter().map(|(id, uri)| ((*id).to_owned(), json!({"offline_store": {"uri": uri}}))).collect();
        let mut writer = json!({"bus_subscriber_type": "OFFLINE_STORE_BULK_INSERT_WRITER", "name": "loads"});
        writer.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
        let config = json!({
            "common_persistence_specs": {
                "bus_backend": "LOCAL", "bq_upload_topic": TOPIC, "bq_upload_bucket": "s3://uploads/exports",
                "kafka_dlq_topic": "dlq",
            },
            "metadata_provider": "CONFIG",
            "environments": environments,
            "batch": {"max_age": "100ms"},
            "retry": {"first_pause": "10ms", "max_pause": "100ms"},
            "dlq": {"max_ratio": 1.0},
            "writers": [writer],
        });
        std::fs::write(folder.path().join("chalk.json"), config.to_string()).expect("written");
        let plant = Self { folder, environment: Vec::new() };
        for topic in [TOPIC, "dlq"] {
            plant.bus().create_topic(topic, 1).await.expect("made");
        }
        plant
    }

    /// Runs the writer with these variables from now on.
    pub(crate) fn set(&mut self, variables: &[(&str, &str)]) {
        self.environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The URI of a lake in the folder.
    pub(crate) fn lake() -> &'static str {
        "file:./lake"
    }

    fn bus(&self) -> LocalBus {
        LocalBus::new(self.folder.path().join("chalk-bus.sqlite"), Options::default())
    }

    /// Publishes messages: headers and body.
    pub(crate) async fn publish(&self, messages: &[(&[(&str, &str)], String)]) {
        let messages: Vec<Outgoing> = messages
            .iter()
            .map(|(headers, body)| Outgoing {
                topic: TOPIC.to_owned(),
                payload: (!body.is_empty()).then(|| Bytes::from(body.clone())),
                headers: headers.iter().copied().collect(),
                ..Outgoing::default()
            })
            .collect();
        self.bus().publisher().await.expect("a publisher").publish(&messages).await.expect("published");
    }

    /// Publishes loads, each one message.
    pub(crate) async fn load(&self, loads: &[Value]) {
        let messages: Vec<_> = loads.iter().map(|load| (&[][..], load.to_string())).collect();
        self.publish(&messages).await;
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("the binary runs");
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the writer until the bus is empty.
    #[track_caller]
    pub(crate) fn drain(&self) -> String {
        let ended = self.run(&[
            "--type",
            "OFFLINE_STORE_BULK_INSERT_WRITER",
            "--config",
            "chalk.json",
            "--listen",
            "off",
            "--drain",
            "--drain-timeout",
            "120s",
        ]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    }

    /// Starts the writer and leaves it running.
    pub(crate) fn start(&self) -> Running {
        let mut command = self.command(&["--type", "OFFLINE_STORE_BULK_INSERT_WRITER", "--config", "chalk.json"]);
        command.args(["--listen", "off"]).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().expect("the binary runs"))
    }

    /// The dead letters, oldest first: class, row and message.
    pub(crate) fn letters(&self) -> Vec<[String; 3]> {
        let ended = self.run(&["dlq", "list", "--config", "chalk.json", "--limit", "1000", "--json"]);
        let listing: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let letters = listing["letters"].as_array().expect("a list").clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        letters.iter().map(|letter| [text(&letter["class"]), text(&letter["row"]), text(&letter["message"])]).collect()
    }

    /// Publishes every dead letter again.
    #[track_caller]
    pub(crate) fn replay(&self) {
        let ended = self.run(&["dlq", "replay", "--config", "chalk.json", "--yes"]);
        assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    }
}

/// A load of files into a table.
pub(crate) fn insert(id: &str, table: &str, files: &[&str]) -> Value {
    let files: Vec<Value> = files.iter().map(|uri| json!({ "uri": uri })).collect();
    json!({"environment_id": "prod", "load_id": id, "table": table, "files": files})
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}
