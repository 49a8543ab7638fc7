//! Removes values that have expired, beside the writes and never in their way.
//!
//! It begins with the first write and ends with the store. Each second it goes through as many stretches of
//! the table as batches were written, and through one at least, so that it keeps up with what comes. Its
//! transactions give up soon, whatever the URI says: a table that others hold is left to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_postgres::types::ToSql;
use tokio_util::task::AbortOnDropHandle;

use super::prepared::{Session, prepared};
use crate::sink::SinkError;
use crate::store::postgres::connection::Pool;
use crate::store::postgres::tables::never_of_a_row;

/// Rows of a stretch: about a millisecond, and a table of a million values is gone through in 1,000.
const STRETCH: i64 = 1_000;

const EVERY: Duration = Duration::from_secs(1);

/// After a failure, how long none is tried.
const AGAIN: Duration = Duration::from_secs(60);

/// How long a statement may take, and what begins a transaction in which that holds. Values that have
/// expired are none, so it does no harm when the server loses what it has not put on its disk.
const WITHIN: Duration = Duration::from_secs(10);
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '1s'; \
                     SET LOCAL synchronous_commit = off";

type Key = [String; 4];

/// The task of one store, ended when dropped.
#[derive(Default)]
pub(super) struct Sweeper {
    /// Batches that were written since it looked last.
    batches: Arc<AtomicU64>,
    task: OnceLock<AbortOnDropHandle<()>>,
}

impl Sweeper {
    /// A batch was written, so the table is there.
    pub(super) fn wrote(&self, pool: &Arc<Pool<Session>>) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.task.get_or_init(|| {
            let sweeping = run(pool.clone(), self.batches.clone());
            AbortOnDropHandle::new(tokio::spawn(sweeping))
        });
    }
}

async fn run(pool: Arc<Pool<Session>>, batches: Arc<AtomicU64>) {
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut from = Key::default();
    loop {
        clock.tick().await;
        for _ in 0..batches.swap(0, Ordering::Relaxed).max(1) {
            // What a trigger says of a row is not for logs.
            match stretch(&pool, &from).await.map_err(never_of_a_row) {
                Ok(Some(end)) => from = end,
                Ok(None) => {
                    from = Key::default();
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "expired values could not be removed from Postgres; tried again in a minute");
                    sleep(AGAIN).await;
                    break;
                }
            }
        }
    }
}

/// Removes what has expired in the stretch that begins after a key; returns its last key, `None` at the
/// table's end. A connection on which it fails is closed.
async fn stretch(pool: &Pool<Session>, from: &Key) -> Result<Option<Key>, SinkError> {
    let mut connection = pool.take().await?;
    let prepared = prepared(&mut connection).await?;
    let [environment, namespace, key, feature] = from;
    let after: [&(dyn ToSql + Sync); 5] = [environment, namespace, key, feature, &STRETCH];
    let last = connection.within_time(WITHIN, connection.client.query(&prepared.stretch, &after)).await?;
    let end = last.first().map(|row| [0, 1, 2, 3].map(|at| row.get::<_, String>(at)));
    let part = |at: usize| end.as_ref().map(|end| end[at].as_str());
    let (e, n, k, f) = (part(0), part(1), part(2), part(3));
    let between: [&(dyn ToSql + Sync); 8] = [environment, namespace, key, feature, &e, &n, &k, &f];
    // Sent all at once, so that no transaction is open while the server waits for this process.
    let removing = connection.within_time(WITHIN, connection.client.execute(&prepared.sweep, &between));
    tokio::try_join!(connection.run(BEGIN), removing, connection.run("COMMIT"))?;
    pool.give_back(connection);
    Ok(end)
}
