//! The embedded vector store: one SQLite file, with sqlite-vec linked into this program as its index.
//!
//! # Layout
//! Table `vector_tables (id, namespace, feature, table_name, index_name, dimension, metric, precision)` has a row a
//! feature; its last three are NULL until there is a vector. The table that it names is `vectors_<namespace>__<feature>
//! (key, environment, id, embedding, payload, observed_at, evicted)`: `embedding` holds the elements in the table's
//! precision, little-endian, so that no precision loses anything; `payload` is JSON text; `observed_at` is microseconds
//! since 1970; a tombstone has neither vector nor payload, and 1 in `evicted`.
//!
//! The index that it names, `vector_index_<id>`, is a `vec0` table of sqlite-vec with `environment` as its partition
//! key, the elements in single precision, and as rowid the `key` of the table: a reader loads sqlite-vec and asks it.
//! sqlite-vec knows no inner product and no more than 8,192 dimensions; such a table has no index and is scanned.
//!
//! # Guarantees
//! A write is one transaction, durable when it returns, in which table and index are changed together and what stands
//! is compared with what comes. Several processes may write one file; each waits for the other's transaction.

mod elements;
mod extension;
mod file;
mod search;
mod table;

use std::sync::Arc;

use async_trait::async_trait;

use self::file::Vectors;
use super::{Made, Near, Neighbour, StoredVector, VectorStore, order};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::row::vector::{VectorFeature, VectorKey, VectorRow};
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::{StoreError, StoreOptions, sqlite};

struct SqliteVectors {
    file: sqlite::File<Vectors>,
    /// How long a tombstone is kept, in microseconds.
    retention: i64,
}

/// Checks the URI; opens no file yet.
pub(in crate::store) fn open(options: &StoreOptions) -> Result<Arc<dyn VectorStore>, StoreError> {
    let path = sqlite::path(StoreKind::Vector.name(), expose(&options.fetched))?;
    let retention = i64::try_from(options.limits.tombstone_retention.as_micros()).unwrap_or(i64::MAX);
    Ok(Arc::new(SqliteVectors { file: sqlite::File::new(path, Vectors::new), retention }))
}

#[async_trait]
impl Sink<VectorRow> for SqliteVectors {
    async fn write(&self, write: Write<'_, VectorRow>) -> Result<Outcome, SinkError> {
        let rows: Vec<VectorRow> = write.rows.iter().copied().cloned().collect();
        let retention = self.retention;
        self.file.with(move |file| file.write(&rows, retention)).await
    }

    /// Opens the file, and makes it where it is not there.
    async fn probe(&self) -> Result<(), SinkError> {
        self.file.with(|_| Ok(())).await
    }

    fn collapse(&self, _: &VectorKey, rows: &[&VectorRow]) -> VectorRow {
        order::collapse(rows, elements::payload)
    }
}

#[async_trait]
impl VectorStore for SqliteVectors {
    async fn read(&self, key: &VectorKey) -> Result<Option<StoredVector>, SinkError> {
        let key = key.clone();
        self.with_what_is_there(None, move |file| file.read(&key)).await
    }

    async fn nearest(&self, near: &Near<'_>) -> Result<Vec<Neighbour>, SinkError> {
        let (feature, environment) = (near.feature.clone(), near.environment.to_owned());
        let (vector, count) = (near.vector.to_vec(), near.count);
        self.with_what_is_there(Vec::new(), move |file| {
            let near = Near { feature: &feature, environment: &environment, vector: &vector, count };
            file.nearest(&near)
        })
        .await
    }

    async fn table(&self, feature: &VectorFeature) -> Result<Option<Made>, SinkError> {
        let feature = feature.clone();
        self.with_what_is_there(None, move |file| file.made(&feature)).await
    }
}

impl SqliteVectors {
    /// Reads; where nothing was written, or all of it was removed, reading is not what makes the file.
    async fn with_what_is_there<T: Send + 'static>(
        &self,
        nothing: T,
        read: impl FnOnce(&mut Vectors) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        if !self.file.path().exists() {
            return Ok(nothing);
        }
        self.file.with(read).await
    }
}
