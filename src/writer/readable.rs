//! A message of any type as JSON, for a person.

use serde::Serialize;
use serde_json::Value as Json;

use crate::message::{Envelope, EventType, Message};
use crate::proto::metrics::{v1 as metrics_v1, v4 as metrics_v4};
use crate::proto::pubsub::v1::{NodeStatusPubSub, PodStatusPubSub, QueryMessagePubSub};
use crate::proto::writer::v1;
use crate::result::body::unpacked;
use crate::result::readable::readable;
use crate::result::sniff::Encoding;

/// Bytes of a body that are looked at.
const LARGEST: usize = 64 << 20;

/// What is in a message; `None` where that is no JSON, and not of a type whose protobuf is known.
pub fn readable_body(message: &Message) -> Option<Json> {
    let envelope = Envelope::read(message, EventType::Result).ok()?;
    let body = unpacked(message, &envelope, LARGEST, "message").ok()?;
    let bytes: &[u8] = &body.bytes;
    match Encoding::of(envelope.content_type, bytes).ok()? {
        Encoding::Json => serde_json::from_slice(bytes).ok(),
        Encoding::Protobuf => protobuf(envelope.event_type()?, bytes),
        Encoding::ArrowFile | Encoding::ArrowStream | Encoding::Parquet => None,
    }
}

fn protobuf(event_type: EventType, body: &[u8]) -> Option<Json> {
    match event_type {
        EventType::Result => serde_json::from_slice(&readable(body)?).ok(),
        EventType::MetricsV1 => json::<metrics_v1::MetricBatch>(body),
        EventType::MetricsV4 => json::<metrics_v4::MetricBatch>(body),
        EventType::Query => json::<QueryMessagePubSub>(body),
        EventType::QueryError | EventType::ResolverError => json::<v1::ErrorBatch>(body),
        EventType::StreamingInsert => None,
        EventType::BulkInsert => json::<v1::BulkInsert>(body),
        EventType::Usage => json::<v1::UsageBatch>(body),
        EventType::NodeStatus => json::<NodeStatusPubSub>(body),
        EventType::PodStatus => json::<PodStatusPubSub>(body),
        EventType::QueryLog => json::<v1::LoggedQuery>(body),
        EventType::QueryMirror => json::<v1::MirrorOutcome>(body),
        EventType::VectorBatch => json::<v1::VectorBatch>(body),
    }
}

fn json<M: prost::Message + Default + Serialize>(body: &[u8]) -> Option<Json> {
    serde_json::to_value(M::decode(body).ok()?).ok()
}
