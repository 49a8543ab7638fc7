//! A value in `MessagePack`: one sequence of bytes for one value, so that stored bytes can be compared.
//!
//! Every number and length takes its smallest form. A timestamp is the standard's extension type -1 in
//! the smallest of its three forms; bytes are `bin`; a date is text `YYYY-MM-DD`, a decimal its text; a
//! struct is a map in the order of its fields. A vector of half or single precision is an array of
//! 32-bit floats (which hold both exactly), of double precision an array of 64-bit ones; a single
//! number is always 64 bits wide, so a reader can tell the two. Every not-a-number has the same bytes.
//!
//! Reading back gives text where the value was a date or a decimal, a vector of single precision where
//! it was of half, a list of doubles where it was of double, and a list where it was empty.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use half::f16;
use rmp::encode as put;
use rmpv::ValueRef;

use super::time::{MICROS, format_date};
use super::{Value, Vector};

/// Lists and structs in one another, as deep as a message may nest them.
const DEEPEST: usize = 64;

/// The extension type that the standard gives to timestamps.
const TIMESTAMP: i8 = -1;

/// The encoding of null, by which stores tell it from any other value.
pub const NULL: u8 = 0xc0;

const INTO_MEMORY: &str = "a vector takes every byte";

/// Appends a value's encoding.
pub fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Null => to.push(NULL),
        Value::Bool(value) => put::write_bool(to, *value).expect(INTO_MEMORY),
        Value::Int(number) => {
            put::write_sint(to, *number).expect(INTO_MEMORY);
        }
        Value::Double(number) => double(*number, to),
        Value::Text(text) | Value::Decimal(text) => put::write_str(to, text).expect(INTO_MEMORY),
        Value::Bytes(bytes) => put::write_bin(to, bytes).expect(INTO_MEMORY),
        Value::Timestamp(micros) => timestamp(*micros, to),
        Value::Date(days) => put::write_str(to, &format_date(*days)).expect(INTO_MEMORY),
        Value::List(items) => array(items, to, write),
        Value::Struct(fields) => {
            put::write_map_len(to, fields.len() as u32).expect(INTO_MEMORY);
            for (name, value) in fields {
                put::write_str(to, name).expect(INTO_MEMORY);
                write(value, to);
            }
        }
        Value::Vector(vector) => match vector.as_ref() {
            Vector::Fp16(elements) => array(elements, to, |bits, to| single(f16::from_bits(*bits).to_f32(), to)),
            Vector::Fp32(elements) => array(elements, to, |element, to| single(*element, to)),
            Vector::Fp64(elements) => array(elements, to, |element, to| double(*element, to)),
        },
    }
}

fn array<T>(items: &[T], to: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
    put::write_array_len(to, items.len() as u32).expect(INTO_MEMORY);
    for item in items {
        each(item, to);
    }
}

fn single(number: f32, to: &mut Vec<u8>) {
    put::write_f32(to, if number.is_nan() { f32::NAN } else { number }).expect(INTO_MEMORY);
}

fn double(number: f64, to: &mut Vec<u8>) {
    put::write_f64(to, if number.is_nan() { f64::NAN } else { number }).expect(INTO_MEMORY);
}

fn timestamp(micros: i64, to: &mut Vec<u8>) {
    let seconds = micros.div_euclid(MICROS);
    let nanos = micros.rem_euclid(MICROS) as u32 * 1_000;
    let mut extension = |bytes: &[u8]| {
        put::write_ext_meta(to, bytes.len() as u32, TIMESTAMP).expect(INTO_MEMORY);
        to.extend_from_slice(bytes);
    };
    match u64::try_from(seconds) {
        Ok(seconds) if nanos == 0 && seconds < 1 << 32 => extension(&(seconds as u32).to_be_bytes()),
        Ok(seconds) if seconds < 1 << 34 => extension(&(u64::from(nanos) << 34 | seconds).to_be_bytes()),
        _ => {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&nanos.to_be_bytes());
            bytes[4..].copy_from_slice(&seconds.to_be_bytes());
            extension(&bytes);
        }
    }
}

/// Bytes that are not a value's encoding.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a value in MessagePack: {0}")]
pub struct MessagePackError(String);

/// Reads an encoding, and nothing after it. Deeper nesting than 64 is an error.
pub fn read(bytes: &[u8]) -> Result<Value, MessagePackError> {
    let mut rest = bytes;
    // Each level costs the reader two of its own steps at the most, so its bound comes after ours.
    let found = rmpv::decode::read_value_ref_with_max_depth(&mut rest, 4 * DEEPEST)
        .map_err(|error| MessagePackError(error.to_string()))?;
    if !rest.is_empty() {
        return Err(MessagePackError(format!("{} bytes after the value", rest.len())));
    }
    value(&found, 0)
}

fn value(found: &ValueRef<'_>, depth: usize) -> Result<Value, MessagePackError> {
    if depth > DEEPEST {
        return Err(MessagePackError(format!("nested deeper than {DEEPEST}")));
    }
    Ok(match found {
        ValueRef::Nil => Value::Null,
        ValueRef::Boolean(value) => Value::Bool(*value),
        ValueRef::Integer(number) => Value::Int(
            number.as_i64().ok_or_else(|| MessagePackError(format!("integer {number} beyond 64 bits with sign")))?,
        ),
        ValueRef::F32(number) => Value::Double(f64::from(*number)),
        ValueRef::F64(number) => Value::Double(*number),
        ValueRef::String(_) => Value::Text(text(found)?),
        ValueRef::Binary(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes)),
        ValueRef::Array(items) => match singles(items) {
            Some(elements) => Value::Vector(Arc::new(Vector::Fp32(elements))),
            None => Value::List(items.iter().map(|item| value(item, depth + 1)).collect::<Result<_, _>>()?),
        },
        ValueRef::Map(entries) => Value::Struct(
            entries
                .iter()
                .map(|(name, field)| Ok((text(name)?, value(field, depth + 1)?)))
                .collect::<Result<_, MessagePackError>>()?,
        ),
        ValueRef::Ext(TIMESTAMP, bytes) => Value::Timestamp(instant(bytes)?),
        ValueRef::Ext(kind, _) => return Err(MessagePackError(format!("unknown extension {kind}; known is -1"))),
    })
}

/// Only vectors hold 32-bit floats, and they hold nothing else.
fn singles(items: &[ValueRef<'_>]) -> Option<Vec<f32>> {
    if items.is_empty() {
        return None;
    }
    items.iter().map(|item| if let ValueRef::F32(number) = item { Some(*number) } else { None }).collect()
}

fn text(found: &ValueRef<'_>) -> Result<ByteString, MessagePackError> {
    match found {
        ValueRef::String(text) => {
            text.as_str().map(ByteString::from).ok_or_else(|| MessagePackError("text that is not UTF-8".to_owned()))
        }
        _ => Err(MessagePackError("a key of a struct that is not text".to_owned())),
    }
}

fn instant(bytes: &[u8]) -> Result<i64, MessagePackError> {
    let (seconds, nanos) = if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        (i64::from(u32::from_be_bytes(bytes)), 0)
    } else if let Ok(bytes) = <[u8; 8]>::try_from(bytes) {
        let both = u64::from_be_bytes(bytes);
        ((both & ((1 << 34) - 1)) as i64, (both >> 34) as i64)
    } else if let Some((nanos, seconds)) = bytes.split_first_chunk::<4>()
        && let Ok(seconds) = <[u8; 8]>::try_from(seconds)
    {
        (i64::from_be_bytes(seconds), i64::from(u32::from_be_bytes(*nanos)))
    } else {
        return Err(MessagePackError(format!("a timestamp of {} bytes; expected 4, 8 or 12", bytes.len())));
    };
    seconds
        .checked_mul(MICROS)
        .and_then(|micros| micros.checked_add(nanos / 1_000))
        .ok_or_else(|| MessagePackError(format!("timestamp {seconds} s beyond 64 bits of microseconds")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(value, &mut bytes);
        bytes
    }

    #[test]
    fn every_type_has_its_smallest_bytes() {
        for (value, bytes) in [
            (Value::Null, &[0xc0][..]),
            (Value::Int(127), &[0x7f]),
            (Value::Int(-32), &[0xe0]),
            (Value::Int(128), &[0xcc, 128]),
            (Value::Double(1.0), &[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
            (Value::text("a\0"), &[0xa2, b'a', 0]),
            (Value::Bytes(Bytes::from_static(&[1])), &[0xc4, 1, 1]),
            (Value::Timestamp(1_000_000), &[0xd6, 0xff, 0, 0, 0, 1]),
            (Value::Timestamp(1_000_001), &[0xd7, 0xff, 0, 0, 0x0f, 0xa0, 0, 0, 0, 1]),
            (Value::Timestamp(-1), &[0xc7, 12, 0xff, 0x3b, 0x9a, 0xc6, 0x18, 255, 255, 255, 255, 255, 255, 255, 255]),
            (Value::Date(0), b"\xaa1970-01-01"),
            (Value::Decimal("1.50".into()), b"\xa41.50"),
            (Value::Struct(vec![("b".into(), Value::Null)]), &[0x81, 0xa1, b'b', 0xc0]),
            (Value::Vector(Arc::new(Vector::Fp16(vec![0x3c00]))), &[0x91, 0xca, 0x3f, 0x80, 0, 0]),
        ] {
            assert_eq!(encoded(&value), bytes, "{value:?}");
        }
    }

    #[test]
    fn all_not_a_numbers_are_one() {
        let odd = f64::from_bits(0xfff8_0000_0000_0001);
        assert_eq!(encoded(&Value::Double(odd)), encoded(&Value::Double(f64::NAN)));
    }

    #[test]
    fn nesting_ends_at_sixty_four() {
        let nested = |depth| {
            let mut bytes = vec![0x91; depth];
            bytes.push(NULL);
            bytes
        };
        assert!(read(&nested(64)).is_ok());
        assert!(read(&nested(65)).is_err());
        assert!(read(&nested(1_000_000)).is_err());
        assert!(read(&[0x91; 1000]).is_err());
    }

    #[test]
    fn a_lying_length_costs_no_memory() {
        assert!(read(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(read(&[0xc6, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(read(&[0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0]).is_err());
    }

    fn kept_types() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            proptest::num::f64::ANY.prop_filter("NaN is not equal to itself", |n| !n.is_nan()).prop_map(Value::Double),
            any::<String>().prop_map(Value::text),
            any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
            any::<i64>().prop_map(Value::Timestamp),
            prop::collection::vec(proptest::num::f32::NORMAL, 1..4)
                .prop_map(|elements| Value::Vector(Arc::new(Vector::Fp32(elements)))),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                prop::collection::vec((any::<String>(), inner), 0..5).prop_map(|fields| {
                    Value::Struct(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_encoding_has_types_for_comes_back_the_same(value in kept_types()) {
            prop_assert_eq!(read(&encoded(&value)), Ok(value));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_cut_encoding_is_an_error(value in kept_types(), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&value);
            prop_assert!(read(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }
}
