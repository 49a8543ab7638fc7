//! Reads a lake back: which tables there are, how many rows, and a few of them. For `demo` and tests.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::layout;

/// Names of the tables that have a folder, sorted; none where there is no lake.
pub fn tables(root: &Path) -> io::Result<Vec<String>> {
    let folders = match sorted(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        folders => folders?,
    };
    let names = folders.iter().filter(|path| path.is_dir()).filter_map(|path| path.file_name()?.to_str());
    Ok(names.filter(|name| !name.starts_with(['_', '.'])).map(layout::name_of).collect())
}

/// The files of a table, oldest date first.
pub fn files(root: &Path, table: &str) -> io::Result<Vec<PathBuf>> {
    let Some(folder) = layout::segment(table) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for date in sorted(&root.join(folder))?.into_iter().filter(|path| path.is_dir()) {
        files.extend(sorted(&date)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")));
    }
    Ok(files)
}

/// Number of rows of a table, a replay's doubles included.
pub fn count(root: &Path, table: &str) -> Result<u64, ParquetError> {
    let mut rows = 0;
    for file in files(root, table)? {
        rows += SerializedFileReader::new(File::open(file)?)?.metadata().file_metadata().num_rows().unsigned_abs();
    }
    Ok(rows)
}

/// Up to `rows` rows from the newest files, as far as those have the columns of the very newest.
pub fn sample(root: &Path, table: &str, rows: usize) -> Result<Option<RecordBatch>, ParquetError> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut left = rows;
    for file in files(root, table)?.iter().rev() {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.with_limit(left).build()?;
        for batch in reader {
            let batch = batch?;
            if batches.first().is_some_and(|first| first.schema() != batch.schema()) {
                left = 0;
                break;
            }
            left -= batch.num_rows();
            batches.push(batch);
        }
        if left == 0 {
            break;
        }
    }
    let Some(first) = batches.first() else { return Ok(None) };
    Ok(Some(concat_batches(&first.schema(), &batches)?))
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
