//! The Postgres online store: one row a feature, upserted some thousand at a time from arrays.
//!
//! # Layout
//! Table `online_features (environment, namespace, pkey, feature, value, observed_at, expires_at, evicted)` in the
//! schema that the URI names (`?schema=…`, else `public`), keyed by the first four, which are compared by their
//! bytes. `value` is `jsonb` (see [`crate::value::jsonb`]); a stored null is JSON's `null`, and only a
//! tombstone has SQL's NULL there and `evicted`. `expires_at` is NULL where a value never expires.
//! Schema and table are made on first use where they are missing.
//!
//! # Guarantees
//! A statement compares what it brings with what stands, in the server and atomically for each feature, so a
//! repetition changes nothing and an older value never wins. A batch is durable when `write` returns: a session that
//! would not wait for its commits is set to. Values that have expired are removed a stretch of the table at a
//! time by a task beside the writes.
//!
//! Text with U+0000 and keys longer than an index takes are refused, by name. What only the server can say
//! of a row (its database is not in UTF-8, say) is found by halving.

mod chunks;
mod prepared;
mod statement;
mod sweep;

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use self::chunks::Chunk;
use self::prepared::{Session, prepared};
use self::statement::Statements;
use self::sweep::Sweeper;
use super::{OnlineStore, StoredFeature, merge};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::row::feature::{Entity, FeatureRow};
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::postgres::binary::Micros;
use crate::store::postgres::connection::{self, Pool};
use crate::store::postgres::fan_out::{Written, fan_out};
use crate::store::postgres::{SCHEMA, uri};
use crate::store::{StoreError, StoreOptions};
use crate::value::{Value, json, jsonb};

const NAME: &str = StoreKind::Online.name();

type Connection = connection::Connection<Session>;

struct PostgresStore {
    pool: Arc<Pool<Session>>,
    sweeper: Sweeper,
}

/// Checks the URI; contacts nothing.
pub(in crate::store) fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    uri::parse(NAME, expose(&options.fetched))?;
    let pool = Arc::new(Pool::of_single_statements(NAME, options.uri.clone()));
    Ok(Arc::new(PostgresStore { pool, sweeper: Sweeper::default() }))
}

/// Writes one chunk; how many values the store now holds of it, and how many left no trace.
async fn chunk(connection: &mut Connection, chunk: &Chunk) -> Result<(u64, u64), SinkError> {
    let prepared = prepared(connection).await?;
    let mut stored = 0;
    if chunk.live.count > 0 {
        stored = connection.execute(&prepared.upsert, &chunk.live.parameters()).await?;
    }
    if chunk.expired.count > 0 {
        connection.execute(&prepared.expired, &chunk.expired.parameters()).await?;
    }
    Ok((stored, chunk.live.count + chunk.expired.count - stored))
}

#[async_trait]
impl Sink<FeatureRow> for PostgresStore {
    async fn write(&self, write: Write<'_, FeatureRow>) -> Result<Outcome, SinkError> {
        let mut outcome = Outcome::default();
        let chunks = chunks::of(write.rows, &mut outcome.refused);
        if chunks.is_empty() {
            return Ok(outcome);
        }
        let Written { stored, stale, error } = fan_out(chunks, write.concurrency, |cells| async move {
            self.pool.on_a_connection(async |connection| chunk(connection, &cells).await).await
        })
        .await;
        (outcome.stored, outcome.stale) = (stored, stale);
        match (error, write.rows) {
            (None, _) => {}
            // The server names no row; where there is one alone, it is that.
            (Some(SinkError::Poisoned(refusal)), [row]) => return Err(SinkError::Poisoned(merge::at(refusal, row))),
            (Some(error), _) => return Err(error),
        }
        self.sweeper.wrote(&self.pool);
        Ok(outcome)
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.pool.on_a_connection(async |_| Ok(())).await
    }

    fn collapse(&self, _: &Entity, rows: &[&FeatureRow]) -> FeatureRow {
        merge::collapse(rows, compare)
    }
}

#[async_trait]
impl OnlineStore for PostgresStore {
    async fn read(&self, entity: &Entity) -> Result<Vec<StoredFeature>, SinkError> {
        let names = [&*entity.environment, &*entity.namespace, &*entity.primary_key];
        if names.iter().any(|name| name.contains('\0')) {
            // Such an entity was refused.
            return Ok(Vec::new());
        }
        self.pool
            .on_a_connection(async |connection| {
                let statements = Statements::new(connection.address.schema(SCHEMA));
                let [environment, namespace, key] = &names;
                let parameters: [&(dyn ToSql + Sync); 3] = [environment, namespace, key];
                let rows = match connection.answer(connection.client.query(&statements.read, &parameters)).await? {
                    // Nothing was written: reading must not be what makes the table.
                    Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(Vec::new()),
                    rows => rows.map_err(|error| connection.failure(&error))?,
                };
                rows.iter().map(|row| stored(row, connection)).collect()
            })
            .await
    }
}

fn stored(row: &tokio_postgres::Row, connection: &Connection) -> Result<StoredFeature, SinkError> {
    let not_ours = |reason: String| SinkError::Transient {
        reason: format!("{}: `online_features` is not this store's: {reason}", connection.address),
    };
    let column = |error: tokio_postgres::Error| not_ours(error.to_string());
    let feature: String = row.try_get(0).map_err(column)?;
    let text: Option<&str> = row.try_get(1).map_err(column)?;
    let Micros(observed_at) = row.try_get(2).map_err(column)?;
    let expires_at: Option<Micros> = row.try_get(3).map_err(column)?;
    let value = text.map(json::from_text).transpose().map_err(|error| not_ours(format!("`{feature}`: {error}")))?;
    Ok(StoredFeature { feature, observed_at, expires_at: expires_at.map(|Micros(end)| end), value })
}

/// The server compares the text that it gives a `jsonb`, by its bytes.
fn compare(one: &Value, other: &Value) -> Ordering {
    let text = |value| {
        let mut text = Vec::new();
        jsonb::write(value, &mut text);
        text
    };
    text(one).cmp(&text(other))
}
