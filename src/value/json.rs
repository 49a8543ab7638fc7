//! A value as JSON text: one text for one value, so that texts can be compared and stored.
//!
//! Bytes are base64 text, a date `YYYY-MM-DD`, a timestamp RFC 3339 in UTC with six digits, a decimal
//! its text; not-a-number and the infinities are `"NaN"`, `"Infinity"`, `"-Infinity"`; a vector is a
//! list (half and single precision with the fewest digits that name the number), a struct an object
//! in the order of its fields. No space stands between tokens, and U+0000 is always escaped.
//!
//! JSON has fewer types than values have: reading back gives text where the value was bytes, a date,
//! a timestamp, a decimal or not finite, and a list where it was a vector.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use half::f16;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{Value, Vector, time};

/// Lists and structs in one another, as deep as a message may nest them.
const DEEPEST: usize = 64;

/// The JSON text of a value.
pub fn to_text(value: &Value) -> String {
    let mut text = Vec::with_capacity(32);
    write(value, &mut text);
    String::from_utf8(text).expect("JSON is made of text and ASCII")
}

/// Appends the JSON text of a value, which is UTF-8.
pub fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Null => text.extend_from_slice(b"null"),
        Value::Bool(true) => text.extend_from_slice(b"true"),
        Value::Bool(false) => text.extend_from_slice(b"false"),
        Value::Int(number) => plain(number, text),
        Value::Double(number) => double(*number, text),
        Value::Text(value) => quoted(value, text),
        Value::Bytes(bytes) => quoted(&STANDARD.encode(bytes), text),
        Value::Timestamp(micros) => quoted(&time::format_timestamp(*micros), text),
        Value::Date(days) => quoted(&time::format_date(*days), text),
        Value::Decimal(digits) => quoted(digits, text),
        Value::List(items) => listed(items, text, write),
        Value::Struct(fields) => {
            text.push(b'{');
            for (at, (name, value)) in fields.iter().enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                quoted(name, text);
                text.push(b':');
                write(value, text);
            }
            text.push(b'}');
        }
        Value::Vector(vector) => match vector.as_ref() {
            Vector::Fp16(elements) => listed(elements, text, |bits, text| single(f16::from_bits(*bits).to_f32(), text)),
            Vector::Fp32(elements) => listed(elements, text, |element, text| single(*element, text)),
            Vector::Fp64(elements) => listed(elements, text, |element, text| double(*element, text)),
        },
    }
}

fn listed<T>(items: &[T], text: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
    text.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        each(item, text);
    }
    text.push(b']');
}

fn plain<T: serde::Serialize + ?Sized>(value: &T, text: &mut Vec<u8>) {
    serde_json::to_writer(text, value).expect("numbers and text always have a JSON form");
}

fn quoted(value: &str, text: &mut Vec<u8>) {
    plain(value, text);
}

fn single(number: f32, text: &mut Vec<u8>) {
    if number.is_finite() { plain(&number, text) } else { double(f64::from(number), text) }
}

fn double(number: f64, text: &mut Vec<u8>) {
    if number.is_finite() {
        plain(&number, text);
    } else if number.is_nan() {
        text.extend_from_slice(b"\"NaN\"");
    } else if number > 0.0 {
        text.extend_from_slice(b"\"Infinity\"");
    } else {
        text.extend_from_slice(b"\"-Infinity\"");
    }
}

/// Text that is not a value's JSON.
#[derive(Debug, thiserror::Error)]
#[error("not a value in JSON: {0}")]
pub struct JsonError(#[from] serde_json::Error);

/// Reads JSON text: `null`, booleans, numbers, text, lists and objects, the latter in their order.
///
/// An integer within 64 bits stays exact, any other number is a double. A key that stands twice in
/// an object and nesting deeper than 64 are errors.
pub fn from_text(text: &str) -> Result<Value, JsonError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Depth(0).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.0 >= DEEPEST {
            return Err(E::custom(format_args!("nested deeper than {DEEPEST}")));
        }
        Ok(Self(self.0 + 1))
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::text(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut fields = Vec::new();
        let mut seen = hashbrown::HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            let name = ByteString::from(name);
            if !seen.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("key `{name}` stands twice")));
            }
            fields.push((name, entries.next_value_seed(inner)?));
        }
        Ok(Value::Struct(fields))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_type_has_its_one_text() {
        let vector = |vector| Value::Vector(Arc::new(vector));
        for (value, text) in [
            (Value::Null, "null"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::Int(9_007_199_254_740_993), "9007199254740993"),
            (Value::Double(1.0), "1.0"),
            (Value::Double(-0.0), "-0.0"),
            (Value::Double(f64::NAN), "\"NaN\""),
            (Value::Double(f64::NEG_INFINITY), "\"-Infinity\""),
            (Value::text("a\0\"\\\n€😀"), "\"a\\u0000\\\"\\\\\\n€😀\""),
            (Value::Bytes(Bytes::from_static(&[0, 255])), "\"AP8=\""),
            (Value::Timestamp(1_700_000_000_000_001), "\"2023-11-14T22:13:20.000001Z\""),
            (Value::Date(-1), "\"1969-12-31\""),
            (Value::Decimal("12.50".into()), "\"12.50\""),
            (Value::List(vec![Value::List(vec![]), Value::Null]), "[[],null]"),
            (Value::Struct(vec![("b".into(), Value::Int(1)), ("a".into(), Value::Null)]), "{\"b\":1,\"a\":null}"),
            (vector(Vector::Fp16(vec![0x3c00, 0x7c00])), "[1.0,\"Infinity\"]"),
            (vector(Vector::Fp32(vec![0.1])), "[0.1]"),
            (vector(Vector::Fp64(vec![0.1])), "[0.1]"),
        ] {
            assert_eq!(to_text(&value), text);
        }
    }

    #[test]
    fn a_key_that_stands_twice_and_a_bottomless_nesting_are_refused() {
        assert!(from_text(r#"{"a":1,"a":2}"#).expect_err("twice").to_string().contains("key `a` stands twice"));
        assert!(from_text(&"[".repeat(100_000)).is_err());
        assert!(from_text(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
        assert!(from_text(&format!("{}{}", "[".repeat(65), "]".repeat(65))).is_err());
        assert!(from_text("1 2").is_err());
    }

    fn kept_types() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            proptest::num::f64::NORMAL.prop_map(Value::Double),
            any::<String>().prop_map(Value::text),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|fields| {
                    Value::Struct(fields.into_iter().rev().map(|(name, value)| (name.into(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_json_has_types_for_comes_back_the_same(value in kept_types()) {
            prop_assert_eq!(from_text(&to_text(&value)).expect("our own text"), value);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = from_text(&text);
        }
    }
}
