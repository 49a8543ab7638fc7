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
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::file::{Cell, File};
use super::{OnlineStore, StoredFeature, merge};
use crate::config::secret::expose;
use crate::row::feature::{Entity, FeatureRow};
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::{StoreError, StoreOptions};
use crate::value::{Value, json};

/// The embedded store.
struct SqliteStore {
    path: PathBuf,
    /// SQLite has one writer at a time in any case, so one connection serves the process.
    file: Arc<Mutex<Option<File>>>,
}

/// Checks a URI `sqlite:relative/path.db` or `sqlite:///absolute/path.db`; opens no file yet.
pub(super) fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    let path = path(expose(&options.fetched))?;
    Ok(Arc::new(SqliteStore { path, file: Arc::default() }))
}

fn path(uri: &str) -> Result<PathBuf, StoreError> {
    let wrong = |what: &str| {
        Err(StoreError(format!(
            "online store `{uri}`: {what}; expected `sqlite:relative/path.db` or `sqlite:///absolute/path.db`"
        )))
    };
    let Some((_, rest)) = uri.split_once(':') else { return wrong("no scheme") };
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return wrong("a host, where a file has none"),
        None => rest,
    };
    match path {
        "" => wrong("no path"),
        ":memory:" => wrong("a database in memory, which would be lost with the process"),
        // The bundled SQLite reads parameters out of such a name, `mode=memory` among them.
        _ if path.starts_with("file:") => wrong("a URI of SQLite in place of a path"),
        _ if path.ends_with('/') => wrong("a folder"),
        _ => Ok(Path::new(path).to_owned()),
    }
}

impl SqliteStore {
    /// Runs work that blocks on the file, where blocking is allowed.
    async fn with_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path, &mut Option<File>) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let mut file = self.file.clone().lock_owned().await;
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            let done = work(&path, &mut file);
            if done.is_err() {
                // A connection that met an error may be in any state; the next one starts afresh.
                *file = None;
            }
            done
        })
        .await
        .map_err(|error| SinkError::Bug { reason: format!("writing to SQLite: {error}") })?
    }
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
                expires_at: cell.expires_at,
            }));
        }
        let written = self.with_file(move |path, file| File::opened(path, file)?.write(&cells)).await?;
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

    fn collapse(&self, _: &Entity, rows: &[&FeatureRow]) -> FeatureRow {
        merge::collapse(rows, compare)
    }
}

#[async_trait]
impl OnlineStore for SqliteStore {
    async fn read(&self, entity: &Entity) -> Result<Vec<StoredFeature>, SinkError> {
        let entity = entity.clone();
        self.with_file(move |path, file| {
            if !path.exists() {
                // Nothing was written, or all of it was removed: reading must not be what makes the file.
                return Ok(Vec::new());
            }
            File::opened(path, file)?.read(&entity)
        })
        .await
    }
}

/// SQLite compares text by its bytes.
fn compare(one: &Value, other: &Value) -> Ordering {
    json::to_text(one).cmp(&json::to_text(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_file_or_says_what_is_wrong() {
        assert_eq!(path("sqlite:a/b.db"), Ok("a/b.db".into()));
        assert_eq!(path("sqlite:///a/b.db"), Ok("/a/b.db".into()));
        assert_eq!(path("sqlite:/a/b.db"), Ok("/a/b.db".into()));
        for (uri, what) in [
            ("sqlite:", "no path"),
            ("sqlite://a/b.db", "a host"),
            ("sqlite::memory:", "in memory"),
            ("sqlite:a/", "a folder"),
            ("sqlite:file:a?mode=memory", "a URI of SQLite"),
        ] {
            assert!(path(uri).expect_err(uri).0.contains(what), "{uri}");
        }
    }
}
