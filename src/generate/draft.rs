//! What messages of all kinds are drawn from: chance, time, names, and an envelope.

use bytes::Bytes;
use prost::Message;
use serde::Serialize;

use super::features;
use super::options::{BodyEncoding, Options};
use crate::message::envelope::Event;
use crate::message::{EventType, Headers, Outgoing};
use crate::proto::writer::v1;
use crate::result::encode::timestamp;
use crate::result::sniff::Encoding;

/// The next message of a series.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) options: Options,
    pub(super) random: fastrand::Rng,
    /// How many messages there were before it.
    pub(super) number: u64,
}

impl Draft {
    pub(super) fn new(seed: u64, options: Options) -> Self {
        Self { options: options.within_bounds(), random: fastrand::Rng::with_seed(seed), number: 0 }
    }

    /// Its time, microseconds since 1970.
    pub(super) fn time(&self) -> i64 {
        self.options.time(self.number, self.options.step)
    }

    /// An id that nothing else has.
    pub(super) fn id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid().to_string()
    }

    /// One of these.
    pub(super) fn one_of(&mut self, texts: &[&str]) -> String {
        texts[self.random.usize(..texts.len())].to_owned()
    }

    /// True so many times of a hundred.
    pub(super) fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(..100) < percent
    }

    /// A result as a query would give it, to make something else of.
    pub(super) fn result(&mut self) -> v1::QueryResult {
        let time = self.time();
        let mut result = v1::QueryResult {
            environment_id: self.options.environment.clone(),
            deployment_id: self.options.deployment.clone(),
            operation_id: self.id(),
            operation_kind: 1,
            observed_at: Some(timestamp(time)),
            ..v1::QueryResult::default()
        };
        features::fill(&mut result, &mut self.random, self.options.entities, time);
        result
    }

    /// A message of a type with this body, in the encoding that was asked for.
    pub(super) fn message<M: Message + Serialize>(
        &mut self,
        event_type: EventType,
        operation: &str,
        body: &M,
    ) -> Outgoing {
        let (body, encoding) = match self.options.encoding {
            BodyEncoding::Protobuf | BodyEncoding::Arrow => (body.encode_to_vec(), Encoding::Protobuf),
            BodyEncoding::Json | BodyEncoding::CompactJson => {
                (serde_json::to_vec(body).expect("times are kept within the years that JSON can write"), Encoding::Json)
            }
        };
        self.wrapped(event_type, operation, encoding, &[], body)
    }

    /// A message of a type with this body as it is, and further headers.
    pub(super) fn wrapped(
        &mut self,
        event_type: EventType,
        operation: &str,
        encoding: Encoding,
        more: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Outgoing {
        let (id, time) = (self.id(), self.time());
        let event = Event {
            id: &id,
            source: "chalk-writer/generate",
            event_type,
            time: Some(time),
            content_type: encoding.content_type(),
            environment: &self.options.environment,
            deployment: &self.options.deployment,
            operation,
        };
        let mut message = event.message(&self.options.topic, None, Bytes::from(body));
        message.timestamp_ms = Some(time.div_euclid(1000));
        let more = more.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        message.headers = if self.options.envelope {
            message.headers.iter().chain(more).collect()
        } else {
            more.collect::<Headers>()
        };
        message
    }
}
