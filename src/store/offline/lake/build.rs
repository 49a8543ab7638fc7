//! Rows to Arrow arrays, one column after the other: the type is looked at once a column, not once a cell.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use hashbrown::HashMap;

use crate::row::table::{Shape, TableRow};
use crate::value::Value;
use crate::value::arrow::array;

use super::layout;
use super::plan::INSERTED_AT;
use super::schema::TableSchema;

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
            arrays.push(array(field.data_type(), &cells)?);
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
