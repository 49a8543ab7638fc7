//! Whether a value fits a column: exactly, only if the column widens, or never.

use crate::sink::ErrorClass;
use crate::value::decimal::scaled;
use crate::value::dtype::Precision;
use crate::value::{Value, Vector};

use super::types::{ColumnType, DECIMAL, MOST_FIELDS};

/// Integers up to here are exact as doubles.
const EXACT: u64 = 1 << 53;
/// Years 1 to 9999, which is what RFC 3339 and most readers' types hold.
pub(super) const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
/// The same as days since 1970.
pub(super) const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

/// Why a value does not fit a type as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// A wider type of the column may hold it.
    Widen,
    /// No type that this column may get holds it.
    Refused(ErrorClass, String),
}

fn refused<T>(class: ErrorClass, message: String) -> Result<T, Misfit> {
    Err(Misfit::Refused(class, message))
}

/// Whether a column takes a value that nothing more need be known of than its kind, as of nearly every one.
#[inline]
pub(super) const fn plainly(column: &ColumnType, value: &Value) -> bool {
    matches!(
        (column, value),
        (_, Value::Null)
            | (ColumnType::Bool, Value::Bool(_))
            | (ColumnType::Int64, Value::Int(_))
            | (ColumnType::Float64, Value::Double(_))
            | (ColumnType::String, Value::Text(_))
            | (ColumnType::Bytes, Value::Bytes(_))
            | (ColumnType::Json, Value::List(_) | Value::Struct(_) | Value::Vector(_))
    )
}

/// Whether a column of this type holds the value without loss.
pub(super) fn check(column: &ColumnType, value: &Value) -> Result<(), Misfit> {
    if plainly(column, value) {
        return Ok(());
    }
    match (column, value) {
        (ColumnType::Timestamp, Value::Timestamp(time)) if TIMES.contains(time) => Ok(()),
        (ColumnType::Date, Value::Date(day)) if DAYS.contains(day) => Ok(()),
        (ColumnType::Timestamp, Value::Timestamp(time)) => {
            refused(ErrorClass::ValueRefused, format!("timestamp {time} µs is outside the years 1 to 9999"))
        }
        (ColumnType::Date, Value::Date(day)) => {
            refused(ErrorClass::ValueRefused, format!("day {day} since 1970 is outside the years 1 to 9999"))
        }
        (ColumnType::Float64, Value::Int(integer)) if integer.unsigned_abs() <= EXACT => Ok(()),
        (ColumnType::Float64, Value::Int(integer)) => refused(
            ErrorClass::TypeMismatch,
            format!("expected float64, found integer {integer}, which a double would round; send it as a double"),
        ),
        (ColumnType::Decimal(precision, scale), Value::Decimal(_) | Value::Int(_)) => {
            if scaled(value, *precision, *scale).is_some() {
                return Ok(());
            }
            let found = describe(value);
            refused(ErrorClass::TypeMismatch, format!("expected {column}, which cannot hold {found} exactly"))
        }
        (ColumnType::List(item), Value::List(items)) => items.iter().try_for_each(|value| check(item, value)),
        (ColumnType::Struct(fields), Value::Struct(values)) => check_struct(fields, values),
        (ColumnType::Vector(precision, dimension), Value::Vector(vector)) => {
            check_dimension(*dimension, vector.dimension())?;
            if precision_of(vector) > rank(*precision) {
                return Err(mismatch(column, value));
            }
            Ok(())
        }
        (ColumnType::Vector(_, dimension), Value::List(items))
            if items.iter().all(|item| matches!(item, Value::Double(_) | Value::Int(_))) =>
        {
            check_dimension(*dimension, items.len())
        }
        (ColumnType::Unknown, _) | (ColumnType::Int64, Value::Double(_)) => Err(Misfit::Widen),
        _ => Err(mismatch(column, value)),
    }
}

/// The verdict on a value of a type that the column does not take.
pub(super) fn mismatch(column: &ColumnType, value: &Value) -> Misfit {
    Misfit::Refused(ErrorClass::TypeMismatch, format!("expected {column}, found {}", describe(value)))
}

fn check_dimension(expected: u32, found: usize) -> Result<(), Misfit> {
    if found == expected as usize {
        return Ok(());
    }
    refused(ErrorClass::DimensionMismatch, format!("expected a vector of {expected} dimensions, found {found}"))
}

fn check_struct(fields: &[(String, ColumnType)], values: &[(bytestring::ByteString, Value)]) -> Result<(), Misfit> {
    check_names(values)?;
    let mut wider = Ok(());
    for (at, (name, value)) in values.iter().enumerate() {
        // Messages of one kind name their fields in one order.
        let hinted = fields.get(at).filter(|(known, _)| *known == **name);
        let Some((_, field)) = hinted.or_else(|| fields.iter().find(|(known, _)| *known == **name)) else {
            wider = Err(Misfit::Widen);
            continue;
        };
        match check(field, value) {
            Err(Misfit::Widen) => wider = Err(Misfit::Widen),
            verdict => verdict?,
        }
    }
    wider
}

fn check_names(values: &[(bytestring::ByteString, Value)]) -> Result<(), Misfit> {
    if values.len() > MOST_FIELDS {
        let message = format!("a struct of {} fields, at most {MOST_FIELDS} are taken", values.len());
        return refused(ErrorClass::ValueRefused, message);
    }
    for (at, (name, _)) in values.iter().enumerate() {
        if values[..at].iter().any(|(earlier, _)| earlier == name) {
            return refused(ErrorClass::ValueRefused, format!("field `{name}` stands twice in a struct"));
        }
    }
    Ok(())
}

/// The type that a column widens to so that it holds the value.
pub(super) fn widen(column: &ColumnType, value: &Value) -> Result<ColumnType, Misfit> {
    let found = infer(value)?;
    let Some(wider) = column.widened(&found) else {
        return Err(mismatch(column, value));
    };
    if let Some(reason) = wider.unstorable() {
        return refused(ErrorClass::ValueRefused, reason);
    }
    match check(&wider, value) {
        Ok(()) => Ok(wider),
        Err(Misfit::Widen) => Err(mismatch(column, value)),
        Err(verdict) => Err(verdict),
    }
}

fn infer(value: &Value) -> Result<ColumnType, Misfit> {
    Ok(match value {
        Value::Null => ColumnType::Unknown,
        Value::Bool(_) => ColumnType::Bool,
        Value::Int(_) => ColumnType::Int64,
        Value::Double(_) => ColumnType::Float64,
        Value::Text(_) => ColumnType::String,
        Value::Bytes(_) => ColumnType::Bytes,
        Value::Timestamp(_) => ColumnType::Timestamp,
        Value::Date(_) => ColumnType::Date,
        Value::Decimal(_) => ColumnType::Decimal(DECIMAL.0, DECIMAL.1),
        Value::List(items) => {
            let mut all = ColumnType::Unknown;
            for item in items {
                let one = infer(item)?;
                let Some(wider) = all.widened(&one) else {
                    return refused(ErrorClass::TypeMismatch, format!("a list holds both {all} and {one}"));
                };
                all = wider;
            }
            ColumnType::List(Box::new(all))
        }
        Value::Struct(values) => {
            check_names(values)?;
            let field = |(name, value): &(bytestring::ByteString, Value)| Ok((name.to_string(), infer(value)?));
            ColumnType::Struct(values.iter().map(field).collect::<Result<_, Misfit>>()?)
        }
        Value::Vector(vector) => {
            let precision = match &**vector {
                Vector::Fp16(_) => Precision::Fp16,
                Vector::Fp32(_) => Precision::Fp32,
                Vector::Fp64(_) => Precision::Fp64,
            };
            let dimension = u32::try_from(vector.dimension()).unwrap_or(u32::MAX);
            ColumnType::Vector(precision, dimension)
        }
    })
}

fn precision_of(vector: &Vector) -> u8 {
    match vector {
        Vector::Fp16(_) => 0,
        Vector::Fp32(_) => 1,
        Vector::Fp64(_) => 2,
    }
}

fn rank(precision: Precision) -> u8 {
    match precision {
        Precision::Fp16 => 0,
        Precision::Fp32 => 1,
        Precision::Fp64 => 2,
    }
}

/// The type of a value, and the value itself where it is short and plain.
fn describe(value: &Value) -> String {
    const SHOWN: usize = 40;
    match value {
        Value::Bool(value) => format!("bool {value}"),
        Value::Int(value) => format!("int64 {value}"),
        Value::Double(value) => format!("float64 {value}"),
        Value::Decimal(text) => format!("decimal {}", &text[..text.floor_char_boundary(SHOWN)]),
        Value::Text(text) if text.len() <= SHOWN => format!("string {:?}", &**text),
        Value::Text(text) => format!("string {:?}… of {} bytes", &text[..text.floor_char_boundary(SHOWN)], text.len()),
        Value::Bytes(bytes) => format!("bytes ({})", bytes.len()),
        Value::Timestamp(_) => "timestamp".to_owned(),
        Value::Date(_) => "date".to_owned(),
        Value::Null | Value::List(_) | Value::Struct(_) | Value::Vector(_) => {
            infer(value).map_or_else(|_| "a value of mixed types".to_owned(), |found| found.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_that_a_double_would_round_is_refused() {
        let most = 1_i64 << 53;
        assert_eq!(check(&ColumnType::Float64, &Value::Int(-most)), Ok(()));
        for rounded in [most + 1, -most - 1, i64::MIN, i64::MAX] {
            assert!(matches!(
                check(&ColumnType::Float64, &Value::Int(rounded)),
                Err(Misfit::Refused(ErrorClass::TypeMismatch, _))
            ));
        }
        let mixed = Value::List(vec![Value::Double(0.5), Value::Int(most + 1)]);
        assert!(matches!(widen(&ColumnType::Unknown, &mixed), Err(Misfit::Refused(..))));
    }

    #[test]
    fn a_struct_widens_by_its_new_fields_and_refuses_a_repeated_one() {
        let known = ColumnType::Struct(vec![("a".into(), ColumnType::Int64)]);
        let value = Value::Struct(vec![("b".into(), Value::Null), ("a".into(), Value::Double(0.5))]);
        assert_eq!(check(&known, &value), Err(Misfit::Widen));
        assert_eq!(widen(&known, &value).expect("widens").to_string(), "struct<a: float64, b: null>");
        let twice = Value::Struct(vec![("a".into(), Value::Null), ("a".into(), Value::Null)]);
        assert!(matches!(check(&known, &twice), Err(Misfit::Refused(ErrorClass::ValueRefused, _))));
        assert!(matches!(widen(&ColumnType::Unknown, &Value::Struct(vec![])), Err(Misfit::Refused(..))));
    }
}
