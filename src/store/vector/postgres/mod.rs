//! The vector store in Postgres with pgvector: one table a feature, with an HNSW index.
//!
//! # Layout
//! In the schema that the URI names (`?schema=…`, else `public`). Table `vector_tables (id, namespace, feature,
//! table_name, dimension, metric, precision)` has a row a feature; its last three are NULL until there is a vector. The
//! table that it names is `vectors_<namespace>__<feature> (environment, id, payload, observed_at, evicted, embedding)`,
//! keyed by the first two. `embedding`, which comes with the first vector, is `halfvec(n)` where that is in half
//! precision, else `vector(n)`: pgvector has no double precision, so that doubles are rounded to singles. `payload` is
//! `jsonb`; a tombstone has neither vector nor payload, and `evicted`.
//!
//! The index is HNSW, with the operators of the table's metric. pgvector indexes at most 2,000 dimensions, 4,000 of
//! half precision; what has more is stored, without an index, which is said once. It stores at most 16,000.
//!
//! The extension is made where it is missing; where the role may not do that, what a person has to run is said.
//!
//! # Guarantees
//! A statement compares what it brings with what stands, in the server and atomically for each vector, so a
//! repetition changes nothing and an older vector never wins. A batch is durable when `write` returns. What a table
//! is, is asked anew for each write, so that no vector is refused for what a table was.

mod chunks;
mod elements;
mod search;
mod session;
mod sweep;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::chunks::Chunk;
use self::session::{Connection, Session, prepared, ready};
use self::sweep::Sweeper;
use self::table::Table;
use super::{Made, Near, Neighbour, StoredVector, VectorStore, fit, order};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::row::vector::{VectorFeature, VectorKey, VectorRow};
use crate::sink::{Outcome, Refusal, Sink, SinkError, Write};
use crate::store::postgres::connection::Pool;
use crate::store::postgres::fan_out::{Written, fan_out};
use crate::store::postgres::{tables, uri};
use crate::store::{StoreError, StoreOptions};
use crate::value::{Value, jsonb};

struct PostgresVectors {
    pool: Pool<Session>,
    sweeper: Sweeper,
}

/// Checks the URI; contacts nothing.
pub(in crate::store) fn open(options: &StoreOptions) -> Result<Arc<dyn VectorStore>, StoreError> {
    uri::parse(StoreKind::Vector.name(), expose(&options.fetched))?;
    let pool = Pool::new(StoreKind::Vector.name(), options.uri.clone());
    Ok(Arc::new(PostgresVectors { pool, sweeper: Sweeper::new(options.limits.tombstone_retention) }))
}

impl PostgresVectors {
    /// Writes the rows of one feature; how many values the store now holds of them.
    async fn feature(
        &self,
        feature: &VectorFeature,
        rows: Vec<(usize, &VectorRow)>,
        concurrency: usize,
        refused: &mut Vec<(usize, Refusal)>,
    ) -> Result<(u64, u64), SinkError> {
        // What the table is made for is a vector that it takes: one that is refused says nothing of the others.
        let first = rows.iter().find_map(|(_, row)| {
            let point = row.point.as_ref()?;
            let made = Table::of(point, row.metric);
            fit::fitted(row, &point.vector, made).is_ok().then_some(made)
        });
        let table = self
            .pool
            .on_a_connection(async |connection| {
                ready(connection).await?;
                Table::made(connection, feature, first).await
            })
            .await?;
        let chunks = chunks::of(rows, &table, refused);
        if chunks.is_empty() {
            return Ok((0, 0));
        }
        let table = &table;
        let Written { stored, stale, error } = fan_out(chunks, concurrency, |chunk| async move {
            self.pool.on_a_connection(async |connection| write(connection, table, &chunk).await).await
        })
        .await;
        if let Some(error) = error {
            return Err(error);
        }
        self.sweeper.sweep(&self.pool, table).await;
        Ok((stored, stale))
    }
}

/// Writes one chunk; how many vectors the store now holds of it, and how many left no trace.
async fn write(connection: &mut Connection, table: &Table, chunk: &Chunk) -> Result<(u64, u64), SinkError> {
    ready(connection).await?;
    let statement = prepared(connection, &table.upsert()).await?;
    let stored = connection.execute(&statement, &chunk.parameters(table.made.is_some())).await;
    // Others may have put the first vector into the table meanwhile, which then asks for another statement.
    let stored = stored.map_err(|error| if table.made.is_none() { tables::never_of_a_row(error) } else { error })?;
    Ok((stored, chunk.count - stored))
}

#[async_trait]
impl Sink<VectorRow> for PostgresVectors {
    async fn write(&self, write: Write<'_, VectorRow>) -> Result<Outcome, SinkError> {
        let mut outcome = Outcome::default();
        let mut features: BTreeMap<&VectorFeature, Vec<(usize, &VectorRow)>> = BTreeMap::new();
        for (at, row) in write.rows.iter().enumerate() {
            match fit::refusal(row).or_else(|| chunks::refusal(row)) {
                Some(refusal) => outcome.refused.push((at, refusal)),
                None => features.entry(&row.key.feature).or_default().push((at, row)),
            }
        }
        for (feature, rows) in features {
            match (self.feature(feature, rows, write.concurrency, &mut outcome.refused).await, write.rows) {
                (Ok((stored, stale)), _) => {
                    outcome.stored += stored;
                    outcome.stale += stale;
                }
                // The server names no row; where there is one alone, it is that.
                (Err(SinkError::Poisoned(refusal)), [row]) => return Err(SinkError::Poisoned(fit::at(refusal, row))),
                (Err(error), _) => return Err(error),
            }
        }
        Ok(outcome)
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.pool.on_a_connection(async |_| Ok(())).await
    }

    fn collapse(&self, _: &VectorKey, rows: &[&VectorRow]) -> VectorRow {
        order::collapse(rows, payload)
    }
}

#[async_trait]
impl VectorStore for PostgresVectors {
    async fn read(&self, key: &VectorKey) -> Result<Option<StoredVector>, SinkError> {
        self.pool.on_a_connection(async |connection| search::read(connection, key).await).await
    }

    async fn nearest(&self, near: &Near<'_>) -> Result<Vec<Neighbour>, SinkError> {
        self.pool.on_a_connection(async |connection| search::nearest(connection, near).await).await
    }

    async fn table(&self, feature: &VectorFeature) -> Result<Option<Made>, SinkError> {
        self.pool
            .on_a_connection(async |connection| {
                Ok(Table::find(connection, feature).await?.and_then(|table| table.made))
            })
            .await
    }
}

/// The server compares the text that it gives a `jsonb`, by its bytes.
fn payload(payload: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    jsonb::write(payload, &mut text);
    text
}
