//! The embedded store. Away, another process holds its write lock.

use std::path::PathBuf;
use std::time::Duration;

use super::{Online, Store, Trouble, look};
use crate::keepers::Keeper;

/// A file that somebody else may lock.
pub struct Sqlite {
    path: PathBuf,
    lock: Option<rusqlite::Connection>,
}

impl Sqlite {
    pub fn new(path: PathBuf) -> Self {
        Self { path, lock: None }
    }
}

impl Store for Sqlite {
    fn name(&self) -> &'static str {
        Keeper::Sqlite.name()
    }

    fn uri(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    fn stall(&mut self) {
        if self.lock.is_some() {
            return;
        }
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_millis(500)).unwrap();
        // A writer that was stopped in its transaction keeps the lock: then nobody can write anyway.
        if connection.execute_batch("BEGIN IMMEDIATE").is_ok() {
            self.lock = Some(connection);
        }
    }

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        self.lock = None;
    }

    fn vanish(&mut self) {
        self.stall();
    }

    fn come_back(&mut self) {
        self.go_on();
    }

    fn begin_trouble(&mut self, _which: Trouble, _random: &mut fastrand::Rng) -> bool {
        false
    }

    fn end_trouble(&mut self) -> &'static str {
        "none"
    }
}

impl Online for Sqlite {
    fn reader(&self) -> Box<dyn look::Online> {
        Box::new(look::Sqlite { path: self.path.clone() })
    }
}
