//! The lake: parquet files in folders, which DuckDB, Polars, pandas, pyarrow and Spark read as they are.
//!
//! ```text
//! <root>/<table>/date=YYYY-MM-DD/<write>.parquet   the rows; date is the UTC date of the table's time column
//! <root>/_schema/<table>/v000001.json, v000002.json, …   the table's columns and types, newest last
//! <root>/_staging/                                 files that are being written
//! ```
//!
//! # What is promised
//! A file is seen only when whole, and it and its folders are on the disk before `write` returns.
//! A retry of a write makes the same file names, so it replaces what an attempt of unknown outcome
//! left. After a crash messages come again in another cut: rows are there at least once, and
//! `__observation_id__` tells the doubles.
//!
//! # Types
//! A table's types hold for every file and process. A column appears with its declared type, else
//! with the first value that is not null. An integer column widens to double when a double comes;
//! structs gain fields; anything else of another type is refused, and so is an integer beyond 2⁵³
//! in a double column, also one that came before the double in the same write. The type of a system column never changes. A decimal of no declared type is
//! `decimal(38,18)`, and one that does not fit is refused. A column declared as a struct of no fields is any JSON, and
//! is written as its text. Half-precision vectors are written as
//! single precision. Dates and timestamps are in the years 1 to 9999. A column of which only nulls were
//! seen, and nothing is declared, is left out of the files until there is a type for it. When two processes
//! change a table at the same moment, a file of the type before may still land after the change.
//!
//! A file has every column that its table had when it was written, so newer files have the columns of
//! older ones. Where columns appeared or widened since, readers are to be told to unite the files:
//! DuckDB `read_parquet(…, union_by_name = true)`, Spark `mergeSchema`, pyarrow
//! `unify_schemas(…, promote_options="permissive")`, Polars `concat(…, how="diagonal_relaxed")`.
//! Without that they take the types of one file. A declared type avoids the question.
//!
//! # Columns
//! What comes in columns goes into files as it is, where its type is the table's. Types that are not, but hold
//! no other values (a decimal of fewer digits, half precision), are cast; of any other column each value is
//! judged by itself, as if it had come in a row. A column of nulls alone says nothing of its type, whatever it
//! came as.
//!
//! # Names
//! A table's folder is its name with `%XX` for what is not an ASCII letter, digit, `_`, `-` or `.`. A column
//! named `date` is written `date_` (and `date_` as `date__`), because readers add the partition's `date`.
//! Two columns whose names differ by case alone are two columns: pyarrow, pandas and Polars show both,
//! DuckDB calls the second `a_1`, Spark asks for `spark.sql.caseSensitive`.

mod build;
mod encode;
mod files;
mod fit;
mod kept;
mod layout;
mod ledger;
mod load;
mod plan;
mod prepare;
pub mod read;
mod schema;
mod types;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::row::load::FileLoad;
use crate::sink::Sink;
use crate::store::tables::prepare::TableStore;
use crate::store::{StoreError, StoreLimits, StoreOptions};

pub use write::Lake;

/// What a lake of history is called in messages.
const HISTORY: &str = StoreKind::Offline.name();

/// Checks the URI and makes a lake of history that has not touched its folder yet.
pub fn open_tables(options: &StoreOptions) -> Result<Arc<dyn TableStore>, StoreError> {
    open_as(HISTORY, options).map(|lake| lake as Arc<dyn TableStore>)
}

/// A lake that is called so in messages.
pub(in crate::store) fn open_as(name: &str, options: &StoreOptions) -> Result<Arc<Lake>, StoreError> {
    let root = root_of(name, expose(&options.fetched))?;
    Ok(Arc::new(Lake::new(root, options.limits.concurrency, options.limits.memory_limit)))
}

/// The same for files that are loaded into it.
pub fn open_loads(options: &StoreOptions) -> Result<Arc<dyn Sink<FileLoad>>, StoreError> {
    let root = root(expose(&options.fetched))?;
    let StoreLimits { concurrency, memory_limit, .. } = options.limits;
    Ok(Arc::new(load::Loads::new(Lake::new(root, concurrency, memory_limit), memory_limit)))
}

/// The folder that a URI names: `file:///absolute/folder` or `file:/absolute/folder`, or `file:./folder` from
/// the working directory.
pub fn root(uri: &str) -> Result<PathBuf, StoreError> {
    root_of(HISTORY, uri)
}

fn root_of(name: &str, uri: &str) -> Result<PathBuf, StoreError> {
    const EXAMPLE: &str = "`file:///var/lib/chalk/lake`, or `file:./lake` for a folder of the working directory";
    let wrong = |what: &str| Err(StoreError(format!("{name} `{uri}`: {what}; expected {EXAMPLE}")));
    let Some(rest) = uri.strip_prefix("file:") else { return wrong("not a `file:` URI") };
    if rest.contains(['?', '#']) {
        return wrong("a lake takes no parameters");
    }
    if rest.starts_with("./") || rest.starts_with("../") {
        let path = percent_encoding::percent_decode_str(rest).decode_utf8();
        let Ok(path) = path else { return wrong("the path is not UTF-8") };
        return match std::path::absolute(Path::new(&*path)) {
            Ok(path) => Ok(path),
            Err(error) => wrong(&error.to_string()),
        };
    }
    if !rest.starts_with('/') {
        return wrong("the path is neither absolute nor begins with `./`");
    }
    match Url::parse(uri).map(|url| url.to_file_path()) {
        Ok(Ok(path)) if path.parent().is_some() => Ok(path),
        Ok(Ok(_)) => wrong("the root of the file system is no place for a lake"),
        Ok(Err(())) => wrong("not a path"),
        Err(error) => wrong(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_absolute_or_says_that_it_is_relative() {
        for uri in ["file:///data/my%20lake", "file:/data/my%20lake"] {
            assert_eq!(root(uri), Ok(PathBuf::from("/data/my lake")));
        }
        let here = std::env::current_dir().expect("there is a working directory");
        assert_eq!(root("file:./lake"), Ok(here.join("lake")));
        for wrong in ["file:lake", "file:/", "file://host/lake", "file:///", "file:///a?b=c", "file:", "lake"] {
            let error = root(wrong).expect_err(wrong).to_string();
            assert!(error.contains("file:///var/lib"), "{error}");
        }
    }
}
