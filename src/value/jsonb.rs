//! A value as the text that Postgres itself gives a `jsonb`: what it is sent as, and what ties are broken by.
//!
//! The forms of the values are those of [`super::json`]. `jsonb` has a text of its own: a space
//! after `,` and `:`, the fields of an object by the length of their names and then by their bytes, and
//! numbers without exponents. A double keeps a point, so that it is told from an integer; zero has no sign.
//! It cannot hold U+0000.

use std::fmt::Display;
use std::io::Write as _;

use half::f16;

use super::{Value, Vector, json};

/// Whether a text, or a name of a field, holds U+0000, which no text of Postgres can.
pub fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.as_bytes().contains(&0),
        Value::List(items) => items.iter().any(holds_nul),
        Value::Struct(fields) => fields.iter().any(|(name, value)| name.as_bytes().contains(&0) || holds_nul(value)),
        _ => false,
    }
}

/// Appends the text of a value that holds no U+0000.
pub fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Double(number) => double(*number, text),
        Value::List(items) => listed(items, text, write),
        Value::Struct(fields) => structure(fields, text),
        Value::Vector(vector) => match vector.as_ref() {
            Vector::Fp16(elements) => listed(elements, text, |bits, text| single(f16::from_bits(*bits).to_f32(), text)),
            Vector::Fp32(elements) => listed(elements, text, |element, text| single(*element, text)),
            Vector::Fp64(elements) => listed(elements, text, |element, text| double(*element, text)),
        },
        other => json::write(other, text),
    }
}

fn listed<T>(items: &[T], text: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
    text.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.extend_from_slice(b", ");
        }
        each(item, text);
    }
    text.push(b']');
}

/// Of two fields of one name the last stands.
fn structure(fields: &[(bytestring::ByteString, Value)], text: &mut Vec<u8>) {
    let mut order: Vec<usize> = (0..fields.len()).collect();
    order.sort_by_key(|at| (fields[*at].0.len(), fields[*at].0.as_bytes(), *at));
    text.push(b'{');
    let mut first = true;
    for (place, at) in order.iter().enumerate() {
        let (name, value) = &fields[*at];
        if order.get(place + 1).is_some_and(|next| fields[*next].0 == *name) {
            continue;
        }
        if !std::mem::take(&mut first) {
            text.extend_from_slice(b", ");
        }
        json::write(&Value::Text(name.clone()), text);
        text.extend_from_slice(b": ");
        write(value, text);
    }
    text.push(b'}');
}

fn double(number: f64, text: &mut Vec<u8>) {
    if number.is_finite() { finite(number + 0.0, text) } else { json::write(&Value::Double(number), text) }
}

fn single(number: f32, text: &mut Vec<u8>) {
    if number.is_finite() { finite(number + 0.0, text) } else { double(f64::from(number), text) }
}

/// The fewest digits that name the number, without an exponent. Adding 0 has made a zero positive.
fn finite(number: impl Display, text: &mut Vec<u8>) {
    let begun = text.len();
    write!(text, "{number}").expect("writing to memory succeeds");
    if !text[begun..].contains(&b'.') {
        text.extend_from_slice(b".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value) -> String {
        let mut text = Vec::new();
        write(value, &mut text);
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn a_number_has_a_point_and_no_exponent() {
        for (number, expected) in
            [(1.0, "1.0"), (-0.0, "0.0"), (1e16, "10000000000000000.0"), (1e-7, "0.0000001"), (0.1, "0.1")]
        {
            assert_eq!(text(&Value::Double(number)), expected);
            assert_eq!(json::from_text(expected).expect("a number"), Value::Double(number));
        }
        assert_eq!(text(&Value::Double(f64::NAN)), "\"NaN\"");
    }

    #[test]
    fn fields_are_in_the_order_of_jsonb_and_the_last_of_a_name_stands() {
        let field = |name: &'static str, number| (name.into(), Value::Int(number));
        let fields = Value::Struct(vec![field("bb", 1), field("c", 2), field("a", 3), field("bb", 4)]);
        assert_eq!(text(&Value::List(vec![fields, Value::Null])), r#"[{"a": 3, "c": 2, "bb": 4}, null]"#);
        assert!(holds_nul(&Value::Struct(vec![("a\0".into(), Value::Null)])));
        assert!(holds_nul(&Value::List(vec![Value::text("\0")])));
        assert!(!holds_nul(&Value::Bytes(vec![0].into())));
    }
}
