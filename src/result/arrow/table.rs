//! A table with its columns told apart: keys, features, and where their values came from.

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::DataType as Arrow;
use bytestring::ByteString;

use super::ipc::Ipc;
use super::{Budget, Column, ID, RESULT_METADATA, malformed};
use crate::panics::caught;
use crate::result::meta::{source_id, source_named};
use crate::result::{Cell, EntityRow, Source};
use crate::sink::Refusal;
use crate::value::Value;
use crate::value::arrow::{heap, values};

/// What a row takes without its cells, with the verdict that it may meet.
const OF_ROW: usize = size_of::<EntityRow>() + size_of::<Refusal>();

/// An opened table. Its batches are whole and valid; its columns are still of the types that they came in.
#[derive(Debug)]
pub struct ArrowTable {
    rows: usize,
    names: Vec<ByteString>,
    /// Aligned with the names: places in the batches.
    places: Vec<Place>,
    id: usize,
    batches: Vec<RecordBatch>,
}

#[derive(Debug)]
struct Place {
    column: usize,
    /// The struct that says where its values came from.
    sources: Option<usize>,
}

/// Where the values of one column came from, row by row.
#[derive(Debug)]
pub struct Sources {
    /// What kind of source.
    pub sources: Vec<Source>,
    ids: Vec<Value>,
}

impl ArrowTable {
    pub(super) fn of(ipc: Ipc, budget: &mut Budget) -> Result<Self, Refusal> {
        let batches = ipc.read(budget)?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let schema = &ipc.schema;
        let mut ids = schema.fields().iter().enumerate().filter(|(_, field)| field.name() == ID);
        let Some((id, _)) = ids.next() else {
            return Err(malformed(format_args!("no column `{ID}`, which has the primary keys")));
        };
        if ids.next().is_some() {
            return Err(malformed(format_args!("column `{ID}` stands twice")));
        }
        let mut of_sources = hashbrown::HashMap::new();
        for (at, field) in schema.fields().iter().enumerate() {
            let Some(feature) = field.name().strip_prefix(RESULT_METADATA) else { continue };
            if of_sources.insert(feature, at).is_some() {
                return Err(malformed(format_args!("column `{}` stands twice", field.name())));
            }
        }
        let (mut names, mut places) = (Vec::new(), Vec::new());
        for (column, field) in schema.fields().iter().enumerate() {
            if column != id && !field.name().starts_with(RESULT_METADATA) {
                names.push(field.name().as_str().into());
                places.push(Place { column, sources: of_sources.get(field.name().as_str()).copied() });
            }
        }
        Ok(Self { rows, names, places, id, batches })
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The names of its columns, without those of the keys and of the sources.
    pub fn columns(&self) -> &[ByteString] {
        &self.names
    }

    /// The primary keys.
    pub fn ids(&self, budget: &mut Budget) -> Result<Column, Refusal> {
        self.at(self.id, budget)
    }

    /// One of its columns.
    pub fn column(&self, column: usize, budget: &mut Budget) -> Result<Column, Refusal> {
        self.at(self.places[column].column, budget)
    }

    /// Where the values of a column came from, where the table says it.
    pub fn sources(&self, column: usize, budget: &mut Budget) -> Result<Option<Sources>, Refusal> {
        let Some(at) = self.places[column].sources else { return Ok(None) };
        let name = &self.names[column];
        let found = self.at(at, budget)?.array;
        let Arrow::Struct(_) = found.data_type() else {
            // Of a struct of which every one is null nothing is said.
            if found.logical_null_count() == found.len() {
                return Ok(None);
            }
            return Err(malformed(format_args!("column `{RESULT_METADATA}{name}`: expected a struct")));
        };
        let found = found.as_struct();
        let per_row = 2 * size_of::<Value>() + size_of::<Source>();
        budget.lend_rows(found.len(), per_row)?;
        let kinds = texts(found, "source_type", name)?;
        let mut sources = vec![Source::Unknown; found.len()];
        for (row, kind) in kinds.iter().enumerate() {
            if let Value::Text(kind) = kind
                && found.is_valid(row)
            {
                sources[row] = source_named(kind);
            }
        }
        let mut ids = texts(found, "source_id", name)?;
        for (row, id) in ids.iter_mut().enumerate() {
            if found.is_null(row) {
                *id = Value::Null;
            }
        }
        Ok(Some(Sources { sources, ids }))
    }

    /// The rows one by one, filled column by column; of the columns only those that are wanted.
    pub fn entities(&self, wanted: impl Fn(usize) -> bool, budget: &mut Budget) -> Result<Vec<EntityRow>, Refusal> {
        let width = (0..self.names.len()).filter(|at| wanted(*at)).count();
        budget.take_rows(self.rows, OF_ROW + width * size_of::<Cell>())?;
        let Column { array, faults } = self.ids(budget)?;
        taken_apart(&*array, budget)?;
        let row = |id| EntityRow { id, observed_at: None, cells: Vec::with_capacity(width), fault: None };
        let mut rows: Vec<EntityRow> = values(&array).into_iter().map(row).collect();
        for (row, fault) in faults {
            rows[row].fault = Some(format!("`{ID}`: {fault}"));
        }
        for column in (0..self.names.len()).filter(|at| wanted(*at)) {
            let Column { array, faults } = self.column(column, budget)?;
            let sources = self.sources(column, budget)?;
            taken_apart(&*array, budget)?;
            for (at, (row, value)) in rows.iter_mut().zip(values(&array)).enumerate() {
                let (source, source_id) = sources.as_ref().map_or((Source::Unknown, None), |sources| sources.of(at));
                row.cells.push(Cell { column, value, source, source_id });
            }
            for (row, fault) in faults {
                rows[row].fault.get_or_insert_with(|| format!("`{}`: {fault}", self.names[column]));
            }
        }
        for row in rows.iter_mut().filter(|row| row.fault.is_some()) {
            row.cells = Vec::new();
        }
        Ok(rows)
    }

    fn at(&self, column: usize, budget: &mut Budget) -> Result<Column, Refusal> {
        let parts = || -> Result<Column, Refusal> {
            let parts = self.batches.iter().map(|batch| Column::of(batch.column(column), budget));
            Column::concatenated(parts.collect::<Result<_, _>>()?)
        };
        caught(parts).unwrap_or_else(|| Err(malformed("a column made the reader give up")))
    }
}

/// The budget of an array's values: what they hold stays, they themselves move on into their cells.
fn taken_apart(array: &dyn Array, budget: &mut Budget) -> Result<(), Refusal> {
    budget.take_rows(heap(array), 1)?;
    budget.lend_rows(array.len(), size_of::<Value>())
}

/// One of the fields that say where values came from; none where it is not there.
fn texts(found: &StructArray, field: &str, column: &str) -> Result<Vec<Value>, Refusal> {
    let Some(array) = found.column_by_name(field) else { return Ok(Vec::new()) };
    match array.data_type() {
        Arrow::Utf8 | Arrow::Null => Ok(values(array)),
        other => {
            let place = format!("column `{RESULT_METADATA}{column}`, field `{field}`");
            Err(malformed(format_args!("{place}: expected text, found {other}")))
        }
    }
}

impl Sources {
    fn of(&self, row: usize) -> (Source, Option<Box<ByteString>>) {
        (self.sources[row], self.id(row).cloned().and_then(source_id))
    }

    /// The resolver behind a value, where it is known.
    pub fn id(&self, row: usize) -> Option<&ByteString> {
        match self.ids.get(row) {
            Some(Value::Text(id)) if !id.is_empty() => Some(id),
            _ => None,
        }
    }
}
