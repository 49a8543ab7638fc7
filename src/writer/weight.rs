//! What a message takes in memory once it is decoded, reckoned from its bytes before it is.
//!
//! An empty entry of a list is two bytes of protobuf, three of JSON, and hundreds in memory: a few kilobytes that are
//! unpacked to sixty megabytes of them would be many gigabytes, and the process would end again at every start. So
//! entries are counted first, each as what it takes.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::proto::common::v1::ChalkError;
use crate::proto::metrics::{v1, v4};
use crate::proto::pubsub::v1::{NodeStatusPubSub, PodStatusPubSub, QueryMessagePubSub};
use crate::proto::writer::v1::{
    BulkInsert, ErrorBatch, ErrorRow, InsertFile, LoggedQuery, StructField, UsageBatch, UsageEvent, Value, VectorBatch,
    VectorDelete, VectorUpsert,
};
use crate::sink::{ErrorClass, Refusal};

/// Bytes in memory for each byte that a body may have: as for the rows of a result.
const FOR_A_BYTE: usize = 8;
/// The first entry of a map makes a node for eleven.
const NODE: usize = 640;
/// Messages in messages that the reader goes down.
const DEEPEST: usize = 100;
/// A text, or an entry of a map beside others.
const TEXT: usize = 32;

/// A published message whose weight can be told.
pub trait Weighed {
    /// What it is made of.
    const PARTS: &'static Parts;
}

/// The fields of a message that hold messages, as far as they may come often or hold some that do.
#[derive(Debug)]
pub struct Parts(&'static [Part]);

/// One of them.
#[derive(Debug)]
struct Part {
    /// Its number.
    field: u32,
    /// Bytes that one entry takes in memory, without what it holds in turn.
    bytes: usize,
    /// What it holds.
    parts: &'static Parts,
}

const fn part<T>(field: u32, parts: &'static Parts) -> Part {
    Part { field, bytes: size_of::<T>(), parts }
}

/// An entry with a map in it.
const fn with_map<T>(field: u32) -> Part {
    Part { field, bytes: size_of::<T>() + NODE, parts: &PLAIN }
}

/// Nothing but numbers and texts.
static PLAIN: Parts = Parts(&[]);
static ERROR_ROW: Parts = Parts(&[part::<ChalkError>(6, &PLAIN)]);
static ANSWER: Parts = Parts(&[part::<ChalkError>(3, &PLAIN)]);
static UPSERT: Parts = Parts(&[Part { field: 5, bytes: size_of::<Value>() + TEXT, parts: &ENTRY }]);
/// An entry of a payload: its value is the second field.
static ENTRY: Parts = Parts(&[part::<Value>(2, &VALUE)]);
static VALUE: Parts =
    Parts(&[Part { field: 10, bytes: 0, parts: &LIST }, Part { field: 11, bytes: 0, parts: &STRUCT }]);
static LIST: Parts = Parts(&[part::<Value>(1, &VALUE)]);
static STRUCT: Parts = Parts(&[part::<StructField>(1, &ENTRY)]);

macro_rules! weighed {
    ($($message:ty: $parts:expr;)*) => {$(
        impl Weighed for $message {
            const PARTS: &'static Parts = &Parts(&$parts);
        }
    )*};
}

weighed! {
    v1::MetricBatch: [part::<v1::Metric>(1, &PLAIN)];
    v4::MetricBatch: [with_map::<v4::Metric>(1)];
    ErrorBatch: [part::<ErrorRow>(3, &ERROR_ROW)];
    QueryMessagePubSub: [];
    LoggedQuery: [Part { field: 6, bytes: 0, parts: &ANSWER }];
    UsageBatch: [with_map::<UsageEvent>(1)];
    NodeStatusPubSub: [];
    PodStatusPubSub: [];
    BulkInsert: [part::<InsertFile>(4, &PLAIN)];
    VectorBatch: [
        Part { field: 7, bytes: size_of::<VectorUpsert>() + NODE, parts: &UPSERT },
        part::<VectorDelete>(8, &PLAIN),
    ];
}

/// Refuses protobuf that would take more than eight bytes in memory for each of `limit`.
///
/// Bytes that are no protobuf are weighed as far as they are; the reader says what is wrong with them.
pub(super) fn protobuf<M: Weighed>(body: &[u8], limit: usize) -> Result<(), Refusal> {
    let mut left = limit.saturating_mul(FOR_A_BYTE);
    match weigh(body, M::PARTS, &mut left) {
        Some(Weight::TooMuch) => Err(too_large(limit)),
        Some(Weight::Fits) | None => Ok(()),
    }
}

enum Weight {
    Fits,
    TooMuch,
}

/// `None` where the bytes are no protobuf.
fn weigh(mut body: &[u8], parts: &'static Parts, left: &mut usize) -> Option<Weight> {
    let mut open: Vec<(&[u8], &'static Parts)> = Vec::new();
    let mut parts = parts;
    loop {
        if body.is_empty() {
            match open.pop() {
                Some((rest, around)) => (body, parts) = (rest, around),
                None => return Some(Weight::Fits),
            }
            continue;
        }
        let (field, wire_type) = decode_key(&mut body).ok()?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, field, &mut body, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut body).ok()?).ok()?;
        let (content, rest) = body.split_at_checked(length)?;
        let part = parts.0.iter().find(|part| part.field == field);
        match left.checked_sub(part.map_or(TEXT, |part| part.bytes)) {
            Some(after) => *left = after,
            None => return Some(Weight::TooMuch),
        }
        body = rest;
        if let Some(part) = part {
            if open.len() >= DEEPEST {
                return None;
            }
            open.push((rest, parts));
            (body, parts) = (content, part.parts);
        }
    }
}

/// Refuses JSON that would take more than eight bytes in memory for each of `limit`: every brace is taken for the
/// heaviest entry there is, every comma for a text. Those inside of texts count too, which a text rarely has many of.
pub(super) fn json<M: Weighed>(body: &[u8], limit: usize) -> Result<(), Refusal> {
    let (mut braces, mut commas) = (0_usize, 0_usize);
    for byte in body {
        braces += usize::from(*byte == b'{');
        commas += usize::from(*byte == b',');
    }
    let heaviest = M::PARTS.0.iter().map(|part| part.bytes).max().unwrap_or_default().max(NODE);
    let weight = braces.saturating_mul(heaviest).saturating_add(commas.saturating_mul(TEXT));
    if weight > limit.saturating_mul(FOR_A_BYTE) { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: usize) -> Refusal {
    let message = format!(
        "more than {} bytes once decoded, {FOR_A_BYTE} times `max_message_bytes`: publish fewer entries in a message",
        limit.saturating_mul(FOR_A_BYTE)
    );
    Refusal::new(ErrorClass::TooLarge, message).harmless()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::writer::v1::value::Kind;
    use crate::proto::writer::v1::{ListValue, VectorUpsert};
    use crate::result::encode::timestamp;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn nothing_of_a_few_bytes_becomes_many_times_the_limit() {
        let empty = |field: u8| [field << 3 | 2, 0].repeat(LIMIT / 2);
        assert!(protobuf::<v1::MetricBatch>(&empty(1), LIMIT).is_err());
        assert!(protobuf::<v4::MetricBatch>(&empty(1), LIMIT).is_err());
        assert!(protobuf::<ErrorBatch>(&empty(3), LIMIT).is_err());
        assert!(protobuf::<UsageBatch>(&empty(1), LIMIT).is_err());
        assert!(protobuf::<VectorBatch>(&empty(8), LIMIT).is_err());
        assert!(protobuf::<QueryMessagePubSub>(&empty(7), LIMIT).is_err(), "a list of texts");
        assert!(
            json::<v1::MetricBatch>(format!(r#"{{"metrics":[{}]}}"#, "{},".repeat(LIMIT / 3)).as_bytes(), LIMIT)
                .is_err()
        );
    }

    #[test]
    fn values_in_values_are_weighed_however_deep() {
        let nothing = || Value { kind: Some(Kind::NullValue(0)) };
        let list = |items: Vec<Value>| Value { kind: Some(Kind::ListValue(ListValue { items })) };
        let of = |value: Value| VectorBatch {
            upserts: vec![VectorUpsert { payload: [("a".to_owned(), value)].into(), ..VectorUpsert::default() }],
            ..VectorBatch::default()
        };
        let deep = (0..30).fold(list(vec![nothing(); 50_000]), |inner, _| list(vec![inner]));
        let body = of(deep).encode_to_vec();
        assert!(body.len() < 1 << 18 && protobuf::<VectorBatch>(&body, body.len()).is_err());
        assert!(protobuf::<VectorBatch>(&body, LIMIT).is_ok());
    }

    #[test]
    fn what_real_batches_hold_is_within_their_own_size() {
        let metric = v1::Metric {
            environment_id: "prod".to_owned(),
            deployment_id: "0123456789abcdef".to_owned(),
            source: "user.transactions.amount".to_owned(),
            observed_at: Some(timestamp(1_795_372_320_123_456)),
            namespace: 1,
            metric_name: 2,
            tag1: Some(1),
            tag4: Some(3),
            aggregation_type: Some(1),
            value: Some(v1::metric::Value::Numeric(v1::NumericMetric { value: 17.5 })),
            ..v1::Metric::default()
        };
        let batch = v1::MetricBatch { metrics: vec![metric; 1_000] };
        let body = batch.encode_to_vec();
        assert!(protobuf::<v1::MetricBatch>(&body, body.len()).is_ok(), "{} bytes", body.len());
        let body = serde_json::to_vec(&batch).expect("JSON");
        assert!(json::<v1::MetricBatch>(&body, body.len()).is_ok(), "{} bytes", body.len());
    }

    #[test]
    fn what_is_no_protobuf_is_the_readers_to_refuse() {
        assert!(protobuf::<v1::MetricBatch>(b"\x0a\x7f", LIMIT).is_ok());
        assert!(protobuf::<v1::MetricBatch>(&[0xff; 40], LIMIT).is_ok());
    }
}
