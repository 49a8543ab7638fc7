//! From values to an array, one column after the other: the type is looked at once a column, not once a value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeListArray, ListArray, NullArray, PrimitiveArray,
    PrimitiveBuilder, StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as Arrow, Date32Type, Decimal128Type, FieldRef, Fields, Float16Type, Float32Type,
    Float64Type, Int64Type, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use half::f16;

use crate::value::decimal::scaled;
use crate::value::{Value, Vector};

static NULL: Value = Value::Null;

fn misplaced(data_type: &Arrow, value: &Value) -> ArrowError {
    let found = std::mem::discriminant(value);
    ArrowError::InvalidArgumentError(format!("a {data_type} column was given a value of {found:?}"))
}

/// An array of values that fit one of the types of [`super`]; an integer also fits a double or a decimal
/// that holds it, and a list of numbers a vector.
///
/// The error is a bug: a value that whoever looked at it before let through.
pub fn array(data_type: &Arrow, cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    Ok(match data_type {
        Arrow::Null => {
            if let Some(value) = cells.iter().find(|value| ***value != Value::Null) {
                return Err(misplaced(data_type, value));
            }
            Arc::new(NullArray::new(cells.len()))
        }
        Arrow::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(cells.len());
            for cell in cells {
                match cell {
                    Value::Bool(value) => builder.append_value(*value),
                    Value::Null => builder.append_null(),
                    other => return Err(misplaced(data_type, other)),
                }
            }
            Arc::new(builder.finish())
        }
        Arrow::Int64 => Arc::new(primitive::<Int64Type>(data_type, cells, |value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        })?),
        Arrow::Float64 => Arc::new(primitive::<Float64Type>(data_type, cells, number)?),
        Arrow::Utf8 => {
            let bytes = cells.iter().map(|cell| cell.heap_size()).sum();
            let mut builder = StringBuilder::with_capacity(cells.len(), bytes);
            for cell in cells {
                match cell {
                    Value::Text(value) => builder.append_value(value),
                    Value::Null => builder.append_null(),
                    other => return Err(misplaced(data_type, other)),
                }
            }
            Arc::new(builder.finish())
        }
        Arrow::Binary => {
            let bytes = cells.iter().map(|cell| cell.heap_size()).sum();
            let mut builder = BinaryBuilder::with_capacity(cells.len(), bytes);
            for cell in cells {
                match cell {
                    Value::Bytes(value) => builder.append_value(value),
                    Value::Null => builder.append_null(),
                    other => return Err(misplaced(data_type, other)),
                }
            }
            Arc::new(builder.finish())
        }
        Arrow::Timestamp(..) => {
            let times = primitive::<TimestampMicrosecondType>(data_type, cells, |value| match value {
                Value::Timestamp(value) => Some(*value),
                _ => None,
            })?;
            Arc::new(times.with_timezone("UTC"))
        }
        Arrow::Date32 => Arc::new(primitive::<Date32Type>(data_type, cells, |value| match value {
            Value::Date(value) => Some(*value),
            _ => None,
        })?),
        Arrow::Decimal128(precision, scale) => {
            let digits = scale.cast_unsigned();
            let numbers = primitive::<Decimal128Type>(data_type, cells, |value| scaled(value, *precision, digits))?;
            Arc::new(numbers.with_precision_and_scale(*precision, *scale)?)
        }
        Arrow::List(item) => list(item, cells)?,
        Arrow::Struct(fields) => structs(fields, cells)?,
        Arrow::FixedSizeList(element, dimension) => vectors(element, *dimension, cells)?,
        other => return Err(ArrowError::InvalidArgumentError(format!("{other} is not a type of values"))),
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        _ => None,
    }
}

fn primitive<T: ArrowPrimitiveType>(
    data_type: &Arrow,
    cells: &[&Value],
    take: impl Fn(&Value) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(cells.len());
    for cell in cells {
        match cell {
            Value::Null => builder.append_null(),
            value => builder.append_value(take(value).ok_or_else(|| misplaced(data_type, value))?),
        }
    }
    Ok(builder.finish())
}

fn present(cells: &[&Value]) -> Option<NullBuffer> {
    cells.contains(&&Value::Null).then(|| cells.iter().map(|cell| !matches!(cell, Value::Null)).collect())
}

fn list(item: &FieldRef, cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let mut items: Vec<&Value> = Vec::new();
    let mut lengths = Vec::with_capacity(cells.len());
    for cell in cells {
        match cell {
            Value::List(values) => {
                items.extend(values);
                lengths.push(values.len());
            }
            Value::Null => lengths.push(0),
            other => return Err(misplaced(item.data_type(), other)),
        }
    }
    let values = array(item.data_type(), &items)?;
    Ok(Arc::new(ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), values, present(cells))?))
}

fn structs(fields: &Fields, cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let mut arrays = Vec::with_capacity(fields.len());
    let mut column: Vec<&Value> = Vec::with_capacity(cells.len());
    for (at, field) in fields.iter().enumerate() {
        column.clear();
        for cell in cells {
            let found = match cell {
                Value::Struct(values) => {
                    let hinted = values.get(at).filter(|(known, _)| **known == **field.name());
                    hinted.or_else(|| values.iter().find(|(known, _)| **known == **field.name()))
                }
                Value::Null => None,
                other => return Err(misplaced(field.data_type(), other)),
            };
            column.push(found.map_or(&NULL, |(_, value)| value));
        }
        arrays.push(array(field.data_type(), &column)?);
    }
    if arrays.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(cells.len(), present(cells))));
    }
    Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, present(cells))?))
}

fn vectors(element: &FieldRef, dimension: i32, cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let width = usize::try_from(dimension).unwrap_or_default();
    let values: ArrayRef = match element.data_type() {
        Arrow::Float16 => Arc::new(elements::<Float16Type>(width, cells, f16::from_f64)?),
        Arrow::Float32 => Arc::new(elements::<Float32Type>(width, cells, |value| value as f32)?),
        _ => Arc::new(elements::<Float64Type>(width, cells, |value| value)?),
    };
    let vectors =
        FixedSizeListArray::try_new_with_length(element.clone(), dimension, values, present(cells), cells.len())?;
    Ok(Arc::new(vectors))
}

fn elements<T: ArrowPrimitiveType>(
    dimension: usize,
    cells: &[&Value],
    narrow: impl Fn(f64) -> T::Native,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let mut elements: Vec<T::Native> = Vec::with_capacity(cells.len() * dimension);
    for cell in cells {
        let before = elements.len();
        match cell {
            Value::Vector(vector) => match &**vector {
                Vector::Fp16(bits) => {
                    elements.extend(bits.iter().map(|bits| narrow(f16::from_bits(*bits).to_f64())));
                }
                Vector::Fp32(values) => elements.extend(values.iter().map(|value| narrow(f64::from(*value)))),
                Vector::Fp64(values) => elements.extend(values.iter().map(|value| narrow(*value))),
            },
            Value::List(items) => elements.extend(items.iter().filter_map(number).map(&narrow)),
            // A null has its place in an array of fixed width; what stands there is never read.
            _ => elements.resize(before + dimension, T::Native::default()),
        }
        if elements.len() - before != dimension {
            return Err(ArrowError::InvalidArgumentError(format!(
                "a vector of {dimension} dimensions was given {}",
                elements.len() - before
            )));
        }
    }
    let array = PrimitiveArray::<T>::new(elements.into(), None);
    debug_assert_eq!(array.null_count(), 0);
    Ok(array)
}
