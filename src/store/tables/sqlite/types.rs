//! Types of columns, and a value as its column has it; or why the column cannot.

use std::fmt;

use rusqlite::types::Value as Sql;

use crate::sink::ErrorClass;
use crate::store::tables::{DAYS, EXACT, TIMES};
use crate::value::conform::describe;
use crate::value::dtype::DataType;
use crate::value::time::{format_date, format_timestamp};
use crate::value::{Value, json};

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Boolean,
    BigInt,
    Double,
    Text,
    Blob,
    Timestamp,
    Date,
    Decimal,
    Json,
    /// One that somebody made and nothing is written to.
    Other(String),
}

impl From<&DataType> for ColumnType {
    fn from(declared: &DataType) -> Self {
        match declared {
            DataType::Bool => Self::Boolean,
            DataType::Int64 => Self::BigInt,
            DataType::Float64 => Self::Double,
            DataType::String => Self::Text,
            DataType::Bytes => Self::Blob,
            DataType::Timestamp => Self::Timestamp,
            DataType::Date => Self::Date,
            DataType::Decimal(..) => Self::Decimal,
            DataType::List(_) | DataType::Struct(_) | DataType::Vector(..) => Self::Json,
        }
    }
}

impl ColumnType {
    /// The type that a column gets for its first value; `None` for a null, which says nothing of it.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Boolean,
            Value::Int(_) => Self::BigInt,
            Value::Double(_) => Self::Double,
            Value::Text(_) => Self::Text,
            Value::Bytes(_) => Self::Blob,
            Value::Timestamp(_) => Self::Timestamp,
            Value::Date(_) => Self::Date,
            Value::Decimal(_) => Self::Decimal,
            Value::List(_) | Value::Struct(_) | Value::Vector(_) => Self::Json,
        })
    }

    /// The type of a column as SQLite describes it: ours, or a usual name of one of SQLite's own.
    pub(super) fn described(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "BOOLEAN" => Self::Boolean,
            "BIGINT" | "INTEGER" | "INT" => Self::BigInt,
            "DOUBLE" | "REAL" | "DOUBLE PRECISION" | "FLOAT" => Self::Double,
            "TEXT" => Self::Text,
            "BLOB" => Self::Blob,
            "TIMESTAMP TEXT" => Self::Timestamp,
            "DATE TEXT" => Self::Date,
            "DECIMAL TEXT" => Self::Decimal,
            "JSON TEXT" => Self::Json,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// A value as the column has it, or the verdict on it.
    pub(super) fn bind(&self, value: &Value) -> Result<Sql, (ErrorClass, String)> {
        Ok(match (self, value) {
            (_, Value::Null) => Sql::Null,
            (Self::Boolean, Value::Bool(value)) => Sql::Integer(i64::from(*value)),
            (Self::BigInt, Value::Int(number)) => Sql::Integer(*number),
            (Self::Double, Value::Double(number)) if number.is_nan() => Sql::Text("NaN".to_owned()),
            (Self::Double, Value::Double(number)) => Sql::Real(*number),
            (Self::Double, Value::Int(number)) if number.unsigned_abs() <= EXACT => Sql::Real(*number as f64),
            (Self::Text, Value::Text(text)) | (Self::Decimal, Value::Decimal(text)) => Sql::Text(text.to_string()),
            (Self::Decimal, Value::Int(number)) => Sql::Text(number.to_string()),
            (Self::Blob, Value::Bytes(bytes)) => Sql::Blob(bytes.to_vec()),
            (Self::Timestamp, Value::Timestamp(time)) if TIMES.contains(time) => Sql::Text(format_timestamp(*time)),
            (Self::Timestamp, Value::Timestamp(time)) => {
                return Err((ErrorClass::ValueRefused, format!("timestamp {time} µs is outside the years 1 to 9999")));
            }
            (Self::Date, Value::Date(day)) if DAYS.contains(day) => Sql::Text(format_date(*day)),
            (Self::Date, Value::Date(day)) => {
                let message = format!("day {day} since 1970 is outside the years 1 to 9999");
                return Err((ErrorClass::ValueRefused, message));
            }
            (Self::Json, Value::List(_) | Value::Struct(_) | Value::Vector(_)) => Sql::Text(json::to_text(value)),
            (Self::Other(name), value) => {
                let message = format!("has type {name:?}, which nothing is written to; found {}", describe(value));
                return Err((ErrorClass::TypeMismatch, message));
            }
            (column, value) => {
                return Err((ErrorClass::TypeMismatch, format!("expected {column}, found {}", describe(value))));
            }
        })
    }
}

/// As the table's definition has it: what a column of it may hold stays as it was put in, because SQLite makes a
/// number of a text that looks like one only where the type's name says nothing of `TEXT`.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
            Self::Timestamp => "TIMESTAMP TEXT",
            Self::Date => "DATE TEXT",
            Self::Decimal => "DECIMAL TEXT",
            Self::Json => "JSON TEXT",
            Self::Other(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_described_as_it_was_made() {
        for declared in
            ["bool", "int64", "float64", "string", "bytes", "timestamp", "date", "decimal(4,2)", "list<int64>"]
        {
            let declared: DataType = declared.parse().expect("a type");
            let made = ColumnType::from(&declared);
            assert_eq!(ColumnType::described(&made.to_string()), made);
        }
        assert_eq!(ColumnType::described("integer"), ColumnType::BigInt);
        assert_eq!(ColumnType::described("MONEY"), ColumnType::Other("MONEY".to_owned()));
    }

    #[test]
    fn a_number_is_exact_or_refused() {
        let class = |column: ColumnType, value| column.bind(&value).expect_err("refused").0;
        assert_eq!(ColumnType::Double.bind(&Value::Int(-7)), Ok(Sql::Real(-7.0)));
        assert_eq!(class(ColumnType::Double, Value::Int((1 << 53) + 1)), ErrorClass::TypeMismatch);
        assert_eq!(class(ColumnType::BigInt, Value::Double(1.0)), ErrorClass::TypeMismatch);
        assert_eq!(class(ColumnType::Timestamp, Value::Timestamp(i64::MAX)), ErrorClass::ValueRefused);
        assert_eq!(class(ColumnType::Other("X".to_owned()), Value::Bool(true)), ErrorClass::TypeMismatch);
    }
}
