//! The stores of a run: one Postgres server, and a disk with everything that is a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ROLES;
use super::deal::Hand;
use super::place::Place;
use crate::postgres::Version;
use crate::proxy::Proxy;
use crate::stores::{Disk, Postgres, Store as _};

pub struct Stores {
    postgres: Postgres,
    /// Where no disk can be mounted there is a folder, and what the system said.
    pub disk: Result<Disk, nix::Error>,
    places: BTreeMap<&'static str, Place>,
    files: Vec<PathBuf>,
    locks: Vec<rusqlite::Connection>,
}

impl Stores {
    pub fn start(folder: &Path, hand: &Hand) -> Self {
        // The one that has pgvector, which the writer's role may not make an extension of.
        let postgres = Postgres::start(Version::Newest);
        postgres.server().borrow().sql("CREATE EXTENSION vector");
        let root = folder.join("stores");
        let disk = Disk::mount(root.clone());
        let mut places = BTreeMap::new();
        for (field, file) in ROLES.iter().filter_map(|role| role.store) {
            let embedded = Place::Embedded(root.join(file));
            let is_file = !hand.in_postgres.contains(&field);
            places.insert(field, if is_file { embedded } else { Place::Postgres(postgres.server()) });
        }
        let files = places.values().filter_map(|place| match place {
            Place::Embedded(path) if path.extension().is_some() => Some(path.clone()),
            _ => None,
        });
        Self { postgres, disk, files: files.collect(), places, locks: Vec::new() }
    }

    /// As the configuration names them.
    pub fn uris(&self) -> Vec<(&str, String)> {
        let uri = |place: &Place| match place {
            Place::Embedded(path) if path.extension().is_some() => format!("sqlite://{}", path.display()),
            Place::Embedded(path) => format!("file://{}", path.display()),
            _ => self.postgres.uri(),
        };
        self.places.iter().map(|(field, place)| (*field, uri(place))).collect()
    }

    /// Of a role by its field.
    pub fn place(&self, field: Option<(&str, &str)>) -> Place {
        field.map_or(Place::Bus, |(field, _)| self.places[field].clone())
    }

    pub fn proxy(&self) -> &Proxy {
        self.postgres.proxy()
    }

    /// None of them takes anything. Called again and again for as long as that is to last.
    pub fn stall(&mut self) {
        self.postgres.stall();
        for path in &self.files[self.locks.len()..] {
            // Not one that is not made yet: that is the writer's.
            let open = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE);
            let Ok(connection) = open else { break };
            connection.busy_timeout(Duration::from_millis(500)).unwrap();
            // A writer that was stopped in its transaction keeps the lock: then nobody can write anyway.
            if connection.execute_batch("BEGIN IMMEDIATE").is_err() {
                break;
            }
            self.locks.push(connection);
        }
    }

    pub fn go_on(&mut self) {
        self.locks.clear();
        self.postgres.go_on();
    }

    /// The server ends without order; nothing else has one.
    pub fn vanish(&mut self) {
        self.locks.clear();
        self.postgres.vanish();
    }

    pub fn come_back(&mut self) {
        self.postgres.come_back();
    }
}
