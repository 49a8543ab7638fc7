//! A file that fails: full disk, held by another, not a database, gone.

use std::path::Path;
use std::process::Command;

use chalk_writer::sink::SinkError;
use chalk_writer::value::Value;

use super::place::{Place, cell, entity, int, read, row, store, stored, stored_at_last, value, write};

fn user(time: i64) -> [chalk_writer::row::feature::FeatureRow; 1] {
    [row(entity("42"), vec![cell("a", time, int(time))])]
}

fn transient<T: std::fmt::Debug>(result: Result<T, SinkError>, what: &str) {
    match result {
        Err(SinkError::Transient { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("expected a passing failure with `{what}`, found {other:?}"),
    }
}

/// A file system of a given size, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Self(folder);
        disk.run(&["mount", "-t", "tmpfs", "-o", &format!("size={size}"), "none"]);
        disk
    }

    fn resize(&self, size: &str) {
        self.run(&["mount", "-o", &format!("remount,size={size}")]);
    }

    fn run(&self, command: &[&str]) {
        let done = Command::new(command[0]).args(&command[1..]).arg(self.0.path()).output();
        let done = done.unwrap_or_else(|error| panic!("`{}` cannot be started: {error}", command[0]));
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "a small tmpfs cannot be mounted ({said}): this test must run as root");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_loses_nothing() {
    let disk = SmallDisk::mount("1m");
    let store = store(&format!("sqlite://{}/online.db", disk.0.path().display()));
    stored(&*store, &user(1)).await;
    let large = |key: i64| row(entity(&key.to_string()), vec![cell("a", 1, Some(Value::text("x".repeat(40_000))))]);
    let mut taken = 0;
    let error = loop {
        match write(&*store, &[large(taken)]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "the disk never fills");
    };
    transient::<()>(Err(error), "full");
    transient(write(&*store, &[large(taken)]).await, "online.db");
    disk.resize("64m");
    stored_at_last(&*store, &[large(taken)]).await;
    for key in 0..=taken {
        assert!(value(&*store, &entity(&key.to_string()), "a").await.is_some(), "{key} of {taken} was acknowledged");
    }
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(1)));
}

#[tokio::test]
async fn a_file_held_by_another_is_waited_for() {
    let place = Place::start("sqlite");
    let store = place.store();
    stored(&*store, &user(1)).await;
    let other = rusqlite::Connection::open(place.uri().trim_start_matches("sqlite://")).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    transient(write(&*store, &user(2)).await, "locked");
    other.execute_batch("COMMIT").expect("the end");
    stored(&*store, &user(2)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    let place = Place::start("sqlite");
    let path = place.uri().trim_start_matches("sqlite://").to_owned();
    let mine = "not a database, but somebody's text ".repeat(100);
    std::fs::write(&path, &mine).expect("a file");
    let store = place.store();
    transient(write(&*store, &user(1)).await, "not a database");
    assert!(store.read(&entity("42")).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), mine);
    std::fs::remove_file(&path).expect("the file");
    stored(&*store, &user(1)).await;
}

#[tokio::test]
async fn a_table_of_somebody_elses_is_left_as_it_is() {
    let place = Place::start("sqlite");
    let other = rusqlite::Connection::open(place.uri().trim_start_matches("sqlite://")).expect("the file");
    other.execute_batch("CREATE TABLE online_features (mine TEXT)").expect("a table");
    transient(write(&*place.store(), &user(1)).await, "online_features");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let later: &Path = &folder.path().join("later");
    let store = store(&format!("sqlite:{}/online.db", later.display()));
    transient(write(&*store, &user(1)).await, "its folder must exist");
    std::fs::create_dir(later).expect("a folder");
    stored(&*store, &user(1)).await;
}

#[tokio::test]
async fn the_table_is_as_documented() {
    let place = Place::start("sqlite");
    let store = place.store();
    let cells = vec![cell("a", 1, Some(Value::Null)), cell("b", 2, None), cell("c", 3, Some(Value::text("é")))];
    stored(&*store, &[row(entity("42"), cells)]).await;
    let file = rusqlite::Connection::open(place.uri().trim_start_matches("sqlite://")).expect("the file");
    let mut rows = file
        .prepare("SELECT environment || '/' || namespace || '/' || pkey, feature, value, observed_at, expires_at, evicted FROM online_features ORDER BY feature")
        .expect("the columns");
    let rows: Vec<(String, String, Option<String>, i64, Option<i64>, bool)> = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("rows");
    let expected = |feature: &str, value: Option<&str>, time, evicted| {
        ("prod/user/42".to_owned(), feature.to_owned(), value.map(str::to_owned), time, None, evicted)
    };
    assert_eq!(
        rows,
        [expected("a", Some("null"), 1, false), expected("b", None, 2, true), expected("c", Some("\"é\""), 3, false)]
    );
    let mode: String = file.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("a mode");
    assert_eq!(mode, "wal");
    assert_eq!(read(&*store, &entity("42")).await.len(), 3);
}

#[tokio::test]
async fn a_file_that_was_deleted_or_replaced_takes_no_write_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("online.db");
    let open = || store(&format!("sqlite://{}", path.display()));
    let (one, two) = (open(), open());
    stored(&*one, &user(1)).await;
    stored(&*two, &user(2)).await;
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(folder.path().join(format!("online.db{end}"))).expect("removed");
    }
    assert!(read(&*two, &entity("42")).await.is_empty(), "nothing is there any more");
    assert!(!path.exists(), "reading makes no file");
    stored(&*one, &user(3)).await;
    assert_eq!(value(&*open(), &entity("42"), "a").await, Some(int(3)), "it is in the file that is there now");
    // Its old connection must not take away the log of the new file.
    assert_eq!(value(&*two, &entity("42"), "a").await, Some(int(3)));
    stored(&*two, &user(4)).await;
    drop(two);
    assert_eq!(value(&*one, &entity("42"), "a").await, Some(int(4)));
}
