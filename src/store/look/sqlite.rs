//! A look into a SQLite file, opened for reading alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::value::RawValue;

use super::{Look, LookError, Rows, Table, json, no_table, time_of};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::store::postgres::quoted;
use crate::store::{StoreError, StoreOptions, sqlite};
use crate::value::{Value, json as text};

struct SqliteLook {
    path: PathBuf,
}

pub(in crate::store) fn open(kind: StoreKind, options: &StoreOptions) -> Result<Arc<dyn Look>, StoreError> {
    let path = sqlite::path(kind.name(), expose(&options.fetched))?;
    Ok(Arc::new(SqliteLook { path }))
}

#[async_trait]
impl Look for SqliteLook {
    async fn tables(&self) -> Result<Vec<Table>, LookError> {
        self.with(tables).await.map(Option::unwrap_or_default)
    }

    async fn rows(&self, table: &str, most: usize) -> Result<Rows, LookError> {
        let table = table.to_owned();
        let rows = self.with(move |file| rows(file, &table, most)).await?;
        rows.unwrap_or_else(|| Ok(Rows::default()))
    }
}

impl SqliteLook {
    /// Works on the file where blocking is allowed; `None` where there is none yet.
    async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<Option<R>, LookError> {
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || {
            if !path.exists() {
                return Ok(None);
            }
            let failed = |error: rusqlite::Error| LookError(format!("SQLite file `{}`: {error}", path.display()));
            opened(&path).and_then(|file| work(&file)).map(Some).map_err(failed)
        });
        done.await.map_err(|error| LookError(error.to_string()))?
    }
}

fn opened(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags(path, flags)?;
    file.busy_timeout(Duration::from_secs(5))?;
    Ok(file)
}

fn tables(file: &Connection) -> rusqlite::Result<Vec<Table>> {
    let mut statement = file.prepare("SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name")?;
    let all = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let all: Vec<(String, String)> = all.collect::<rusqlite::Result<_>>()?;
    // An index of vectors is a virtual table, which needs its extension, over tables of its own.
    let indexes: Vec<String> =
        all.iter().filter(|(_, what)| what == "virtual").map(|(name, _)| format!("{name}_")).collect();
    let mut tables = Vec::new();
    for (name, what) in all {
        let is_own = name.starts_with("sqlite_") || indexes.iter().any(|index| name.starts_with(index));
        let rows = match what.as_str() {
            "table" if !is_own => {
                let count = format!("SELECT count(*) FROM {}", quoted(&name));
                Some(file.query_row(&count, [], |row| row.get(0)).map(i64::unsigned_abs)?)
            }
            "view" => None,
            _ => continue,
        };
        tables.push(Table { name, rows, is_estimate: false, detail: String::new() });
    }
    Ok(tables)
}

fn rows(file: &Connection, table: &str, most: usize) -> rusqlite::Result<Result<Rows, LookError>> {
    let mut statement = file.prepare("SELECT name, type FROM pragma_table_info(?1) ORDER BY cid")?;
    let columns = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (columns, types): (Vec<String>, Vec<String>) =
        columns.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().unzip();
    if columns.is_empty() {
        return Ok(Err(no_table(table, &tables(file)?)));
    }
    let order = time_of(&columns).map(|time| format!("ORDER BY {} DESC", quoted(time))).unwrap_or_default();
    let select = format!("SELECT * FROM {} {order} LIMIT {most}", quoted(table));
    let mut statement = file.prepare(&select)?;
    let mut found = statement.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut cells = Vec::with_capacity(columns.len());
        for (at, column_type) in types.iter().enumerate() {
            cells.push(shown(row.get_ref(at)?, column_type));
        }
        match cells.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(cells) => rows.push(cells),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Rows { columns, rows }))
}

/// A value as JSON; what a column of JSON holds, as it is.
fn shown(value: ValueRef<'_>, column_type: &str) -> Result<Box<RawValue>, LookError> {
    let value = match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) if column_type == "BOOLEAN" => Value::Bool(number != 0),
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Double(number),
        ValueRef::Text(bytes) => {
            let written = String::from_utf8_lossy(bytes).into_owned();
            if column_type == "JSON TEXT"
                && let Ok(json) = RawValue::from_string(written.clone())
            {
                return Ok(json);
            }
            Value::text(written)
        }
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec().into()),
    };
    json(text::to_text(&value))
}
