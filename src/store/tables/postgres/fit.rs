//! Whether a value fits a column: exactly, only if the column widens, or never.

use super::types::{ColumnType, Scalar};
use crate::sink::ErrorClass;
use crate::store::postgres::binary::LONGEST_FRACTION;
use crate::store::tables::{DAYS, EXACT, TIMES};
use crate::value::conform::describe;
use crate::value::decimal::Digits;
use crate::value::{Value, Vector, jsonb};

/// Digits of a `numeric` before and behind the point.
const DIGITS: (usize, usize) = (131_072, LONGEST_FRACTION);

/// Digits of a second's fraction in microseconds.
const MICROS: u32 = 6;

/// Why a value does not fit a type as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// A wider type of the column holds it.
    Widen(ColumnType),
    /// No type that this column may get holds it.
    Refused(ErrorClass, String),
}

fn refused<T>(class: ErrorClass, message: String) -> Result<T, Misfit> {
    Err(Misfit::Refused(class, message))
}

/// The verdict on a value of a type that the column does not take.
pub(super) fn mismatch(column: &ColumnType, value: &Value) -> Misfit {
    Misfit::Refused(ErrorClass::TypeMismatch, format!("expected {column}, found {}", describe(value)))
}

/// Whether a column of this type holds the value without loss.
pub(super) fn check(column: &ColumnType, value: &Value) -> Result<(), Misfit> {
    match (column, value) {
        (_, Value::Null) | (ColumnType::Many(Scalar::Float8), Value::Vector(_)) => Ok(()),
        (ColumnType::Unknown, value) => {
            let of = ColumnType::of(value);
            check(&of, value)?;
            Err(Misfit::Widen(of))
        }
        (ColumnType::Jsonb, Value::List(_) | Value::Struct(_) | Value::Vector(_)) => {
            if jsonb::holds_nul(value) {
                return refused(ErrorClass::ValueRefused, nul());
            }
            Ok(())
        }
        (ColumnType::Other(name), value) => refused(
            ErrorClass::TypeMismatch,
            format!("has type {name}, which nothing is written to; found {}", describe(value)),
        ),
        (ColumnType::One(scalar), value) => one(*scalar, column, value),
        (ColumnType::Many(scalar), Value::List(items)) => many(*scalar, column, items),
        (ColumnType::Many(Scalar::Float4), Value::Vector(vector)) if !matches!(**vector, Vector::Fp64(_)) => Ok(()),
        (column, value) => Err(mismatch(column, value)),
    }
}

fn nul() -> String {
    "holds U+0000, which Postgres cannot store".to_owned()
}

fn many(scalar: Scalar, column: &ColumnType, items: &[Value]) -> Result<(), Misfit> {
    let mut wider = Ok(());
    for item in items {
        match check(&ColumnType::One(scalar), item) {
            Ok(()) => {}
            Err(Misfit::Widen(_)) => wider = Err(()),
            Err(Misfit::Refused(ErrorClass::TypeMismatch, _)) => return Err(mismatch(column, item)),
            Err(misfit) => return Err(misfit),
        }
    }
    wider.or_else(|()| {
        let of = column.widened().unwrap_or(ColumnType::Unknown);
        check(&of, &Value::List(items.to_vec()))?;
        Err(Misfit::Widen(of))
    })
}

fn one(scalar: Scalar, column: &ColumnType, value: &Value) -> Result<(), Misfit> {
    let in_range = |low: i64, high: i64, number: i64| {
        if (low..=high).contains(&number) {
            return Ok(());
        }
        refused(ErrorClass::TypeMismatch, format!("expected {column}, which cannot hold {number}"))
    };
    match (scalar, value) {
        (Scalar::Text | Scalar::Varchar(_), Value::Text(text)) if text.as_bytes().contains(&0) => {
            refused(ErrorClass::ValueRefused, nul())
        }
        (Scalar::Varchar(Some(most)), Value::Text(text)) => varchar(most, column, value, text),
        (Scalar::Text | Scalar::Varchar(None), Value::Text(_))
        | (Scalar::Bool, Value::Bool(_))
        | (Scalar::Int8, Value::Int(_))
        | (Scalar::Float8, Value::Double(_))
        | (Scalar::Bytea, Value::Bytes(_)) => Ok(()),
        (Scalar::Int2, Value::Int(number)) => in_range(i16::MIN.into(), i16::MAX.into(), *number),
        (Scalar::Int4, Value::Int(number)) => in_range(i32::MIN.into(), i32::MAX.into(), *number),
        (Scalar::Float8, Value::Int(number)) if number.unsigned_abs() <= EXACT => Ok(()),
        (Scalar::Float8, Value::Int(number)) => refused(
            ErrorClass::TypeMismatch,
            format!("expected {column}, found integer {number}, which a double would round; send it as a double"),
        ),
        (Scalar::Float4, Value::Double(number)) if is_single(*number) => Ok(()),
        (Scalar::Float4, Value::Double(number)) => {
            refused(ErrorClass::TypeMismatch, format!("expected {column}, which would round {number}"))
        }
        (Scalar::Int8, Value::Double(_)) => Err(Misfit::Widen(ColumnType::One(Scalar::Float8))),
        (Scalar::Timestamptz(_), Value::Timestamp(time)) if !TIMES.contains(time) => {
            refused(ErrorClass::ValueRefused, format!("timestamp {time} µs is outside the years 1 to 9999"))
        }
        (Scalar::Timestamptz(digits), Value::Timestamp(time)) => timestamptz(digits, column, value, *time),
        (Scalar::Date, Value::Date(day)) if DAYS.contains(day) => Ok(()),
        (Scalar::Date, Value::Date(day)) => {
            refused(ErrorClass::ValueRefused, format!("day {day} since 1970 is outside the years 1 to 9999"))
        }
        (Scalar::Numeric(limits), Value::Decimal(text)) => numeric(limits, column, value, text),
        (Scalar::Numeric(limits), Value::Int(number)) => numeric(limits, column, value, &number.to_string()),
        _ => Err(mismatch(column, value)),
    }
}

/// Whether a double is a single, not-a-number included.
fn is_single(number: f64) -> bool {
    number.is_nan() || f64::from(number as f32).to_bits() == number.to_bits()
}

fn numeric(limits: Option<(u16, u16)>, column: &ColumnType, value: &Value, text: &str) -> Result<(), Misfit> {
    let Some(digits) = Digits::parse(text) else { return Err(mismatch(column, value)) };
    let Some((precision, scale)) = limits else {
        if digits.whole.len() <= DIGITS.0 && digits.fraction.len() <= DIGITS.1 {
            return Ok(());
        }
        return refused(ErrorClass::ValueRefused, "has more digits than Postgres can hold".to_owned());
    };
    let (precision, scale) = (usize::from(precision), usize::from(scale));
    if digits.whole.len() + scale <= precision && digits.fraction.trim_end_matches('0').len() <= scale {
        return Ok(());
    }
    inexact(column, value)
}

/// Of a text that is too long the server cuts blanks off without a word.
fn varchar(most: usize, column: &ColumnType, value: &Value, text: &str) -> Result<(), Misfit> {
    // No text has more characters than bytes.
    if text.len() <= most || text.chars().count() <= most { Ok(()) } else { inexact(column, value) }
}

/// A time of more digits is rounded by the server without a word.
fn timestamptz(digits: Option<u8>, column: &ColumnType, value: &Value, time: i64) -> Result<(), Misfit> {
    let digits = digits.map_or(MICROS, u32::from).min(MICROS);
    if time % 10_i64.pow(MICROS - digits) == 0 { Ok(()) } else { inexact(column, value) }
}

fn inexact(column: &ColumnType, value: &Value) -> Result<(), Misfit> {
    refused(ErrorClass::TypeMismatch, format!("expected {column}, which cannot hold {} exactly", describe(value)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn class(column: &ColumnType, value: &Value) -> Option<ErrorClass> {
        match check(column, value) {
            Err(Misfit::Refused(class, _)) => Some(class),
            _ => None,
        }
    }

    #[test]
    fn a_number_is_exact_or_refused() {
        let decimal = |text: &'static str| Value::Decimal(text.into());
        let narrow = ColumnType::One(Scalar::Numeric(Some((4, 2))));
        for fits in ["-12.340", "99.99", "0.10", "-0.00"] {
            assert_eq!(check(&narrow, &decimal(fits)), Ok(()), "{fits}");
        }
        assert_eq!(check(&narrow, &Value::Int(99)), Ok(()));
        for wide in [decimal("100"), decimal("12.345"), Value::Int(-100), decimal("1e3"), decimal("")] {
            assert_eq!(class(&narrow, &wide), Some(ErrorClass::TypeMismatch), "{wide:?}");
        }
        let free = ColumnType::One(Scalar::Numeric(None));
        assert_eq!(check(&free, &Value::Decimal("9".repeat(131_072).into())), Ok(()));
        assert_eq!(class(&free, &Value::Decimal("9".repeat(131_073).into())), Some(ErrorClass::ValueRefused));
        let most = 1_i64 << 53;
        assert_eq!(check(&ColumnType::One(Scalar::Float8), &Value::Int(-most)), Ok(()));
        assert_eq!(class(&ColumnType::One(Scalar::Float8), &Value::Int(most + 1)), Some(ErrorClass::TypeMismatch));
        assert_eq!(class(&ColumnType::One(Scalar::Int4), &Value::Int(1 << 31)), Some(ErrorClass::TypeMismatch));
        assert_eq!(check(&ColumnType::One(Scalar::Float4), &Value::Double(0.5)), Ok(()));
        assert_eq!(class(&ColumnType::One(Scalar::Float4), &Value::Double(0.1)), Some(ErrorClass::TypeMismatch));
    }

    #[test]
    fn a_text_or_a_time_that_its_column_would_make_another_is_refused() {
        let short = Scalar::Varchar(Some(3));
        for fits in ["", "abc", "éàü", "a  "] {
            assert_eq!(check(&ColumnType::One(short), &Value::text(fits)), Ok(()), "{fits}");
        }
        for long in ["abcd", "abc  ", "éàü ", "    "] {
            assert_eq!(class(&ColumnType::One(short), &Value::text(long)), Some(ErrorClass::TypeMismatch), "{long}");
        }
        let texts = |text: &'static str| Value::List(vec![Value::text("a"), Value::Null, Value::text(text)]);
        assert_eq!(check(&ColumnType::Many(short), &texts("abc")), Ok(()));
        assert_eq!(class(&ColumnType::Many(short), &texts("abc ")), Some(ErrorClass::TypeMismatch));
        assert_eq!(check(&ColumnType::One(Scalar::Varchar(None)), &Value::text("abcd")), Ok(()));
        for length in [None, Some(3)] {
            let column = ColumnType::One(Scalar::Varchar(length));
            assert_eq!(class(&column, &Value::text("a\0")), Some(ErrorClass::ValueRefused));
        }
        for (digits, time, fits) in [
            (Some(0), -7_000_000, true),
            (Some(0), 600_001, false),
            (Some(0), -600_001, false),
            (Some(3), 1_000, true),
            (Some(3), 1_001, false),
            (Some(6), 1, true),
            (None, 1, true),
        ] {
            let refused = (!fits).then_some(ErrorClass::TypeMismatch);
            let column = Scalar::Timestamptz(digits);
            assert_eq!(class(&ColumnType::One(column), &Value::Timestamp(time)), refused, "{column}: {time}");
            let list = Value::List(vec![Value::Timestamp(time)]);
            assert_eq!(class(&ColumnType::Many(column), &list), refused, "{column}[]: {time}");
        }
        let seconds = ColumnType::One(Scalar::Timestamptz(Some(0)));
        assert_eq!(class(&seconds, &Value::Timestamp(i64::MAX)), Some(ErrorClass::ValueRefused));
    }

    #[test]
    fn integers_widen_alone_and_in_arrays_and_a_first_value_gives_the_type() {
        let float = ColumnType::One(Scalar::Float8);
        assert_eq!(check(&ColumnType::One(Scalar::Int8), &Value::Double(0.5)), Err(Misfit::Widen(float)));
        let list = Value::List(vec![Value::Int(1), Value::Null, Value::Double(0.5)]);
        let floats = ColumnType::Many(Scalar::Float8);
        assert_eq!(check(&ColumnType::Many(Scalar::Int8), &list), Err(Misfit::Widen(floats.clone())));
        let odd = Value::List(vec![Value::Int((1 << 53) + 1), Value::Double(0.5)]);
        assert_eq!(class(&ColumnType::Many(Scalar::Int8), &odd), Some(ErrorClass::TypeMismatch));
        assert_eq!(check(&ColumnType::Unknown, &list), Err(Misfit::Widen(ColumnType::Jsonb)));
        assert_eq!(class(&ColumnType::Unknown, &Value::text("\0")), Some(ErrorClass::ValueRefused));
        let wide = Value::Vector(Arc::new(Vector::Fp64(vec![0.5])));
        assert_eq!(check(&floats, &wide), Ok(()));
        assert_eq!(class(&ColumnType::Many(Scalar::Float4), &wide), Some(ErrorClass::TypeMismatch));
        assert_eq!(class(&ColumnType::Jsonb, &Value::Int(1)), Some(ErrorClass::TypeMismatch));
    }
}
