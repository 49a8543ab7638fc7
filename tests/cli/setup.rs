//! A deployment in a folder of its own, and the binary run in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const BINARY: &str = env!("CARGO_BIN_EXE_chalk-writer");

/// The example of the documentation.
pub(crate) const RESULT: &str = r#"{"environment_id": "prod", "deployment_id": "dep-7", "operation_id": "018f-42",
 "operation_kind": "ONLINE_QUERY", "observed_at": "2026-11-22T18:32:00.123456Z",
 "query": {"query_name": "fraud_check", "input_features": ["user.id"], "output_features": ["user.score", "user.name"],
           "query_duration_seconds": 0.0042, "has_errors": false, "status": "SUCCESSFUL", "trace_id": "4bf92f35"},
 "tables": [{"namespace": "user", "rows": {"rows": [
     {"id": 42, "features": {"user.name": "Ada", "user.score": 0.7},
      "meta": {"user.score": {"source_type": "RESOLVER", "source_id": "fraud.get_score"},
               "user.name": {"source_type": "ONLINE_STORE", "source_id": "fraud.get_name"}}}]}}],
 "resolver_runs": [{"resolver": "fraud.get_score", "kind": "ONLINE", "status": "SUCCESS", "duration_seconds": 0.003, "rows": 1}],
 "errors": []}"#;

const CONFIG: &str = r#"{
  "common_persistence_specs": {
    "bus_backend": "LOCAL",
    "kafka_dlq_topic": "dlq",
    "result_bus_topic_id": "results",
    "result_bus_online_store_subscription_id": "results",
    "result_bus_offline_store_subscription_id": "results"
  },
  "metadata_provider": "CONFIG",
  "writers": [
    {"bus_subscriber_type": "ONLINE_WRITER", "name": "online-writer"},
    {"bus_subscriber_type": "OFFLINE_WRITER", "name": "offline-writer"}
  ],
  "environments": {
    "prod": {"online_store": {"uri": "sqlite:online.sqlite"}, "offline_store": {"uri": "file://LAKE"}}
  }
}"#;

/// A folder with a configuration that needs nothing installed.
pub(crate) struct Deployment {
    folder: tempfile::TempDir,
}

/// How the binary ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What it printed; it must have ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// Runs the binary where it does not matter in which folder.
pub(crate) fn chalk_writer(arguments: &[&str]) -> Ended {
    finished(Command::new(BINARY).args(arguments))
}

impl Deployment {
    pub(crate) fn new() -> Self {
        let deployment = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let lake = deployment.path().join("lake").display().to_string();
        deployment.write("chalk.json", &CONFIG.replace("LAKE", &lake));
        deployment
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("text")
    }

    /// Makes the topics by publishing nothing to them.
    pub(crate) fn topics(&self) {
        for topic in ["results", "dlq"] {
            self.run(&["publish", "--config", "chalk.json", "--topic", topic, "--generate", "0"]).ok();
        }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        finished(self.command(arguments))
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        finished(self.command(arguments).envs(environment.iter().copied()))
    }

    /// Replaces a part of the configuration that is there.
    pub(crate) fn configure(&self, what: &str, with: &str) {
        let before = self.text("chalk.json");
        let after = before.replace(what, with);
        assert_ne!(before, after, "`{what}` is not in the configuration");
        self.write("chalk.json", &after);
    }

    /// Publishes lines of JSON to the topic of results.
    pub(crate) fn publish(&self, lines: &str) {
        self.write("lines.jsonl", lines);
        self.run(&["publish", "--config", "chalk.json", "--topic", "results", "--file", "lines.jsonl"]).ok();
    }

    /// What a command prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat()).ok()).expect("JSON")
    }

    /// The dead letters as `dlq list` has them, oldest first.
    pub(crate) fn letters(&self) -> Vec<serde_json::Value> {
        let listing = self.json(&["dlq", "list", "--config", "chalk.json", "--limit", "100000"]);
        listing["letters"].as_array().expect("a list").clone()
    }

    /// Runs a writer until the bus is empty.
    pub(crate) fn drain(&self, writer_type: &str) -> Ended {
        let arguments =
            ["--type", writer_type, "--config", "chalk.json", "--listen", "off", "--drain", "--drain-timeout", "60s"];
        self.run(&arguments)
    }

    /// Starts a writer and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, |_| {})
    }

    /// The same after something was changed about how.
    pub(crate) fn start_with(&self, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Running {
        let mut command = self.command(arguments);
        change(&mut command);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = child.stderr.take().expect("piped");
        let (said, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                text += &line;
                text.push('\n');
                let _ = said.send(line);
            }
            text
        });
        Running { child, lines, reader: Some(reader) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.path()).env_remove("RUST_LOG");
        command
    }
}

fn finished(mut command: impl std::borrow::BorrowMut<Command>) -> Ended {
    let output = command.borrow_mut().stdin(Stdio::null()).output().expect("the binary runs");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A writer that runs; killed where a test forgets it.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    reader: Option<JoinHandle<String>>,
}

impl Running {
    /// The address in its first log line; with libraries that talk, in the first that is its own.
    pub(crate) fn listening(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20)).expect("a first log line");
            let line: serde_json::Value = serde_json::from_str(&line).expect("logs are JSON outside of a terminal");
            if let Some(address) = line["listening"].as_str() {
                return address.to_owned();
            }
            assert!(
                matches!(line["level"].as_str(), Some("TRACE" | "DEBUG")),
                "the address is in the first line: {line}"
            );
        }
    }

    /// Waits for a log line with this text in it.
    pub(crate) fn says(&self, at_most: Duration, text: &str) {
        let deadline = Instant::now() + at_most;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("no `{text}` in the log after {at_most:?}") };
            if line.contains(text) {
                return;
            }
        }
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    /// SIGKILL: it ends where it is.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    pub(crate) fn wait(mut self, at_most: Duration) -> Ended {
        let deadline = Instant::now() + at_most;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                break status;
            }
            assert!(Instant::now() < deadline, "still running after {at_most:?}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let stderr = self.reader.take().expect("waited once").join().expect("no panic");
        Ended { code: status.code(), stdout: String::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks the port of a writer.
pub(crate) fn ask(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line"), body.to_owned())
}

/// Waits until something holds.
pub(crate) fn eventually(at_most: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + at_most;
    while !holds() {
        assert!(Instant::now() < deadline, "not {what} after {at_most:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
