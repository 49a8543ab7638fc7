//! The schema of a table, agreed on by every process that writes it: numbered files, of which each
//! number is given out once.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hashbrown::HashMap;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::row::table::TableRows;
use crate::sink::SinkError;
use crate::store::tables::not_there;

use super::files::Files;
use super::layout;
use super::plan::{Plan, plan};
use super::schema::{ColumnSchema, TableSchema};

/// Each round is lost only to a writer that won, so a table in peace settles in one or two.
const ROUNDS: usize = 100;

/// The file of one version.
#[derive(Serialize, Deserialize)]
struct SchemaFile {
    /// Of this description; 1.
    format: u32,
    /// The table, not escaped.
    table: String,
    /// In the order in which they appeared.
    columns: Vec<ColumnSchema>,
}

/// The schemas of every table in a lake.
#[derive(Default)]
pub(super) struct Ledger {
    tables: Mutex<HashMap<String, Arc<TableSchema>>>,
}

impl Ledger {
    /// Sorts out rows of a table against its schema, and makes the schema hold them.
    ///
    /// When this returns, the version that the plan names is durable. `folder` is the table's
    /// escaped name.
    pub(super) async fn agree<'a>(
        &self,
        files: &Files,
        table: &str,
        folder: &str,
        rows: &[(usize, &'a TableRows)],
    ) -> Result<Plan<'a>, SinkError> {
        let mut known = self.newest(files, table, folder).await?;
        if known.version == 0 && !rows.iter().any(|(_, rows)| rows.shape().create) {
            return Err(not_there("the lake", table));
        }
        for _ in 0..ROUNDS {
            let mut planned = plan(&known, rows)?;
            if !planned.evolved {
                return Ok(planned);
            }
            planned.schema.version = known.version + 1;
            if self.publish(files, table, folder, &planned.schema).await? {
                return Ok(planned);
            }
            known = self.newest(files, table, folder).await?;
        }
        let reason = format!("the schema of table `{table}` was changed by others {ROUNDS} times in a row");
        Err(SinkError::Transient { reason })
    }

    fn cached(&self, table: &str) -> Option<Arc<TableSchema>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    fn cache(&self, table: &str, schema: Arc<TableSchema>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = tables.get(table).is_none_or(|cached| cached.version < schema.version);
        if newer {
            tables.insert(table.to_owned(), schema);
        }
    }

    /// The newest version. Where one is in memory already, this costs a look at whether a next one is
    /// there, and at whether the one in memory still is.
    async fn newest(&self, files: &Files, table: &str, folder: &str) -> Result<Arc<TableSchema>, SinkError> {
        let path = layout::schemas(folder);
        if let Some(cached) = self.cached(table) {
            let newest = self.follow(files, table, &path, Arc::clone(&cached)).await?;
            // A newer file has all of the table's columns, so nothing of the one in memory is left in it.
            if newest.version > cached.version || stands(files, &path, &cached).await? {
                return Ok(newest);
            }
            tracing::warn!(
                table,
                version = cached.version,
                "the lake's schema was removed or replaced; reading it anew"
            );
            self.forget(table);
            files.forget_durable();
        }
        let versions = files.list(&path).await?;
        let newest = versions.iter().filter_map(|name| layout::version_of(name)).filter(|version| *version > 0).max();
        let before = newest.map_or(0, |version| version - 1);
        let found = Arc::new(TableSchema::new(before, Vec::new()));
        let schema = self.follow(files, table, &path, found).await?;
        if newest.is_some_and(|newest| schema.version < newest) {
            self.forget(table);
            let reason = format!("the schema of table `{table}` was removed while it was read");
            return Err(SinkError::Transient { reason });
        }
        Ok(schema)
    }

    /// The last of the versions after the one that is given.
    async fn follow(
        &self,
        files: &Files,
        table: &str,
        path: &Path,
        mut newest: Arc<TableSchema>,
    ) -> Result<Arc<TableSchema>, SinkError> {
        while let Some(next) = version(files, path, newest.version + 1).await? {
            newest = Arc::new(next);
        }
        self.cache(table, Arc::clone(&newest));
        Ok(newest)
    }

    fn forget(&self, table: &str) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }

    /// Publishes a version; `false` where another writer was first.
    async fn publish(&self, files: &Files, table: &str, folder: &str, schema: &TableSchema) -> Result<bool, SinkError> {
        let file = SchemaFile { format: 1, table: table.to_owned(), columns: schema.columns().to_vec() };
        let text = serde_json::to_vec_pretty(&file).map_err(|error| SinkError::Bug { reason: error.to_string() })?;
        let name = layout::version_name(schema.version);
        if !files.create(&layout::schemas(folder), &name, Bytes::from(text)).await? {
            return Ok(false);
        }
        metrics::counter!("chalk_writer_lake_schema_versions_total").increment(1);
        tracing::info!(table, version = schema.version, columns = schema.columns().len(), "lake schema changed");
        self.cache(table, Arc::new(schema.clone()));
        Ok(true)
    }
}

/// Whether a version that was read or written is still what its file says. The one before the first has none.
async fn stands(files: &Files, path: &Path, schema: &TableSchema) -> Result<bool, SinkError> {
    if schema.version == 0 {
        return Ok(true);
    }
    let found = version(files, path, schema.version).await?;
    Ok(found.is_some_and(|found| found.columns() == schema.columns()))
}

/// One version from its file; `None` where there is none.
async fn version(files: &Files, path: &Path, version: u64) -> Result<Option<TableSchema>, SinkError> {
    let place = layout::file(path, &layout::version_name(version));
    let Some(bytes) = files.read(&place).await? else { return Ok(None) };
    let read = read(version, &bytes);
    let reason = |reason| SinkError::Transient { reason: format!("schema file {place} of the lake: {reason}") };
    read.map(Some).map_err(reason)
}

fn read(version: u64, bytes: &[u8]) -> Result<TableSchema, String> {
    let file: SchemaFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.format != 1 {
        return Err(format!("format {} was written by a newer version; this one knows format 1", file.format));
    }
    Ok(TableSchema::new(version, file.columns))
}
