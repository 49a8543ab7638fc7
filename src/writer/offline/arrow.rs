//! Tables in Arrow form: from a message's columns to a table's, without a row in between.
//!
//! Each step does to a column what [`super::decode`] does to a row, in the same order, so that a row of either
//! form meets the same verdict. A column that is of its declared type already, or of which nothing is declared,
//! goes through as it came; any other is made its declared type value by value, as it would be in a row.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringBuilder, TimestampMicrosecondArray};
use arrow::compute::nullif;
use arrow::datatypes::DataType as Arrow;
use arrow::error::ArrowError;
use bytes::Bytes;

use super::decode::Context;
use super::shapes::{ID, Layout, OBSERVATION_ID, TS, Target};
use super::verdicts::Verdicts;
use crate::decode::Decoded;
use crate::result::Source;
use crate::result::arrow::{ArrowTable, Budget, Column};
use crate::row::table::{ColumnData, TableColumns, TableRows};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::value::arrow::{heap, type_of, values};
use crate::value::conform::conform;
use crate::value::dtype::DataType;
use crate::writer::time::observed_at;
use crate::writer::{entity, skip};

/// What a row takes beside its columns: its times, whether it is kept, and the text of its observation's id.
const OF_ROW: usize = 96;

impl Context<'_> {
    /// Appends the rows of a table in Arrow form.
    pub(super) fn arrow(&mut self, table_at: usize, namespace: &str, ipc: &Bytes, decoded: &mut Decoded<TableRows>) {
        let made = crate::result::arrow::table(ipc, &mut self.budget)
            .and_then(|table| self.columns(table_at, namespace, &table, decoded));
        if let Err(refusal) = made {
            decoded.refuse(refusal.table(namespace));
        }
    }

    fn columns(
        &mut self,
        table_at: usize,
        namespace: &str,
        table: &ArrowTable,
        decoded: &mut Decoded<TableRows>,
    ) -> Result<(), Refusal> {
        let rows = table.rows();
        if rows == 0 {
            return Ok(());
        }
        let layout = self.environment.layout(namespace, table.columns(), None);
        self.budget.take_rows(rows, OF_ROW)?;
        let mut verdicts = Verdicts::default();
        let ids = table.ids(&mut self.budget)?;
        verdicts.add_faults("__id__", ids.faults, &mut self.budget);
        let keys = Keys(ids.array.clone());
        for row in 0..rows {
            if !keys.has(row)
                && let Err(refusal) = entity::primary_key(&Value::Null)
            {
                verdicts.add(row, refusal, &mut self.budget);
            }
        }
        verdicts.check()?;
        let own_times = self.own_times(&layout, table, &mut verdicts)?;
        let mut features = self.features(&layout, table, &mut verdicts, decoded)?;
        let mut times = Vec::with_capacity(rows);
        for (row, own) in own_times.into_iter().enumerate() {
            let time = observed_at(own, self.times).and_then(|time| self.believable.check(time));
            times.push(*time.as_ref().unwrap_or(&0));
            if !features.empty.contains(&row)
                && let Err(refusal) = time
            {
                verdicts.add(row, refusal, &mut self.budget);
            }
        }
        features.empty.retain(|row| !verdicts.of(*row));
        if !features.empty.is_empty() {
            decoded.skip(skip::EMPTY_ROW, features.empty.len() as u64);
        }
        let mut of_ids = Verdicts::default();
        let id = conformed(ids.array, layout.id_type.as_ref(), "id", &mut of_ids, &mut self.budget)?;
        of_ids.check()?;
        // Nobody asks for the key of a row of which nothing is stored.
        for (row, refusal) in of_ids.into_rows() {
            if !features.empty.contains(&row) {
                verdicts.add(row, refusal, &mut self.budget);
            }
        }
        verdicts.check()?;
        let kept: Vec<bool> = (0..rows).map(|row| !verdicts.of(row) && !features.empty.contains(&row)).collect();
        for (row, refusal) in verdicts.into_rows() {
            decoded.refuse(entity::at_row(refusal, namespace, &keys.value(row), row));
        }
        let count = kept.iter().filter(|kept| **kept).count();
        if count == 0 {
            return Ok(());
        }
        let mut columns: Vec<ColumnData> = vec![ColumnData::Constant(Value::Null); layout.shape.columns.len()];
        for (column, value) in columns[1..].iter_mut().zip(&self.of_message) {
            *column = ColumnData::Constant(value.clone());
        }
        columns[ID] = id;
        columns[TS] = ColumnData::Array(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")));
        for (target, column) in features.columns {
            columns[target] = column;
        }
        if count < rows {
            let mask = BooleanArray::from(kept.clone());
            columns =
                columns.into_iter().map(|column| column.filtered(&mask)).collect::<Result<_, _>>().map_err(bug)?;
        }
        columns[OBSERVATION_ID] = ColumnData::Array(self.observation_ids(table_at, namespace, &keys, &kept));
        let (destination, shape) = (self.destination, layout.shape.clone());
        let columns = TableColumns { destination, shape, rows: count, columns };
        decoded.rows.push(TableRows::Columns(Box::new(columns)));
        Ok(())
    }

    /// Each row's own observed time, if a column has it.
    fn own_times(
        &mut self,
        layout: &Layout,
        table: &ArrowTable,
        verdicts: &mut Verdicts,
    ) -> Result<Vec<Option<i64>>, Refusal> {
        let mut own = vec![None; table.rows()];
        for at in &layout.times {
            let Column { array, faults } = table.column(*at, &mut self.budget)?;
            verdicts.add_faults(&table.columns()[*at], faults, &mut self.budget);
            self.budget.lend_rows(array.len(), size_of::<Value>())?;
            self.budget.lend_rows(heap(&array), 1)?;
            for (row, value) in values(&array).iter().enumerate() {
                if own[row].is_none() && !verdicts.of(row) {
                    match entity::time(value) {
                        Ok(time) => own[row] = time,
                        Err(refusal) => verdicts.add(row, refusal, &mut self.budget),
                    }
                }
            }
        }
        verdicts.check()?;
        Ok(own)
    }

    fn features(
        &mut self,
        layout: &Layout,
        table: &ArrowTable,
        verdicts: &mut Verdicts,
        decoded: &mut Decoded<TableRows>,
    ) -> Result<Features, Refusal> {
        let rows = table.rows();
        let mut columns = Vec::new();
        let mut cached = vec![0_usize; rows];
        for (at, target) in layout.columns.iter().enumerate() {
            let target = match target {
                Target::Write(target) => *target,
                Target::Skip(reason) => {
                    decoded.skip(reason, rows as u64);
                    continue;
                }
                Target::Time => continue,
                Target::Refuse(reason) => {
                    for row in 0..rows {
                        verdicts.add(row, Refusal::new(ErrorClass::Decode, reason.as_str()), &mut self.budget);
                    }
                    continue;
                }
            };
            let Column { array, faults } = table.column(at, &mut self.budget)?;
            verdicts.add_faults(&table.columns()[at], faults, &mut self.budget);
            let column = &layout.shape.columns[target];
            let mut array = array;
            if let Some(sources) = table.sources(at, &mut self.budget)? {
                let blank = |(row, source): (usize, &Source)| match source {
                    Source::OnlineStore if self.skip_cached => {
                        cached[row] += 1;
                        true
                    }
                    source => *source == Source::Missing,
                };
                let blank: BooleanArray = sources.sources.iter().enumerate().map(blank).map(Some).collect();
                if blank.true_count() > 0 && *array.data_type() != Arrow::Null {
                    array = nullif(&array, &blank).map_err(bug)?;
                }
            }
            let declared = column.data_type.as_ref();
            columns.push((target, conformed(array, declared, &column.name, verdicts, &mut self.budget)?));
            verdicts.check()?;
        }
        let hits: usize = cached.iter().sum();
        if hits > 0 {
            decoded.skip(skip::CACHE_HIT, hits as u64);
        }
        let empty = (0..rows).filter(|row| cached[*row] == columns.len() && !verdicts.of(*row)).collect();
        Ok(Features { columns, empty })
    }

    fn observation_ids(&mut self, table_at: usize, namespace: &str, keys: &Keys, kept: &[bool]) -> ArrayRef {
        let mut ids = StringBuilder::with_capacity(kept.len(), kept.len() * 32);
        let mut key = String::new();
        for row in (0..kept.len()).filter(|row| kept[*row]) {
            keys.write(row, &mut key);
            ids.append_value(self.ids.row(namespace, &key, table_at, row));
        }
        Arc::new(ids.finish())
    }
}

/// The columns of features by their place in the shape, and the rows of which nothing is to be stored.
struct Features {
    columns: Vec<(usize, ColumnData)>,
    empty: std::collections::BTreeSet<usize>,
}

/// Primary keys: numbers or text, or nothing that can be one.
struct Keys(ArrayRef);

impl Keys {
    fn has(&self, row: usize) -> bool {
        matches!(self.0.data_type(), Arrow::Int64 | Arrow::Utf8) && self.0.is_valid(row)
    }

    fn value(&self, row: usize) -> Value {
        values(&self.0.slice(row, 1)).pop().unwrap_or(Value::Null)
    }

    /// The text of one, which [`Keys::has`].
    fn write(&self, row: usize, text: &mut String) {
        text.clear();
        match self.0.data_type() {
            Arrow::Int64 => {
                write!(text, "{}", self.0.as_primitive::<Int64Type>().value(row))
                    .expect("writing to a string succeeds");
            }
            _ => text.push_str(self.0.as_string::<i32>().value(row)),
        }
    }
}

/// A column as its declared type.
fn conformed(
    array: ArrayRef,
    declared: Option<&DataType>,
    feature: &str,
    verdicts: &mut Verdicts,
    budget: &mut Budget,
) -> Result<ColumnData, Refusal> {
    let Some(declared) = declared else { return Ok(ColumnData::Array(array)) };
    if *array.data_type() == type_of(declared) || *array.data_type() == Arrow::Null {
        return Ok(ColumnData::Array(array));
    }
    budget.take_rows(array.len(), size_of::<Value>())?;
    budget.take_rows(heap(&array), 1)?;
    budget.lend_rows(array.len(), size_of::<Value>())?;
    let one = |(row, value)| {
        conform(value, declared).unwrap_or_else(|mismatch| {
            verdicts.add(row, entity::type_mismatch(feature, &mismatch), budget);
            Value::Null
        })
    };
    Ok(ColumnData::Values(values(&array).into_iter().enumerate().map(one).collect()))
}

/// What arrays that were validated cannot come to.
fn bug(error: ArrowError) -> Refusal {
    Refusal::new(ErrorClass::Decode, format!("Arrow: {error}"))
}
