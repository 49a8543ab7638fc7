//! `ONLINE_WRITER`'s decoder: from a result to the newest values of its entities.

use std::cell::Cell;
use std::sync::Arc;

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
use crate::writer::time::{Believable, MessageTimes, observed_at};
use crate::writer::{declared, entity, skip};

/// Makes rows of results. What it needs of the environments was prepared when it was made.
pub struct OnlineDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<OnlineEnvironment>,
    /// Which observed times are taken.
    pub(super) believable: Believable,
}

/// The cells of a row that is stored as it came stay where they were read, in a list that was made for about as many: the
/// standard library makes a list of another type in the place of the first where both are of one size.
const _: () = assert!(size_of::<result::Cell>() == size_of::<FeatureCell>());

/// What holds for every row of a message.
pub(super) struct Context<'a> {
    pub(super) environment: &'a Known<OnlineEnvironment>,
    pub(super) budget: Cell<Budget>,
    destination: usize,
    times: MessageTimes,
    believable: &'a Believable,
}

impl Decoder<FeatureRow> for OnlineDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<FeatureRow>) {
        match self.gate.open(message, Wanted::default()) {
            Ok(opened) => self.rows(opened, decoded),
            Err(unopened) => self.catalog.unopened(unopened, decoded),
        }
    }
}

impl OnlineDecoder {
    /// Appends the rows of an opened message.
    pub(super) fn rows(&self, opened: Opened<'_>, decoded: &mut Decoded<FeatureRow>) {
        let Some((environment, destination)) = self.catalog.place_result(&opened, decoded) else { return };
        let persistent = opened.result.persistence.online;
        let context = Context {
            environment: &environment,
            budget: Cell::new(Budget::new(opened.admitted.limit)),
            destination,
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
    fn table(&self, table: FeatureTable, decoded: &mut Decoded<FeatureRow>) {
        let FeatureTable { namespace, body } = table;
        if namespace.is_empty() {
            return decoded.refuse(entity::no_namespace(&body));
        }
        let (columns, rows) = match body {
            TableBody::Rows { columns, rows } => (columns, rows),
            TableBody::Arrow(ipc) => match self.arrow(&namespace, &ipc, decoded) {
                Ok((columns, rows)) => (columns.into(), rows),
                Err(refusal) => return decoded.refuse(refusal.table(&namespace)),
            },
        };
        let layout = self.environment.entry.layout(&namespace, &columns, columns.list());
        for (at, row) in rows.into_iter().enumerate() {
            let EntityRow { id, observed_at, cells, fault } = row;
            let read = match fault {
                Some(fault) => Err(Refusal::new(ErrorClass::Decode, fault)),
                None => self.cells(&layout, observed_at, cells, decoded),
            };
            let row = match read {
                Ok(cells) => entity::into_primary_key(id).map(|primary_key| (primary_key, cells)),
                Err(refusal) => Err(Box::new((id, refusal))),
            };
            match row {
                Ok((_, cells)) if cells.is_empty() => {}
                Ok((primary_key, cells)) => {
                    let (environment, namespace) = (Arc::clone(&self.environment.id), namespace.clone());
                    let entity = Entity { environment, namespace, primary_key };
                    let features = Arc::clone(&layout.features);
                    decoded.rows.push(FeatureRow { destination: self.destination, entity, features, cells });
                }
                Err(refused) => {
                    let (id, refusal) = *refused;
                    decoded.refuse(entity::at_row(refusal, &namespace, &id, at));
                }
            }
        }
    }

    /// What is to be stored of a row; nothing where nothing of it is.
    fn cells(
        &self,
        layout: &Layout,
        row_observed_at: Option<i64>,
        given: Vec<result::Cell>,
        decoded: &mut Decoded<FeatureRow>,
    ) -> Result<Vec<FeatureCell>, Refusal> {
        entity::each_column_once(&given)?;
        let row_observed_at = match &*layout.times {
            [] => row_observed_at,
            times => entity::time_of(times, &given)?.or(row_observed_at),
        };
        if !given.is_empty() && !is_roomy(&given) && layout.takes(&given) {
            let observed_at = self.believable.check(observed_at(row_observed_at, self.times)?)?;
            let stored = given.into_iter().map(|result::Cell { column, value, .. }| {
                let expires_at = layout.expiries[column].of(observed_at);
                FeatureCell { feature: column as u32, observed_at, expires_at, value: Some(value) }
            });
            return Ok(stored.collect());
        }
        let mut observed = None;
        let mut cells = Vec::with_capacity(given.len());
        for result::Cell { column, value, source, source_id: _ } in given {
            let stored = match layout.columns.get(column) {
                Some(Column::Store(stored)) => stored,
                Some(Column::Skip(reason)) => {
                    decoded.skip(reason, 1);
                    continue;
                }
                Some(Column::Time) => continue,
                Some(Column::Refuse(reason)) => return Err(Refusal::new(ErrorClass::Decode, &**reason)),
                None => return Err(entity::no_column(column)),
            };
            if let Some(reason) = entity::not_online(source) {
                decoded.skip(reason, 1);
                continue;
            }
            let observed_at = match observed {
                Some(at) => at,
                None => {
                    let at = self.believable.check(observed_at(row_observed_at, self.times)?)?;
                    *observed.insert(at)
                }
            };
            // The features of a layout are as many as its columns.
            let feature = column as u32;
            if stored.takes(&value) {
                let expires_at = stored.expiry.of(observed_at);
                let stored = cells.push_mut(FeatureCell::ABSENT);
                (stored.feature, stored.observed_at, stored.expires_at) = (feature, observed_at, expires_at);
                stored.value = Some(value);
                continue;
            }
            let (update, value) = conformed(stored, value, source)?;
            // A value or tombstone that has expired already goes to the store like any other: only there
            // can it still remove an older value that expires later, or never.
            let (value, expiry) = match update {
                Update::Store => (Some(value), stored.expiry),
                Update::Evict => (None, stored.tombstone_expiry),
                Update::Keep => {
                    decoded.skip(skip::STRATEGY, 1);
                    continue;
                }
            };
            let expires_at = expiry.of(observed_at);
            cells.push(FeatureCell { feature, observed_at, expires_at, value });
        }
        if is_roomy(&cells) {
            cells.shrink_to_fit();
        }
        Ok(cells)
    }
}

/// Whether a list has room for more than a quarter above what is in it: too much to be kept as long as a batch is.
fn is_roomy<T>(list: &Vec<T>) -> bool {
    list.capacity() > list.len() + list.len() / 4
}

/// A value in its declared type, and what it does to the one that is stored.
fn conformed(stored: &Stored, value: Value, source: Source) -> Result<(Update, Value), Refusal> {
    let value = match &stored.dtype {
        Some(dtype) => conform(value, dtype).map_err(|fault| entity::type_mismatch(&stored.feature, &fault))?,
        None => value,
    };
    let is_null = matches!(value, Value::Null);
    let is_default = asks_for_default(stored.strategy)
        && (source == Source::Default
            || stored.default.as_ref().is_some_and(|default| declared::same(default, &value)));
    Ok((update(stored.strategy, is_null, is_default), value))
}
