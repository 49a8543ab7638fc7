//! The file itself: its table, its transactions, and what each of SQLite's errors means for a writer.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::row::feature::Entity;
use crate::sink::SinkError;
use crate::store::online::StoredFeature;
use crate::store::online::merge::now_micros;
use crate::value::json;

/// How long to wait for another process's transaction before the write is tried again later.
const BUSY: Duration = Duration::from_secs(5);

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
    INSERT INTO online_features AS old (environment, namespace, pkey, feature, value, observed_at, expires_at, evicted)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?5 IS NULL)
    ON CONFLICT (environment, namespace, pkey, feature) DO UPDATE
    SET value = excluded.value, observed_at = excluded.observed_at,
        expires_at = excluded.expires_at, evicted = excluded.evicted
    WHERE excluded.observed_at > old.observed_at
       OR (excluded.observed_at = old.observed_at
           AND (excluded.value IS NOT NULL, excluded.value IS NOT 'null', coalesce(excluded.value, ''),
                excluded.expires_at IS NULL, coalesce(excluded.expires_at, 0))
             > (old.value IS NOT NULL, old.value IS NOT 'null', coalesce(old.value, ''),
                old.expires_at IS NULL, coalesce(old.expires_at, 0)))";

/// A cell that has expired takes what it would replace with it.
const EXPIRED: &str = "
    DELETE FROM online_features AS old
    WHERE environment = ?1 AND namespace = ?2 AND pkey = ?3 AND feature = ?4
      AND (?6 > old.observed_at
       OR (?6 = old.observed_at
           AND (?5 IS NOT NULL, ?5 IS NOT 'null', coalesce(?5, ''), ?7 IS NULL, ?7)
             > (old.value IS NOT NULL, old.value IS NOT 'null', coalesce(old.value, ''),
                old.expires_at IS NULL, coalesce(old.expires_at, 0))))";

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
    path: PathBuf,
    connection: Connection,
    /// Device and inode, to notice a file that was deleted or replaced under us.
    identity: Option<(u64, u64)>,
    /// Where the search for expired values goes on.
    swept: Key,
}

impl Drop for File {
    fn drop(&mut self) {
        // Closing removes the write-ahead log by its name, which may be that of another file by now.
        if self.is_elsewhere()
            && let Err(error) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::warn!(%error, "a SQLite file that was removed could not be told to leave its log");
        }
    }
}

impl File {
    /// The file behind `slot`, opened and with its table where that is still to be done.
    ///
    /// One that was deleted or replaced since is opened anew: what is written to it is found by nobody.
    pub(super) fn opened<'a>(path: &Path, slot: &'a mut Option<Self>) -> Result<&'a mut Self, SinkError> {
        if slot.as_ref().is_some_and(Self::is_elsewhere) {
            tracing::warn!(path = %path.display(), "the SQLite file was removed or replaced; opening the path again");
            *slot = None;
        }
        let file = match slot.take() {
            Some(file) => file,
            None => Self::open(path).map_err(|error| failure(path, &error))?,
        };
        Ok(slot.insert(file))
    }

    fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        log_ahead(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(TABLE)?;
        Ok(Self { path: path.to_owned(), connection, identity: identity(path), swept: Key::default() })
    }

    /// Whether the path leads to another file by now, or to none.
    fn is_elsewhere(&self) -> bool {
        self.identity != identity(&self.path)
    }

    /// Writes all cells in one transaction; it is durable when this returns.
    pub(super) fn write(&mut self, cells: &[Cell]) -> Result<Written, SinkError> {
        let mut too_large: Vec<(usize, String)> = Vec::new();
        // Each round refuses one row more, so there are at most as many rounds as rows.
        loop {
            match self.transaction(cells, &too_large) {
                // The file went between the look at it and the commit.
                Ok(_) if self.is_elsewhere() => {
                    let path = self.path.display();
                    let reason = format!("SQLite file `{path}` was removed or replaced while it was written to");
                    return Err(SinkError::Transient { reason });
                }
                Ok((stored, stale)) => return Ok(Written { stored, stale, too_large }),
                Err(Failed::TooLarge(cell)) => too_large.push((cell.row, cell.feature.clone())),
                Err(Failed::Sqlite(error)) => {
                    return Err(failure(&self.path, &error));
                }
            }
        }
    }

    fn transaction<'a>(&mut self, cells: &'a [Cell], without: &[(usize, String)]) -> Result<(u64, u64), Failed<'a>> {
        let now = now_micros();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
        let path = self.path.display();
        let rows = self.rows(entity).map_err(|error| failure(&self.path, &error))?;
        rows.into_iter()
            .map(|(feature, text, observed_at, expires_at)| {
                let value = text.as_deref().map(json::from_text).transpose().map_err(|error| SinkError::Transient {
                    reason: format!("SQLite file `{path}`: feature `{feature}`: {error}"),
                })?;
                Ok(StoredFeature { feature, observed_at, expires_at, value })
            })
            .collect()
    }

    #[expect(clippy::type_complexity, reason = "the columns of one query, taken apart by its one caller")]
    fn rows(&self, entity: &Entity) -> rusqlite::Result<Vec<(String, Option<String>, i64, Option<i64>)>> {
        self.connection
            .prepare_cached(READ)?
            .query_map(params![&*entity.environment, &*entity.namespace, &*entity.primary_key], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect()
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

/// Turns the write-ahead log on.
///
/// Two processes that do so on a new file at once meet "database is locked" in spite of the busy
/// timeout, so it is tried for as long as that would have waited.
fn log_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = std::time::Instant::now() + BUSY;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && std::time::Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
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

/// Only missing rights are told apart: a full disk, a locked file and even a damaged one can be put
/// right while the writer waits, and none of them says anything about a row.
fn failure(path: &Path, error: &rusqlite::Error) -> SinkError {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "; the file is something else, move it away or name another",
        Some(ErrorCode::DatabaseCorrupt) => "; the file is damaged, restore it or move it away",
        Some(ErrorCode::Unknown) => "; its table `online_features` is not this store's, name another file",
        Some(ErrorCode::CannotOpen) => "; its folder must exist and be writable",
        _ => "",
    };
    let reason = format!("SQLite file `{}`: {error}{hint}", path.display());
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            SinkError::Denied { reason }
        }
        _ => SinkError::Transient { reason },
    }
}
