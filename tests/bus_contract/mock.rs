//! librdkafka's mock cluster under the suite: three brokers inside this process, on real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::bus::Bus;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::harness::{Capabilities, Capability, Harness, Lacks};
use super::kafka;

/// What it has not, and Kafka has: see `kafka::LACKS` for what neither has.
pub const LACKS: Lacks = &[
    (Capability::EachByItself, "a group has a position"),
    (Capability::RefusesUnknownTopics, "it makes whatever topic it is asked about"),
    (Capability::MakesTopics, "topics are made through librdkafka's own interface of it"),
    (Capability::LimitsMessageSize, "it knows no limits"),
    (Capability::FindsTimes, "it answers no question about times"),
    (Capability::FreesGroups, "it guards a group for ever that had a member once"),
    (
        Capability::TakesLastPositions,
        "it refuses a member that answers after the leader has (\"Invalid request\"), and while that one joins again it refuses the \
         positions of the others, which Kafka takes",
    ),
    (Capability::KeepsPositionsOfTransactions, "it answers positions in a transaction and forgets them"),
];

/// The mock cluster.
pub struct Mock {
    servers: String,
    create: Mutex<std::sync::mpsc::Sender<(String, u32, std::sync::mpsc::Sender<()>)>>,
}

impl Mock {
    pub fn new() -> Self {
        let (ready_in, ready) = std::sync::mpsc::channel();
        let (create, wanted) = std::sync::mpsc::channel::<(String, u32, std::sync::mpsc::Sender<()>)>();
        // The cluster cannot be sent between threads: it lives on one of its own.
        std::thread::spawn(move || {
            let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(3).expect("a mock cluster");
            ready_in.send(cluster.bootstrap_servers()).expect("someone waits");
            for (name, partitions, made) in wanted {
                cluster.create_topic(&name, partitions as i32, 1).expect("the topic is made");
                let _ = made.send(());
            }
        });
        Self { servers: ready.recv().expect("the cluster starts"), create: Mutex::new(create) }
    }
}

#[async_trait]
impl Harness for Mock {
    fn name(&self) -> &'static str {
        "KAFKA (mock)"
    }

    fn bus(&self) -> Arc<dyn Bus> {
        // Its groups wait for a session's length at every rebalance.
        kafka::open(&self.servers, &[("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "500")])
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { patience: Duration::from_secs(40), cases_at_once: 6, lacks: LACKS }
    }

    async fn create_topic(&self, name: &str, partitions: u32) {
        let (made_in, made) = std::sync::mpsc::channel();
        let create = self.create.lock().expect("no panic while it is held").clone();
        create.send((name.to_owned(), partitions, made_in)).expect("the cluster lives");
        made.recv().expect("the topic is made");
    }
}
