//! Finding and making tables, so that several writers may do it at once.

use tokio_postgres::error::SqlState;
use xxhash_rust::xxh3::xxh3_64;

use super::connection::Connection;
use super::{failure, quoted};
use crate::sink::SinkError;

/// Whether a table is there; `table` is its quoted name with its schema.
pub(in crate::store) async fn is_there<S>(connection: &Connection<S>, table: &str) -> Result<bool, SinkError> {
    let found = connection.query("SELECT to_regclass($1) IS NOT NULL", &[&table]).await.map_err(never_of_a_row)?;
    Ok(found.iter().any(|row| row.get(0)))
}

/// Makes a table, and its schema where that is missing, in a transaction of its own.
pub(in crate::store) async fn create<S>(
    connection: &Connection<S>,
    schema: &str,
    table: &str,
    statement: &str,
) -> Result<(), SinkError> {
    begin_alone(connection, table).await?;
    make_schema(connection, schema).await?;
    connection.run(&format!("{statement}; COMMIT")).await.map_err(never_of_a_row)
}

/// Begins a transaction in which no other writer changes the table until it ends.
pub(in crate::store) async fn begin_alone<S>(connection: &Connection<S>, table: &str) -> Result<(), SinkError> {
    let lock = xxh3_64(table.as_bytes()).cast_signed();
    connection.run(&format!("BEGIN; SELECT pg_advisory_xact_lock({lock})")).await.map_err(never_of_a_row)
}

/// Makes the schema where it is missing: `IF NOT EXISTS` alone asks for the right to make one in any case.
pub(in crate::store) async fn make_schema<S>(connection: &Connection<S>, schema: &str) -> Result<(), SinkError> {
    let name = quoted(schema);
    let found = connection.query("SELECT to_regnamespace($1) IS NOT NULL", &[&name]).await.map_err(never_of_a_row)?;
    if found.iter().any(|row| row.get(0)) {
        return Ok(());
    }
    connection.run(&format!("CREATE SCHEMA IF NOT EXISTS {name}")).await.map_err(never_of_a_row)
}

/// An error in making a table is no verdict on a row; but for a table that has as many columns as there can be.
pub(in crate::store) fn never_of_a_row(error: SinkError) -> SinkError {
    match error {
        SinkError::Poisoned(refusal) if refusal.code.as_deref() != Some(SqlState::TOO_MANY_COLUMNS.code()) => {
            SinkError::Transient { reason: failure::not_of_a_row(refusal) }
        }
        error => error,
    }
}
