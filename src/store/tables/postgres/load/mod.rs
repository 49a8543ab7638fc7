//! Loads into Postgres: one transaction a write, in which the files of one table with the same columns go into one
//! `COPY`, whatever loads they are of, and the ledger of loads is written beside them.
//!
//! Each file is opened twice: first all of them one by one, for their columns, and each again when it is its turn to be
//! copied, so that one footer is in memory at a time. That costs a request more whenever a file is copied.
//!
//! Files are read while they are copied. When one of them turns out bad the transaction is rolled back and begun again
//! without it, or without its load. What the server refuses names no file: then each is copied by itself, behind a
//! savepoint, until it is known which.

mod copy;
mod ledger;
mod opened;

use std::convert::Infallible;
use std::sync::Arc;

use arrow::datatypes::Fields;
use async_trait::async_trait;
use hashbrown::{HashMap, HashSet};

use self::copy::{Part, Stop};
use self::ledger::Ledger;
use self::opened::{Connection, File, LONG};
use super::layout::Layout;
use super::plan::Against;
use super::table::{Name, Tables};
use super::write::staged;
use crate::insert::object::{Buckets, Unread, invalid};
use crate::insert::rows::FileRows;
use crate::insert::stored::{Closed, Stored};
use crate::row::load::{FileLoad, Load, Target};
use crate::row::table::TableRow;
use crate::sink::{Outcome, Refusal, Sink, SinkError, Write};
use crate::store::StoreOptions;
use crate::store::load::work::{Work, refused};
use crate::store::postgres::connection::Pool;
use crate::store::postgres::{ONLINE_TABLE, failure};
use crate::value::Value;

/// Files in one transaction, but for a load that has more by itself.
const FILES: usize = 256;

/// Waiting for a `COPY` is not bounded as a whole: how long it takes is up to the size of the files. Each part of it
/// that is sent is.
///
/// Constraints are looked at when a statement ends, so that it is known which one broke them. What a table is like is asked
/// for within the transaction, and must not be what it was like when that began, whatever the session's default is.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET CONSTRAINTS ALL IMMEDIATE";

/// A store of loads in a database.
pub(super) struct Loads {
    pool: Pool<()>,
    tables: Tables,
    ledger: Ledger,
    buckets: Buckets,
    /// Bytes of one file that may be in memory at once.
    limit: usize,
}

/// How a pass over all files ended.
enum Pass {
    /// All is committed: rows that are new, and rows that were there.
    Committed(u64, u64),
    /// Something was learnt, and nothing is left of it in the database.
    Again,
    /// The server refused something and did not say what.
    Poisoned(Refusal),
}

impl Loads {
    pub(super) fn new(layout: &'static Layout, options: &StoreOptions) -> Self {
        Self {
            pool: Pool::new(layout.store, options.uri.clone()),
            tables: Tables::new(layout),
            ledger: Ledger::default(),
            buckets: Buckets::default(),
            limit: options.limits.memory_limit,
        }
    }

    /// Loads what is pending of some loads.
    async fn land(&self, connection: &mut Connection, rows: &[&FileLoad]) -> Result<Outcome, SinkError> {
        let mut work = Work::new(rows);
        for item in &mut work.loads {
            item.refused =
                foreign(connection, self.tables.layout, &item.load.target).map(|message| refused(item.load, message));
        }
        self.ledger.read(connection, &mut work).await?;
        let (mut files, mut away) = (Vec::new(), None);
        let (mut stored, mut stale, mut poisoned) = (0, 0, 0);
        let mut one_by_one = false;
        loop {
            self.open(connection, &mut work, &mut files, &mut away).await?;
            let parts = self.parts(connection, &mut work, &files, one_by_one, &mut away).await?;
            if parts.is_empty() {
                break;
            }
            match self.pass(connection, &mut work, &files, &parts, one_by_one, &mut away).await? {
                Pass::Committed(new, known) => {
                    (stored, stale) = (new, known);
                    break;
                }
                Pass::Again => one_by_one = false,
                Pass::Poisoned(refusal) => {
                    poisoned += 1;
                    match &parts[..] {
                        [Part { files: only, .. }] if only.len() == 1 => {
                            let File { load, file, .. } = files[only[0]];
                            work.loads[load].spoil(file, refusal);
                        }
                        _ if one_by_one => return Err(SinkError::Transient { reason: failure::not_of_a_row(refusal) }),
                        _ => one_by_one = true,
                    }
                }
            }
        }
        let mut outcome = work.outcome(stored);
        outcome.stale += stale;
        outcome.poisoned = poisoned;
        match away {
            // Its own words say more, where there is nothing else to say.
            Some(error) if outcome.again.len() == rows.len() => Err(error),
            _ => Ok(outcome),
        }
    }

    /// Opens the pending files that were not opened yet, and forgets those that are no longer pending.
    async fn open(
        &self,
        connection: &Connection,
        work: &mut Work<'_>,
        files: &mut Vec<File>,
        away: &mut Option<SinkError>,
    ) -> Result<(), SinkError> {
        let known: HashSet<(usize, usize)> = files.iter().map(|known| (known.load, known.file)).collect();
        for load in 0..work.loads.len() {
            let pending: Vec<usize> = work.loads[load].pending().map(|(at, _)| at).collect();
            let mut alike = HashMap::new();
            for file in pending {
                let item = &mut work.loads[load];
                if !item.is_pending() {
                    break;
                }
                if known.contains(&(load, file)) {
                    continue;
                }
                match self.seen(item.load, file, &mut alike).await {
                    Ok((closed, rows)) => match Name::of(&rows.shape) {
                        Some(name) => files.push(File { load, file, closed, rows, name }),
                        None => item.refused = Some(refused(item.load, NO_NAME.to_owned())),
                    },
                    Err(Unread::Refused(refusal)) => item.spoil(file, refusal),
                    Err(Unread::Store(error)) => {
                        item.away = Some(error.to_string());
                        away.get_or_insert(error);
                    }
                }
            }
        }
        files.retain(|File { load, file, .. }| {
            let item = &work.loads[*load];
            item.is_pending() && item.has_pending(*file)
        });
        // Reading footers may have taken longer than a connection lasts.
        if connection.client.is_closed() {
            return Err(SinkError::Transient { reason: format!("{}: the connection was closed", connection.address) });
        }
        Ok(())
    }

    /// Opens one file for its columns. `alike` has what was made of those of the load's other files.
    async fn seen(
        &self,
        load: &Load,
        file: usize,
        alike: &mut HashMap<Fields, Arc<FileRows>>,
    ) -> Result<(Closed, Arc<FileRows>), Unread> {
        let stored = Stored::open(&self.buckets, &load.files[file], self.limit).await?;
        let fields = stored.schema().fields();
        let rows = match alike.get(fields) {
            Some(rows) => Arc::clone(rows),
            None => {
                let rows = Arc::new(FileRows::new(load, stored.schema(), self.limit)?);
                alike.insert(fields.clone(), Arc::clone(&rows));
                rows
            }
        };
        Ok((stored.close(), rows))
    }

    /// Makes the tables hold the columns of all files, and sorts these into statements.
    async fn parts(
        &self,
        connection: &Connection,
        work: &mut Work<'_>,
        files: &[File],
        one_by_one: bool,
        away: &mut Option<SinkError>,
    ) -> Result<Vec<Part>, SinkError> {
        let mut parts: Vec<Part> = Vec::new();
        // Twice, because what one file makes of a table another is held against; the second time is without a question
        // to the server.
        for last in [false, true] {
            for (at, File { load, file, rows, name, .. }) in files.iter().enumerate() {
                if !work.loads[*load].is_pending() || work.loads[*load].bad.contains_key(file) {
                    continue;
                }
                let shape = &rows.shape;
                let nulls = vec![Value::Null; shape.columns.len()];
                let row = TableRow { destination: 0, shape: shape.clone(), values: nulls };
                let agreed = self.tables.agree_on(connection, name, &[(0, &row)], Against::Columns).await;
                let mut planned = match agreed {
                    Ok(planned) => planned,
                    Err(error) => {
                        of_its_table(connection, work, (*load, *file), error, away).await?;
                        continue;
                    }
                };
                if let Some((_, refusal)) = planned.refused.pop() {
                    work.loads[*load].spoil(*file, Refusal { row: None, ..refusal });
                    continue;
                }
                if !last {
                    continue;
                }
                let columns = staged(&planned);
                if columns.is_empty() {
                    work.loads[*load].spoil(*file, invalid("has no column of any type"));
                    continue;
                }
                let target = name.quoted_for(connection, self.tables.layout);
                let mut new = Part::new(name.clone(), target, planned, columns);
                match parts.iter_mut().find(|part| part.is_like(&new)) {
                    Some(part) if !one_by_one => part.files.push(at),
                    like => {
                        if let Some(like) = like {
                            new.share(like);
                        }
                        new.files.push(at);
                        parts.push(new);
                    }
                }
            }
        }
        // A file that was spoilt by another's columns may have taken its load with it.
        for part in &mut parts {
            part.files.retain(|at| work.loads[files[*at].load].is_pending());
        }
        parts.retain(|part| !part.files.is_empty());
        // In the order of the tables' names, in which every writer locks them.
        parts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(parts)
    }

    /// One transaction over all files.
    async fn pass(
        &self,
        connection: &mut Connection,
        work: &mut Work<'_>,
        files: &[File],
        parts: &[Part],
        one_by_one: bool,
        away: &mut Option<SinkError>,
    ) -> Result<Pass, SinkError> {
        connection.run(BEGIN).await?;
        if !self.ledger.take(connection, work).await? {
            connection.run("ROLLBACK").await?;
            return Ok(Pass::Again);
        }
        let (mut new, mut known, mut spoilt) = (0, 0, false);
        let mut rows_of = vec![0; work.loads.len()];
        for (number, part) in parts.iter().enumerate() {
            if one_by_one {
                connection.run("SAVEPOINT one").await?;
            }
            match copy::copy(connection, &self.tables, part, number, files, work, &mut rows_of).await {
                Ok(copied) => {
                    new += copied.new;
                    known += copied.sent - copied.new;
                    if one_by_one {
                        connection.run("RELEASE SAVEPOINT one").await?;
                    }
                }
                Err(Stop::Sink(SinkError::Poisoned(refusal))) if one_by_one => {
                    connection.run("ROLLBACK TO SAVEPOINT one").await?;
                    let File { load, file, .. } = files[part.files[0]];
                    work.loads[load].spoil(file, refusal);
                    spoilt = true;
                }
                Err(stop) => {
                    return self.stopped(connection, work, files, part, stop, away).await;
                }
            }
        }
        if spoilt {
            connection.run("ROLLBACK").await?;
            return Ok(Pass::Again);
        }
        for (load, rows) in rows_of.into_iter().enumerate() {
            let item = &work.loads[load];
            if item.is_pending() {
                let landed: Vec<&str> = item.pending().map(|(_, file)| &*file.uri).collect();
                self.ledger.land(connection, work, load, &landed, rows).await?;
            }
        }
        match connection.within_time(LONG, connection.client.batch_execute("COMMIT")).await {
            // A constraint that is looked at only now.
            Err(SinkError::Poisoned(refusal)) => {
                connection.run("ROLLBACK").await?;
                Ok(Pass::Poisoned(refusal))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Pass::Committed(new, known)),
        }
    }

    /// Rolls back, and notes what was learnt.
    async fn stopped(
        &self,
        connection: &Connection,
        work: &mut Work<'_>,
        files: &[File],
        part: &Part,
        stop: Stop,
        away: &mut Option<SinkError>,
    ) -> Result<Pass, SinkError> {
        let stop = match stop {
            Stop::Sink(SinkError::Poisoned(refusal)) => {
                connection.run("ROLLBACK").await?;
                return Ok(Pass::Poisoned(refusal));
            }
            // What a role may not do with one table says nothing of the others.
            Stop::Sink(error @ SinkError::Denied { .. }) => {
                for at in &part.files {
                    let File { load, file, .. } = files[*at];
                    of_its_table(connection, work, (load, file), error.clone(), away).await?;
                }
                return Ok(Pass::Again);
            }
            Stop::Sink(error) => return Err(error),
            stop => stop,
        };
        connection.run("ROLLBACK").await?;
        match stop {
            Stop::Bad { file, refusal } => {
                let File { load, file, .. } = files[file];
                work.loads[load].spoil(file, refusal);
            }
            Stop::Away { file, error } => {
                work.loads[files[file].load].away = Some(error.to_string());
                away.get_or_insert(error);
            }
            Stop::Changed { file, rows } => {
                let rows: Vec<(usize, &TableRow)> = rows.iter().enumerate().collect();
                if let Err(error) = self.tables.agree(connection, &part.name, &rows).await {
                    let File { load, file, .. } = files[file];
                    of_its_table(connection, work, (load, file), error, away).await?;
                }
            }
            Stop::Stale | Stop::Sink(_) => {}
        }
        Ok(Pass::Again)
    }
}

/// Notes that the table of a file cannot be made what it has to be, which leaves other loads alone: the load waits for
/// somebody to put it right. An error where the connection is of no use any more.
async fn of_its_table(
    connection: &Connection,
    work: &mut Work<'_>,
    (load, file): (usize, usize),
    error: SinkError,
    away: &mut Option<SinkError>,
) -> Result<(), SinkError> {
    if connection.client.is_closed() {
        return Err(error);
    }
    match error {
        SinkError::Bug { .. } => return Err(error),
        SinkError::Poisoned(refusal) => work.loads[load].spoil(file, refusal),
        error => {
            work.loads[load].away = Some(error.to_string());
            away.get_or_insert(error);
        }
    }
    // What was begun to change it.
    connection.run("ROLLBACK").await
}

const NO_NAME: &str = "the name of a table, or of its schema, must not be empty, nor hold U+0000";

/// Why a table cannot be one of this database.
fn foreign(connection: &Connection, layout: &Layout, target: &Target) -> Option<String> {
    let ours = connection.address.database().unwrap_or_default();
    let name = Name::new(target.schema.as_deref(), &target.table);
    match &target.database {
        Some(database) if **database != *ours => {
            Some(format!("the table is in database `{database}`, and the store is database `{ours}`"))
        }
        _ if let Some(why) = name.as_ref().and_then(|name| name.kept_back(layout)) => Some(why),
        _ if target.table == ONLINE_TABLE => Some(format!("`{ONLINE_TABLE}` is the online store's table")),
        _ => None,
    }
}

#[async_trait]
impl Sink<FileLoad> for Loads {
    async fn write(&self, write: Write<'_, FileLoad>) -> Result<Outcome, SinkError> {
        let mut connection = self.pool.take().await?;
        let (mut whole, mut from) = (Outcome::default(), 0);
        while from < write.rows.len() {
            let mut count = 0;
            let fits = |load: &&&FileLoad| {
                let first = count == 0;
                count += load.load.files.len();
                first || count <= FILES
            };
            let part = write.rows[from..].iter().take_while(fits).count();
            let outcome = match self.land(&mut connection, &write.rows[from..from + part]).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.tables.forget();
                    return Err(error);
                }
            };
            whole.again.extend(outcome.again.into_iter().map(|at| from + at));
            whole.refused.extend(outcome.refused.into_iter().map(|(at, refusal)| (from + at, refusal)));
            whole.reason = whole.reason.or(outcome.reason);
            whole.stored += outcome.stored;
            whole.stale += outcome.stale;
            whole.poisoned += outcome.poisoned;
            from += part;
        }
        self.pool.give_back(connection);
        Ok(whole)
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.pool.give_back(self.pool.take().await?);
        Ok(())
    }

    /// No load has a key: the ledger knows it by its id.
    fn collapse(&self, key: &Infallible, _: &[&FileLoad]) -> FileLoad {
        match *key {}
    }
}
