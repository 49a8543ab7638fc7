//! Rows to Arrow arrays, one column after the other: the type is looked at once a column, not once a cell.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeListArray, ListArray, NullArray, PrimitiveArray,
    PrimitiveBuilder, RecordBatch, RecordBatchOptions, StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, SchemaRef,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use hashbrown::HashMap;

use crate::row::table::{Shape, TableRow};
use crate::value::dtype::Precision;
use crate::value::{Value, Vector};

use super::fit::scaled;
use super::layout;
use super::plan::INSERTED_AT;
use super::schema::TableSchema;
use super::types::ColumnType;

static NULL: Value = Value::Null;

/// Makes batches of one table's rows.
pub(super) struct Builder<'a> {
    schema: &'a TableSchema,
    arrow: SchemaRef,
    inserted_at: Value,
    /// Per address of a shape: for each column of the table its place in the row.
    places: HashMap<usize, Vec<Option<usize>>>,
}

impl<'a> Builder<'a> {
    /// `inserted_at` is in microseconds since 1970.
    pub(super) fn new(schema: &'a TableSchema, arrow: SchemaRef, inserted_at: i64) -> Self {
        Self { schema, arrow, inserted_at: Value::Timestamp(inserted_at), places: HashMap::new() }
    }

    /// A batch of rows that [`super::plan`] found to fit the schema.
    ///
    /// The error is a bug: a value that the plan let through.
    pub(super) fn batch(&mut self, rows: &[&TableRow]) -> Result<RecordBatch, ArrowError> {
        for row in rows {
            let schema = self.schema;
            self.places.entry(Arc::as_ptr(&row.shape).addr()).or_insert_with(|| places(schema, &row.shape));
        }
        // Rows of one shape come in runs: the place of a column is looked up once a run.
        let runs: Vec<(&[Option<usize>], &[&TableRow])> = rows
            .chunk_by(|one, next| Arc::ptr_eq(&one.shape, &next.shape))
            .map(|run| (self.places[&Arc::as_ptr(&run[0].shape).addr()].as_slice(), run))
            .collect();
        let own = self.schema.position(INSERTED_AT);
        let mut cells: Vec<&Value> = Vec::with_capacity(rows.len());
        let mut arrays = Vec::with_capacity(self.schema.columns().len());
        for (column, data_type) in self.schema.types().enumerate() {
            cells.clear();
            for (places, run) in &runs {
                match places[column] {
                    Some(place) => cells.extend(run.iter().map(|row| &row.values[place])),
                    None if Some(column) == own => cells.extend(run.iter().map(|_| &self.inserted_at)),
                    None => cells.extend(run.iter().map(|_| &NULL)),
                }
            }
            arrays.push(array(data_type, &cells)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.arrow), arrays, &options)
    }
}

fn places(schema: &TableSchema, shape: &Shape) -> Vec<Option<usize>> {
    let mut places = vec![None; schema.columns().len()];
    for (place, column) in shape.columns.iter().enumerate() {
        // A column that is not in the schema is one of nulls alone.
        if let Some(column) = schema.position(&layout::column(&column.name)) {
            places[column] = Some(place);
        }
    }
    places
}

fn misplaced(data_type: &ColumnType, value: &Value) -> ArrowError {
    let found = std::mem::discriminant(value);
    ArrowError::InvalidArgumentError(format!("a {data_type} column was given a value of {found:?}"))
}

/// An array of values that fit the type.
fn array(data_type: &ColumnType, cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    Ok(match data_type {
        ColumnType::Unknown => Arc::new(NullArray::new(cells.len())),
        ColumnType::Bool => {
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
        ColumnType::Int64 => Arc::new(primitive::<Int64Type>(data_type, cells, |value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        })?),
        ColumnType::Float64 => Arc::new(primitive::<Float64Type>(data_type, cells, number)?),
        ColumnType::String => {
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
        ColumnType::Bytes => {
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
        ColumnType::Timestamp => {
            let times = primitive::<TimestampMicrosecondType>(data_type, cells, |value| match value {
                Value::Timestamp(value) => Some(*value),
                _ => None,
            })?;
            Arc::new(times.with_timezone("UTC"))
        }
        ColumnType::Date => Arc::new(primitive::<Date32Type>(data_type, cells, |value| match value {
            Value::Date(value) => Some(*value),
            _ => None,
        })?),
        ColumnType::Decimal(precision, scale) => {
            let numbers = primitive::<Decimal128Type>(data_type, cells, |value| scaled(value, *precision, *scale))?;
            Arc::new(numbers.with_precision_and_scale(*precision, scale.cast_signed())?)
        }
        ColumnType::List(item) => list(item, cells)?,
        ColumnType::Struct(fields) => structs(fields, cells)?,
        ColumnType::Vector(precision, dimension) => vectors(*precision, *dimension, cells)?,
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
    data_type: &ColumnType,
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

fn list(item: &ColumnType, cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let mut items: Vec<&Value> = Vec::new();
    let mut lengths = Vec::with_capacity(cells.len());
    for cell in cells {
        match cell {
            Value::List(values) => {
                items.extend(values);
                lengths.push(values.len());
            }
            Value::Null => lengths.push(0),
            other => return Err(misplaced(item, other)),
        }
    }
    let values = array(item, &items)?;
    Ok(Arc::new(ListArray::try_new(item.item_field(), OffsetBuffer::from_lengths(lengths), values, present(cells))?))
}

fn structs(fields: &[(String, ColumnType)], cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let mut arrays = Vec::with_capacity(fields.len());
    let mut column: Vec<&Value> = Vec::with_capacity(cells.len());
    for (at, (name, field)) in fields.iter().enumerate() {
        column.clear();
        for cell in cells {
            let found = match cell {
                Value::Struct(values) => {
                    let hinted = values.get(at).filter(|(known, _)| **known == **name);
                    hinted.or_else(|| values.iter().find(|(known, _)| **known == **name))
                }
                Value::Null => None,
                other => return Err(misplaced(field, other)),
            };
            column.push(found.map_or(&NULL, |(_, value)| value));
        }
        arrays.push(array(field, &column)?);
    }
    Ok(Arc::new(StructArray::try_new(ColumnType::struct_fields(fields), arrays, present(cells))?))
}

fn vectors(precision: Precision, dimension: u32, cells: &[&Value]) -> Result<ArrayRef, ArrowError> {
    let values: ArrayRef = match precision {
        Precision::Fp16 | Precision::Fp32 => Arc::new(elements::<Float32Type>(dimension, cells, |value| value as f32)?),
        Precision::Fp64 => Arc::new(elements::<Float64Type>(dimension, cells, |value| value)?),
    };
    let field = ColumnType::element_field(precision);
    Ok(Arc::new(FixedSizeListArray::try_new(field, dimension.cast_signed(), values, present(cells))?))
}

fn elements<T: ArrowPrimitiveType>(
    dimension: u32,
    cells: &[&Value],
    narrow: impl Fn(f64) -> T::Native,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let mut elements: Vec<T::Native> = Vec::with_capacity(cells.len() * dimension as usize);
    for cell in cells {
        let before = elements.len();
        match cell {
            Value::Vector(vector) => match &**vector {
                Vector::Fp16(bits) => {
                    elements.extend(bits.iter().map(|bits| narrow(half::f16::from_bits(*bits).to_f64())));
                }
                Vector::Fp32(values) => elements.extend(values.iter().map(|value| narrow(f64::from(*value)))),
                Vector::Fp64(values) => elements.extend(values.iter().map(|value| narrow(*value))),
            },
            Value::List(items) => elements.extend(items.iter().filter_map(number).map(&narrow)),
            // A null has its place in an array of fixed width; what stands there is never read.
            _ => elements.resize(before + dimension as usize, T::Native::default()),
        }
        if elements.len() - before != dimension as usize {
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
