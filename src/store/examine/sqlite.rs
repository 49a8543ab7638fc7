//! A SQLite file: whether it can be opened and written to, and whether it is one of this kind.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Finding, can_make_files};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::store::{StoreOptions, sqlite};

pub(in crate::store) async fn examine(kind: StoreKind, options: &StoreOptions) -> Vec<Finding> {
    let path = match sqlite::path(kind.name(), expose(&options.fetched)) {
        Ok(path) => path,
        Err(error) => return vec![Finding::fail("file", error.to_string(), "correct the URI")],
    };
    let done = tokio::task::spawn_blocking(move || look_at(&path)).await;
    done.unwrap_or_else(|error| vec![Finding::fail("file", error.to_string(), "report this")])
}

fn look_at(path: &Path) -> Vec<Finding> {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !path.exists() {
        let writable = match can_make_files(folder) {
            Ok(()) => Finding::ok("writable", "a file was made in its folder and removed"),
            Err(error) => Finding::fail(
                "writable",
                format!("no file can be made in `{}`: {error}", folder.display()),
                "make the folder, and let the writer's user write there",
            ),
        };
        return vec![Finding::ok("file", format!("`{shown}` is not there yet; the first write makes it")), writable];
    }
    match tables(path) {
        Ok(tables) => {
            let found = match tables.len() {
                0 => format!("`{shown}`, with no tables yet"),
                _ => format!("`{shown}` with {}", tables.join(", ")),
            };
            let file = Finding::ok("file", found);
            // Beside a file that is written to lies its log.
            let beside = can_make_files(folder).map_err(|error| format!("`{}`: {error}", folder.display()));
            vec![
                file,
                match transaction(path).map_err(|error| error.to_string()).and(beside) {
                    Ok(()) => {
                        Finding::ok("writable", "a transaction was begun and rolled back, and its folder takes files")
                    }
                    Err(error) => {
                        Finding::fail("writable", error, "let the writer's user write to the file and to its folder")
                    }
                },
            ]
        }
        Err(error) => vec![Finding::fail(
            "file",
            format!("`{shown}`: {error}"),
            "name another file, move this one away, or let the writer's user read it",
        )],
    }
}

fn tables(path: &Path) -> rusqlite::Result<Vec<String>> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    file.busy_timeout(Duration::from_secs(5))?;
    let mut statement =
        file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Begins a transaction that would write, and ends it without having done so.
fn transaction(path: &Path) -> rusqlite::Result<()> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    file.busy_timeout(Duration::from_secs(5))?;
    if file.is_readonly(rusqlite::MAIN_DB)? {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY), None));
    }
    file.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
}
