//! The stores of rows, read by other means than the writer's own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::look::parquet_files;
use crate::postgres::PostgresServer;

/// Where the rows of a role go.
#[derive(Clone)]
pub enum Place {
    Postgres(Rc<RefCell<PostgresServer>>),
    /// A SQLite file, or a lake.
    Embedded(PathBuf),
    /// A topic.
    Bus,
}

impl Place {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "Postgres",
            Self::Embedded(path) if is_sqlite(path) => "SQLite",
            Self::Embedded(_) => "the lake",
            Self::Bus => "the bus",
        }
    }

    /// Whether it tells rows apart by their keys.
    pub fn has_keys(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::Embedded(path) => is_sqlite(path),
            Self::Bus => false,
        }
    }

    /// Columns of a table as text; none as long as it is not made. In Postgres it may be in a schema of its own.
    pub fn rows(&self, schema: &str, table: &str, columns: &str) -> Vec<Vec<String>> {
        match self {
            Self::Postgres(server) => {
                let query = format!("SELECT {columns} FROM {schema}.\"{table}\"");
                let rows = match server.borrow().try_sql(&query) {
                    Err(error) if error.contains("does not exist") => String::new(),
                    other => other.unwrap_or_else(|error| panic!("{query}: {error}")),
                };
                rows.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
            }
            Self::Embedded(path) if is_sqlite(path) => sqlite(path, &format!("SELECT {columns} FROM \"{table}\"")),
            Self::Embedded(root) => lake(&root.join(table), columns),
            Self::Bus => panic!("a topic has no tables"),
        }
    }
}

fn is_sqlite(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sqlite")
}

fn sqlite(path: &Path, query: &str) -> Vec<Vec<String>> {
    if !path.exists() {
        return Vec::new();
    }
    let database = rusqlite::Connection::open(path).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let mut query = match database.prepare(query) {
        Err(error) if error.to_string().contains("no such table") => return Vec::new(),
        other => other.unwrap(),
    };
    let columns = query.column_count();
    let text = |row: &rusqlite::Row<'_>, at| -> rusqlite::Result<String> {
        Ok(match row.get_ref(at)? {
            rusqlite::types::ValueRef::Null => String::new(),
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            rusqlite::types::ValueRef::Real(number) => number.to_string(),
            other => other.as_str().unwrap().to_owned(),
        })
    };
    let rows = query.query_map([], |row| (0..columns).map(|at| text(row, at)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

fn lake(table: &Path, columns: &str) -> Vec<Vec<String>> {
    let mut files = Vec::new();
    parquet_files(table, &mut files);
    let mut rows = Vec::new();
    for path in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap())
            .unwrap_or_else(|error| panic!("{} is not whole: {error}", path.display()));
        for batch in reader.build().unwrap().map(Result::unwrap) {
            let options = FormatOptions::default();
            let named = columns.split(", ").map(|name| batch.column_by_name(name).unwrap());
            let columns: Vec<_> = named.map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            let row = |at| columns.iter().map(|column| column.value(at).to_string()).collect();
            rows.extend((0..batch.num_rows()).map(row));
        }
    }
    rows
}
