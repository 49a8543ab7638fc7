//! A look into a lake: how much lies there, and a few rows of each table.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::output::{self, shortened};

/// One table of a lake.
#[derive(Debug)]
pub(super) struct LakeTable {
    /// Its name: that of its folder.
    pub name: String,
    /// Rows in all of its files.
    pub rows: u64,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Their size on disk.
    pub bytes: u64,
}

/// Every table under a root, by name.
pub(super) fn tables(root: &Path) -> anyhow::Result<Vec<LakeTable>> {
    let mut tables = Vec::new();
    for folder in entries(root)?.into_iter().filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut table = LakeTable { name, rows: 0, files: Vec::new(), bytes: 0 };
        collect(&folder, &mut table)?;
        if !table.files.is_empty() {
            tables.push(table);
        }
    }
    Ok(tables)
}

fn collect(folder: &Path, table: &mut LakeTable) -> anyhow::Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            collect(&path, table)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            let file = File::open(&path)?;
            table.bytes += file.metadata()?.len();
            table.rows += ParquetRecordBatchReaderBuilder::try_new(file)
                .with_context(|| path.display().to_string())?
                .metadata()
                .file_metadata()
                .num_rows() as u64;
            table.files.push(path);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

impl LakeTable {
    /// The first rows of its newest file as text, as many columns as fit in a terminal.
    pub(super) fn sample(&self, rows: usize, columns: usize) -> anyhow::Result<String> {
        let path = self.files.last().context("a table has at least one file")?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let wanted = interesting(&names, columns);
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let reader = builder.with_projection(mask).with_limit(rows).with_batch_size(rows.max(1)).build()?;
        let mut table = output::table([]);
        for batch in reader {
            let batch = batch?;
            table.set_header(batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>());
            let options = FormatOptions::default().with_null("null");
            let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                table.add_row(columns.iter().map(|column| shortened(&column.value(row).to_string(), 28)));
            }
        }
        Ok(table.trim_fmt())
    }
}

/// Which columns tell most about a row: its key and time, then those that are features.
fn interesting(names: &[String], most: usize) -> Vec<usize> {
    let first = ["__id__", "__ts__"].iter().filter_map(|name| names.iter().position(|known| known == name));
    let features = names.iter().enumerate().filter(|(_, name)| !name.starts_with("__")).map(|(at, _)| at);
    first.chain(features).take(most).collect()
}
