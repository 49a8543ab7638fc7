//! `chalk.loads`: which loads have landed, written in the transaction in which they do.

use tokio::sync::OnceCell;

use crate::sink::SinkError;
use crate::store::load::work::Work;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::{OWN_SCHEMA, tables};

const TABLE: &str = "\"chalk\".\"loads\"";

/// A load without skipped files has landed whole.
const CREATE: &str = "CREATE TABLE \"chalk\".\"loads\" (
    environment_id text COLLATE \"C\" NOT NULL,
    load_id text COLLATE \"C\" NOT NULL,
    table_name text NOT NULL,
    files text[] NOT NULL,
    skipped text[] NOT NULL,
    rows bigint NOT NULL,
    loaded_at timestamptz NOT NULL,
    PRIMARY KEY (environment_id, load_id))";

const READ: &str = "SELECT environment_id, load_id, files, skipped FROM \"chalk\".\"loads\" \
                    WHERE (environment_id, load_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))";

/// Locks the rows of loads in the order of their keys, in which every writer does.
const TAKE: &str = "INSERT INTO \"chalk\".\"loads\" \
                    SELECT environment_id, load_id, '', '{}', '{}', 0, now() \
                    FROM unnest($1::text[], $2::text[]) AS new (environment_id, load_id) \
                    ORDER BY environment_id COLLATE \"C\", load_id COLLATE \"C\" \
                    ON CONFLICT (environment_id, load_id) DO UPDATE SET load_id = excluded.load_id";

const LAND: &str = "UPDATE \"chalk\".\"loads\" SET table_name = $3, files = files || $4::text[], skipped = $5::text[], \
                    rows = rows + $6, loaded_at = now() WHERE environment_id = $1 AND load_id = $2";

/// Whether the table is there.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    made: OnceCell<()>,
}

impl Ledger {
    /// Notes what has landed before of loads.
    pub(super) async fn read<S>(&self, connection: &Connection<S>, work: &mut Work<'_>) -> Result<(), SinkError> {
        self.made.get_or_try_init(|| make(connection)).await?;
        mark(connection, work).await.map(drop)
    }

    /// Locks the loads that are to land, in a transaction that is open. `false` where others have loaded some of them
    /// since they were read, which is noted.
    pub(super) async fn take<S>(&self, connection: &Connection<S>, work: &mut Work<'_>) -> Result<bool, SinkError> {
        let (environments, ids) = keys(work);
        connection.execute(TAKE, &[&environments, &ids]).await.map_err(tables::never_of_a_row)?;
        mark(connection, work).await.map(|changed| !changed)
    }

    /// Writes down that a load has landed, but for its bad files.
    pub(super) async fn land<S>(
        &self,
        connection: &Connection<S>,
        work: &Work<'_>,
        load: usize,
        files: &[&str],
        rows: u64,
    ) -> Result<(), SinkError> {
        let item = &work.loads[load];
        let skipped: Vec<String> = item.bad.keys().map(|at| item.load.files[*at].shown()).collect();
        let (environment, id, rows) = (&*item.load.environment, &*item.load.id, rows.cast_signed());
        let table = &*item.load.target.table;
        let landed = connection.execute(LAND, &[&environment, &id, &table, &files, &skipped, &rows]).await;
        landed.map_err(tables::never_of_a_row).map(drop)
    }
}

async fn make<S>(connection: &Connection<S>) -> Result<(), SinkError> {
    if tables::is_there(connection, TABLE).await? {
        return Ok(());
    }
    match tables::create(connection, OWN_SCHEMA, TABLE, CREATE).await {
        Ok(()) => Ok(()),
        // Another writer may have been first.
        Err(error) => {
            connection.run("ROLLBACK").await?;
            if tables::is_there(connection, TABLE).await? { Ok(()) } else { Err(error) }
        }
    }
}

fn keys<'a>(work: &Work<'a>) -> (Vec<&'a str>, Vec<&'a str>) {
    let pending = work.loads.iter().filter(|item| item.is_pending()).map(|item| item.load);
    pending.map(|load| (&*load.environment, &*load.id)).unzip()
}

/// Notes what the ledger has of the loads that are pending; says whether any of it is new.
async fn mark<S>(connection: &Connection<S>, work: &mut Work<'_>) -> Result<bool, SinkError> {
    let (environments, ids) = keys(work);
    let found = connection.query(READ, &[&environments, &ids]).await.map_err(tables::never_of_a_row)?;
    let mut changed = false;
    for row in found {
        let (environment, id): (&str, &str) = (row.get(0), row.get(1));
        let (files, skipped): (Vec<String>, Vec<String>) = (row.get(2), row.get(3));
        // Taken by ourselves, and nothing of it landed.
        if files.is_empty() {
            continue;
        }
        let of = |item: &&mut crate::store::load::work::Item<'_>| {
            &*item.load.environment == environment && item.load.id == id
        };
        let Some(item) = work.loads.iter_mut().find(of) else { continue };
        if skipped.is_empty() {
            changed |= !std::mem::replace(&mut item.is_old, true);
        } else {
            for file in files {
                changed |= item.landed.insert(file);
            }
        }
    }
    Ok(changed)
}
