//! What is in the stores, seen by something else than the program.

use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use rusqlite::{Connection, OpenFlags};

use crate::postgres::PostgresServer;

/// Counts of rows, as text; an error where what is counted is not there yet.
pub trait Stores {
    fn rows_of_history(&self, table: &str) -> Result<String, String>;
    fn rows_of_metrics(&self, table: &str, filter: &str) -> Result<String, String>;
    fn rows_of_usage(&self, table: &str) -> Result<String, String>;
    fn vectors(&self, namespace: &str, feature: &str) -> Result<String, String>;
}

/// SQLite files and a lake in a folder.
pub struct Embedded {
    folder: PathBuf,
}

impl Embedded {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn sqlite(&self, file: &str, sql: &str) -> Result<String, String> {
        let found = Connection::open_with_flags(self.folder.join(file), OpenFlags::SQLITE_OPEN_READ_ONLY);
        let count = found.and_then(|connection| connection.query_row(sql, [], |row| row.get::<_, i64>(0)));
        count.map(|count| count.to_string()).map_err(|error| error.to_string())
    }
}

/// The files below a folder.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

impl Stores for Embedded {
    fn rows_of_history(&self, table: &str) -> Result<String, String> {
        let mut rows = 0;
        for file in files(&self.folder.join("lake").join(table)).map_err(|error| error.to_string())? {
            let file = std::fs::File::open(file).map_err(|error| error.to_string())?;
            let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
            rows += reader.metadata().file_metadata().num_rows();
        }
        Ok(rows.to_string())
    }

    fn rows_of_metrics(&self, table: &str, filter: &str) -> Result<String, String> {
        self.sqlite("metrics.sqlite", &format!("SELECT count(*) FROM {table} WHERE {filter}"))
    }

    fn rows_of_usage(&self, table: &str) -> Result<String, String> {
        self.sqlite("usage.sqlite", &format!("SELECT count(*) FROM {table}"))
    }

    fn vectors(&self, namespace: &str, feature: &str) -> Result<String, String> {
        self.sqlite("vectors.sqlite", &format!("SELECT count(*) FROM vectors_{namespace}__{feature} WHERE id = '42'"))
    }
}

impl Stores for PostgresServer {
    fn rows_of_history(&self, table: &str) -> Result<String, String> {
        self.try_sql(&format!("SELECT count(*) FROM {table}"))
    }

    fn rows_of_metrics(&self, table: &str, filter: &str) -> Result<String, String> {
        self.try_sql(&format!("SELECT count(*) FROM chalk.{table} WHERE {filter}"))
    }

    fn rows_of_usage(&self, table: &str) -> Result<String, String> {
        self.try_sql(&format!("SELECT count(*) FROM chalk.{table}"))
    }

    fn vectors(&self, namespace: &str, feature: &str) -> Result<String, String> {
        self.try_sql(&format!("SELECT count(*) FROM vectors_{namespace}__{feature} WHERE id = '42'"))
    }
}
