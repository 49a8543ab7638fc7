//! The embedded online store: one SQLite file, written with one upsert a value, one transaction a batch.
//!
//! # Layout
//! Table `online_features (environment, namespace, pkey, feature, value, observed_at, expires_at, evicted)`,
//! keyed by the first four. `value` is JSON text (see [`crate::value::json`]); a stored null is the text
//! `null`, and only a tombstone has SQL's NULL there and 1 in `evicted`. Times are integer microseconds
//! since 1970; `expires_at` is NULL where a value never expires. The primary key of an entity is text.
//!
//! # Guarantees
//! A batch is durable when `write` returns: it is one transaction in a write-ahead log that is flushed
//! on commit. Several processes may write one file; each waits for the other's transaction. Values that
//! have expired are removed a stretch of the table at a time, behind each batch, so a file that is
//! written to does not grow with what nobody can read any more. A file that is removed or replaced under a
//! running writer is noticed before each batch and after it, and the path is opened anew.

mod file;

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;

use self::file::{Cell, File};
use super::{OnlineStore, StoredFeature, merge};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::row::feature::{Entity, FeatureRow};
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::{StoreError, StoreOptions, sqlite};
use crate::value::{Value, json};

const NAME: &str = StoreKind::Online.name();

/// The embedded store.
struct SqliteStore {
    file: sqlite::File<File>,
}

/// Checks a URI `sqlite:relative/path.db` or `sqlite:///absolute/path.db`; opens no file yet.
pub(in crate::store) fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    let path = sqlite::path(NAME, expose(&options.fetched))?;
    Ok(Arc::new(SqliteStore { file: sqlite::File::new(path, File::prepared) }))
}

#[async_trait]
impl Sink<FeatureRow> for SqliteStore {
    async fn write(&self, write: Write<'_, FeatureRow>) -> Result<Outcome, SinkError> {
        let mut outcome = Outcome::default();
        let mut cells = Vec::with_capacity(write.rows.iter().map(|row| row.cells.len()).sum());
        for (index, row) in write.rows.iter().enumerate() {
            if let Some(refusal) = merge::refusal(row) {
                outcome.refused.push((index, refusal));
                continue;
            }
            cells.extend(row.cells.iter().map(|cell| Cell {
                row: index,
                entity: row.entity.clone(),
                feature: row.feature(cell).to_owned(),
                value: cell.value.as_ref().map(json::to_text),
                observed_at: cell.observed_at,
                expires_at: cell.expires_at.time(),
            }));
        }
        let written = self.file.with(move |file| file.write(&cells)).await?;
        outcome.stored = written.stored;
        outcome.stale = written.stale;
        outcome.refused.extend(
            written
                .too_large
                .into_iter()
                .map(|(row, feature)| (row, merge::at(merge::too_large(&feature), write.rows[row]))),
        );
        Ok(outcome)
    }

    /// Opens the file, and makes it where it is not there.
    async fn probe(&self) -> Result<(), SinkError> {
        self.file.with(|_| Ok(())).await
    }

    fn collapse(&self, _: &Entity, rows: &[&FeatureRow]) -> FeatureRow {
        merge::collapse(rows, compare)
    }
}

#[async_trait]
impl OnlineStore for SqliteStore {
    async fn read(&self, entity: &Entity) -> Result<Vec<StoredFeature>, SinkError> {
        if !self.file.path().exists() {
            // Nothing was written, or all of it was removed: reading must not be what makes the file.
            return Ok(Vec::new());
        }
        let entity = entity.clone();
        self.file.with(move |file| file.read(&entity)).await
    }
}

/// SQLite compares text by its bytes.
fn compare(one: &Value, other: &Value) -> Ordering {
    json::to_text(one).cmp(&json::to_text(other))
}
