//! A value on the wire.

#![allow(clippy::inline_always, reason = "a value that is handed back through memory costs more than reading it does")]

use std::sync::Arc;

use bytestring::ByteString;

use super::wire::{Kind, Malformed, Wire, elements};
use crate::cut::{QUOTED, cut};
use crate::result::halves;
use crate::value::{Value, Vector, decimal, time};

/// A `google.protobuf.Timestamp` while its fields come in.
#[derive(Clone, Copy, Default)]
pub(super) struct TimestampParts {
    seconds: i64,
    nanos: i32,
}

impl TimestampParts {
    pub(super) fn merge(&mut self, mut wire: Wire<'_>) -> Result<(), Malformed> {
        while let Some((number, field)) = wire.next()? {
            match number {
                1 => self.seconds = wire.integer("seconds", field)? as i64,
                2 => self.nanos = wire.integer("nanos", field)? as i32,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn micros(self) -> Option<i64> {
        time::from_parts(self.seconds, self.nanos)
    }

    pub(super) fn fault(self) -> String {
        let Self { seconds, nanos } = self;
        format!("expected a time in the years 1 to 9999, found {seconds} seconds and {nanos} nanoseconds")
    }
}

/// Reads a value of the kinds that most are, which is one field and nothing else, at a glance; it is written where it is to
/// stay, over null. False says nothing of it, then it is for [`merge_value`] to read.
#[inline(always)]
pub(super) fn plain_value<'a>(wire: &Wire<'a>, content: &'a [u8], into: &mut Value) -> bool {
    match content {
        [DOUBLE, bits @ ..] if let Ok(bits) = bits.try_into() => into.fill(Value::Double(f64::from_le_bytes(bits))),
        [INT, varint @ ..] if let Some(bits) = whole_varint(varint) => into.fill(Value::Int(bits as i64)),
        [TEXT, length @ ..0x80, text @ ..]
            if text.len() == usize::from(*length)
                && let Some(text) = wire.text_of(text) =>
        {
            into.fill(Value::Text(text));
        }
        [TEXT, low @ 0x80..=0xff, high @ ..0x80, text @ ..]
            if text.len() == usize::from(low & 0x7f) | usize::from(*high) << 7
                && let Some(text) = wire.text_of(text) =>
        {
            into.fill(Value::Text(text));
        }
        [BOOL, bit @ ..=1] => into.fill(Value::Bool(*bit != 0)),
        [NULL, 0] => {}
        _ => return false,
    }
    true
}

/// A varint that takes all of these bytes; `None` where it is another, or one that could overflow.
#[inline(always)]
fn whole_varint(bytes: &[u8]) -> Option<u64> {
    let (last, more) = bytes.split_last()?;
    // Nine bytes of seven bits never overflow.
    if *last >= 0x80 || more.len() > 8 {
        return None;
    }
    let mut value = u64::from(*last) << (7 * more.len());
    for (at, byte) in more.iter().enumerate() {
        if *byte < 0x80 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
    }
    Some(value)
}

/// How the fields of [`plain_value`] begin: number and type on the wire.
const NULL: u8 = 1 << 3;
const BOOL: u8 = 2 << 3;
const INT: u8 = 3 << 3;
const DOUBLE: u8 = 4 << 3 | 1;
const TEXT: u8 = 5 << 3 | 2;

/// Reads a `Value` into what an earlier part of the same value left, and says whether anything was set in this one.
///
/// What is wrong with a value, as against the wire, is a fault of its row.
pub(super) fn merge_value(
    mut wire: Wire<'_>,
    value: &mut Value,
    fault: &mut Option<String>,
) -> Result<bool, Malformed> {
    let mut set = false;
    while let Some((number, field)) = wire.next()? {
        *value = match number {
            1 => {
                wire.integer("null_value", field)?;
                Value::Null
            }
            2 => Value::Bool(wire.integer("bool_value", field)? != 0),
            3 => Value::Int(wire.integer("int_value", field)? as i64),
            4 if field.kind == Kind::Fixed64 => Value::Double(f64::from_bits(field.bits)),
            4 => return Err(wire.mistyped("double_value", field)),
            5 => Value::Text(wire.text("string_value", field)?),
            6 => Value::Bytes(wire.bytes("bytes_value", field)?),
            7 => {
                let mut parts = match value {
                    // The earlier part of a time in two parts; digits cut from it change nothing.
                    Value::Timestamp(micros) => TimestampParts {
                        seconds: micros.div_euclid(1_000_000),
                        nanos: micros.rem_euclid(1_000_000) as i32 * 1000,
                    },
                    _ => TimestampParts::default(),
                };
                parts.merge(wire.message("timestamp_value", field)?)?;
                sound(parts.micros().map(Value::Timestamp), fault, || parts.fault())
            }
            8 => {
                let text = wire.text("date_value", field)?;
                let found = || format!("expected a date as YYYY-MM-DD, found {:?}", cut(&text, QUOTED));
                sound(time::parse_date(&text).map(Value::Date), fault, found)
            }
            9 => {
                let text = wire.text("decimal_value", field)?;
                let canonical = decimal::canonical(&text).map(|canonical| match canonical {
                    std::borrow::Cow::Borrowed(_) => text.clone(),
                    std::borrow::Cow::Owned(canonical) => canonical.into(),
                });
                let found =
                    || format!("expected a decimal as text, without an exponent, found {:?}", cut(&text, QUOTED));
                sound(canonical.map(Value::Decimal), fault, found)
            }
            10 => {
                let mut items = match std::mem::replace(value, Value::Null) {
                    Value::List(items) => items,
                    _ => Vec::new(),
                };
                merge_list(wire.message("list_value", field)?, &mut items, fault)?;
                Value::List(items)
            }
            11 => {
                let mut fields = match std::mem::replace(value, Value::Null) {
                    Value::Struct(fields) => fields,
                    _ => Vec::new(),
                };
                merge_struct(wire.message("struct_value", field)?, &mut fields, fault)?;
                Value::Struct(fields)
            }
            12 => {
                let mut vector = match std::mem::replace(value, Value::Null) {
                    Value::Vector(vector) => Arc::try_unwrap(vector).ok(),
                    _ => None,
                };
                merge_vector(wire.message("vector_value", field)?, &mut vector, fault)?;
                let nothing = || "expected a vector of fp16, fp32 or fp64, found none of them".to_owned();
                sound(vector.map(|vector| Value::Vector(Arc::new(vector))), fault, nothing)
            }
            _ => continue,
        };
        set = true;
    }
    Ok(set)
}

fn sound(value: Option<Value>, fault: &mut Option<String>, what: impl FnOnce() -> String) -> Value {
    value.unwrap_or_else(|| {
        fault.get_or_insert_with(what);
        Value::Null
    })
}

fn merge_list(mut wire: Wire<'_>, items: &mut Vec<Value>, fault: &mut Option<String>) -> Result<(), Malformed> {
    while let Some((number, field)) = wire.next()? {
        if number == 1 {
            wire.take::<Value>()?;
            let mut item = Value::Null;
            merge_value(wire.message("items", field)?, &mut item, fault)?;
            items.push(item);
        }
    }
    Ok(())
}

fn merge_struct(
    mut wire: Wire<'_>,
    fields: &mut Vec<(ByteString, Value)>,
    fault: &mut Option<String>,
) -> Result<(), Malformed> {
    while let Some((number, field)) = wire.next()? {
        if number != 1 {
            continue;
        }
        wire.take::<(ByteString, Value)>()?;
        let mut inner = wire.message("fields", field)?;
        let (mut name, mut value) = (ByteString::new(), Value::Null);
        while let Some((number, field)) = inner.next()? {
            match number {
                1 => name = inner.text("name", field)?,
                2 => _ = merge_value(inner.message("value", field)?, &mut value, fault)?,
                _ => {}
            }
        }
        fields.push((name, value));
    }
    Ok(())
}

fn merge_vector(mut wire: Wire<'_>, vector: &mut Option<Vector>, fault: &mut Option<String>) -> Result<(), Malformed> {
    while let Some((number, field)) = wire.next()? {
        match number {
            1 => {
                let mut halves = match vector.take() {
                    Some(Vector::Fp16(halves)) => halves,
                    _ => Vec::new(),
                };
                merge_halves(wire.message("fp16", field)?, &mut halves, fault)?;
                *vector = Some(Vector::Fp16(halves));
            }
            2 => {
                let mut singles = match vector.take() {
                    Some(Vector::Fp32(singles)) => singles,
                    _ => Vec::new(),
                };
                let mut inner = wire.message("fp32", field)?;
                while let Some((number, field)) = inner.next()? {
                    match number {
                        1 if field.kind == Kind::Fixed32 => singles.push(f32::from_bits(field.bits as u32)),
                        1 => singles.extend(elements(&inner, field)?.iter().map(|b| f32::from_le_bytes(*b))),
                        _ => {}
                    }
                }
                *vector = Some(Vector::Fp32(singles));
            }
            3 => {
                let mut doubles = match vector.take() {
                    Some(Vector::Fp64(doubles)) => doubles,
                    _ => Vec::new(),
                };
                let mut inner = wire.message("fp64", field)?;
                while let Some((number, field)) = inner.next()? {
                    match number {
                        1 if field.kind == Kind::Fixed64 => doubles.push(f64::from_bits(field.bits)),
                        1 => doubles.extend(elements(&inner, field)?.iter().map(|b| f64::from_le_bytes(*b))),
                        _ => {}
                    }
                }
                *vector = Some(Vector::Fp64(doubles));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `bits` is a scalar: the last one counts.
fn merge_halves(mut wire: Wire<'_>, elements: &mut Vec<u16>, fault: &mut Option<String>) -> Result<(), Malformed> {
    while let Some((number, field)) = wire.next()? {
        if number != 1 {
            continue;
        }
        let bits = wire.content("bits", field)?;
        match halves(bits) {
            Some(read) => *elements = read,
            None => {
                fault.get_or_insert_with(|| {
                    format!("expected two bytes an element of fp16, found {} bytes", bits.len())
                });
            }
        }
    }
    Ok(())
}
