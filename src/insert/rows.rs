//! The rows of a stored file, column by column, as a store takes them: one shape for all of them, known before the
//! first of them is read.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_empty_array};
use arrow::datatypes::Schema;
use bytestring::ByteString;

use super::target::{self, Target, told};
use super::weight;
use crate::result::arrow::{Budget, Column, columns};
use crate::row::load::{Load, Mode};
use crate::row::table::{ColumnData, Shape, TableColumns};
use crate::sink::{ErrorClass, Refusal};
use crate::value::arrow::{Extension, declared};

const OBSERVATION_ID: &str = "__observation_id__";
/// The store's own, in tables of history: a file that was exported from one has it.
const INSERTED_AT: &str = "__inserted_at__";

/// How the rows of one file become those of its table.
#[derive(Clone, Debug)]
pub struct FileRows {
    /// Their table and columns, each of the type that the file has.
    pub shape: Arc<Shape>,
    /// The columns of the file that they are made of.
    places: Vec<usize>,
    /// What the texts of those stand for that are marked.
    marks: Vec<Option<Extension>>,
    /// Bytes that a batch may take more once its columns are of types that values have.
    limit: usize,
}

impl FileRows {
    /// For a file of a load with these columns.
    ///
    /// Refused with `FILE_INVALID`: columns that the load's mode needs and the file has not, and types that no value
    /// has.
    pub fn new(load: &Load, schema: &Schema, limit: usize) -> Result<Self, Refusal> {
        let has = |wanted: &str| schema.fields().iter().any(|field| field.name() == wanted);
        let of_history = has(OBSERVATION_ID);
        let kept = |name: &str| !(of_history && name == INSERTED_AT);
        let places: Vec<usize> = (0..schema.fields().len()).filter(|at| kept(schema.field(*at).name())).collect();
        let schema = Arc::new(schema.project(&places).map_err(|error| invalid(error.to_string()))?);
        let empty = schema.fields().iter().map(|field| new_empty_array(field.data_type())).collect();
        let empty = RecordBatch::try_new(Arc::clone(&schema), empty).map_err(|error| invalid(error.to_string()))?;
        let columns = columns(&schema, &[empty], &mut Budget::new(limit)).map_err(of_the_file)?;
        let target = Target {
            schema: load.target.schema.clone(),
            table: load.target.table.clone(),
            mode: match &load.mode {
                Mode::Append => target::Mode::Append,
                Mode::Upsert { keys, order } => target::Mode::Upsert { keys: keys.clone(), order: order.clone() },
            },
            create: load.create,
        };
        let mut shape = target.shape(&columns, load.time).map_err(of_the_file)?;
        let marks: Vec<Option<Extension>> = schema.fields().iter().map(|field| Extension::of(field)).collect();
        for ((column, (_, Column { array, .. })), mark) in shape.columns.iter_mut().zip(&columns).zip(&marks) {
            // What a marked text stands for has the type that its values have.
            column.data_type = declared(array.data_type()).filter(|_| mark.is_none());
        }
        Ok(Self { shape: Arc::new(shape), places, marks, limit })
    }

    /// What the rows of a batch of the file weigh: about the bytes that they take, and the sum of that of each.
    pub fn weight(&self, batch: &RecordBatch) -> u64 {
        /// A byte of a marked text may become so many.
        const MARKED: u64 = 8;
        let columns = self.places.iter().zip(&self.marks);
        let weights = columns.map(|(at, mark)| weight::of(batch.column(*at)) * mark.map_or(1, |_| MARKED));
        weights.fold(0, u64::saturating_add)
    }

    /// The rows of a batch of the file, which is not empty.
    pub fn of(&self, destination: usize, batch: &RecordBatch) -> Result<TableColumns, Refusal> {
        let batch = batch.project(&self.places).map_err(|error| invalid(error.to_string()))?;
        let rows = batch.num_rows();
        let mut budget = Budget::new(self.limit);
        let columns: Vec<(ByteString, Column)> =
            columns(&batch.schema(), &[batch], &mut budget).map_err(of_the_file)?;
        let mut data = Vec::with_capacity(columns.len());
        for ((name, Column { array, faults }), mark) in columns.into_iter().zip(&self.marks) {
            if let Some((row, fault)) = faults.first_key_value() {
                return Err(invalid(format!("column `{name}`, row {row} of a batch: {fault}")));
            }
            data.push(match mark {
                Some(mark) => told(*mark, &name, &array, &mut budget).map_err(of_the_file)?,
                None => ColumnData::Array(array),
            });
        }
        Ok(TableColumns { destination, shape: Arc::clone(&self.shape), rows, columns: data })
    }
}

fn of_the_file(refusal: Refusal) -> Refusal {
    invalid(refusal.message)
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorClass::FileInvalid, message)
}
