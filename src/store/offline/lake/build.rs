//! Rows to Arrow arrays, one column after the other: the type is looked at once a column, not once a cell.
//! What came in columns stays in them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, UInt32Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType as Arrow, SchemaRef};
use arrow::error::ArrowError;
use hashbrown::HashMap;

use crate::row::table::{ColumnData, Shape, TableColumns, TableRow};
use crate::value::arrow::{array, values};
use crate::value::{Value, json};

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
        for (column, field) in self.arrow.fields().iter().enumerate() {
            cells.clear();
            for (places, run) in &runs {
                match places[column] {
                    Some(place) => cells.extend(run.iter().map(|row| &row.values[place])),
                    None if Some(column) == own => cells.extend(run.iter().map(|_| &self.inserted_at)),
                    None => cells.extend(run.iter().map(|_| &NULL)),
                }
            }
            arrays.push(match self.schema.column_type(column) {
                ColumnType::Json => texts(&cells),
                _ => array(field.data_type(), &cells)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.arrow), arrays, &options)
    }

    /// A batch of some rows of columns that [`super::plan`] found to fit the schema.
    pub(super) fn columns(&mut self, columns: &TableColumns, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
        let schema = self.schema;
        let places =
            self.places.entry(Arc::as_ptr(&columns.shape).addr()).or_insert_with(|| places(schema, &columns.shape));
        let own = schema.position(INSERTED_AT);
        let mut arrays = Vec::with_capacity(schema.columns().len());
        for (column, field) in self.arrow.fields().iter().enumerate() {
            let data_type = field.data_type();
            arrays.push(match places[column].map(|place| &columns.columns[place]) {
                Some(data) if *schema.column_type(column) == ColumnType::Json => {
                    let values: Vec<Value> = rows.iter().flat_map(|row| data.values(*row as usize, 1)).collect();
                    texts(&values.iter().collect::<Vec<_>>())
                }
                Some(ColumnData::Array(whole)) => of_type(&some(whole, rows)?, data_type)?,
                Some(ColumnData::Values(values)) => {
                    array(data_type, &rows.iter().map(|row| &values[*row as usize]).collect::<Vec<_>>())?
                }
                Some(ColumnData::Constant(value)) => array(data_type, &vec![value; rows.len()])?,
                None if Some(column) == own => array(data_type, &vec![&self.inserted_at; rows.len()])?,
                None => new_null_array(data_type, rows.len()),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.arrow), arrays, &options)
    }
}

/// Values as the text of their JSON.
fn texts(values: &[&Value]) -> ArrayRef {
    let text = |value: &&Value| (**value != Value::Null).then(|| json::to_text(value));
    Arc::new(values.iter().map(text).collect::<StringArray>())
}

/// Some rows of an array, which are in order.
fn some(whole: &ArrayRef, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
    let first = rows.first().map_or(0, |first| *first as usize);
    if rows.last().is_none_or(|last| *last as usize - first + 1 == rows.len()) {
        return Ok(whole.slice(first, rows.len()));
    }
    take(whole, &UInt32Array::from(rows.to_vec()), None)
}

/// An array as a type that holds all of its values, which the plan has seen to.
fn of_type(found: &ArrayRef, data_type: &Arrow) -> Result<ArrayRef, ArrowError> {
    match (found.data_type(), data_type) {
        (one, other) if one == other => Ok(found.clone()),
        (Arrow::Null, _) => Ok(new_null_array(data_type, found.len())),
        (Arrow::Decimal128(..), Arrow::Decimal128(..))
        | (Arrow::Int64, Arrow::Float64)
        | (Arrow::FixedSizeList(..), Arrow::FixedSizeList(..)) => cast(found, data_type),
        _ => {
            let values = values(found);
            array(data_type, &values.iter().collect::<Vec<_>>())
        }
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
