//! Results of queries.

use bytes::Bytes;
use prost::Message as _;

use super::features;
use super::options::{BodyEncoding, Options, Shape};
use crate::message::envelope::{Event, entity_key};
use crate::message::{EventType, Outgoing};
use crate::proto::writer::v1;
use crate::result::arrow;
use crate::result::encode::{person_json, timestamp};
use crate::result::sniff::Encoding;

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
        let options = options.within_bounds();
        Self { options, random: fastrand::Rng::with_seed(seed), next: 0 }
    }

    /// The numbered message `number` about an entity; the same whenever it is asked for.
    pub fn numbered(&self, number: u64, entity: u64) -> Outgoing {
        let time = self.options.time(number, 1);
        let row = features::numbered_row(number, entity, timestamp(time));
        let rows = v1::Rows { columns: vec!["user.seq".to_owned()], rows: vec![row] };
        let mut result = self.result(&format!("seq-{number}"), time);
        result.tables = vec![features::table("user", rows)];
        self.message(&result, time)
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
        let time = self.options.time(self.next, self.options.step);
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
