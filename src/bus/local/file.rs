//! The SQLite file of the bus: opening it, making it, and what its errors mean.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::bus::BusError;

/// "CHLB": tells a bus file from other programs' SQLite files.
const APPLICATION_ID: i32 = 0x4348_4c42;
/// Version of the tables in `schema.sql`.
const SCHEMA_VERSION: i32 = 1;
/// A page holds a result of some kilobytes whole; four times SQLite's own takes a quarter less CPU to publish.
const PAGE_BYTES: i32 = 16_384;
/// Pages in the write-ahead log before it is copied into the file: 32 MiB.
const CHECKPOINT_PAGES: i32 = 2_000;
/// The longest wait for another process's transaction; they take milliseconds.
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// Mean pause between two attempts at the lock, in milliseconds.
const BUSY_PAUSE_MS: u64 = 3;

/// What goes wrong inside a transaction: SQLite, or an answer for the caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// An open bus file.
pub(super) struct BusFile {
    path: PathBuf,
    connection: Connection,
    /// Device and inode, to notice a file that was deleted or replaced under us.
    identity: Option<(u64, u64)>,
}

impl BusFile {
    /// Opens the file, and makes it first where it is missing.
    pub(super) fn create(path: &Path) -> Result<Self, BusError> {
        Self::open_with(path, OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens a file that exists; `None` where there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, BusError> {
        match path.try_exists() {
            Ok(false) => Ok(None),
            _ => Self::open_with(path, OpenFlags::empty()).map(Some),
        }
    }

    fn open_with(path: &Path, flags: OpenFlags) -> Result<Self, BusError> {
        check_name(path)?;
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| meaning(path, &error))?;
        let mut file = Self { path: path.to_owned(), connection, identity: None };
        file.prepare().map_err(|fault| file.meaning(fault))?;
        file.identity = identity(path);
        Ok(file)
    }

    /// Reads within the snapshot of a single statement.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, BusError> {
        work(&self.connection).map_err(|fault| self.meaning(fault))
    }

    /// Runs a transaction that has the write lock from its start and is on disk when this returns.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&Transaction) -> Result<T, Fault>) -> Result<T, BusError> {
        if self.identity != identity(&self.path) {
            return Err(BusError::Failed(format!(
                "{} was removed or replaced while it was open; start again to use the file that is there now",
                self.path.display()
            )));
        }
        let Self { path, connection, .. } = self;
        let done = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Fault::from).and_then(
            |transaction| {
                let answer = work(&transaction)?;
                transaction.commit()?;
                Ok(answer)
            },
        );
        done.map_err(|fault| match fault {
            Fault::Sql(error) => meaning(path, &error),
            Fault::Bus(error) => error,
        })
    }

    /// A number that changes when another connection has committed.
    pub(super) fn version(&self) -> Result<i64, BusError> {
        self.read(|connection| Ok(connection.pragma_query_value(None, "data_version", |row| row.get(0))?))
    }

    fn meaning(&self, fault: Fault) -> BusError {
        match fault {
            Fault::Sql(error) => meaning(&self.path, &error),
            Fault::Bus(error) => error,
        }
    }

    /// Brings the file to the schema of this version.
    ///
    /// Switching an empty file to WAL answers "database is locked" at once, past the busy handler, when
    /// another process does the same; hence the loop.
    fn prepare(&mut self) -> Result<(), Fault> {
        self.connection.busy_handler(Some(wait_for_lock))?;
        let deadline = Instant::now() + BUSY_LIMIT;
        loop {
            match self.try_prepare() {
                Err(Fault::Sql(error)) if is_busy(&error) && Instant::now() < deadline => {
                    wait_for_lock(0);
                }
                done => break done,
            }
        }
    }

    fn try_prepare(&mut self) -> Result<(), Fault> {
        if !self.is_made()? {
            self.connection.pragma_update(None, "page_size", PAGE_BYTES)?;
            self.connection.pragma_update(None, "journal_mode", "WAL")?;
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            if transaction.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0))? == 0 {
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            transaction.commit()?;
        }
        // The default of WAL loses the last commits on a power cut; a commit here is a promise.
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        self.connection.set_prepared_statement_cache_capacity(32);
        Ok(())
    }

    /// Whether the tables are there; an error where the file is another program's or another version's.
    fn is_made(&self) -> Result<bool, Fault> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let application = number("PRAGMA application_id")?;
        let path = self.path.display();
        if application == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
            return Ok(false);
        }
        if application != i64::from(APPLICATION_ID) {
            // Between the two reads another process may have made the tables.
            if number("PRAGMA application_id")? == i64::from(APPLICATION_ID) {
                return self.is_made();
            }
            return Err(BusError::Settings(format!(
                "{path} is a SQLite file of another program; name a file that is not there yet"
            ))
            .into());
        }
        match number("PRAGMA user_version")? {
            version if version == i64::from(SCHEMA_VERSION) => Ok(true),
            version => Err(BusError::Settings(format!(
                "{path} has version {version} of the bus tables, this program has {SCHEMA_VERSION}"
            ))
            .into()),
        }
    }
}

/// Called by SQLite while another process writes; false gives up. Random, so that a busy publisher cannot
/// starve the others.
fn wait_for_lock(attempts: i32) -> bool {
    let limit = BUSY_LIMIT.as_millis() as u64 / BUSY_PAUSE_MS;
    if attempts as u64 >= limit {
        return false;
    }
    std::thread::sleep(Duration::from_micros(fastrand::u64(200..BUSY_PAUSE_MS * 2000)));
    true
}

/// Names that SQLite takes for something else than a file: in memory, they would lose every message.
fn check_name(path: &Path) -> Result<(), BusError> {
    let name = path.as_os_str();
    if name.is_empty() || name == ":memory:" || name.as_encoded_bytes().starts_with(b"file:") {
        let shown = path.display();
        return Err(BusError::Settings(format!("`{shown}` is a name of SQLite's own; expected the path of a file")));
    }
    Ok(())
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What an error of SQLite means for the caller.
fn meaning(path: &Path, error: &rusqlite::Error) -> BusError {
    let path_text = path.display();
    let text = format!("{path_text}: {error}");
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => BusError::Unavailable(format!(
            "{path_text} is locked by another process for more than {} s",
            BUSY_LIMIT.as_secs()
        )),
        // SQLite gives the locks of a log up as a protocol error when others hold them for some seconds.
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed,
        ) => BusError::Unavailable(text),
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::AuthorizationForStatementDenied) => {
            BusError::Denied(text)
        }
        Some(ErrorCode::CannotOpen) => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                BusError::Settings(format!("{path_text}: the folder does not exist; make it first"))
            }
            _ if path.is_dir() => BusError::Settings(format!("{path_text} is a folder, expected a file")),
            _ => BusError::Denied(text),
        },
        Some(ErrorCode::NotADatabase) => BusError::Settings(format!("{path_text} is not a SQLite file")),
        Some(ErrorCode::DatabaseCorrupt) => {
            BusError::Settings(format!("{path_text} is damaged ({error}); restore it or move it away"))
        }
        Some(ErrorCode::TooBig) => BusError::TooLarge(text),
        _ => BusError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> BusError {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bus.sqlite");
        std::fs::write(&path, bytes).expect("written");
        let error = BusFile::create(&path).err().expect("refused");
        assert!(error.to_string().contains("bus.sqlite"), "{error}");
        error
    }

    #[test]
    fn a_file_that_is_not_sqlite_is_a_wrong_setting() {
        let error = refusal(&b"not a database at all ".repeat(100));
        assert!(matches!(&error, BusError::Settings(text) if text.contains("not a SQLite file")), "{error:?}");
    }

    #[test]
    fn a_sqlite_file_of_another_program_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bus.sqlite");
        let other = Connection::open(&path).expect("opened");
        other.execute_batch("CREATE TABLE theirs (x)").expect("made");
        drop(other);
        let before = std::fs::read(&path).expect("read");
        let error = BusFile::create(&path).err().expect("refused");
        assert!(matches!(&error, BusError::Settings(text) if text.contains("another program")), "{error:?}");
        assert_eq!(std::fs::read(&path).expect("read"), before);
    }

    #[test]
    fn a_damaged_file_is_a_wrong_setting() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bus.sqlite");
        drop(BusFile::create(&path).expect("made"));
        let mut bytes = std::fs::read(&path).expect("read");
        for byte in &mut bytes[100..2000] {
            *byte = 0xaa;
        }
        let error = refusal(&bytes);
        assert!(matches!(error, BusError::Settings(_)), "{error:?}");
    }

    #[test]
    fn a_file_that_was_replaced_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bus.sqlite");
        let mut file = BusFile::create(&path).expect("made");
        file.write(|_| Ok(())).expect("it is there");
        std::fs::remove_file(&path).expect("removed");
        let error = file.write(|_| Ok(())).expect_err("it is gone");
        assert!(matches!(&error, BusError::Failed(text) if text.contains("removed or replaced")), "{error:?}");
    }

    #[test]
    fn a_full_disk_may_pass() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = BusFile::create(&folder.path().join("bus.sqlite")).expect("made");
        let pages = |file: &BusFile, count: u32| {
            file.read(|connection| Ok(connection.pragma_update(None, "max_page_count", count)?)).expect("set");
        };
        let fill = |file: &mut BusFile| {
            file.write(|connection| {
                let blob = vec![0_u8; 1 << 20];
                connection.execute("INSERT INTO messages (timestamp_ms, payload) VALUES (0, ?1)", [blob])?;
                Ok(())
            })
        };
        pages(&file, 30);
        let error = fill(&mut file).expect_err("it is full");
        assert!(matches!(&error, BusError::Unavailable(text) if text.contains("full")), "{error:?}");
        pages(&file, 10_000);
        fill(&mut file).expect("there is room again");
    }

    #[test]
    fn a_path_that_sqlite_would_take_for_something_else_is_refused() {
        for path in ["", ":memory:", "file:bus?mode=memory"] {
            let error = BusFile::create(Path::new(path)).err().expect(path);
            assert!(matches!(&error, BusError::Settings(text) if text.contains("expected the path")), "{error:?}");
        }
    }

    #[test]
    fn a_lock_that_could_not_be_had_may_pass() {
        let protocol = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_PROTOCOL), None);
        assert!(matches!(meaning(Path::new("bus.sqlite"), &protocol), BusError::Unavailable(_)));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = BusFile::create(Path::new("/nowhere/at/all/bus.sqlite")).err().expect("refused");
        assert!(matches!(&error, BusError::Settings(text) if text.contains("folder")), "{error:?}");
    }
}
