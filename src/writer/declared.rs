//! A feature's declared default, as a value that others can be compared with.

use bytestring::ByteString;
use serde_json::Value as Json;

use crate::config::settings::Feature;
use crate::value::Value;
use crate::value::conform::conform;

/// The declared default in the feature's type; an error names the feature.
pub(super) fn default_value(feature: &Feature) -> Result<Option<Value>, String> {
    let Some(default) = &feature.default else { return Ok(None) };
    let value = value(default);
    let value = match &feature.dtype {
        Some(dtype) => conform(value, dtype).map_err(|mismatch| format!("default of `{}`: {mismatch}", feature.fqn))?,
        None => value,
    };
    Ok(Some(value))
}

/// Whether a value is the default. An integer and a double that are the same number are the same:
/// a configuration says `0` where a message says `0.0`.
pub(super) fn same(default: &Value, value: &Value) -> bool {
    match (default, value) {
        (Value::Int(int), Value::Double(double)) | (Value::Double(double), Value::Int(int)) => {
            int.unsigned_abs() <= 1 << 53 && (*int as f64).total_cmp(double).is_eq()
        }
        _ => default == value,
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Double(number.as_f64().unwrap_or(f64::NAN)), Value::Int)
        }
        Json::String(text) => Value::text(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(fields) => {
            Value::Struct(fields.iter().map(|(name, field)| (ByteString::from(name.as_str()), value(field))).collect())
        }
    }
}
