//! A look into a lake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parquet::errors::ParquetError;

use super::{Look, LookError, Rows, Table, json, no_table};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::store::offline::lake::{self, read};
use crate::store::{StoreError, StoreOptions};
use crate::value::arrow::values;
use crate::value::json::to_text;

struct LakeLook {
    root: PathBuf,
}

pub(in crate::store) fn open(_: StoreKind, options: &StoreOptions) -> Result<Arc<dyn Look>, StoreError> {
    Ok(Arc::new(LakeLook { root: lake::root(expose(&options.fetched))? }))
}

#[async_trait]
impl Look for LakeLook {
    async fn tables(&self) -> Result<Vec<Table>, LookError> {
        self.with(tables).await
    }

    async fn rows(&self, table: &str, most: usize) -> Result<Rows, LookError> {
        let table = table.to_owned();
        self.with(move |root| rows(root, &table, most)).await
    }
}

impl LakeLook {
    /// Reads where blocking is allowed.
    async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<R, LookError> + Send + 'static,
    ) -> Result<R, LookError> {
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&root));
        done.await.map_err(|error| LookError(error.to_string()))?
    }
}

fn tables(root: &Path) -> Result<Vec<Table>, LookError> {
    let failed = |error: ParquetError| LookError(format!("lake `{}`: {error}", root.display()));
    let mut tables = Vec::new();
    for name in read::tables(root).map_err(|error| failed(error.into()))? {
        let files = read::files(root, &name).map_err(|error| failed(error.into()))?;
        let bytes: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum();
        let rows = Some(read::count(root, &name).map_err(failed)?);
        let files = match files.len() {
            1 => "1 parquet file".to_owned(),
            number => format!("{number} parquet files"),
        };
        tables.push(Table { name, rows, is_estimate: false, detail: format!("in {files}, {} kB", bytes / 1000) });
    }
    Ok(tables)
}

fn rows(root: &Path, table: &str, most: usize) -> Result<Rows, LookError> {
    let known = tables(root)?;
    if known.iter().all(|known| known.name != table) {
        return Err(no_table(table, &known));
    }
    let sample = read::sample(root, table, most);
    let sample = sample.map_err(|error| LookError(format!("lake `{}`: {error}", root.display())))?;
    let Some(batch) = sample else { return Ok(Rows::default()) };
    let columns = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let arrays: Vec<_> = batch.columns().iter().map(|column| values(column)).collect();
    let cell = |array: &Vec<_>, row: usize| json(array.get(row).map_or_else(|| "null".to_owned(), to_text));
    let row = |row: usize| arrays.iter().map(|array| cell(array, row)).collect();
    Ok(Rows { columns, rows: (0..batch.num_rows()).map(row).collect::<Result<_, _>>()? })
}
