//! A value in JSON: plain, or an object with exactly one key that names its type.

use std::sync::Arc;

use bytestring::ByteString;

use super::part::{Part, Seen};
use super::reader::Reader;
use super::scan::{Fault, List, Object};
use crate::cut::{QUOTED, cut};
use crate::result::halves;
use crate::value::conform::{decode_base64, describe, not_a_number};
use crate::value::{Value, Vector, decimal, time};

/// A value of a row. What is wrong with it is a fault of the row.
///
/// It is written where it is to stay: a value that is handed back is copied through memory once for every
/// function that it passes.
pub(super) struct AnyValue<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
    /// Null so far.
    pub(super) into: &'r mut Value,
}

impl<'de> Part<'de> for AnyValue<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        self.reader.fault(found);
        Ok(())
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn bool(self, value: bool) -> Result<(), Fault> {
        self.into.fill(Value::Bool(value));
        Ok(())
    }

    #[inline]
    fn int(self, value: i64) -> Result<(), Fault> {
        self.into.fill(Value::Int(value));
        Ok(())
    }

    fn big(self, digits: &'de str) -> Result<(), Fault> {
        self.wrong(&format!("integer {} does not fit 64 bits", cut(digits, QUOTED)))
    }

    #[inline]
    fn double(self, value: f64) -> Result<(), Fault> {
        self.into.fill(Value::Double(value));
        Ok(())
    }

    fn text(self, value: &str) -> Result<(), Fault> {
        self.into.fill(Value::text(value));
        Ok(())
    }

    #[inline]
    fn borrowed(self, value: &'de str) -> Result<(), Fault> {
        self.into.fill(Value::Text(self.reader.slice(value)));
        Ok(())
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, into } = self;
        let mut items = Vec::new();
        while list.more()? {
            reader.take::<Value>()?;
            list.item(AnyValue { reader, into: items.push_mut(Value::Null) })?;
        }
        *into = Value::List(items);
        Ok(())
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, into } = self;
        let mut seen = Seen::default();
        let mut fields: Vec<(ByteString, Value)> = Vec::new();
        while let Some(key) = object.key()? {
            reader.take::<(ByteString, Value)>()?;
            let name = match &key {
                std::borrow::Cow::Borrowed(name) => reader.slice(name),
                std::borrow::Cow::Owned(name) => name.as_str().into(),
            };
            seen.key(key)?;
            let mut value = Value::Null;
            object.value(AnyValue { reader, into: &mut value })?;
            fields.push((name, value));
        }
        if let [(name, _)] = fields.as_slice()
            && let Some(kind) = Kind::named(name)
        {
            let value = fields.pop().map_or(Value::Null, |(_, value)| value);
            match kind.typed(value) {
                Ok(value) => *into = value,
                Err(fault) => reader.fault(fault),
            }
            return Ok(());
        }
        if fields.is_empty() {
            reader.empty_at.set(object.depth() - 1);
        }
        *into = Value::Struct(fields);
        Ok(())
    }
}

/// Reads one value of an object that is to be looked at here.
pub(super) fn any<'de>(reader: &Reader<'de>, object: &mut Object<'_, 'de>) -> Result<Value, Fault> {
    let mut value = Value::Null;
    object.value(AnyValue { reader, into: &mut value })?;
    Ok(value)
}

/// The types that an object with one key names.
#[derive(Clone, Copy)]
enum Kind {
    Null,
    Bool,
    Int,
    Double,
    Text,
    Bytes,
    Timestamp,
    Date,
    Decimal,
    List,
    Struct,
    Vector,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null_value" | "nullValue" => Self::Null,
            "bool_value" | "boolValue" => Self::Bool,
            "int_value" | "intValue" => Self::Int,
            "double_value" | "doubleValue" => Self::Double,
            "string_value" | "stringValue" => Self::Text,
            "bytes_value" | "bytesValue" => Self::Bytes,
            "timestamp_value" | "timestampValue" => Self::Timestamp,
            "date_value" | "dateValue" => Self::Date,
            "decimal_value" | "decimalValue" => Self::Decimal,
            "list_value" | "listValue" => Self::List,
            "struct_value" | "structValue" => Self::Struct,
            "vector_value" | "vectorValue" => Self::Vector,
            _ => return None,
        })
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int => "a 64-bit integer as a number or text",
            Self::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
            Self::Text => "text",
            Self::Bytes => "base64 text",
            Self::Timestamp => "an RFC 3339 time",
            Self::Date => "a date as YYYY-MM-DD",
            Self::Decimal => "a decimal as text, without an exponent",
            Self::List => "an object with `items`",
            Self::Struct => "an object with `fields`, each with a `name` of its own and a `value`",
            Self::Vector => "an object with one of `fp16`, `fp32`, `fp64`",
        }
    }

    /// The plain value under the name, as that type. An explicit null under any name is null, as an
    /// absent field is.
    fn typed(self, mut plain: Value) -> Result<Value, String> {
        if plain == Value::Null {
            return Ok(Value::Null);
        }
        self.converted(&mut plain).ok_or_else(|| format!("expected {}, found {}", self.expected(), describe(&plain)))
    }

    fn converted(self, plain: &mut Value) -> Option<Value> {
        let taken = |value: &mut Value| std::mem::replace(value, Value::Null);
        Some(match (self, plain) {
            (Self::Null, Value::Int(0)) => Value::Null,
            (Self::Null, Value::Text(name)) if **name == *"NULL_VALUE" => Value::Null,
            (Self::Bool, same @ Value::Bool(_))
            | (Self::Int, same @ Value::Int(_))
            | (Self::Text, same @ Value::Text(_)) => taken(same),
            (Self::Int, Value::Text(digits)) => Value::Int(digits.parse().ok()?),
            (Self::Double, number) => Value::Double(double(number)?),
            (Self::Bytes, Value::Text(text)) => Value::Bytes(decode_base64(text)?.into()),
            (Self::Timestamp, Value::Text(text)) => Value::Timestamp(time::parse_timestamp(text)?),
            (Self::Date, Value::Text(text)) => Value::Date(time::parse_date(text)?),
            (Self::Decimal, Value::Text(text)) => Value::Decimal(match decimal::canonical(text)? {
                std::borrow::Cow::Borrowed(_) => text.clone(),
                std::borrow::Cow::Owned(canonical) => canonical.into(),
            }),
            (Self::List, Value::Struct(fields)) => match field(fields, "items") {
                None | Some(Value::Null) => Value::List(Vec::new()),
                Some(list @ Value::List(_)) => taken(list),
                Some(_) => return None,
            },
            (Self::Struct, Value::Struct(fields)) => match field(fields, "fields") {
                None | Some(Value::Null) => Value::Struct(Vec::new()),
                Some(Value::List(fields)) => Value::Struct(structure(fields)?),
                Some(_) => return None,
            },
            (Self::Vector, Value::Struct(fields)) => Value::Vector(Arc::new(vector(fields)?)),
            _ => return None,
        })
    }
}

fn field<'a>(fields: &'a mut [(ByteString, Value)], name: &str) -> Option<&'a mut Value> {
    fields.iter_mut().find(|(known, _)| **known == *name).map(|(_, value)| value)
}

fn double(number: &Value) -> Option<f64> {
    match number {
        Value::Double(double) => Some(*double),
        // The text had no fraction; the nearest double is what the field means.
        Value::Int(int) => Some(*int as f64),
        Value::Text(text) => not_a_number(text).or_else(|| text.parse().ok().filter(|double: &f64| double.is_finite())),
        _ => None,
    }
}

fn structure(fields: &mut [Value]) -> Option<Vec<(ByteString, Value)>> {
    let mut seen = hashbrown::HashSet::new();
    fields
        .iter_mut()
        .map(|entry| {
            let Value::Struct(entry) = entry else { return None };
            let name = match field(entry, "name") {
                Some(Value::Text(name)) => name.clone(),
                None => ByteString::new(),
                Some(_) => return None,
            };
            let value = field(entry, "value").map_or(Value::Null, |value| std::mem::replace(value, Value::Null));
            seen.insert(name.clone()).then_some((name, value))
        })
        .collect()
}

fn vector(fields: &mut [(ByteString, Value)]) -> Option<Vector> {
    let [(precision, Value::Struct(inner))] = fields else { return None };
    let elements = |inner| match field(inner, "elements") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::List(items)) => items.iter().map(double).collect::<Option<Vec<f64>>>(),
        Some(_) => None,
    };
    Some(match &**precision {
        "fp16" => match field(inner, "bits") {
            None | Some(Value::Null) => Vector::Fp16(Vec::new()),
            Some(Value::Text(text)) => Vector::Fp16(halves(&decode_base64(text)?)?),
            Some(_) => return None,
        },
        "fp32" => Vector::Fp32(elements(inner)?.into_iter().map(|element| element as f32).collect()),
        "fp64" => Vector::Fp64(elements(inner)?),
        _ => return None,
    })
}
