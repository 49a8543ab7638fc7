//! The lake, read file by file as files appear: none of them ever changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{History, Offline};

pub struct Lake {
    root: PathBuf,
    files: HashSet<PathBuf>,
}

impl Lake {
    pub fn new(root: PathBuf) -> Self {
        Self { root, files: HashSet::new() }
    }
}

impl Offline for Lake {
    fn read(&mut self, history: &mut History) {
        for (table, read) in [("user", read_history as fn(&mut History, &Path)), ("query_log", read_queries)] {
            let mut files = Vec::new();
            parquet_files(&self.root.join(table), &mut files);
            for file in files {
                if self.files.insert(file.clone()) {
                    read(history, &file);
                }
            }
        }
    }
}

fn read_history(history: &mut History, file: &Path) {
    for batch in batches(file) {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (id, operation) = (text("__observation_id__"), text("__operation_id__"));
        let entity = batch.column_by_name("__id__").unwrap().as_primitive::<Int64Type>().clone();
        let number = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().clone();
        for row in 0..batch.num_rows() {
            history.add_row(id.value(row), operation.value(row), entity.value(row) as u64, number.value(row));
        }
    }
}

fn read_queries(history: &mut History, file: &Path) {
    for batch in batches(file) {
        let operation = batch.column_by_name("operation_id").unwrap().as_string::<i32>();
        (0..batch.num_rows()).for_each(|row| history.add_query(operation.value(row)));
    }
}

fn batches(file: &Path) -> Vec<arrow::array::RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap())
        .unwrap_or_else(|error| panic!("{} is not whole: {error}", file.display()));
    reader.build().unwrap().map(Result::unwrap).collect()
}

pub fn parquet_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            parquet_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
}
