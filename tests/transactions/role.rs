//! What another process does: reads numbers and publishes them, some to a message.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{Bus, Hold, OnGap, Subscribe};
use chalk_writer::config::settings::{BusSettings, KafkaSettings};
use chalk_writer::decode::{Decoded, Decoder};
use chalk_writer::message::{Message, Outgoing, Partition};
use chalk_writer::runtime::{DeadLetterBudget, DeadLetterTopic, Emission, Emit, Emitted, Pipeline, Policy, Retry, Run};
use chalk_writer::sink::{ErrorClass, Refusal, Row};
use tokio_util::sync::CancellationToken;

pub const GROUP: &str = "counts";
/// Said whenever a batch's messages were made.
pub const MARK: &str = "@ emitted";
const VARIABLES: [&str; 4] = ["TRANSACTIONS_BUS", "TRANSACTIONS_FROM", "TRANSACTIONS_TO", "TRANSACTIONS_DLQ"];

/// Where it reads and publishes.
pub struct Place {
    pub bus: String,
    pub from: String,
    pub to: String,
    pub dlq: String,
}

impl Place {
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        VARIABLES.into_iter().zip([&*self.bus, &self.from, &self.to, &self.dlq])
    }

    fn of_environment() -> Option<Self> {
        let [bus, from, to, dlq] = VARIABLES.map(|name| std::env::var(name).ok());
        Some(Self { bus: bus?, from: from?, to: to?, dlq: dlq? })
    }
}

/// A connection to `local:PATH` or `kafka:SERVERS`.
pub fn open(bus: &str) -> Arc<dyn Bus> {
    match bus.split_once(':').unwrap() {
        ("local", path) => {
            let options = Options { session_timeout: Duration::from_secs(2), ..Options::default() };
            Arc::new(LocalBus::new(PathBuf::from(path), options))
        }
        (_, servers) => {
            // So that nobody waits longer than needed for who was killed.
            let properties = [
                ("session.timeout.ms", "6000"),
                ("heartbeat.interval.ms", "500"),
                ("message.timeout.ms", "5000"),
                ("transaction.timeout.ms", "6000"),
            ];
            let settings = KafkaSettings {
                bootstrap_servers: vec![servers.to_owned()],
                security_protocol: "PLAINTEXT".to_owned(),
                sasl_mechanism: None,
                sasl_secret: None,
                properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            };
            chalk_writer::bus::open(&BusSettings::Kafka(settings)).unwrap()
        }
    }
}

struct Number(String);

impl Row for Number {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        0
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        100
    }
}

struct Numbers;

impl Decoder<Number> for Numbers {
    fn decode(&self, message: &Message, decoded: &mut Decoded<Number>) {
        let text = String::from_utf8_lossy(message.body()).into_owned();
        match text.parse::<u64>() {
            Ok(_) => decoded.rows.push(Number(text)),
            Err(_) => decoded.refused.push(Refusal::new(ErrorClass::Decode, "not a number")),
        }
    }
}

struct Sends(String);

impl Emit<Number> for Sends {
    fn emit(&self, _: &str, _: &Partition, rows: &[(usize, &Number)]) -> Emitted {
        let numbers: Vec<&str> = rows.iter().map(|(_, row)| row.0.as_str()).collect();
        let message = |numbers: &[&str]| Outgoing {
            topic: self.0.clone(),
            payload: Some(Bytes::from(numbers.join(","))),
            ..Outgoing::default()
        };
        println!("{MARK}");
        Emitted { messages: numbers.chunks(3).map(message).collect(), refused: Vec::new() }
    }
}

/// Runs a pipeline until it is killed, where the environment says so.
pub fn play() {
    let Some(place) = Place::of_environment() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bus = open(&place.bus);
        let subscribe = Subscribe {
            topic: place.from.clone(),
            group: GROUP.to_owned(),
            drain: false,
            fetch_bytes: 1 << 16,
            hold: Hold { bytes: 3 << 16, messages: 1_000 },
            on_gap: OnGap::Stop,
            transactional: true,
        };
        let publisher = bus.publisher().await.unwrap();
        let pipeline = Pipeline {
            subscription: bus.subscribe(subscribe).await.unwrap(),
            decoder: Arc::new(Numbers),
            destinations: Vec::new(),
            emission: Some(Emission {
                name: format!("topic {}", place.to),
                emit: Arc::new(Sends(place.to)),
                publisher: publisher.clone(),
            }),
            dead_letters: Some((
                publisher,
                DeadLetterTopic { name: place.dlq, max_message_bytes: None, max_header_bytes: None, compacts: false },
            )),
            parking: None,
            away: Arc::default(),
            policy: policy(),
            health: Arc::default(),
        };
        Box::new(pipeline).run(CancellationToken::new()).await.unwrap();
    });
}

fn policy() -> Policy {
    Policy {
        writer_type: "METRICS_WRITER",
        group: GROUP.to_owned(),
        max_rows: 20,
        max_bytes: 1 << 20,
        max_messages: 1000,
        max_age: Duration::from_millis(10),
        in_flight: 1,
        concurrency: 1,
        drain_within: Duration::from_secs(5),
        beside: false,
        eager: false,
        retry: Retry { first: Duration::from_millis(10), longest: Duration::from_secs(1) },
        budget: DeadLetterBudget { max_ratio: 1.0, max_consecutive: u64::MAX },
    }
}
