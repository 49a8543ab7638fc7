//! From an array to values, one column at a time: the type is looked at once, not once a value.

use std::sync::Arc;

use arrow::array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::array::{
    Array, ArrayAccessor, AsArray, BinaryArray, FixedSizeListArray, ListArray, StringArray, StructArray,
};
use arrow::datatypes::DataType as Arrow;
use bytes::Bytes;
use bytestring::ByteString;

use crate::value::decimal::unscaled;
use crate::value::{Value, Vector};

/// The values of an array of one of the types of [`super`]. Text and bytes are slices of its buffers.
pub fn values(array: &dyn Array) -> Vec<Value> {
    match array.data_type() {
        Arrow::Null => vec![Value::Null; array.len()],
        Arrow::Boolean => each(array.as_boolean(), Value::Bool),
        Arrow::Int64 => each(array.as_primitive::<Int64Type>(), Value::Int),
        Arrow::Float64 => each(array.as_primitive::<Float64Type>(), Value::Double),
        Arrow::Utf8 => texts(array.as_string()),
        Arrow::Binary => blobs(array.as_binary()),
        Arrow::Timestamp(..) => each(array.as_primitive::<TimestampMicrosecondType>(), Value::Timestamp),
        Arrow::Date32 => each(array.as_primitive::<Date32Type>(), Value::Date),
        Arrow::Decimal128(_, scale) => each(array.as_primitive::<Decimal128Type>(), |number| {
            Value::Decimal(unscaled(&number.to_string(), *scale).into())
        }),
        Arrow::Decimal256(_, scale) => each(array.as_primitive::<Decimal256Type>(), |number| {
            Value::Decimal(unscaled(&number.to_string(), *scale).into())
        }),
        Arrow::List(_) => lists(array.as_list()),
        Arrow::Struct(_) => structs(array.as_struct()),
        Arrow::FixedSizeList(..) => vectors(array.as_fixed_size_list()),
        other => unreachable!("{other} is made one of the types of values before it comes here"),
    }
}

/// Bytes that the values of an array hold beyond their own size, once they are one by one; without text and
/// bytes, which stay where they are.
pub fn heap(array: &dyn Array) -> usize {
    const VALUE: usize = size_of::<Value>();
    match array.data_type() {
        // Digits, a sign, a point with a zero before it.
        Arrow::Decimal128(precision, scale) | Arrow::Decimal256(precision, scale) => {
            array.len() * (usize::from(*precision).max(usize::from(scale.unsigned_abs())) + 3)
        }
        Arrow::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = first_and_last(list.value_offsets());
            let items = list.values().slice(first, last - first);
            items.len() * VALUE + heap(&items)
        }
        Arrow::Struct(fields) => {
            let own = array.len() * fields.len() * size_of::<(ByteString, Value)>();
            own + array.as_struct().columns().iter().map(|column| heap(column)).sum::<usize>()
        }
        Arrow::FixedSizeList(item, dimension) => {
            let width = item.data_type().primitive_width().unwrap_or(VALUE);
            array.len() * (size_of::<Vector>() + 2 * size_of::<usize>() + *dimension as usize * width)
        }
        _ => 0,
    }
}

fn each<A: ArrayAccessor>(array: A, value: impl Fn(A::Item) -> Value) -> Vec<Value> {
    let one = |at| if array.is_null(at) { Value::Null } else { value(array.value(at)) };
    (0..array.len()).map(one).collect()
}

fn texts(array: &StringArray) -> Vec<Value> {
    let range = first_and_last(array.value_offsets());
    let all = Bytes::from_owner(array.values().slice_with_length(range.0, range.1 - range.0));
    // What lies between the first and the last offset was text when the array was made.
    match ByteString::try_from(all) {
        Ok(all) => each(array, |text| Value::Text(all.slice_ref(within(&all, text, array, range.0)))),
        Err(_) => each(array, |text| Value::Text(text.into())),
    }
}

/// The same text as a part of `all`, which begins at the array's first offset.
fn within<'a>(all: &'a str, text: &str, array: &StringArray, first: usize) -> &'a str {
    let from = text.as_ptr().addr() - array.values().as_ptr().addr() - first;
    &all[from..from + text.len()]
}

fn blobs(array: &BinaryArray) -> Vec<Value> {
    let all = Bytes::from_owner(array.values().clone());
    let start = array.values().as_ptr().addr();
    each(array, |bytes| {
        let from = bytes.as_ptr().addr() - start;
        Value::Bytes(all.slice(from..from + bytes.len()))
    })
}

fn first_and_last(offsets: &[i32]) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.map_or(0, |offset| *offset as usize);
    (at(offsets.first()), at(offsets.last()))
}

fn lists(array: &ListArray) -> Vec<Value> {
    let (first, last) = first_and_last(array.value_offsets());
    let mut items = values(&array.values().slice(first, last - first)).into_iter();
    let lengths = array.value_offsets().windows(2).map(|pair| (pair[1] - pair[0]) as usize);
    let one = |(at, length): (usize, usize)| {
        let items: Vec<Value> = items.by_ref().take(length).collect();
        if array.is_null(at) { Value::Null } else { Value::List(items) }
    };
    lengths.enumerate().map(one).collect()
}

fn structs(array: &StructArray) -> Vec<Value> {
    let names: Vec<ByteString> = array.fields().iter().map(|field| field.name().as_str().into()).collect();
    let mut columns: Vec<_> = array.columns().iter().map(|column| values(column).into_iter()).collect();
    let one = |at: usize| {
        let fields = names.iter().zip(&mut columns);
        let fields = fields.map(|(name, column)| (name.clone(), column.next().unwrap_or(Value::Null)));
        let fields: Vec<(ByteString, Value)> = fields.collect();
        if array.is_null(at) { Value::Null } else { Value::Struct(fields) }
    };
    (0..array.len()).map(one).collect()
}

fn vectors(array: &FixedSizeListArray) -> Vec<Value> {
    let dimension = array.value_length() as usize;
    let one = |from: usize| match array.value_type() {
        Arrow::Float16 => {
            let elements = &array.values().as_primitive::<Float16Type>().values()[from..from + dimension];
            Vector::Fp16(elements.iter().map(|element| element.to_bits()).collect())
        }
        Arrow::Float32 => {
            Vector::Fp32(array.values().as_primitive::<Float32Type>().values()[from..from + dimension].to_vec())
        }
        Arrow::Float64 => {
            Vector::Fp64(array.values().as_primitive::<Float64Type>().values()[from..from + dimension].to_vec())
        }
        other => unreachable!("a vector of {other} is made a list before it comes here"),
    };
    let place = |at| array.value_offset_at(at);
    let value = |at| if array.is_null(at) { Value::Null } else { Value::Vector(Arc::new(one(place(at)))) };
    (0..array.len()).map(value).collect()
}
