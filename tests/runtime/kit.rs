//! Messages of the tests, their decoder, and a dead letter topic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::bus::{BusError, Placed, Publisher, Subscription, Undelivered, all_landed};
use chalk_writer::decode::{Decoded, Decoder};
use chalk_writer::message::{Message, Outgoing};
use chalk_writer::runtime::{
    DeadLetterBudget, DeadLetterTopic, Destination, Emission, Health, Pipeline, PipelineError, Policy, Retry, Run,
};
use chalk_writer::sink::{ErrorClass, Refusal, Sink};
use tokio_util::sync::CancellationToken;

use super::broker::partition;
use super::store::{TestRow, Value};

/// One message: rows, or something that cannot be read.
pub type Body = Option<Vec<TestRow>>;

pub fn encode(body: &Body) -> Vec<u8> {
    let Some(rows) = body else { return b"not a message".to_vec() };
    let rows: Vec<_> =
        rows.iter().map(|row| (row.destination, row.key, row.value.time, row.value.serial, row.bad)).collect();
    serde_json::to_vec(&rows).expect("numbers and booleans")
}

pub fn rows_of(body: &[u8]) -> Option<Vec<TestRow>> {
    let rows: Vec<(usize, Option<u64>, i64, u64, bool)> = serde_json::from_slice(body).ok()?;
    let row = |(destination, key, time, serial, bad)| TestRow { destination, key, value: Value { time, serial }, bad };
    Some(rows.into_iter().map(row).collect())
}

/// What a message begins with of which half cannot be read.
pub const HALF: &[u8] = b"half ";

pub struct TestDecoder;

impl Decoder<TestRow> for TestDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<TestRow>) {
        let half = message.body().strip_prefix(HALF);
        if half.is_some() {
            decoded.refused.push(Refusal::new(ErrorClass::Decode, "half of it cannot be read"));
        }
        match rows_of(half.unwrap_or(message.body())) {
            Some(rows) => decoded.rows.extend(rows),
            None => decoded.refused.push(Refusal::new(ErrorClass::Decode, "not a message")),
        }
    }
}

/// A dead letter topic that is away every so often.
#[derive(Default)]
pub struct Letters {
    /// One publish in so many fails; 0 is none.
    pub fails_one_in: u64,
    /// Largest body that it takes; 0 is no limit.
    takes: usize,
    attempts: Mutex<u64>,
    buried: Mutex<Vec<Vec<u8>>>,
}

impl Letters {
    pub fn failing(one_in: u64) -> Self {
        Self { fails_one_in: one_in, ..Self::default() }
    }

    pub fn taking(bytes: usize) -> Self {
        Self { takes: bytes, ..Self::default() }
    }

    /// Another owner of a partition buries a message.
    pub fn bury_elsewhere(&self, body: &[u8]) {
        self.buried.lock().expect("held").push(body.to_vec());
    }

    /// Bodies of buried messages, and how often each was buried.
    pub fn buried(&self) -> BTreeMap<Vec<u8>, usize> {
        let mut counts = BTreeMap::new();
        for body in self.buried.lock().expect("held").iter() {
            *counts.entry(body.clone()).or_default() += 1;
        }
        counts
    }
}

#[async_trait]
impl Publisher for Letters {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let mut attempts = self.attempts.lock().expect("held");
        *attempts += 1;
        if self.fails_one_in > 0 && attempts.is_multiple_of(self.fails_one_in) {
            return Err(Undelivered::all(BusError::Unavailable("no broker".into()), messages.len()));
        }
        let size = |message: &Outgoing| message.payload.as_ref().map_or(0, bytes::Bytes::len);
        let mut buried = self.buried.lock().expect("held");
        let land = |message: &Outgoing| {
            if self.takes > 0 && size(message) > self.takes {
                return Err(BusError::TooLarge(format!("more than {} bytes", self.takes)));
            }
            buried.push(message.payload.clone().unwrap_or_default().to_vec());
            Ok(Placed { partition: partition(0), offset: buried.len() as i64 - 1 })
        };
        all_landed(messages.iter().map(land).collect())
    }
}

pub fn policy() -> Policy {
    Policy {
        writer_type: "ONLINE_WRITER",
        group: "chalk-online-writer".to_owned(),
        max_rows: 20,
        max_bytes: 1 << 20,
        max_messages: 1000,
        max_age: Duration::from_millis(30),
        in_flight: 1,
        concurrency: 4,
        drain_within: Duration::from_secs(5),
        beside: false,
        eager: false,
        retry: Retry { first: Duration::from_millis(10), longest: Duration::from_secs(2) },
        budget: DeadLetterBudget { max_ratio: 1.0, max_consecutive: u64::MAX },
    }
}

pub struct Setup {
    pub subscription: Subscription,
    pub sinks: Vec<Arc<dyn Sink<TestRow>>>,
    pub emission: Option<Emission<TestRow>>,
    pub letters: Option<Arc<Letters>>,
    pub policy: Policy,
    pub health: Arc<Health>,
}

impl Setup {
    /// Runs the pipeline; a test that would never end fails after a day of virtual time.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        tokio::time::timeout(Duration::from_secs(86_400), self.run_on(shutdown)).await.expect("the pipeline ends")
    }

    async fn run_on(self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        let destinations = self.sinks.into_iter().enumerate();
        let pipeline = Pipeline {
            subscription: self.subscription,
            decoder: Arc::new(TestDecoder),
            destinations: destinations.map(|(at, sink)| Destination { name: format!("store {at}"), sink }).collect(),
            emission: self.emission,
            dead_letters: self.letters.map(|letters| {
                let topic = DeadLetterTopic {
                    name: "dlq".into(),
                    max_message_bytes: None,
                    max_header_bytes: None,
                    compacts: false,
                };
                (letters as Arc<dyn Publisher>, topic)
            }),
            parking: None,
            away: Arc::default(),
            policy: self.policy,
            health: self.health,
        };
        Box::new(pipeline).run(shutdown).await
    }
}
