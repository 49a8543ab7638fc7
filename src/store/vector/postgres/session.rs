//! What a connection needs before anything is done with vectors on it, and the statements that it has prepared.

use hashbrown::HashMap;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;

use crate::sink::SinkError;
use crate::store::postgres::{connection, tables};

/// Where pgvector is, and its version.
const FIND: &str = "
    SELECT quote_ident(schema.nspname), extension.extversion
    FROM pg_extension AS extension JOIN pg_namespace AS schema ON schema.oid = extension.extnamespace
    WHERE extension.extname = 'vector'";

/// Makes the types and operators of pgvector known by their names, wherever it is.
const PATH: &str = "
    SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), $1::text), false)";

/// The version from which on an index is gone through until there are enough neighbours of the asked environment.
const ITERATIVE: (u32, u32) = (0, 8);

/// Statements that one connection keeps prepared; one that has as many starts over. There are two for a table.
const PREPARED: usize = 200;

/// A connection with what is known of it.
pub(super) type Connection = connection::Connection<Session>;

/// What is known of a connection.
#[derive(Default)]
pub(super) struct Session {
    ready: bool,
    /// Whether its pgvector goes through an index until there is enough.
    pub(super) iterative: bool,
    prepared: HashMap<String, Statement>,
}

/// Makes a connection ready, and the extension where the database does not have it yet.
pub(super) async fn ready(connection: &mut Connection) -> Result<(), SinkError> {
    if connection.state.ready {
        return Ok(());
    }
    if connection.query(FIND, &[]).await.map_err(tables::never_of_a_row)?.is_empty() {
        create(connection).await?;
    }
    known(connection).await
}

/// Makes a connection ready where the database has the extension; where not, there are no vectors in it.
pub(super) async fn known(connection: &mut Connection) -> Result<(), SinkError> {
    if connection.state.ready {
        return Ok(());
    }
    let found = connection.query(FIND, &[]).await.map_err(tables::never_of_a_row)?;
    let Some(found) = found.first() else { return Ok(()) };
    let (schema, version): (String, String) = (found.get(0), found.get(1));
    connection.query(PATH, &[&schema]).await.map_err(tables::never_of_a_row)?;
    connection.state.iterative = is_iterative(&version);
    connection.state.ready = true;
    Ok(())
}

fn is_iterative(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0_u32));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= ITERATIVE
}

async fn create(connection: &Connection) -> Result<(), SinkError> {
    tables::begin_alone(connection, "vector").await?;
    let made = connection.client.batch_execute("CREATE EXTENSION IF NOT EXISTS vector; COMMIT");
    let Err(error) = connection.answer(made).await? else { return Ok(()) };
    let what = match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            "the role may not make the extension pgvector; somebody who may has to run `CREATE EXTENSION vector` in \
             this database"
        }
        // What the server says where no such extension is installed, by its version.
        Some(&SqlState::FEATURE_NOT_SUPPORTED | &SqlState::UNDEFINED_FILE | &SqlState::UNDEFINED_OBJECT) => {
            "vectors need the extension pgvector, which is not installed on this server"
        }
        _ => return Err(tables::never_of_a_row(connection.failure(&error))),
    };
    let said = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
    Err(SinkError::Denied { reason: format!("{}: {what} ({said})", connection.address) })
}

/// A statement as the server has prepared it.
pub(super) async fn prepared(connection: &mut Connection, text: &str) -> Result<Statement, SinkError> {
    if let Some(statement) = connection.state.prepared.get(text) {
        return Ok(statement.clone());
    }
    let statement = connection.within(connection.client.prepare(text)).await.map_err(tables::never_of_a_row)?;
    if connection.state.prepared.len() >= PREPARED {
        connection.state.prepared.clear();
    }
    connection.state.prepared.insert(text.to_owned(), statement.clone());
    Ok(statement)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_version_says_what_it_can() {
        assert!(super::is_iterative("0.8.6") && super::is_iterative("1.0") && super::is_iterative("0.10.0"));
        assert!(!super::is_iterative("0.7.4") && !super::is_iterative("x"));
    }
}
