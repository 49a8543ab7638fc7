//! A Postgres server, of either kind of store: connections are cut, and it is restarted in the middle of a `COPY`.
//!
//! The writer speaks to it through a proxy, which can hold up what is being sent. Stalled, somebody else has a lock
//! on every table under which it can be read.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::rc::Rc;

use super::{Offline, Online, Store, Throttling, Trouble, look};
use crate::keepers::Keeper;
use crate::postgres::{PostgresServer, Version};
use crate::proxy::Proxy;

/// What stands before the rows of a binary `COPY`, as Postgres documents it.
const COPY: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Every table that there is.
const TABLES: &str = "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables
     WHERE schemaname IN ('public', 'chalk', 'spare')";

pub struct Postgres {
    server: Rc<RefCell<PostgresServer>>,
    proxy: Proxy,
    lock: Option<Child>,
    trouble: Option<Trouble>,
}

impl Postgres {
    pub fn start(version: Version) -> Self {
        let server = PostgresServer::start(version, &[]);
        let proxy = Proxy::of(server.port());
        Self { server: Rc::new(RefCell::new(server)), proxy, lock: None, trouble: None }
    }

    pub fn server(&self) -> Rc<RefCell<PostgresServer>> {
        Rc::clone(&self.server)
    }

    /// Takes the lock in a session of its own, where there are tables.
    fn lock(&self) -> Option<Child> {
        let server = self.server.borrow();
        let tables = server.sql(TABLES);
        if tables.is_empty() {
            return None;
        }
        let psql = server.psql().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut psql = psql.expect("psql can be started");
        // Behind a writer that was stopped in its transaction it would wait for as long as that.
        let take =
            format!("SET lock_timeout = '1s'; BEGIN; LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE;\n\\echo taken\n");
        let mut answer = String::new();
        // One that could not connect reads nothing; it is tried again as long as the lock is wanted.
        if psql.stdin.as_mut().expect("a pipe").write_all(take.as_bytes()).is_ok() {
            BufReader::new(psql.stdout.as_mut().expect("a pipe")).read_line(&mut answer).expect("psql answers");
        }
        if answer.trim() == "taken" {
            return Some(psql);
        }
        psql.wait().expect("psql ends");
        None
    }

    fn start_again(&self) {
        self.server.borrow_mut().start_again();
    }
}

impl Store for Postgres {
    fn name(&self) -> &'static str {
        Keeper::Postgres.name()
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    /// Too many connections (53300), after those that are there were ended by the administrator (57P01).
    fn throttle(&mut self, _random: &mut fastrand::Rng) -> Throttling {
        let server = self.server.borrow();
        server.sql("ALTER ROLE writer CONNECTION LIMIT 0");
        server.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'writer'");
        Throttling::Refuses
    }

    fn let_pass(&mut self) {
        self.server.borrow().sql("ALTER ROLE writer CONNECTION LIMIT -1");
    }

    fn uri(&self) -> String {
        self.server.borrow().uri_through(self.proxy.port())
    }

    fn stall(&mut self) {
        if self.lock.is_none() {
            self.lock = self.lock();
        }
    }

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        if let Some(mut psql) = self.lock.take() {
            drop(psql.stdin.take());
            psql.wait().expect("psql ends");
        }
    }

    fn vanish(&mut self) {
        self.server.borrow_mut().stop_immediately();
        self.go_on();
    }

    fn come_back(&mut self) {
        self.start_again();
    }

    fn begin_trouble(&mut self, which: Trouble, random: &mut fastrand::Rng) -> bool {
        match which {
            Trouble::Light => self.proxy.cut_after(random.usize(..40_000)),
            Trouble::Heavy => self.proxy.hold_up(COPY),
        }
        self.trouble = Some(which);
        true
    }

    fn end_trouble(&mut self) -> &'static str {
        match self.trouble.take().expect("it was begun") {
            Trouble::Light => {
                self.proxy.mend();
                "a connection was cut"
            }
            Trouble::Heavy => {
                let holds = self.proxy.holds();
                self.server.borrow_mut().stop_immediately();
                self.proxy.let_go();
                self.start_again();
                if holds { "restarted in mid-COPY" } else { "restarted" }
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.go_on();
    }
}

impl Online for Postgres {
    fn reader(&self) -> Box<dyn look::Online> {
        Box::new(look::PostgresFeatures { server: Rc::clone(&self.server) })
    }
}

impl Offline for Postgres {
    fn reader(&self) -> Box<dyn look::Offline> {
        Box::new(look::PostgresHistory::new(Rc::clone(&self.server)))
    }
}
