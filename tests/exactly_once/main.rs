//! `METRICS_WRITER` itself, killed, stopped and cut off at every step of its transactions: who reads what was
//! committed counts each result once.
//!
//! Seen to fail when positions were committed in a transaction of their own behind that of the messages: on both buses
//! results were counted twice, killed and stopped. What is only cut off lives on, and knows what it has done.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod frames;
mod plant;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::Bus;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::config::settings::{BusSettings, KafkaSettings};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use frames::{Frames, REQUESTS, When};
use plant::{PATIENCE, Plant};

/// Results before each step: more than it takes transactions to come to it.
const RESULTS: u64 = 60;

/// A broker of this test alone, which the writer reaches through the proxy.
struct Broker {
    folder: PathBuf,
    servers: String,
}

impl Broker {
    fn start(folder: &Path, frames: &Frames) -> Self {
        let folder = folder.join("broker");
        std::fs::create_dir_all(&folder).unwrap();
        let broker = Self { servers: script("start", &folder, frames.port()), folder };
        let port = std::fs::read_to_string(broker.folder.join("proxied-port")).unwrap();
        frames.target(port.trim().parse().unwrap());
        broker
    }

    /// Not through the proxy.
    fn bus(&self) -> Arc<dyn Bus> {
        let settings = KafkaSettings {
            bootstrap_servers: vec![self.servers.clone()],
            security_protocol: "PLAINTEXT".to_owned(),
            sasl_mechanism: None,
            sasl_secret: None,
            properties: std::collections::BTreeMap::default(),
        };
        chalk_writer::bus::open(&BusSettings::Kafka(settings)).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        script("kill", &self.folder, 0);
    }
}

fn script(command: &str, folder: &Path, proxy: u16) -> String {
    let mut script = Command::new("tests/services/kafka/kafka.sh");
    let output = script.arg(command).arg(folder).env("KAFKA_PROXY_PORT", proxy.to_string()).output().unwrap();
    assert!(output.status.success(), "kafka.sh {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn on_kafka(frames: &Frames) -> (Broker, Plant) {
    let folder = tempfile::TempDir::new().unwrap();
    let broker = Broker::start(folder.path(), frames);
    let more = [
        ("kafka_bootstrap_servers", json!(format!("127.0.0.1:{}", frames.port()))),
        ("kafka_security_protocol", json!("PLAINTEXT")),
        // So that nobody waits longer than needed for who was killed.
        (
            "kafka",
            json!({
                "session.timeout.ms": "4000", "heartbeat.interval.ms": "500",
                "message.timeout.ms": "4000", "transaction.timeout.ms": "4000",
            }),
        ),
    ];
    let plant = Plant::new(folder, broker.bus(), "KAFKA", &more).await;
    (broker, plant)
}

fn steps() -> impl Iterator<Item = (&'static str, i16, When)> {
    let both = |(name, request)| [When::Before, When::After].map(|when| (name, request, when));
    REQUESTS.into_iter().flat_map(both)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_and_after_every_request_of_a_transaction() {
    let frames = Frames::new();
    let (_broker, mut plant) = on_kafka(&frames).await;
    for (name, request, when) in steps() {
        plant.publish(RESULTS);
        let writer = plant.start();
        let process = writer.id();
        let killed = frames.when(request, when, fastrand::usize(0..3), move || kill(process, Signal::SIGKILL).unwrap());
        let killed = killed.recv_timeout(PATIENCE);
        killed.unwrap_or_else(|_| panic!("no {name} came to be killed {when:?}"));
        assert!(!writer.ended().success());
    }
    let _last = plant.start();
    plant.counted_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_before_and_after_every_request_of_a_transaction() {
    let frames = Frames::new();
    let (_broker, mut plant) = on_kafka(&frames).await;
    let writer = plant.start();
    for (name, request, when) in steps() {
        let cut = frames.when(request, when, fastrand::usize(0..3), || {});
        plant.publish(RESULTS);
        cut.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {name} came to be cut off {when:?}"));
    }
    plant.counted_once().await;
    writer.signal(Signal::SIGTERM);
    assert!(writer.ended().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_around_its_commit_and_going_on_when_another_has_taken_over() {
    let frames = Frames::new();
    let (_broker, mut plant) = on_kafka(&frames).await;
    for when in [When::Before, When::After] {
        plant.publish(RESULTS);
        let stopped = plant.start();
        let process = stopped.id();
        let (_, end) = REQUESTS[4];
        let hears = frames.when(end, when, fastrand::usize(0..3), move || kill(process, Signal::SIGSTOP).unwrap());
        hears.recv_timeout(PATIENCE).expect("it commits");
        let other = plant.start();
        plant.is_done().await;
        stopped.signal(Signal::SIGCONT);
        // Both are there, and one of them works.
        plant.publish(RESULTS);
        plant.counted_once().await;
        drop((stopped, other));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_stopped_at_random_on_the_embedded_bus() {
    let folder = tempfile::TempDir::new().unwrap();
    let bus = LocalBus::new(folder.path().join("bus.sqlite"), Options::default());
    let path = json!(folder.path().join("bus.sqlite"));
    let mut plant = Plant::new(folder, Arc::new(bus), "LOCAL", &[("local_bus_path", path)]).await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..8 {
        plant.publish(4 * RESULTS);
        let writer = plant.start();
        plant.moves().await;
        tokio::time::sleep(Duration::from_micros(random.u64(0..30_000))).await;
        if round % 4 != 3 {
            writer.signal(Signal::SIGKILL);
            continue;
        }
        writer.signal(Signal::SIGSTOP);
        // Another takes over once its session has run out; or nobody can before it goes on, where it was stopped with
        // the file's lock in its hands.
        let _other = plant.start();
        let _ = tokio::time::timeout(Duration::from_secs(12), plant.is_done()).await;
        writer.signal(Signal::SIGCONT);
        plant.publish(RESULTS);
        plant.is_done().await;
    }
    let _last = plant.start();
    plant.counted_once().await;
}
