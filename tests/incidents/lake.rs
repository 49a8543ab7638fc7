//! What a lake has, read file by file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::kit::Plant;

/// The configuration of a lake in this folder.
pub(crate) fn lake(folder: &Path) -> Value {
    json!({"prod": {"offline_store": {"uri": format!("file://{}", folder.display())}}})
}

/// A lake that one may look into.
pub(crate) struct Lake(pub(crate) tempfile::TempDir);

impl Lake {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Every file of the table, with its bytes.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        find(&self.0.path().join("user"), &mut found);
        found
    }

    /// How often each number is there; a file that is not whole fails.
    pub(crate) fn rows(&self) -> BTreeMap<u64, usize> {
        let mut ids: BTreeMap<String, u64> = BTreeMap::new();
        let mut rows = BTreeMap::new();
        for (path, bytes) in self.files() {
            let whole = |error| panic!("{} is not whole: {error}", path.display());
            let file = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap_or_else(whole);
            let told = file.metadata().file_metadata().num_rows() as usize;
            let mut read = 0;
            for batch in file.build().unwrap().map(Result::unwrap) {
                read += batch.num_rows();
                let numbers = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>();
                let observations = batch.column_by_name("__observation_id__").unwrap().as_string::<i32>();
                for (row, number) in numbers.values().iter().enumerate() {
                    *rows.entry(*number as u64).or_default() += 1;
                    let first = ids.entry(observations.value(row).to_owned()).or_insert(*number as u64);
                    assert_eq!(*first, *number as u64, "two rows of one `__observation_id__` are the same row");
                }
            }
            assert_eq!(read, told, "{}: what its end says", path.display());
        }
        assert_eq!(ids.len(), rows.len(), "a row that comes again has the `__observation_id__` that it had");
        rows
    }

    /// Holds it to what was sent; how many rows are there beyond one each.
    #[track_caller]
    pub(crate) fn has_all(&self, sent: u64, plant: &Plant) -> usize {
        let rows = self.rows();
        let lost: Vec<u64> = (0..sent).filter(|number| !rows.contains_key(number)).collect();
        assert!(lost.is_empty(), "lost {lost:?}; the group is at {:?}", plant.positions());
        rows.values().map(|times| times - 1).sum()
    }
}

fn find(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
}
