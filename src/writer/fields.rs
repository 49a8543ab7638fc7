//! Fields of the published messages as values of columns. What a message leaves empty is null.

use std::collections::BTreeMap;

use bytestring::ByteString;
use pbjson_types::Timestamp;

use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::writer::time::from_proto;

/// Counts up to here are numbers in every store and reader.
const LARGEST: u64 = 1 << 53;

pub(super) fn text(text: String) -> Value {
    if text.is_empty() { Value::Null } else { Value::text(text) }
}

pub(super) fn optional(value: Option<String>) -> Value {
    value.map_or(Value::Null, text)
}

/// What the body says, else what the headers say.
pub(super) fn either(body: String, header: &str) -> Value {
    if body.is_empty() { text(header.to_owned()) } else { Value::text(body) }
}

pub(super) fn number(value: Option<f64>) -> Value {
    value.map_or(Value::Null, Value::Double)
}

/// The name of an enumeration's value without what all of them begin with: null for 0, which is none, and the
/// number's text for one of a later engine.
pub(super) fn word(number: i32, name: Option<&'static str>, prefix: &str) -> Value {
    match (number, name) {
        (0, _) => Value::Null,
        (_, Some(name)) => Value::Text(ByteString::from_static(name.strip_prefix(prefix).unwrap_or(name))),
        (number, None) => Value::text(number.to_string()),
    }
}

pub(super) fn list(items: Vec<String>) -> Value {
    Value::List(items.into_iter().map(Value::text).collect())
}

pub(super) fn map(entries: BTreeMap<String, String>) -> Value {
    Value::Struct(entries.into_iter().map(|(name, value)| (name.into(), Value::text(value))).collect())
}

/// A count that every store can hold and add up.
pub(super) fn count(what: &str, count: u64) -> Result<Value, Refusal> {
    if count <= LARGEST {
        return Ok(Value::Int(count.cast_signed()));
    }
    Err(Refusal::new(ErrorClass::ValueRefused, format!("`{what}` is {count}; at most {LARGEST} is kept exactly")))
}

/// Microseconds since 1970; or why that is no time.
pub(super) fn micros(time: Option<&Timestamp>) -> Result<Option<i64>, Refusal> {
    let read = |given: &Timestamp| from_proto(given).map_err(decode);
    time.map(read).transpose()
}

/// A refusal of a body that says too little; what it says of it holds no value.
pub(super) fn decode(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorClass::Decode, message).harmless()
}
