//! From the type that a message gives a value to the type that its feature is declared to have.
//!
//! A message's JSON knows fewer types than a declaration, so text becomes a timestamp, a date, a
//! decimal or bytes, an integer a double, a list of numbers a vector; but nothing is rounded or cut
//! on the way, with one exception that its declaration asks for: elements of a vector are rounded to
//! the nearest value of its precision. Null conforms to every type.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use bytestring::ByteString;
use half::f16;

use super::decimal::Digits;
use super::dtype::{DataType, Precision};
use super::{Value, Vector, time};
use crate::cut::{QUOTED, cut};
use crate::sink::ErrorClass;

/// A value that is not of the declared type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}{at}")]
pub struct Mismatch {
    /// The declared type.
    pub expected: String,
    /// The value's type and the value itself, cut short.
    pub found: String,
    /// Where it stands inside the value, empty for the value itself.
    at: Place,
    dimension: bool,
}

impl Mismatch {
    fn new(value: &Value, declared: &DataType) -> Self {
        Self { expected: declared.to_string(), found: describe(value), at: Place::default(), dimension: false }
    }

    /// The class under which it is buried.
    pub const fn class(&self) -> ErrorClass {
        if self.dimension { ErrorClass::DimensionMismatch } else { ErrorClass::TypeMismatch }
    }

    fn inside(mut self, step: &str) -> Self {
        self.at.0.insert_str(0, step);
        self
    }
}

/// A path inside a value: `[3].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " at {}", self.0) }
    }
}

/// Integers up to this magnitude are doubles without loss.
const EXACT: u64 = 1 << 53;

/// The value as its declared type, unchanged where it is of that type already.
// Most values are, and those are told apart where they lie.
#[inline]
pub fn conform(value: Value, declared: &DataType) -> Result<Value, Mismatch> {
    if is_of(&value, declared) { Ok(value) } else { converted(value, declared) }
}

/// Whether it shows by a value's kind alone that it is of a type.
#[inline]
pub const fn is_of(value: &Value, declared: &DataType) -> bool {
    matches!(
        (value, declared),
        (Value::Null, _)
            | (Value::Bool(_), DataType::Bool)
            | (Value::Int(_), DataType::Int64)
            | (Value::Double(_), DataType::Float64)
            | (Value::Text(_), DataType::String)
            | (Value::Bytes(_), DataType::Bytes)
            | (Value::Timestamp(_), DataType::Timestamp)
            | (Value::Date(_), DataType::Date)
    )
}

fn converted(value: Value, declared: &DataType) -> Result<Value, Mismatch> {
    match (value, declared) {
        (Value::Int(int), DataType::Float64) if int.unsigned_abs() <= EXACT => Ok(Value::Double(int as f64)),
        (Value::Text(text), _) => from_text(&text, declared).ok_or_else(|| Mismatch::new(&Value::Text(text), declared)),
        (value, DataType::Decimal(precision, scale)) => decimal_text(&value)
            .and_then(|text| fit(&text, *precision, *scale))
            .ok_or_else(|| Mismatch::new(&value, declared)),
        (Value::List(items), DataType::List(item)) => items
            .into_iter()
            .enumerate()
            .map(|(at, value)| conform(value, item).map_err(|mismatch| mismatch.inside(&format!("[{at}]"))))
            .collect::<Result<_, _>>()
            .map(Value::List),
        (Value::Struct(fields), DataType::Struct(declared)) => structure(fields, declared),
        (Value::List(items), DataType::Vector(precision, dimension)) => {
            let elements = items
                .iter()
                .enumerate()
                .map(|(at, item)| element(at, item, *precision))
                .collect::<Result<Vec<_>, _>>()?;
            vector(&elements, *precision, *dimension, declared)
        }
        (Value::Vector(given), DataType::Vector(precision, dimension)) => {
            if given.precision() == *precision && given.dimension() == *dimension as usize {
                return Ok(Value::Vector(given));
            }
            vector(&given.to_f64(), *precision, *dimension, declared)
        }
        (value, _) => Err(Mismatch::new(&value, declared)),
    }
}

fn from_text(text: &str, declared: &DataType) -> Option<Value> {
    match declared {
        DataType::Int64 => text.parse().ok().map(Value::Int),
        DataType::Float64 => not_a_number(text).map(Value::Double),
        DataType::Bytes => decode_base64(text).map(|bytes| Value::Bytes(bytes.into())),
        DataType::Timestamp => time::parse_timestamp(text).map(Value::Timestamp),
        DataType::Date => time::parse_date(text).map(Value::Date),
        DataType::Decimal(precision, scale) => fit(text, *precision, *scale),
        _ => None,
    }
}

/// The doubles that JSON has no numbers for.
pub(crate) fn not_a_number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Base64 of the standard or the URL alphabet, with or without padding, as proto3's JSON has it.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    const URL: GeneralPurpose = general_purpose::GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
    STANDARD.decode(text).or_else(|_| URL.decode(text)).ok()
}

fn fit(text: &str, precision: u8, scale: u8) -> Option<Value> {
    Digits::parse(text)?.fit(precision, scale).map(|text| Value::Decimal(text.into()))
}

/// The digits of a number. A double is taken at its shortest text, and only where that has no more
/// digits than every double keeps: then it is what the message's text said.
fn decimal_text(value: &Value) -> Option<String> {
    match value {
        Value::Decimal(text) => Some(text.to_string()),
        Value::Int(int) => Some(int.to_string()),
        Value::Double(double) => {
            let text = format!("{double}");
            let significant = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
            (double.is_finite() && significant <= 15).then_some(text)
        }
        _ => None,
    }
}

/// Fields by name, in declared order; a declared field that is not there is null, and a null one that
/// is not declared is left out.
fn structure(mut fields: Vec<(ByteString, Value)>, declared: &[(String, DataType)]) -> Result<Value, Mismatch> {
    let mut conformed = Vec::with_capacity(declared.len());
    for (name, data_type) in declared {
        let value = match fields.iter().position(|(known, _)| **known == **name) {
            Some(at) => fields.swap_remove(at).1,
            None => Value::Null,
        };
        let value = conform(value, data_type).map_err(|mismatch| mismatch.inside(&format!(".{name}")))?;
        conformed.push((ByteString::from(name.as_str()), value));
    }
    match fields.iter().find(|(_, value)| *value != Value::Null) {
        None => Ok(Value::Struct(conformed)),
        Some((name, value)) => {
            let expected = "no such field".to_owned();
            Err(Mismatch { expected, found: describe(value), at: Place(format!(".{name}")), dimension: false })
        }
    }
}

fn element(at: usize, item: &Value, precision: Precision) -> Result<f64, Mismatch> {
    match item {
        Value::Double(double) => Ok(*double),
        Value::Int(int) if int.unsigned_abs() <= EXACT => Ok(*int as f64),
        Value::Text(text) if not_a_number(text).is_some() => Ok(not_a_number(text).unwrap_or(f64::NAN)),
        other => Err(Mismatch {
            expected: format!("a number ({})", precision.as_str()),
            found: describe(other),
            at: Place(format!("[{at}]")),
            dimension: false,
        }),
    }
}

/// Rounds to the nearest, ties to even; a finite number beyond the precision's range is a mismatch.
fn vector(elements: &[f64], precision: Precision, dimension: u32, declared: &DataType) -> Result<Value, Mismatch> {
    if elements.len() != dimension as usize {
        return Err(Mismatch {
            expected: declared.to_string(),
            found: format!("a vector of dimension {}", elements.len()),
            at: Place::default(),
            dimension: true,
        });
    }
    let rounded = match precision {
        Precision::Fp16 => Vector::Fp16(elements.iter().map(|element| f16::from_f64(*element).to_bits()).collect()),
        Precision::Fp32 => Vector::Fp32(elements.iter().map(|element| *element as f32).collect()),
        Precision::Fp64 => Vector::Fp64(elements.to_vec()),
    };
    let overflow =
        rounded.to_f64().iter().zip(elements).position(|(rounded, given)| rounded.is_infinite() && given.is_finite());
    match overflow {
        None => Ok(Value::Vector(Arc::new(rounded))),
        Some(at) => Err(Mismatch::new(&Value::Double(elements[at]), declared).inside(&format!("[{at}]"))),
    }
}

/// The value's type and the value, at most [`QUOTED`] bytes of it.
pub fn describe(value: &Value) -> String {
    let (kind, text) = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(bool) => ("bool", bool.to_string()),
        Value::Int(int) => ("int64", int.to_string()),
        Value::Double(double) => ("float64", format!("{double:?}")),
        Value::Text(text) => ("string", format!("{:?}", cut(text, QUOTED))),
        Value::Bytes(bytes) => ("bytes", format!("of length {}", bytes.len())),
        Value::Timestamp(micros) => ("timestamp", time::format_timestamp(*micros)),
        Value::Date(days) => ("date", time::format_date(*days)),
        Value::Decimal(text) => ("decimal", cut(text, QUOTED).into_owned()),
        Value::List(items) => ("list", format!("of length {}", items.len())),
        Value::Struct(fields) => {
            let mut names = String::new();
            for (name, _) in fields.iter().take(8) {
                let _ = write!(names, "{}{name}", if names.is_empty() { "" } else { ", " });
            }
            ("struct", format!("of {}", cut(&names, QUOTED)))
        }
        Value::Vector(vector) => {
            return format!("vector<{}, {}>", vector.precision().as_str(), vector.dimension());
        }
    };
    format!("{kind} {text}")
}

#[cfg(test)]
mod tests;
