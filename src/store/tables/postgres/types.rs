//! Types of columns: what is made of a declared type or of a value, and what the server has.

use std::fmt;

use tokio_postgres::types::Type;

use crate::value::dtype::{DataType, Precision};
use crate::value::{Value, Vector};

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    /// Only nulls were seen, and nothing is declared: there is no column yet.
    Unknown,
    One(Scalar),
    /// An array of one dimension.
    Many(Scalar),
    Jsonb,
    /// A type of the server's that nothing is written to.
    Other(String),
}

/// The type of a value, or of an array's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    /// The most characters, where that is limited.
    Varchar(Option<usize>),
    Bytea,
    /// Digits of the seconds' fraction, where they are limited.
    Timestamptz(Option<u8>),
    Date,
    /// Precision and scale, where it has any.
    Numeric(Option<(u16, u16)>),
}

impl From<&DataType> for ColumnType {
    fn from(declared: &DataType) -> Self {
        if let Some(scalar) = Scalar::declared(declared) {
            return Self::One(scalar);
        }
        match declared {
            DataType::List(item) => Scalar::declared(item).map_or(Self::Jsonb, Self::Many),
            DataType::Vector(Precision::Fp16 | Precision::Fp32, _) => Self::Many(Scalar::Float4),
            DataType::Vector(Precision::Fp64, _) => Self::Many(Scalar::Float8),
            _ => Self::Jsonb,
        }
    }
}

impl ColumnType {
    /// The type that a column gets for its first value where nothing is declared.
    ///
    /// A list is `jsonb` whatever its items are, so that its type does not hang on which of them came first.
    pub(super) fn of(value: &Value) -> Self {
        Self::One(match value {
            Value::Null => return Self::Unknown,
            Value::List(_) | Value::Struct(_) => return Self::Jsonb,
            Value::Vector(vector) => {
                return Self::Many(match **vector {
                    Vector::Fp16(_) | Vector::Fp32(_) => Scalar::Float4,
                    Vector::Fp64(_) => Scalar::Float8,
                });
            }
            Value::Bool(_) => Scalar::Bool,
            Value::Int(_) => Scalar::Int8,
            Value::Double(_) => Scalar::Float8,
            Value::Text(_) => Scalar::Text,
            Value::Bytes(_) => Scalar::Bytea,
            Value::Timestamp(_) => Scalar::Timestamptz(None),
            Value::Date(_) => Scalar::Date,
            Value::Decimal(_) => Scalar::Numeric(None),
        })
    }

    /// The type of a column of the server, by its name in the catalog and its modifier; `shown` is how
    /// the server writes it.
    pub(super) fn described(name: &str, modifier: i32, shown: &str) -> Self {
        let other = || Self::Other(shown.to_owned());
        if name == "jsonb" {
            return Self::Jsonb;
        }
        match name.strip_prefix('_') {
            Some(item) => Scalar::described(item, modifier).map_or_else(other, Self::Many),
            None => Scalar::described(name, modifier).map_or_else(other, Self::One),
        }
    }

    /// The double that an integer becomes.
    pub(super) fn widened(&self) -> Option<Self> {
        match self {
            Self::One(Scalar::Int8) => Some(Self::One(Scalar::Float8)),
            Self::Many(Scalar::Int8) => Some(Self::Many(Scalar::Float8)),
            _ => None,
        }
    }
}

impl Scalar {
    fn declared(declared: &DataType) -> Option<Self> {
        Some(match declared {
            DataType::Bool => Self::Bool,
            DataType::Int64 => Self::Int8,
            DataType::Float64 => Self::Float8,
            DataType::String => Self::Text,
            DataType::Bytes => Self::Bytea,
            DataType::Timestamp => Self::Timestamptz(None),
            DataType::Date => Self::Date,
            DataType::Decimal(precision, scale) => Self::Numeric(Some((u16::from(*precision), u16::from(*scale)))),
            DataType::List(_) | DataType::Struct(_) | DataType::Vector(..) => return None,
        })
    }

    fn described(name: &str, modifier: i32) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "text" => Self::Text,
            // The modifier counts the four bytes of a length in front.
            "varchar" => Self::Varchar(usize::try_from(modifier - 4).ok()),
            "bytea" => Self::Bytea,
            "timestamptz" => Self::Timestamptz(u8::try_from(modifier).ok()),
            "date" => Self::Date,
            "numeric" if modifier < 0 => Self::Numeric(None),
            "numeric" => {
                let packed = modifier - 4;
                // The scale has eleven bits, the highest of them its sign.
                let (precision, scale) = ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024);
                let scale = u16::try_from(scale).ok().filter(|scale| i32::from(*scale) <= precision)?;
                Self::Numeric(Some((precision as u16, scale)))
            }
            _ => return None,
        })
    }

    /// The type as a part of the protocol.
    pub(super) fn wire(self) -> Type {
        match self {
            Self::Bool => Type::BOOL,
            Self::Int2 => Type::INT2,
            Self::Int4 => Type::INT4,
            Self::Int8 => Type::INT8,
            Self::Float4 => Type::FLOAT4,
            Self::Float8 => Type::FLOAT8,
            Self::Text => Type::TEXT,
            Self::Varchar(_) => Type::VARCHAR,
            Self::Bytea => Type::BYTEA,
            Self::Timestamptz(_) => Type::TIMESTAMPTZ,
            Self::Date => Type::DATE,
            Self::Numeric(_) => Type::NUMERIC,
        }
    }
}

/// As SQL has it.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::One(scalar) => scalar.fmt(f),
            Self::Many(scalar) => write!(f, "{scalar}[]"),
            Self::Jsonb => f.write_str("jsonb"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Text => "text",
            Self::Varchar(None) => "varchar",
            Self::Varchar(Some(most)) => return write!(f, "varchar({most})"),
            Self::Bytea => "bytea",
            Self::Timestamptz(None) => "timestamptz",
            Self::Timestamptz(Some(digits)) => return write!(f, "timestamptz({digits})"),
            Self::Date => "date",
            Self::Numeric(None) => "numeric",
            Self::Numeric(Some((precision, scale))) => return write!(f, "numeric({precision},{scale})"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_type_is_one_that_is_written_or_is_named() {
        let numeric = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        for (name, modifier, expected) in [
            ("int8", -1, "bigint"),
            ("_float4", -1, "real[]"),
            ("varchar", -1, "varchar"),
            ("varchar", 14, "varchar(10)"),
            ("_varchar", 7, "varchar(3)[]"),
            ("timestamptz", -1, "timestamptz"),
            ("timestamptz", 0, "timestamptz(0)"),
            ("_timestamptz", 3, "timestamptz(3)[]"),
            ("bpchar", 7, "shown"),
            ("jsonb", -1, "jsonb"),
            ("numeric", -1, "numeric"),
            ("numeric", numeric(38, 9), "numeric(38,9)"),
            ("numeric", numeric(5, -2), "shown"),
            ("uuid", -1, "shown"),
            ("_jsonb", -1, "shown"),
            ("timestamp", -1, "shown"),
        ] {
            assert_eq!(ColumnType::described(name, modifier, "shown").to_string(), expected, "{name}");
        }
    }

    #[test]
    fn a_declared_type_has_its_column() {
        for (declared, expected) in [
            ("decimal(12,2)", "numeric(12,2)"),
            ("list<string>", "text[]"),
            ("list<decimal(4,1)>", "numeric(4,1)[]"),
            ("list<list<int64>>", "jsonb"),
            ("struct<a: int64>", "jsonb"),
            ("vector<fp16, 3>", "real[]"),
            ("vector<fp64, 3>", "double precision[]"),
        ] {
            let declared: DataType = declared.parse().expect("a type");
            assert_eq!(ColumnType::from(&declared).to_string(), expected);
        }
    }
}
