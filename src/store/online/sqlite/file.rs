//! The file itself: its table and its transactions.

use rusqlite::{ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::row::feature::Entity;
use crate::sink::SinkError;
use crate::store::online::StoredFeature;
use crate::store::online::merge::now_micros;
use crate::store::sqlite::{Database, Opened};
use crate::value::json;

/// Rows of the table that are looked at behind each batch, for expired ones: well below a
/// millisecond, and a table of a million values is gone through in 1,000 batches.
const SWEEP: i64 = 1_000;

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS online_features (
        environment TEXT NOT NULL,
        namespace   TEXT NOT NULL,
        pkey        TEXT NOT NULL,
        feature     TEXT NOT NULL,
        value       TEXT,
        observed_at INTEGER NOT NULL,
        expires_at  INTEGER,
        evicted     INTEGER NOT NULL CHECK (evicted = (value IS NULL)),
        PRIMARY KEY (environment, namespace, pkey, feature)
    ) WITHOUT ROWID";

/// The order of `merge`: time, then no value before null before any other, then text by its bytes,
/// then expiry. `IS NULL` and the comparison with `'null'` are 0 or 1.
const UPSERT: &str = "
    INSERT INTO online_features (environment, namespace, pkey, feature, value, observed_at, expires_at, evicted)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?5 IS NULL)
    ON CONFLICT (environment, namespace, pkey, feature) DO UPDATE
    SET value = excluded.value, observed_at = excluded.observed_at,
        expires_at = excluded.expires_at, evicted = excluded.evicted
    WHERE excluded.observed_at > online_features.observed_at
       OR (excluded.observed_at = online_features.observed_at
           AND (excluded.value IS NOT NULL, excluded.value IS NOT 'null', coalesce(excluded.value, ''),
                excluded.expires_at IS NULL, coalesce(excluded.expires_at, 0))
             > (online_features.value IS NOT NULL, online_features.value IS NOT 'null', coalesce(online_features.value, ''),
                online_features.expires_at IS NULL, coalesce(online_features.expires_at, 0)))";

/// A cell that has expired takes what it would replace with it.
const EXPIRED: &str = "
    DELETE FROM online_features
    WHERE environment = ?1 AND namespace = ?2 AND pkey = ?3 AND feature = ?4
      AND (?6 > online_features.observed_at
       OR (?6 = online_features.observed_at
           AND (?5 IS NOT NULL, ?5 IS NOT 'null', coalesce(?5, ''), ?7 IS NULL, ?7)
             > (online_features.value IS NOT NULL, online_features.value IS NOT 'null', coalesce(online_features.value, ''),
                online_features.expires_at IS NULL, coalesce(online_features.expires_at, 0))))";

const READ: &str = "
    SELECT feature, value, observed_at, expires_at FROM online_features
    WHERE environment = ?1 AND namespace = ?2 AND pkey = ?3 ORDER BY feature";

/// The last key of the stretch that begins after a key.
const STRETCH: &str = "
    SELECT environment, namespace, pkey, feature FROM online_features
    WHERE (environment, namespace, pkey, feature) > (?1, ?2, ?3, ?4)
    ORDER BY environment, namespace, pkey, feature LIMIT 1 OFFSET ?5";

const SWEEP_STRETCH: &str = "
    DELETE FROM online_features
    WHERE (environment, namespace, pkey, feature) > (?1, ?2, ?3, ?4)
      AND (environment, namespace, pkey, feature) <= (?5, ?6, ?7, ?8)
      AND expires_at <= ?9";

const SWEEP_REST: &str = "
    DELETE FROM online_features
    WHERE (environment, namespace, pkey, feature) > (?1, ?2, ?3, ?4) AND expires_at <= ?5";

/// One value on its way into the file.
pub(super) struct Cell {
    /// Index of its row in the call.
    pub(super) row: usize,
    pub(super) entity: Entity,
    pub(super) feature: String,
    /// JSON text; `None` is a tombstone.
    pub(super) value: Option<String>,
    pub(super) observed_at: i64,
    pub(super) expires_at: Option<i64>,
}

/// What became of the cells of one call.
#[derive(Default)]
pub(super) struct Written {
    pub(super) stored: u64,
    pub(super) stale: u64,
    /// Rows that SQLite cannot hold, and the feature that is too large.
    pub(super) too_large: Vec<(usize, String)>,
}

type Key = (String, String, String, String);

/// An open file.
pub(super) struct File {
    database: Database,
    /// Where the search for expired values goes on.
    swept: Key,
}

impl Opened for File {
    fn database(&self) -> &Database {
        &self.database
    }
}

impl File {
    /// Makes the table where it is missing.
    pub(super) fn prepared(database: Database) -> rusqlite::Result<Self> {
        database.connection.execute_batch(TABLE)?;
        Ok(Self { database, swept: Key::default() })
    }

    /// Writes all cells in one transaction; it is durable when this returns.
    pub(super) fn write(&mut self, cells: &[Cell]) -> Result<Written, SinkError> {
        let mut too_large: Vec<(usize, String)> = Vec::new();
        // Each round refuses one row more, so there are at most as many rounds as rows.
        loop {
            match self.transaction(cells, &too_large) {
                Ok((stored, stale)) => {
                    self.database.is_still_there()?;
                    return Ok(Written { stored, stale, too_large });
                }
                Err(Failed::TooLarge(cell)) => too_large.push((cell.row, cell.feature.clone())),
                Err(Failed::Sqlite(error)) => return Err(self.database.failure(&error)),
            }
        }
    }

    fn transaction<'a>(&mut self, cells: &'a [Cell], without: &[(usize, String)]) -> Result<(u64, u64), Failed<'a>> {
        let now = now_micros();
        let transaction = self.database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut stored, mut stale) = (0, 0);
        {
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            let mut expired = transaction.prepare_cached(EXPIRED)?;
            for cell in cells.iter().filter(|cell| without.iter().all(|(row, _)| *row != cell.row)) {
                let live = cell.expires_at.is_none_or(|at| at > now);
                let statement = if live { &mut upsert } else { &mut expired };
                let changed = statement
                    .execute(params![
                        &*cell.entity.environment,
                        &*cell.entity.namespace,
                        &*cell.entity.primary_key,
                        &*cell.feature,
                        cell.value,
                        cell.observed_at,
                        cell.expires_at,
                    ])
                    .map_err(|error| match error.sqlite_error_code() {
                        Some(ErrorCode::TooBig) => Failed::TooLarge(cell),
                        _ => Failed::Sqlite(error),
                    })?;
                if live && changed > 0 {
                    stored += 1;
                } else {
                    stale += 1;
                }
            }
        }
        let swept = sweep(&transaction, &self.swept, now)?;
        transaction.commit()?;
        self.swept = swept;
        Ok((stored, stale))
    }

    /// Everything stored of an entity.
    pub(super) fn read(&mut self, entity: &Entity) -> Result<Vec<StoredFeature>, SinkError> {
        let rows = self.rows(entity).map_err(|error| self.database.failure(&error))?;
        rows.into_iter()
            .map(|(feature, text, observed_at, expires_at)| {
                let value = text.as_deref().map(json::from_text).transpose().map_err(|error| SinkError::Transient {
                    reason: format!("SQLite file `{}`: feature `{feature}`: {error}", self.database.shown()),
                })?;
                Ok(StoredFeature { feature, observed_at, expires_at, value })
            })
            .collect()
    }

    #[expect(clippy::type_complexity, reason = "the columns of one query, taken apart by its one caller")]
    fn rows(&self, entity: &Entity) -> rusqlite::Result<Vec<(String, Option<String>, i64, Option<i64>)>> {
        self.database
            .connection
            .prepare_cached(READ)?
            .query_map(params![&*entity.environment, &*entity.namespace, &*entity.primary_key], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect()
    }
}

/// Removes what has expired in the stretch of the table after `from`, and says where the next begins.
fn sweep(transaction: &Transaction<'_>, from: &Key, now: i64) -> rusqlite::Result<Key> {
    let end: Option<Key> = transaction
        .prepare_cached(STRETCH)?
        .query_row(params![from.0, from.1, from.2, from.3, SWEEP], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    match end {
        Some(end) => {
            transaction
                .prepare_cached(SWEEP_STRETCH)?
                .execute(params![from.0, from.1, from.2, from.3, end.0, end.1, end.2, end.3, now])?;
            Ok(end)
        }
        None => {
            transaction.prepare_cached(SWEEP_REST)?.execute(params![from.0, from.1, from.2, from.3, now])?;
            Ok(Key::default())
        }
    }
}

/// Why a transaction was given up.
enum Failed<'a> {
    TooLarge(&'a Cell),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed<'_> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
