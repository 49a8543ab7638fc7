//! The stores of rows, read by other means than the writer's own.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::keepers::Keeper;
use crate::look::parquet_files;
use crate::own::Sql;
use crate::wire::Server;

/// Where the rows of a role go.
#[derive(Clone)]
pub enum Place {
    Postgres {
        sql: Sql,
        /// In a schema beside the usual one.
        is_spare: bool,
    },
    Redis(Rc<Keys>),
    /// A SQLite file, or a lake.
    Embedded(PathBuf),
    /// A topic.
    Bus,
}

/// Keys of one server, or of the nodes of a cluster.
pub struct Keys {
    pub keeper: Keeper,
    pub servers: Vec<Server>,
    /// What they begin with.
    pub prefix: String,
}

impl Place {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => Keeper::Postgres.name(),
            Self::Redis(keys) => keys.keeper.name(),
            Self::Embedded(path) if is_sqlite(path) => Keeper::Sqlite.name(),
            Self::Embedded(_) => Keeper::Lake.name(),
            Self::Bus => "the bus",
        }
    }

    /// Shows columns of a table as text, row by row; none as long as it is not made. In Postgres it may be in a schema of
    /// its own.
    pub fn each(&self, schema: &str, table: &str, columns: &str, show: &mut dyn FnMut(&[&str])) {
        match self {
            Self::Postgres { sql, is_spare } => {
                let query = format!("SELECT {columns} FROM \"{}\".\"{table}\"", sql.schema(schema, *is_spare));
                let mut of = |line: &str| show(&line.split('|').collect::<Vec<&str>>());
                match sql.each_row(&query, &mut of) {
                    Err(error) if error.contains("does not exist") => {}
                    other => other.unwrap_or_else(|error| panic!("{query}: {error}")),
                }
            }
            Self::Embedded(path) if is_sqlite(path) => {
                sqlite(path, &format!("SELECT {columns} FROM \"{table}\""), show);
            }
            Self::Embedded(root) => lake(&root.join(table), columns, show),
            Self::Redis(_) => panic!("there are no tables in a Redis"),
            Self::Bus => panic!("a topic has no tables"),
        }
    }
}

fn is_sqlite(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sqlite")
}

fn sqlite(path: &Path, query: &str, show: &mut dyn FnMut(&[&str])) {
    if !path.exists() {
        return;
    }
    let database = rusqlite::Connection::open(path).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let mut query = match database.prepare(query) {
        Err(error) if error.to_string().contains("no such table") => return,
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
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let texts: Vec<String> = (0..columns).map(|at| text(row, at).unwrap()).collect();
        show(&texts.iter().map(String::as_str).collect::<Vec<&str>>());
    }
}

fn lake(table: &Path, columns: &str, show: &mut dyn FnMut(&[&str])) {
    let mut files = Vec::new();
    parquet_files(table, &mut files);
    for path in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap())
            .unwrap_or_else(|error| panic!("{} is not whole: {error}", path.display()));
        for batch in reader.build().unwrap().map(Result::unwrap) {
            let options = FormatOptions::default();
            let named = columns.split(", ").map(|name| batch.column_by_name(name).unwrap());
            let columns: Vec<_> = named.map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            for at in 0..batch.num_rows() {
                let texts: Vec<String> = columns.iter().map(|column| column.value(at).to_string()).collect();
                show(&texts.iter().map(String::as_str).collect::<Vec<&str>>());
            }
        }
    }
}
