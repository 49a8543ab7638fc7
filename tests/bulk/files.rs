//! Parquet files, made by the library and not by the writer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// 2026-11-22T18:32:00Z
pub(crate) const NOON: i64 = 1_795_372_320_000_000;

/// Rows `from..to` of three columns: `id`, `name` and `observed_at`, a second apart.
pub(crate) fn rows(from: i64, to: i64) -> RecordBatch {
    let times = (from..to).map(|id| NOON + id * 1_000_000);
    batch(&[
        ("id", Arc::new(Int64Array::from_iter_values(from..to))),
        ("name", Arc::new(StringArray::from_iter_values((from..to).map(|id| format!("name {id}"))))),
        ("observed_at", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
    ])
}

/// The same with an `id` that is text.
pub(crate) fn wrong(from: i64, to: i64) -> RecordBatch {
    let right = rows(from, to);
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((from..to).map(|id| format!("id {id}"))));
    batch(&[("id", ids), ("name", right.column(1).clone()), ("observed_at", right.column(2).clone())])
}

pub(crate) fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, array.clone()))).expect("columns")
}

/// The bytes of a file with groups of so many rows.
pub(crate) fn parquet(batch: &RecordBatch, group: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a schema");
    writer.write(batch).expect("written");
    writer.into_inner().expect("finished")
}

/// Writes a file and gives its uri.
pub(crate) fn put(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, bytes).expect("written");
    format!("file://{}", path.display())
}

/// The ids of all rows of a table of a lake, sorted.
pub(crate) fn ids(lake: &Path, table: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in chalk_writer::store::offline::lake::read::files(lake, table).unwrap_or_default() {
        let file = std::fs::File::open(file).expect("a visible file opens");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
        for batch in reader.expect("a visible file is whole").build().expect("a reader") {
            let batch = batch.expect("every batch is whole");
            let column = batch.column_by_name("id").expect("the column").clone();
            ids.extend(column.as_primitive::<Int64Type>().values());
        }
    }
    ids.sort_unstable();
    ids
}
