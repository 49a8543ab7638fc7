//! `ONLINE_WRITER`'s decoder: from a result to the newest values of its entities.

use std::cell::Cell;
use std::sync::Arc;

use bytestring::ByteString;

use super::features::{Column, Layout, OnlineEnvironment, Stored};
use crate::decode::{Decoded, Decoder};
use crate::message::Message;
use crate::result::arrow::Budget;
use crate::result::{self, EntityRow, FeatureTable, Source, TableBody, Wanted};
use crate::row::feature::{Entity, FeatureCell, FeatureRow};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::value::conform::conform;
use crate::writer::cache_strategy::{Update, asks_for_default, update};
use crate::writer::catalog::{Catalog, Known};
use crate::writer::open::{Gate, Opened};
use crate::writer::time::{Believable, Clock, MessageTimes, observed_at};
use crate::writer::{declared, entity, skip};

/// Makes rows of results. What it needs of the environments was prepared when it was made.
pub struct OnlineDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<OnlineEnvironment>,
    pub(super) clock: Clock,
    /// How far ahead of the clock an observed time may be, microseconds.
    pub(super) max_future_skew: i64,
}

/// What holds for every row of a message.
pub(super) struct Context<'a> {
    pub(super) environment: &'a Known<OnlineEnvironment>,
    pub(super) budget: Cell<Budget>,
    destination: usize,
    times: MessageTimes,
    believable: Believable,
}

impl Decoder<FeatureRow> for OnlineDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<FeatureRow>) {
        match self.gate.open(message, Wanted { query: false }) {
            Ok(opened) => self.rows(opened, decoded),
            Err(unopened) => self.catalog.unopened(unopened, decoded),
        }
    }
}

impl OnlineDecoder {
    /// Appends the rows of an opened message.
    pub(super) fn rows(&self, opened: Opened<'_>, decoded: &mut Decoded<FeatureRow>) {
        let Some((environment, destination)) = self.catalog.place(&opened, decoded) else { return };
        let persistent = opened.result.persistence.online;
        let context = Context {
            environment: &environment,
            budget: Cell::new(Budget::new(opened.limit)),
            destination,
            times: opened.times(),
            believable: Believable { from: 0, until: (self.clock)().saturating_add(self.max_future_skew) },
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
    fn table(&self, table: FeatureTable, decoded: &mut Decoded<FeatureRow>) {
        let FeatureTable { namespace, body } = table;
        if namespace.is_empty() {
            return decoded.refused.push(entity::no_namespace(&body));
        }
        let (columns, rows) = match body {
            TableBody::Rows { columns, rows } => (columns, rows),
            TableBody::Arrow(ipc) => match self.arrow(&namespace, &ipc, decoded) {
                Ok(read) => read,
                Err(refusal) => return decoded.refused.push(refusal.table(&namespace)),
            },
        };
        let layout = self.environment.entry.layout(&namespace, &columns);
        for (at, row) in rows.into_iter().enumerate() {
            let id = row.id.clone();
            match self.row(&namespace, &layout, row, decoded) {
                Ok(Some(row)) => decoded.rows.push(row),
                Ok(None) => {}
                Err(refusal) => decoded.refused.push(entity::at_row(refusal, &namespace, &id, at)),
            }
        }
    }

    /// The row of an entity; `None` where nothing of it is to be stored.
    fn row(
        &self,
        namespace: &ByteString,
        layout: &Layout,
        mut row: EntityRow,
        decoded: &mut Decoded<FeatureRow>,
    ) -> Result<Option<FeatureRow>, Refusal> {
        if let Some(fault) = row.fault {
            return Err(Refusal::new(ErrorClass::Decode, fault));
        }
        let primary_key = entity::primary_key(&row.id)?;
        entity::each_column_once(&row.cells)?;
        if !layout.times.is_empty() {
            row.observed_at = entity::time_of(&layout.times, &row.cells)?.or(row.observed_at);
        }
        let mut observed = None;
        let mut cells = Vec::with_capacity(row.cells.len());
        for cell in row.cells {
            let stored = match layout.columns.get(cell.column) {
                Some(Column::Store(stored)) => stored,
                Some(Column::Skip(reason)) => {
                    decoded.skip(reason, 1);
                    continue;
                }
                Some(Column::Time) => continue,
                Some(Column::Refuse(reason)) => return Err(Refusal::new(ErrorClass::Decode, &**reason)),
                None => return Err(entity::no_column(cell.column)),
            };
            if let Some(reason) = unwritten(cell.source) {
                decoded.skip(reason, 1);
                continue;
            }
            let at = match observed {
                Some(at) => at,
                None => {
                    let at = self.believable.check(observed_at(row.observed_at, self.times)?)?;
                    *observed.insert(at)
                }
            };
            match self.cell(stored, cell, at)? {
                Ok(cell) => cells.push(cell),
                Err(reason) => decoded.skip(reason, 1),
            }
        }
        Ok((!cells.is_empty()).then(|| FeatureRow {
            destination: self.destination,
            entity: Entity { environment: Arc::clone(&self.environment.id), namespace: namespace.clone(), primary_key },
            cells,
        }))
    }

    /// What is stored of a value, or the reason for leaving it out.
    ///
    /// A value or tombstone that has expired already goes to the store like any other: only there
    /// can it still remove an older value that expires later, or never.
    fn cell(
        &self,
        stored: &Stored,
        cell: result::Cell,
        observed_at: i64,
    ) -> Result<Result<FeatureCell, &'static str>, Refusal> {
        let value = match &stored.dtype {
            Some(dtype) => {
                conform(cell.value, dtype).map_err(|fault| entity::type_mismatch(&stored.feature, &fault))?
            }
            None => cell.value,
        };
        let is_null = matches!(value, Value::Null);
        let is_default = asks_for_default(stored.strategy)
            && (cell.source == Source::Default
                || stored.default.as_ref().is_some_and(|default| declared::same(default, &value)));
        let (value, expiry) = match update(stored.strategy, is_null, is_default) {
            Update::Store => (Some(value), stored.expiry),
            Update::Evict => (None, stored.tombstone_expiry),
            Update::Keep => return Ok(Err(skip::STRATEGY)),
        };
        let feature = stored.feature.clone();
        Ok(Ok(FeatureCell { feature, observed_at, expires_at: expiry.of(observed_at), value }))
    }
}

/// Why values from a source do not go online: a cache hit is there already and must not look
/// fresher, what the caller gave is not known to be true, and what is missing is no value.
fn unwritten(source: Source) -> Option<&'static str> {
    match source {
        Source::OnlineStore => Some(skip::CACHE_HIT),
        Source::Given => Some(skip::GIVEN),
        Source::Missing => Some(skip::MISSING),
        Source::Unknown | Source::Resolver | Source::OfflineStore | Source::Default => None,
    }
}
