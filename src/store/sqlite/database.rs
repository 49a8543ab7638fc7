//! An open file: its settings, whether it is still the one of its path, and what its errors mean.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::sink::SinkError;

/// How long to wait for another process's transaction before the write is tried again later.
const BUSY: Duration = Duration::from_secs(5);

/// An open file.
pub(in crate::store) struct Database {
    path: PathBuf,
    pub(in crate::store) connection: Connection,
    /// Device and inode, to notice a file that was deleted or replaced under us.
    identity: Option<(u64, u64)>,
}

impl Drop for Database {
    fn drop(&mut self) {
        // Closing removes the write-ahead log by its name, which may be that of another file by now.
        if self.is_elsewhere()
            && let Err(error) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::warn!(%error, "a SQLite file that was removed could not be told to leave its log");
        }
    }
}

impl Database {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        log_ahead(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self { path: path.to_owned(), connection, identity: identity(path) })
    }

    /// Whether the path leads to another file by now, or to none.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.identity != identity(&self.path)
    }

    /// An error where the file went between the look at it before a write and the write's end.
    pub(in crate::store) fn is_still_there(&self) -> Result<(), SinkError> {
        if self.is_elsewhere() {
            let path = self.path.display();
            let reason = format!("SQLite file `{path}` was removed or replaced while it was written to");
            return Err(SinkError::Transient { reason });
        }
        Ok(())
    }

    /// Where it is, for messages.
    pub(in crate::store) fn shown(&self) -> impl std::fmt::Display {
        self.path.display()
    }

    /// What an error of SQLite means for a writer.
    pub(in crate::store) fn failure(&self, error: &rusqlite::Error) -> SinkError {
        failure(&self.path, error)
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

/// Only missing rights are told apart: a full disk, a locked file and even a damaged one can be put
/// right while the writer waits, and none of them says anything about a row.
pub(super) fn failure(path: &Path, error: &rusqlite::Error) -> SinkError {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "; the file is something else, move it away or name another",
        Some(ErrorCode::DatabaseCorrupt) => "; the file is damaged, restore it or move it away",
        Some(ErrorCode::Unknown) => "; a table of it is not this store's, name another file",
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
