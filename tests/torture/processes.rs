//! Writer processes and a Redis server, and the signals that they get.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::bus::TestBus;

/// How long a writer may take to drain and leave.
const LEAVES_WITHIN: Duration = Duration::from_secs(90);

/// Writes the configuration that every process of a run reads.
pub fn write_config(folder: &Path, bus: &dyn TestBus, redis: Option<&Redis>) -> PathBuf {
    let online = redis.map_or_else(
        || format!("sqlite://{}", folder.join("online.sqlite").display()),
        |redis| format!("redis://127.0.0.1:{}", redis.port),
    );
    let mut config = json!({
        "common_persistence_specs": {
            "result_bus_topic_id": "results",
            "result_bus_online_store_subscription_id": "results",
            "result_bus_offline_store_subscription_id": "results",
            "kafka_dlq_topic": "dlq",
        },
        "metadata_provider": "CONFIG",
        "environments": {"prod": {
            "online_store": {"uri": online},
            "offline_store": {"uri": format!("file://{}", folder.join("lake").display())},
            "features": [
                {"fqn": "user.seq", "dtype": "int64", "max_staleness": "infinity"},
                {"fqn": "user.text", "dtype": "string", "max_staleness": "infinity"},
                {"fqn": "user.sometimes", "dtype": "float64", "max_staleness": "infinity"},
            ],
        }},
        // Files are small, so that a kill often hits a write.
        "batch": {"max_age": "300ms", "max_rows": 200},
        // Shorter than some of the pauses, so that partitions are taken before their rows are written.
        "drain_timeout": "2s",
        "writers": [{"bus_subscriber_type": "ONLINE_WRITER"}, {"bus_subscriber_type": "OFFLINE_WRITER"}],
    });
    bus.configure(&mut config);
    let path = folder.join("config.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    path
}

struct Writer {
    kind: &'static str,
    child: Child,
    /// Stopped until then.
    asleep: Option<Instant>,
    log: PathBuf,
}

impl Writer {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

/// The writer processes of a run. Dropped, it kills them.
pub struct Writers {
    folder: PathBuf,
    config: PathBuf,
    started: usize,
    running: Vec<Writer>,
}

impl Writers {
    pub fn new(folder: &Path, config: &Path) -> Self {
        Self { folder: folder.to_owned(), config: config.to_owned(), started: 0, running: Vec::new() }
    }

    pub fn start(&mut self, kind: &'static str) {
        // More than this only slows the others down.
        if self.running.iter().filter(|writer| writer.kind == kind).count() < 3 {
            let writer = self.spawn(kind, &[]);
            self.running.push(writer);
        }
    }

    fn spawn(&mut self, kind: &'static str, more: &[&str]) -> Writer {
        self.started += 1;
        let log = self.folder.join(format!("{:03}-{kind}.log", self.started));
        let child = Command::new(env!("CARGO_BIN_EXE_chalk-writer"))
            .args(["--type", kind, "--listen", "off", "--config"])
            .arg(&self.config)
            .args(more)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Writer { kind, child, asleep: None, log }
    }

    fn pick(&self, kind: &str, random: &mut fastrand::Rng) -> Option<usize> {
        let of_kind: Vec<usize> = (0..self.running.len()).filter(|at| self.running[*at].kind == kind).collect();
        random.choice(of_kind)
    }

    /// Sends a signal that it does not survive.
    pub fn signal_one(&mut self, kind: &str, signal: Signal, random: &mut fastrand::Rng) {
        let Some(at) = self.pick(kind, random) else { return };
        let mut writer = self.running.remove(at);
        writer.signal(signal);
        writer.child.wait().unwrap();
    }

    /// Asks one to leave, and checks in [`Writers::tend`] that it did.
    pub fn terminate_one(&mut self, kind: &str, random: &mut fastrand::Rng) {
        let Some(at) = self.pick(kind, random) else { return };
        if self.running[at].asleep.is_none() {
            let writer = self.running.remove(at);
            writer.signal(Signal::SIGTERM);
            self.leaves(writer);
        }
    }

    fn leaves(&self, mut writer: Writer) {
        let begun = Instant::now();
        loop {
            if let Some(status) = writer.child.try_wait().unwrap() {
                // With its store or its bus away it may have to leave something behind, and says so with 1.
                // A process that has not said anything yet has not begun to listen for signals either.
                let unborn = std::fs::metadata(&writer.log).is_ok_and(|log| log.len() == 0);
                let fine = matches!(status.code(), Some(0 | 1)) || unborn;
                assert!(fine, "{} left with {status}: {}", writer.kind, tail(&writer.log));
                return;
            }
            if begun.elapsed() > LEAVES_WITHIN {
                writer.child.kill().unwrap();
                panic!("{} did not leave within {LEAVES_WITHIN:?}: {}", writer.kind, tail(&writer.log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops one for a while, as a paused virtual machine would.
    pub fn stop_one(&mut self, kind: &str, length: Duration, random: &mut fastrand::Rng) {
        let Some(at) = self.pick(kind, random) else { return };
        let writer = &mut self.running[at];
        if writer.asleep.is_none() {
            writer.signal(Signal::SIGSTOP);
            writer.asleep = Some(Instant::now() + length);
        }
    }

    /// Wakes who has slept enough, and starts again who has ended by itself, as Kubernetes would.
    pub fn tend(&mut self, _: &mut fastrand::Rng) {
        for writer in &mut self.running {
            if writer.asleep.is_some_and(|until| until <= Instant::now()) {
                writer.signal(Signal::SIGCONT);
                writer.asleep = None;
            }
        }
        for kind in ["ONLINE_WRITER", "OFFLINE_WRITER"] {
            let mut ended = Vec::new();
            self.running.retain_mut(|writer| {
                let status = (writer.kind == kind).then(|| writer.child.try_wait().unwrap()).flatten();
                ended.extend(status.map(|status| (status, writer.log.clone())));
                status.is_none()
            });
            for (status, log) in ended {
                println!("torture: {kind} ended by itself with {status}: {}", tail(&log));
                // 1 is a failure that a restart may mend; anything else needs a person.
                assert_eq!(status.code(), Some(1), "{kind} ended by itself");
            }
            if !self.running.iter().any(|writer| writer.kind == kind) {
                self.start(kind);
            }
        }
    }

    pub fn wake_all(&mut self) {
        for writer in &mut self.running {
            writer.signal(Signal::SIGCONT);
            writer.asleep = None;
        }
    }

    /// Lets everyone leave, then reads both groups to the end.
    pub fn finish(&mut self) {
        for writer in std::mem::take(&mut self.running) {
            writer.signal(Signal::SIGTERM);
            self.leaves(writer);
        }
        for kind in ["ONLINE_WRITER", "OFFLINE_WRITER"] {
            let mut writer = self.spawn(kind, &["--drain", "--drain-timeout", "120s"]);
            let status = writer.child.wait().unwrap();
            assert!(status.success(), "{kind} --drain ended with {status}: {}", tail(&writer.log));
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for writer in &mut self.running {
            let _ = writer.child.kill();
            let _ = writer.child.wait();
        }
    }
}

pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{}\n{}", log.display(), lines[lines.len().saturating_sub(8)..].join("\n"))
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Redis server that keeps what it has acknowledged over a restart.
pub struct Redis {
    pub port: u16,
    folder: PathBuf,
    child: Child,
}

impl Redis {
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("redis");
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let child = Self::spawn(&folder, port);
        let redis = Self { port, folder, child };
        redis.wait();
        redis
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("redis.log")).unwrap())
            .spawn()
            .expect("redis-server is installed; `./dev test` installs it")
    }

    fn wait(&self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut answer = [0; 5];
                let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer));
                if asked.is_ok() && &answer == b"+PONG" {
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not answer on {}", self.port);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = Self::spawn(&self.folder, self.port);
        self.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
