//! From a result to the vectors of its entities.

use std::cell::Cell;
use std::sync::Arc;

use bytestring::ByteString;

use super::decode::VectorDecoder;
use super::features::{Column, Stored, VectorEnvironment};
use crate::decode::Decoded;
use crate::result::arrow::Budget;
use crate::result::{self, EntityRow, FeatureTable, Source, TableBody};
use crate::row::vector::{Point, VectorKey, VectorRow};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::value::conform::conform;
use crate::writer::cache_strategy::{Update, asks_for_default, update};
use crate::writer::open::Opened;
use crate::writer::time::{Believable, MessageTimes, observed_at};
use crate::writer::{declared, entity, skip};

/// What holds for every row of a message.
struct Context<'a> {
    environment: Arc<str>,
    entry: &'a VectorEnvironment,
    destination: usize,
    budget: Cell<Budget>,
    times: MessageTimes,
    believable: &'a Believable,
}

impl VectorDecoder {
    /// Appends the rows of an opened result.
    pub(super) fn result(&self, opened: Opened<'_>, decoded: &mut Decoded<VectorRow>) {
        let Some((environment, destination)) = self.catalog.place_result(&opened, decoded) else { return };
        let persistent = opened.result.persistence.online;
        let context = Context {
            environment: environment.id.clone(),
            entry: &environment.entry,
            destination,
            budget: Cell::new(Budget::new(opened.admitted.limit)),
            times: opened.times(),
            believable: &self.believable,
        };
        for table in opened.result.tables {
            if persistent {
                context.table(table, decoded);
            } else {
                decoded.skip(skip::PERSISTENCE_OFF, entity::values(&table));
            }
        }
    }
}

impl Context<'_> {
    fn table(&self, table: FeatureTable, decoded: &mut Decoded<VectorRow>) {
        let FeatureTable { namespace, body } = table;
        if namespace.is_empty() {
            return decoded.refuse(entity::no_namespace(&body));
        }
        let (layout, rows) = match body {
            TableBody::Rows { columns, rows } => (self.entry.layout(&namespace, &columns, columns.list()), rows),
            TableBody::Arrow(ipc) => {
                let mut budget = self.budget.get();
                let read = self.arrow(&namespace, &ipc, &mut budget, decoded);
                self.budget.set(budget);
                match read {
                    Ok(read) => read,
                    Err(refusal) => return decoded.refuse(refusal.table(&namespace)),
                }
            }
        };
        for (at, row) in rows.into_iter().enumerate() {
            self.row(&namespace, &layout, at, row, decoded);
        }
    }

    /// What is done with the columns of a table in Arrow form, and its rows; columns that are left out are counted,
    /// and not read.
    fn arrow(
        &self,
        namespace: &str,
        ipc: &bytes::Bytes,
        budget: &mut Budget,
        decoded: &mut Decoded<VectorRow>,
    ) -> Result<(Arc<Vec<Column>>, Vec<EntityRow>), Refusal> {
        let table = result::arrow::table(ipc, budget)?;
        let layout = self.entry.layout(namespace, table.columns(), None);
        let rows = table.entities(|at| !matches!(layout.get(at), Some(Column::Skip(_))), budget)?;
        for column in layout.iter().filter(|_| !rows.is_empty()) {
            if let Column::Skip(reason) = column {
                decoded.skip(reason, rows.len() as u64);
            }
        }
        Ok((layout, rows))
    }

    /// Appends the vectors of a row; one that cannot be stored is refused alone.
    fn row(&self, namespace: &str, layout: &[Column], at: usize, row: EntityRow, decoded: &mut Decoded<VectorRow>) {
        let EntityRow { id, observed_at, mut cells, fault } = row;
        let mut refuse = |refusal| decoded.refuse(entity::at_row(refusal, namespace, &id, at));
        if let Some(fault) = fault {
            return refuse(Refusal::new(ErrorClass::Decode, fault));
        }
        let (of, key) =
            match self.of_row(layout, observed_at, &cells).and_then(|of| Ok((of, entity::primary_key(&id)?))) {
                Ok(read) => read,
                Err(refusal) => return refuse(refusal),
            };
        for cell in &mut cells {
            let stored = match layout.get(cell.column) {
                Some(Column::Store(stored)) => stored,
                Some(Column::Skip(reason)) => {
                    decoded.skip(reason, 1);
                    continue;
                }
                // Columns that refuse a row have done so.
                Some(Column::Time | Column::Refuse(_)) | None => continue,
            };
            if let Some(reason) = entity::not_online(cell.source) {
                decoded.skip(reason, 1);
                continue;
            }
            let value = std::mem::replace(&mut cell.value, Value::Null);
            match self.cell(stored, &key, of, value, cell.source) {
                Ok(Ok(row)) => decoded.rows.push(row),
                Ok(Err(reason)) => decoded.skip(reason, 1),
                Err(refusal) => decoded.refuse(entity::at_row(refusal, namespace, &id, at)),
            }
        }
    }

    /// The time that a row says it was observed at, where nothing in the row is in the way of reading it.
    fn of_row(
        &self,
        layout: &[Column],
        row_observed_at: Option<i64>,
        cells: &[result::Cell],
    ) -> Result<Option<i64>, Refusal> {
        entity::each_column_once(cells)?;
        let mut times = Vec::new();
        for cell in cells {
            match layout.get(cell.column) {
                None => return Err(entity::no_column(cell.column)),
                Some(Column::Refuse(reason)) => return Err(Refusal::new(ErrorClass::Decode, &**reason)),
                Some(Column::Time) => times.push(cell.column),
                Some(Column::Store(_) | Column::Skip(_)) => {}
            }
        }
        Ok(entity::time_of(&times, cells)?.or(row_observed_at))
    }

    /// The row of a value, or why it is left out.
    fn cell(
        &self,
        stored: &Stored,
        id: &ByteString,
        row_observed_at: Option<i64>,
        value: Value,
        source: Source,
    ) -> Result<Result<VectorRow, &'static str>, Refusal> {
        let value = match &stored.dtype {
            Some(dtype) => conform(value, dtype).map_err(|fault| entity::type_mismatch(&stored.name, &fault))?,
            None => value,
        };
        let point = match &value {
            Value::Vector(vector) => Some(Point { vector: vector.clone(), payload: Value::Struct(Vec::new()) }),
            // Of a feature that is not declared nobody knows that it has vectors.
            Value::Null if stored.dtype.is_some() => None,
            _ => return Ok(Err(skip::NOT_A_VECTOR)),
        };
        let is_default = asks_for_default(stored.strategy)
            && (source == Source::Default
                || stored.default.as_ref().is_some_and(|default| declared::same(default, &value)));
        let point = match update(stored.strategy, point.is_none(), is_default) {
            Update::Store => point,
            Update::Evict => None,
            Update::Keep => return Ok(Err(skip::STRATEGY)),
        };
        let observed_at = self.believable.check(observed_at(row_observed_at, self.times)?)?;
        let key = VectorKey { feature: stored.feature.clone(), environment: self.environment.clone(), id: id.clone() };
        let metric = stored.metric.unwrap_or_default();
        Ok(Ok(VectorRow { destination: self.destination, key, metric, observed_at, point }))
    }
}
