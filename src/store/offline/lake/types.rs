//! Types of columns in the lake: how they are agreed on, written down and mapped to Arrow.

use std::fmt::{self, Display};
use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, Fields, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::value::arrow::element;
use crate::value::dtype::{DataType, Precision, write_struct};

/// Precision and scale of a decimal that nothing is declared of.
///
/// Fixed, because readers do not unite decimals of different scales over files.
pub(super) const DECIMAL: (u8, u8) = (38, 18);

/// Deeper than this is refused: the schema has to be readable for every JSON reader.
const DEEPEST: usize = 32;
/// Fields of a struct at the most.
pub(super) const MOST_FIELDS: usize = 1_000;
/// Dimensions of a vector at the most: a null takes as much memory as a vector while it is encoded.
const LARGEST_VECTOR: u32 = 1 << 20;

/// The type of a column, of a list's items or of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ColumnType {
    /// Only nulls (or empty lists, of an item) were seen.
    Unknown,
    Bool,
    Int64,
    Float64,
    String,
    Bytes,
    Timestamp,
    Date,
    /// Precision and scale.
    Decimal(u8, u8),
    List(Box<ColumnType>),
    Struct(Vec<(String, ColumnType)>),
    /// Lists and structs of any kind, as the text of their JSON.
    Json,
    Vector(#[serde(with = "PrecisionName")] Precision, u32),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Precision", rename_all = "lowercase")]
enum PrecisionName {
    Fp16,
    Fp32,
    Fp64,
}

impl From<&DataType> for ColumnType {
    fn from(declared: &DataType) -> Self {
        match declared {
            DataType::Bool => Self::Bool,
            DataType::Int64 => Self::Int64,
            DataType::Float64 => Self::Float64,
            DataType::String => Self::String,
            DataType::Bytes => Self::Bytes,
            DataType::Timestamp => Self::Timestamp,
            DataType::Date => Self::Date,
            DataType::Decimal(precision, scale) => Self::Decimal(*precision, *scale),
            DataType::List(item) => Self::List(Box::new(item.as_ref().into())),
            DataType::Struct(fields) => {
                Self::Struct(fields.iter().map(|(name, field)| (name.clone(), field.into())).collect())
            }
            DataType::Vector(precision, dimension) => Self::Vector(*precision, *dimension),
        }
    }
}

impl Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("null"),
            Self::Bool => DataType::Bool.fmt(f),
            Self::Int64 => DataType::Int64.fmt(f),
            Self::Float64 => DataType::Float64.fmt(f),
            Self::String => DataType::String.fmt(f),
            Self::Bytes => DataType::Bytes.fmt(f),
            Self::Timestamp => DataType::Timestamp.fmt(f),
            Self::Date => DataType::Date.fmt(f),
            Self::Decimal(precision, scale) => DataType::Decimal(*precision, *scale).fmt(f),
            Self::Vector(precision, dimension) => DataType::Vector(*precision, *dimension).fmt(f),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Struct(fields) => write_struct(f, fields),
            Self::Json => f.write_str("json"),
        }
    }
}

impl ColumnType {
    /// The type of a column that is declared so: one of a struct without fields takes any JSON.
    pub(super) fn declared(declared: &DataType) -> Self {
        match declared {
            DataType::Struct(fields) if fields.is_empty() => Self::Json,
            declared => declared.into(),
        }
    }

    /// The narrowest type that holds both without loss; `None` where there is none.
    ///
    /// An integer widens to a double (values are still checked one by one), an unknown type to any,
    /// structs take the fields of both. Nothing becomes text by itself.
    pub(super) fn widened(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (one, two) if one == two => one.clone(),
            (Self::Unknown, known) | (known, Self::Unknown) => known.clone(),
            (Self::Int64, Self::Float64) | (Self::Float64, Self::Int64) => Self::Float64,
            (Self::Decimal(precision, scale), Self::Int64) => Self::Decimal(*precision, *scale),
            (Self::List(one), Self::List(two)) => Self::List(Box::new(one.widened(two)?)),
            (Self::Struct(one), Self::Struct(two)) => {
                let mut fields = one.clone();
                for (name, field) in two {
                    match fields.iter_mut().find(|(known, _)| known == name) {
                        Some((_, known)) => *known = known.widened(field)?,
                        None => fields.push((name.clone(), field.clone())),
                    }
                }
                Self::Struct(fields)
            }
            _ => return None,
        })
    }

    /// Why parquet, or a reader of the schema, could not take the type.
    pub(super) fn unstorable(&self) -> Option<String> {
        self.unstorable_at(0)
    }

    fn unstorable_at(&self, depth: usize) -> Option<String> {
        if depth > DEEPEST {
            return Some(format!("nested deeper than {DEEPEST}"));
        }
        match self {
            Self::List(item) => item.unstorable_at(depth + 1),
            Self::Struct(fields) if fields.is_empty() => {
                Some("a struct without any field cannot be a parquet column; declare its fields".to_owned())
            }
            Self::Struct(fields) if fields.len() > MOST_FIELDS => {
                Some(format!("a struct of {} fields, at most {MOST_FIELDS} are taken", fields.len()))
            }
            Self::Struct(fields) => fields.iter().find_map(|(_, field)| field.unstorable_at(depth + 1)),
            Self::Vector(_, dimension) if *dimension == 0 || *dimension > LARGEST_VECTOR => {
                Some(format!("a vector of {dimension} dimensions, 1 to {LARGEST_VECTOR} are taken"))
            }
            _ => None,
        }
    }

    /// The Arrow type of the column.
    ///
    /// Half precision is written as single, which holds it exactly: Spark reads no table that has a
    /// `FLOAT16` column. An unknown item is Arrow's null type.
    pub(super) fn arrow(&self) -> Arrow {
        match self {
            Self::Unknown => Arrow::Null,
            Self::Bool => Arrow::Boolean,
            Self::Int64 => Arrow::Int64,
            Self::Float64 => Arrow::Float64,
            Self::String | Self::Json => Arrow::Utf8,
            Self::Bytes => Arrow::Binary,
            Self::Timestamp => Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => Arrow::Date32,
            Self::Decimal(precision, scale) => Arrow::Decimal128(*precision, scale.cast_signed()),
            Self::List(item) => Arrow::List(item.item_field()),
            Self::Struct(fields) => Arrow::Struct(Self::struct_fields(fields)),
            Self::Vector(precision, dimension) => {
                Arrow::FixedSizeList(Self::element_field(*precision), dimension.cast_signed())
            }
        }
    }

    /// The Arrow type of the column's values as they come, which are of half precision where the column is.
    pub(super) fn values(&self) -> Arrow {
        match self {
            Self::List(item) => Arrow::List(element(item.values())),
            Self::Struct(fields) => {
                let fields = fields.iter().map(|(name, field)| Field::new(name, field.values(), true));
                Arrow::Struct(fields.collect::<Fields>())
            }
            Self::Vector(Precision::Fp16, dimension) => {
                Arrow::FixedSizeList(element(Arrow::Float16), dimension.cast_signed())
            }
            other => other.arrow(),
        }
    }

    /// The field of a list's items, named as the parquet format asks.
    pub(super) fn item_field(&self) -> Arc<Field> {
        Arc::new(Field::new("element", self.arrow(), true))
    }

    /// The field of a vector's elements.
    pub(super) fn element_field(precision: Precision) -> Arc<Field> {
        let element = match precision {
            Precision::Fp16 | Precision::Fp32 => Arrow::Float32,
            Precision::Fp64 => Arrow::Float64,
        };
        Arc::new(Field::new("element", element, true))
    }

    /// The fields of a struct.
    pub(super) fn struct_fields(fields: &[(String, Self)]) -> Fields {
        fields.iter().map(|(name, field)| Field::new(name, field.arrow(), true)).collect()
    }

    /// Bytes that a row takes in an array even where it is null: vectors have a fixed size.
    pub(super) fn fixed_width(&self) -> usize {
        match self {
            Self::Vector(Precision::Fp16 | Precision::Fp32, dimension) => *dimension as usize * 4,
            Self::Vector(Precision::Fp64, dimension) => *dimension as usize * 8,
            Self::Struct(fields) => fields.iter().map(|(_, field)| field.fixed_width()).sum(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_widens_only_where_nothing_is_lost() {
        let list = |item| ColumnType::List(Box::new(item));
        assert_eq!(ColumnType::Int64.widened(&ColumnType::Float64), Some(ColumnType::Float64));
        assert_eq!(list(ColumnType::Unknown).widened(&list(ColumnType::Date)), Some(list(ColumnType::Date)));
        assert_eq!(ColumnType::Int64.widened(&ColumnType::String), None);
        assert_eq!(ColumnType::Decimal(10, 2).widened(&ColumnType::Decimal(12, 4)), None);
        let one = ColumnType::Struct(vec![("a".into(), ColumnType::Int64)]);
        let two = ColumnType::Struct(vec![("b".into(), ColumnType::Bool), ("a".into(), ColumnType::Float64)]);
        assert_eq!(one.widened(&two).expect("structs unite").to_string(), "struct<a: float64, b: bool>");
    }

    #[test]
    fn the_deepest_type_that_is_taken_can_be_written_down_and_read() {
        let mut deep = ColumnType::Int64;
        for _ in 0..DEEPEST {
            deep = ColumnType::Struct(vec![("a".into(), deep)]);
        }
        assert_eq!(deep.unstorable(), None);
        let text = serde_json::to_string(&deep).expect("serializes");
        assert_eq!(serde_json::from_str::<ColumnType>(&text).expect("reads back"), deep);
        assert!(ColumnType::List(Box::new(deep)).unstorable().is_some());
    }
}
