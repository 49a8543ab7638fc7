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
                let found = Table::find(&transaction, feature)?;
                let table = found.map_or_else(|| Table::create(&transaction, feature), Ok)?;
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
                "SELECT key, observed_at, embedding, payload FROM {} WHERE environment = ?1 AND id = ?2",
                table.name
            ))?;
            let found = statement.query_row(params![&*key.environment, &*key.id], |row| Standing::of(row, table.made));
            Ok(found.optional()?.map(|Standing { observed_at, point, .. }| StoredVector { observed_at, point }))
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

/// What stands of one vector.
struct Standing {
    key: i64,
    observed_at: i64,
    point: Option<Point>,
}

impl Standing {
    fn of(row: &rusqlite::Row<'_>, made: Option<Made>) -> rusqlite::Result<Self> {
        let (bytes, text): (Option<Vec<u8>>, Option<String>) = (row.get(2)?, row.get(3)?);
        let point = match (bytes, made) {
            (Some(bytes), Some(made)) => {
                let payload = text.map_or(Ok(Value::Struct(Vec::new())), |text| json::from_text(&text));
                let payload = payload.map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
                })?;
                Some(Point { vector: Arc::new(elements::vector(&bytes, made.precision)), payload })
            }
            _ => None,
        };
        Ok(Self { key: row.get(0)?, observed_at: row.get(1)?, point })
    }
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
    let find = format!("SELECT key, observed_at, embedding, payload FROM {name} WHERE environment = ?1 AND id = ?2");
    let standing = transaction
        .prepare_cached(&find)?
        .query_row(params![environment, id], |found| Standing::of(found, table.made))
        .optional()?;
    if standing.as_ref().is_some_and(|standing| !wins(row.observed_at, point, standing)) {
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
        let was_there = standing.is_some_and(|standing| standing.point.is_some());
        into_index(transaction, index, key, environment, was_there, point)?;
    }
    Ok(true)
}

fn wins(observed_at: i64, point: Option<&Point>, standing: &Standing) -> bool {
    let order = observed_at.cmp(&standing.observed_at).then_with(|| match (point, &standing.point) {
        (Some(point), Some(standing)) => order::points(point, standing, elements::payload),
        (point, standing) => point.is_some().cmp(&standing.is_some()),
    });
    order.is_gt()
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
