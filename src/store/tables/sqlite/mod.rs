//! Tables in one SQLite file: made as rows need them, keyed, one transaction a write.
//!
//! # Layout
//! A table has the name of its shape, and no schema; its primary key is the shape's. Columns are made as they appear,
//! with their declared type, else with that of the first value that is not null, and never change it. A table that
//! was made by somebody else without the key gets a unique index on it. Names are kept as they are, quoted; SQLite
//! does not tell columns and tables apart whose names differ only in the case of ASCII letters, so two such columns
//! in one row are refused.
//!
//! | value | column | as |
//! | --- | --- | --- |
//! | bool | `BOOLEAN` | 0 or 1 |
//! | int64 | `BIGINT` | integer |
//! | float64 | `DOUBLE` | real; zero has no sign, and not-a-number, which SQLite has no number for, is the text `NaN` |
//! | string | `TEXT` | text |
//! | bytes | `BLOB` | blob |
//! | timestamp | `TIMESTAMP TEXT` | RFC 3339 in UTC with six digits, which sorts as time does |
//! | date | `DATE TEXT` | `YYYY-MM-DD` |
//! | decimal | `DECIMAL TEXT` | its digits |
//! | list, struct, vector | `JSON TEXT` | see [`crate::value::json`] |
//!
//! # Guarantees
//! A write is one transaction, durable when it returns. Of two rows of one key the shape says which stands
//! ([`Repeats`](crate::row::table::Repeats)): the first, or the newest, and of two of one time the larger one, column by
//! column as SQLite quotes its values, a null being the smallest. So what comes again changes nothing. A row that a table cannot hold is refused
//! alone and leaves no column. Several processes may write one file; each waits for the other's transaction.

mod file;
mod insert;
mod layout;
mod table;
mod types;

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;

use self::file::Tables;
pub(in crate::store) use self::layout::Layout;
use super::row_wise::RowWise;
use crate::config::secret::expose;
use crate::row::table::{TableRow, TableRows};
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::{StoreError, StoreOptions, sqlite};

struct SqliteTables {
    file: sqlite::File<Tables>,
    layout: &'static Layout,
}

/// Checks the URI; opens no file yet.
pub(in crate::store) fn open(
    options: &StoreOptions,
    layout: &'static Layout,
) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    let path = sqlite::path(layout.store, expose(&options.fetched))?;
    Ok(RowWise::around(SqliteTables { file: sqlite::File::new(path, Tables::new), layout }))
}

#[async_trait]
impl Sink<TableRow> for SqliteTables {
    async fn write(&self, write: Write<'_, TableRow>) -> Result<Outcome, SinkError> {
        let rows: Vec<TableRow> = write.rows.iter().copied().cloned().collect();
        let layout = self.layout;
        self.file.with(move |file| file.write(layout, &rows)).await
    }

    /// Opens the file, and makes it where it is not there.
    async fn probe(&self) -> Result<(), SinkError> {
        self.file.with(|_| Ok(())).await
    }

    /// No row of a table has a key.
    fn collapse(&self, key: &Infallible, _: &[&TableRow]) -> TableRow {
        match *key {}
    }
}
