//! What a row takes in memory whatever its values are.
//!
//! A null of a type of fixed size is stored as nothing in a file and takes its whole size once it is read; the size is
//! what the file says that it is, up to 2³¹.

use arrow::datatypes::{DataType, Schema};
use parquet::file::metadata::RowGroupMetaData;

use super::too_large;
use crate::sink::Refusal;

/// Items of lists up to this size are not reckoned with: pages say how many values there are.
const SMALL: usize = 64;

/// Bytes of a row of nulls.
pub(super) fn of_a_row(schema: &Schema) -> usize {
    schema.fields().iter().fold(0, |sum, field| sum.saturating_add(width(field.data_type())))
}

/// Refuses groups of rows one of which, or the items of whose lists, take more than `limit` bytes though all are null. The
/// answer is what a row takes.
pub(super) fn check(schema: &Schema, groups: &[RowGroupMetaData], limit: usize) -> Result<usize, Refusal> {
    let row = of_a_row(schema);
    let item = schema.fields().iter().map(|field| of_items(field.data_type())).max().unwrap_or_default();
    let columns = groups.iter().flat_map(RowGroupMetaData::columns);
    let values = columns
        .fold(0_usize, |sum, column| sum.saturating_add(usize::try_from(column.num_values()).unwrap_or(usize::MAX)));
    let items = if item > SMALL { values.saturating_mul(item) } else { 0 };
    if row > limit || items > limit { Err(too_large(limit)) } else { Ok(row) }
}

/// Bytes of one value that is null.
fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeBinary(size) => usize::try_from(*size).unwrap_or(usize::MAX),
        DataType::FixedSizeList(item, length) => {
            usize::try_from(*length).unwrap_or(usize::MAX).saturating_mul(width(item.data_type()).max(1))
        }
        DataType::Struct(fields) => fields.iter().fold(1, |sum, field| sum.saturating_add(width(field.data_type()))),
        other => other.primitive_width().unwrap_or(8),
    }
}

/// Bytes of one item of the lists in a value that is null.
fn of_items(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            width(item.data_type()).max(of_items(item.data_type()))
        }
        DataType::FixedSizeList(item, _) => of_items(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| of_items(field.data_type())).max().unwrap_or_default(),
        _ => 0,
    }
}
