//! One write: one transaction, in which a row is compared with what stands and goes into table and index, or leaves
//! no trace; and what is read back.

use std::sync::Arc;

use hashbrown::HashMap;
use rusqlite::{ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::table::{TABLES, Table};
use super::{elements, extension, search};
use crate::row::vector::{Point, VectorFeature, VectorKey, VectorRow};
use crate::sink::{ErrorClass, Outcome, Refusal, SinkError};
use crate::store::sqlite::{Database, Opened};
use crate::store::vector::{Made, Near, Neighbour, StoredVector, fit, order};
use crate::value::time::now;
use crate::value::{Value, json};

/// Tombstones that are swept from a table behind one write to it.
const SWEEP: i64 = 1_000;

/// The open file.
pub(super) struct Vectors {
    database: Database,
}

impl Opened for Vectors {
    fn database(&self) -> &Database {
        &self.database
    }
}

impl Vectors {
    pub(super) fn new(database: Database) -> rusqlite::Result<Self> {
        extension::load(&database.connection)?;
        database.connection.execute_batch(TABLES)?;
        Ok(Self { database })
    }

    /// Writes rows in one transaction; they are durable when this returns.
    pub(super) fn write(&mut self, rows: &[VectorRow], retention: i64) -> Result<Outcome, SinkError> {
        let outcome = self.transaction(rows, retention).map_err(|error| self.database.failure(&error))?;
        self.database.is_still_there()?;
        Ok(outcome)
    }

    fn transaction(&mut self, rows: &[VectorRow], retention: i64) -> rusqlite::Result<Outcome> {
        let transaction = self.database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcome = Outcome::default();
        let mut tables: HashMap<&VectorFeature, Table> = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            if let Some(refusal) = fit::refusal(row) {
                outcome.refused.push((at, refusal));
                continue;
            }
            let feature = &*row.key.feature;
            if !tables.contains_key(feature) {
                let table = match Table::find(&transaction, feature)? {
                    Some(table) => table,
                    None if Table::count(&transaction)? >= fit::MOST_FEATURES => {
                        outcome.refused.push((at, fit::one_too_many(row)));
                        continue;
                    }
                    None => Table::create(&transaction, feature)?,
                };
                tables.insert(feature, table);
            }
            let Some(table) = tables.get_mut(feature) else { continue };
            match into_table(&transaction, table, row)? {
                Ok(true) => outcome.stored += 1,
                Ok(false) => outcome.stale += 1,
                Err(refusal) => outcome.refused.push((at, refusal)),
            }
        }
        for table in tables.values() {
            sweep(&transaction, table, now().saturating_sub(retention))?;
        }
        transaction.commit()?;
        Ok(outcome)
    }

    pub(super) fn read(&mut self, key: &VectorKey) -> Result<Option<StoredVector>, SinkError> {
        let read = || {
            let Some(table) = Table::find(&self.database.connection, &key.feature)? else { return Ok(None) };
            let mut statement = self.database.connection.prepare_cached(&format!(
                "SELECT observed_at, embedding, payload FROM {} WHERE environment = ?1 AND id = ?2",
                table.name
            ))?;
            let found = statement.query_row(params![&*key.environment, &*key.id], |row| {
                Ok(StoredVector { observed_at: row.get(0)?, point: point(row, 1, table.made)? })
            });
            found.optional()
        };
        read().map_err(|error: rusqlite::Error| self.database.failure(&error))
    }

    pub(super) fn nearest(&mut self, near: &Near<'_>) -> Result<Vec<Neighbour>, SinkError> {
        let search = || {
            let Some(table) = Table::find(&self.database.connection, near.feature)? else { return Ok(Vec::new()) };
            search::nearest(&self.database.connection, &table, near)
        };
        search().map_err(|error: rusqlite::Error| self.database.failure(&error))
    }

    pub(super) fn made(&mut self, feature: &VectorFeature) -> Result<Option<Made>, SinkError> {
        let table = Table::find(&self.database.connection, feature);
        let table = table.map_err(|error| self.database.failure(&error))?;
        Ok(table.and_then(|table| table.made))
    }
}

/// What stands of one vector, as far as is mostly asked.
struct Standing {
    key: i64,
    observed_at: i64,
    evicted: bool,
}

/// The vector and its payload, which begin at a column; none of a tombstone.
fn point(row: &rusqlite::Row<'_>, at: usize, made: Option<Made>) -> rusqlite::Result<Option<Point>> {
    let (bytes, text): (Option<Vec<u8>>, Option<String>) = (row.get(at)?, row.get(at + 1)?);
    let (Some(bytes), Some(made)) = (bytes, made) else { return Ok(None) };
    let payload = text.map_or(Ok(Value::Struct(Vec::new())), |text| json::from_text(&text));
    let payload = payload.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(at + 1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(Some(Point { vector: Arc::new(elements::vector(&bytes, made.precision)), payload }))
}

/// Whether the store now holds a row because of this, or why it never can.
fn into_table(
    transaction: &Transaction<'_>,
    table: &mut Table,
    row: &VectorRow,
) -> rusqlite::Result<Result<bool, Refusal>> {
    let mut point = row.point.clone();
    if let Some(point) = &mut point {
        let made = table.made.unwrap_or_else(|| Made {
            dimension: point.vector.dimension(),
            metric: row.metric,
            precision: point.vector.precision(),
        });
        match fit::fitted(row, &point.vector, made) {
            Ok(vector) => point.vector = vector,
            Err(refusal) => return Ok(Err(refusal)),
        }
        if table.made.is_none() {
            table.settle(transaction, made)?;
        }
        fit::warn_of_another_metric(row, made);
    }
    match store(transaction, table, row, point.as_ref()) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::TooBig) => {
            let message = "the vector or its payload is larger than SQLite can hold".to_owned();
            Ok(Err(fit::at(Refusal::new(ErrorClass::TooLarge, message).harmless(), row)))
        }
        stored => stored.map(Ok),
    }
}

fn store(
    transaction: &Transaction<'_>,
    table: &Table,
    row: &VectorRow,
    point: Option<&Point>,
) -> rusqlite::Result<bool> {
    let (name, (environment, id)) = (&table.name, (&*row.key.environment, &*row.key.id));
    let find = format!("SELECT key, observed_at, evicted FROM {name} WHERE environment = ?1 AND id = ?2");
    let standing = transaction
        .prepare_cached(&find)?
        .query_row(params![environment, id], |found| {
            Ok(Standing { key: found.get(0)?, observed_at: found.get(1)?, evicted: found.get(2)? })
        })
        .optional()?;
    if let Some(standing) = &standing
        && !wins(transaction, table, row.observed_at, point, standing)?
    {
        return Ok(false);
    }
    let bytes = point.map(|point| elements::bytes(&point.vector));
    let text = point.map(|point| json::to_text(&point.payload));
    let key = match &standing {
        Some(Standing { key, .. }) => {
            let update = format!(
                "UPDATE {name} SET embedding = ?2, payload = ?3, observed_at = ?4, evicted = ?2 IS NULL WHERE key = ?1"
            );
            transaction.prepare_cached(&update)?.execute(params![key, bytes, text, row.observed_at])?;
            *key
        }
        None => {
            let insert = format!(
                "INSERT INTO {name} (environment, id, embedding, payload, observed_at, evicted) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?3 IS NULL)"
            );
            let values = params![environment, id, bytes, text, row.observed_at];
            transaction.prepare_cached(&insert)?.insert(values)?
        }
    };
    if let Some(index) = &table.index {
        let was_there = standing.is_some_and(|standing| !standing.evicted);
        into_index(transaction, index, key, environment, was_there, point)?;
    }
    Ok(true)
}

/// Whether a row takes the place of what stands. The vector that does is read only where nothing else decides.
fn wins(
    transaction: &Transaction<'_>,
    table: &Table,
    observed_at: i64,
    new: Option<&Point>,
    standing: &Standing,
) -> rusqlite::Result<bool> {
    let order = observed_at.cmp(&standing.observed_at).then(new.is_some().cmp(&!standing.evicted));
    let (true, Some(new)) = (order.is_eq(), new) else { return Ok(order.is_gt()) };
    let find = format!("SELECT embedding, payload FROM {} WHERE key = ?1", table.name);
    let old = transaction.prepare_cached(&find)?.query_row([standing.key], |row| point(row, 0, table.made))?;
    Ok(old.is_none_or(|old| order::points(new, &old, elements::payload).is_gt()))
}

/// The index has no upsert, and holds vectors alone.
fn into_index(
    transaction: &Transaction<'_>,
    index: &str,
    key: i64,
    environment: &str,
    was_there: bool,
    point: Option<&Point>,
) -> rusqlite::Result<()> {
    let execute = |text: String, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(&text)?.execute(values);
    match point.map(|point| elements::single(&point.vector)) {
        Some(bytes) if was_there => {
            execute(format!("UPDATE {index} SET embedding = ?2 WHERE rowid = ?1"), &[&key, &bytes])?;
        }
        Some(bytes) => {
            let insert = format!("INSERT INTO {index} (rowid, environment, embedding) VALUES (?1, ?2, ?3)");
            execute(insert, &[&key, &environment, &bytes])?;
        }
        None if was_there => {
            execute(format!("DELETE FROM {index} WHERE rowid = ?1"), &[&key])?;
        }
        None => {}
    }
    Ok(())
}

/// Removes tombstones whose time has come.
fn sweep(transaction: &Transaction<'_>, table: &Table, until: i64) -> rusqlite::Result<()> {
    let name = &table.name;
    let text = format!(
        "DELETE FROM {name} WHERE key IN \
         (SELECT key FROM {name} WHERE evicted = 1 AND observed_at <= ?1 ORDER BY observed_at LIMIT ?2)"
    );
    transaction.prepare_cached(&text)?.execute(params![until, SWEEP])?;
    Ok(())
}
