//! Values in Arrow arrays: one Arrow type for each type of value, and the way there and back.
//!
//! | value | Arrow |
//! | --- | --- |
//! | null | `Null`, or a null of any type |
//! | bool, 64-bit integer, double | `Boolean`, `Int64`, `Float64` |
//! | text, bytes | `Utf8`, `Binary` |
//! | timestamp | `Timestamp(Microsecond, "UTC")` |
//! | date | `Date32` |
//! | decimal | `Decimal128`, and `Decimal256` where it has more than 38 digits; a scale not below zero |
//! | list | `List` of `element` |
//! | struct | `Struct` |
//! | vector | `FixedSizeList` of `element`: `Float16`, `Float32` or `Float64`, none of them null |
//!
//! Every field may be null. Arrays of other types come from messages and are made these first.

mod build;
mod extension;
mod read;

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType as Arrow, Field, FieldRef, Fields, TimeUnit};

use super::dtype::{DataType, Precision};

pub use build::array;
pub use extension::Extension;
pub use read::{heap, values};

/// The type of timestamps.
pub fn timestamp() -> Arrow {
    Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The field of a list's items or a vector's elements, named as the parquet format asks.
pub fn element(data_type: Arrow) -> FieldRef {
    Arc::new(Field::new("element", data_type, true))
}

/// The Arrow type of values of a type.
pub fn type_of(data_type: &DataType) -> Arrow {
    match data_type {
        DataType::Bool => Arrow::Boolean,
        DataType::Int64 => Arrow::Int64,
        DataType::Float64 => Arrow::Float64,
        DataType::String => Arrow::Utf8,
        DataType::Bytes => Arrow::Binary,
        DataType::Timestamp => timestamp(),
        DataType::Date => Arrow::Date32,
        DataType::Decimal(precision, scale) => Arrow::Decimal128(*precision, scale.cast_signed()),
        DataType::List(item) => Arrow::List(element(type_of(item))),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|(name, field)| Field::new(name, type_of(field), true));
            Arrow::Struct(fields.collect::<Fields>())
        }
        DataType::Vector(precision, dimension) => {
            let elements = match precision {
                Precision::Fp16 => Arrow::Float16,
                Precision::Fp32 => Arrow::Float32,
                Precision::Fp64 => Arrow::Float64,
            };
            Arrow::FixedSizeList(element(elements), dimension.cast_signed())
        }
    }
}

/// The type of values that an Arrow type of the table above is for; `None` where it says none, as `Null` does, or one
/// that cannot be declared.
pub fn declared(data_type: &Arrow) -> Option<DataType> {
    Some(match data_type {
        Arrow::Boolean => DataType::Bool,
        Arrow::Int64 => DataType::Int64,
        Arrow::Float64 => DataType::Float64,
        Arrow::Utf8 => DataType::String,
        Arrow::Binary => DataType::Bytes,
        Arrow::Timestamp(..) => DataType::Timestamp,
        Arrow::Date32 => DataType::Date,
        Arrow::Decimal128(precision, scale) => DataType::Decimal(*precision, u8::try_from(*scale).ok()?),
        Arrow::List(item) => DataType::List(Box::new(declared(item.data_type())?)),
        Arrow::Struct(fields) => {
            let fields = fields.iter().map(|field| Some((field.name().as_str().into(), declared(field.data_type())?)));
            DataType::Struct(fields.collect::<Option<_>>()?)
        }
        Arrow::FixedSizeList(element, dimension) => {
            let precision = match element.data_type() {
                Arrow::Float16 => Precision::Fp16,
                Arrow::Float32 => Precision::Fp32,
                Arrow::Float64 => Precision::Fp64,
                _ => return None,
            };
            DataType::Vector(precision, u32::try_from(*dimension).ok()?)
        }
        _ => return None,
    })
}

/// Bytes that an array's own values take, whatever buffers it shares with others.
pub fn size(array: &dyn Array) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

#[cfg(test)]
mod tests;
