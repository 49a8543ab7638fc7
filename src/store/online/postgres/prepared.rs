//! What a connection remembers: the statements that it has prepared.

use std::sync::Arc;

use tokio_postgres::Statement;

use super::statement::Statements;
use crate::sink::SinkError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::{SCHEMA, tables};

/// What is prepared on a connection, once the table is there.
#[derive(Default)]
pub(super) struct Session {
    prepared: Option<Arc<Prepared>>,
}

pub(super) struct Prepared {
    pub(super) upsert: Statement,
    pub(super) expired: Statement,
    pub(super) stretch: Statement,
    pub(super) sweep: Statement,
}

/// The statements of a connection, prepared after the table was found or made.
pub(super) async fn prepared(connection: &mut Connection<Session>) -> Result<Arc<Prepared>, SinkError> {
    if let Some(prepared) = &connection.state.prepared {
        return Ok(prepared.clone());
    }
    let address = connection.address.clone();
    let schema = address.schema(SCHEMA);
    let statements = Statements::new(schema);
    if !tables::is_there(connection, &statements.table).await? {
        tables::create(connection, schema, &statements.table, &statements.create).await?;
    }
    let prepare = async |text: &str| connection.within(connection.client.prepare(text)).await;
    let prepared = Arc::new(Prepared {
        upsert: prepare(&statements.upsert).await?,
        expired: prepare(&statements.expired).await?,
        stretch: prepare(&statements.stretch).await?,
        sweep: prepare(&statements.sweep).await?,
    });
    connection.state.prepared = Some(prepared.clone());
    Ok(prepared)
}
