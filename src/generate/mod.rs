//! Realistic results for `publish --generate`, `demo`, the benchmarks and the torture checker.
//!
//! The same seed and options give the same bytes, on every machine.

mod features;

use bytes::Bytes;
use prost::Message as _;

use crate::message::envelope::{Event, entity_key};
use crate::message::{EventType, Outgoing};
use crate::proto::writer::v1;
use crate::result::arrow;
use crate::result::encode::{person_json, timestamp};
use crate::result::sniff::Encoding;

/// What is generated.
#[derive(Clone, Debug)]
pub struct Options {
    /// The topic that messages are for.
    pub topic: String,
    /// The environment's id.
    pub environment: String,
    /// The deployment's id.
    pub deployment: String,
    /// How many entities each namespace has; at least one.
    pub entities: u64,
    /// Event time of the first result, microseconds since 1970; from 2000 to 2100.
    pub start: i64,
    /// Microseconds from one result to the next; not below zero. Times end with the year 9000.
    pub step: i64,
    /// How bodies are written.
    pub encoding: BodyEncoding,
    /// What results look like.
    pub shape: Shape,
    /// Whether messages carry an envelope.
    pub envelope: bool,
}

impl Default for Options {
    /// A thousand entities, a result every 137 microseconds from 2026-01-01 on, as JSON.
    fn default() -> Self {
        Self {
            topic: "result-bus".to_owned(),
            environment: "prod".to_owned(),
            deployment: "dep-1".to_owned(),
            entities: 1000,
            start: 1_767_225_600_000_000,
            step: 137,
            encoding: BodyEncoding::Json,
            shape: Shape::Realistic,
            envelope: true,
        }
    }
}

/// The years 2000, 2100 and 9000: values lie up to three years before their result.
const EARLIEST_START: i64 = 946_684_800_000_000;
const LATEST_START: i64 = 4_102_444_800_000_000;
const LATEST: i64 = 221_845_392_000_000_000;

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyEncoding {
    /// JSON with features by name.
    #[default]
    Json,
    /// JSON with values aligned with columns: proto3's mapping.
    CompactJson,
    /// Protobuf.
    Protobuf,
    /// An Arrow file where the result is one table, else protobuf with tables in Arrow form.
    Arrow,
}

/// What results look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Online queries about users, merchants and transactions: ten features or so of mixed types,
    /// some null, from the cache or defaults, now and then a has-many table or an error.
    #[default]
    Realistic,
    /// One entity of namespace `user` a message with its message's number in feature `user.seq`, so
    /// that a checker can tell what was lost and what is stale. Message n is about entity `user.id` =
    /// some number below `entities`, and its row was observed n microseconds after the start.
    Numbered,
}

/// An endless series of messages.
#[derive(Debug)]
pub struct Generator {
    options: Options,
    random: fastrand::Rng,
    next: u64,
}

impl Generator {
    /// A series of its own for each seed.
    pub fn new(seed: u64, options: Options) -> Self {
        let start = options.start.clamp(EARLIEST_START, LATEST_START);
        let options = Options { entities: options.entities.max(1), start, ..options };
        Self { options, random: fastrand::Rng::with_seed(seed), next: 0 }
    }

    /// The numbered message `number` about an entity; the same whenever it is asked for.
    pub fn numbered(&self, number: u64, entity: u64) -> Outgoing {
        let time = self.time(number, 1);
        let row = features::numbered_row(number, entity, timestamp(time));
        let rows = v1::Rows { columns: vec!["user.seq".to_owned()], rows: vec![row] };
        let mut result = self.result(&format!("seq-{number}"), time);
        result.tables = vec![features::table("user", rows)];
        self.message(&result, time)
    }

    fn time(&self, number: u64, step: i64) -> i64 {
        let passed = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(step.max(0));
        self.options.start.saturating_add(passed).min(LATEST)
    }

    fn result(&self, operation: &str, time: i64) -> v1::QueryResult {
        v1::QueryResult {
            environment_id: self.options.environment.clone(),
            deployment_id: self.options.deployment.clone(),
            operation_id: operation.to_owned(),
            operation_kind: 1,
            observed_at: Some(timestamp(time)),
            ..v1::QueryResult::default()
        }
    }

    fn realistic(&mut self) -> Outgoing {
        let time = self.time(self.next, self.options.step);
        let operation = uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid().to_string();
        let mut result = self.result(&operation, time);
        features::fill(&mut result, &mut self.random, self.options.entities, time);
        self.message(&result, time)
    }

    fn message(&self, result: &v1::QueryResult, time: i64) -> Outgoing {
        const WRITABLE: &str = "times are kept within the years that JSON can write";
        let (body, encoding) = match self.options.encoding {
            BodyEncoding::Json => (person_json(result).expect(WRITABLE), Encoding::Json),
            BodyEncoding::CompactJson => (serde_json::to_vec(result).expect(WRITABLE), Encoding::Json),
            BodyEncoding::Protobuf => (result.encode_to_vec(), Encoding::Protobuf),
            BodyEncoding::Arrow => arrow::encode::body(result).expect("each feature is drawn of one type"),
        };
        let event = Event {
            id: &result.operation_id,
            source: "chalk-writer/generate",
            event_type: EventType::Result,
            time: Some(time),
            content_type: encoding.content_type(),
            environment: &self.options.environment,
            deployment: &self.options.deployment,
            operation: &result.operation_id,
        };
        let mut message = event.message(&self.options.topic, self.key(result), Bytes::from(body));
        message.timestamp_ms = Some(time.div_euclid(1000));
        if !self.options.envelope {
            message.headers = crate::message::Headers::new();
        }
        message
    }

    /// A message about one entity has its key; one about several has none.
    fn key(&self, result: &v1::QueryResult) -> Option<Bytes> {
        let [table] = result.tables.as_slice() else { return None };
        let Some(v1::feature_table::Body::Rows(rows)) = &table.body else { return None };
        let [row] = rows.rows.as_slice() else { return None };
        let primary_key = match row.id.as_ref()? {
            v1::row::Id::IntId(id) => id.to_string(),
            v1::row::Id::TextId(id) => id.clone(),
        };
        Some(entity_key(&self.options.environment, &table.namespace, &primary_key))
    }
}

impl Iterator for Generator {
    type Item = Outgoing;

    fn next(&mut self) -> Option<Outgoing> {
        let message = match self.options.shape {
            Shape::Realistic => self.realistic(),
            Shape::Numbered => {
                let entity = self.random.u64(..self.options.entities);
                self.numbered(self.next, entity)
            }
        };
        self.next += 1;
        Some(message)
    }
}

#[cfg(test)]
mod tests;
