//! A look into a schema of Postgres.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;

use super::{Look, LookError, Rows, Table, json, no_table, schema, time_of};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::store::postgres::connection::{Connection, Pool};
use crate::store::postgres::{SCHEMA, quoted, uri};
use crate::store::{StoreError, StoreOptions};

/// Rows beyond which the server's estimate has to do.
const COUNTED: f32 = 5e6;

const TABLES: &str = "
    SELECT class.relname::text, class.relkind IN ('v', 'm'), class.reltuples
    FROM pg_class class JOIN pg_namespace space ON space.oid = class.relnamespace
    WHERE space.nspname = $1 AND class.relkind IN ('r', 'p', 'v', 'm') ORDER BY 1";

const COLUMNS: &str = "
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

struct PostgresLook {
    pool: Pool<()>,
    /// The schema where the URI names none.
    schema: &'static str,
}

pub(in crate::store) fn open(kind: StoreKind, options: &StoreOptions) -> Result<Arc<dyn Look>, StoreError> {
    uri::parse(kind.name(), expose(&options.fetched))?;
    Ok(Arc::new(PostgresLook { pool: Pool::new(kind.name(), options.uri.clone()), schema: schema(kind, SCHEMA) }))
}

#[async_trait]
impl Look for PostgresLook {
    async fn tables(&self) -> Result<Vec<Table>, LookError> {
        let connection = self.pool.take().await?;
        let tables = tables(&connection, connection.address.schema(self.schema)).await?;
        self.pool.give_back(connection);
        Ok(tables)
    }

    async fn rows(&self, table: &str, most: usize) -> Result<Rows, LookError> {
        let connection = self.pool.take().await?;
        let schema = connection.address.schema(self.schema);
        let place = format!("{}.{}", quoted(schema), quoted(table));
        let columns = connection.query(COLUMNS, &[&place]).await?;
        let columns: Vec<String> = columns.iter().map(|row| row.get(0)).collect();
        if columns.is_empty() || table.contains('\0') {
            return Err(no_table(table, &tables(&connection, schema).await?));
        }
        let order = time_of(&columns).map(|time| format!("ORDER BY {} DESC NULLS LAST", quoted(time)));
        let order = order.unwrap_or_default();
        // Numbers of any length and times of any year as the server writes them.
        let select = format!("SELECT row_to_json(t)::text FROM (SELECT * FROM {place} {order} LIMIT {most}) AS t");
        let mut rows = Vec::new();
        for row in connection.query(&select, &[]).await? {
            let text: String = row.get(0);
            let wrong = |error: serde_json::Error| LookError(format!("{place}: {error}"));
            let mut cells: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).map_err(wrong)?;
            let cells = columns.iter().map(|column| match cells.remove(column) {
                Some(cell) => Ok(cell),
                None => json("null".to_owned()),
            });
            rows.push(cells.collect::<Result<_, _>>()?);
        }
        self.pool.give_back(connection);
        Ok(Rows { columns, rows })
    }
}

async fn tables(connection: &Connection<()>, schema: &str) -> Result<Vec<Table>, LookError> {
    let mut tables = Vec::new();
    for row in connection.query(TABLES, &[&schema]).await? {
        let (name, is_view, estimate): (String, bool, f32) = (row.get(0), row.get(1), row.get(2));
        let is_estimate = !is_view && estimate > COUNTED;
        let rows = match (is_view, is_estimate) {
            (true, _) => None,
            (false, true) => Some(estimate as u64),
            (false, false) => {
                let count = format!("SELECT count(*) FROM {}.{}", quoted(schema), quoted(&name));
                let counted: i64 = connection.query(&count, &[]).await?.first().map_or(0, |row| row.get(0));
                Some(counted.unsigned_abs())
            }
        };
        tables.push(Table { name, rows, is_estimate, detail: String::new() });
    }
    Ok(tables)
}
