//! Removes tombstones whose time has come from the tables that are written to, behind the writes.
//!
//! A sweep that fails is no failure of the write: its rows are durable by then. What others hold is left to them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::session::{Session, prepared};
use super::table::Table;
use crate::sink::SinkError;
use crate::store::postgres::connection::Pool;
use crate::store::postgres::tables::never_of_a_row;

/// Tombstones that one sweep takes.
const MOST: i64 = 1_000;

/// How long a table is left alone after a sweep, and after one that failed.
const EVERY: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(60);

/// When the tables are to be swept next.
pub(super) struct Sweeper {
    retention: Duration,
    next: Mutex<BTreeMap<String, Instant>>,
}

impl Sweeper {
    pub(super) fn new(retention: Duration) -> Self {
        Self { retention, next: Mutex::default() }
    }

    /// Sweeps a table that was just written to, where it is time for that.
    pub(super) async fn sweep(&self, pool: &Pool<Session>, table: &Table) {
        if !self.is_time(&table.name, EVERY) {
            return;
        }
        // What a trigger says of a row is not for logs.
        if let Err(error) = self.table(pool, table).await.map_err(never_of_a_row) {
            self.is_time(&table.name, AGAIN);
            tracing::warn!(%error, "old tombstones could not be removed from Postgres; tried again in a minute");
        }
    }

    /// Whether it is; then the next time is as far away as is said.
    fn is_time(&self, table: &str, away: Duration) -> bool {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.get(table).is_none_or(|next| *next <= now);
        if due || away == AGAIN {
            next.insert(table.to_owned(), now + away);
        }
        due
    }

    async fn table(&self, pool: &Pool<Session>, table: &Table) -> Result<(), SinkError> {
        let mut connection = pool.take().await?;
        let name = &table.name;
        let text = format!(
            "DELETE FROM {name} WHERE (environment, id) IN (
                SELECT environment, id FROM {name} WHERE evicted AND observed_at <= now() - $1::float8 * interval '1 second'
                ORDER BY observed_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
        );
        let statement = prepared(&mut connection, &text).await?;
        connection.execute(&statement, &[&self.retention.as_secs_f64(), &MOST]).await?;
        pool.give_back(connection);
        Ok(())
    }
}
