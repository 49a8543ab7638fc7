//! Tables of Postgres, filled by binary `COPY`, each row once. What follows says of the offline store, a table a
//! namespace, holds for the tables of other kinds as far as their [`Layout`] says nothing else.
//!
//! # Layout
//! Tables are named after namespaces, in the schema that the URI names (`?schema=…`, else `public`). Table, schema
//! and columns are made as they appear; `__inserted_at__` is when the server began the row's transaction. A table's
//! primary key is `__observation_id__`; that of `query_log` is `environment_id` and `operation_id`. A table that
//! was made by somebody else without such a key gets a unique index on it. No namespace is called `online_features`,
//! which is the online store's table; its rows are refused.
//!
//! # Guarantees
//! A write is one transaction: rows are copied into a temporary table of the session and inserted from there. A
//! row of history that is there already is left as it is, a row of `query_log` is replaced by one with a later
//! `query_timestamp` (at the same time by one whose text is larger, byte by byte). So a write whose outcome is unknown, and a message that comes again, change nothing. Several processes may write one table and
//! change its columns at once: rows are judged by what a process knows of a table, and before a write is committed the
//! server says whether that was still so; where it was not, the rows are judged anew.
//!
//! # Types
//! `bool` is `boolean`, `int64` `bigint`, `float64` `double precision`, `string` `text`, `bytes` `bytea`, `timestamp`
//! `timestamptz`, `date` `date`, `decimal(p,s)` `numeric(p,s)`; a decimal of no declared type is `numeric`, which
//! keeps all its digits. A list is `jsonb`, a declared `list<T>` of one of the types above an array; structs, and lists
//! of lists or structs, are `jsonb`. Vectors are `real[]`, or `double precision[]` in double precision; their
//! dimension is held against the declaration, not against the column. In `jsonb` values have the forms of
//! [`crate::value::jsonb`].
//!
//! A column appears with its declared type, else with the first value that is not null. An integer column widens to
//! double when a double comes, unless it holds an integer that a double would round, or something hangs on it that
//! Postgres does not change with it, such as a view; the table is written anew for that, and nobody else reads or
//! writes it meanwhile, which a declared type avoids. Anything else of another
//! type is refused, and so is what the column cannot hold exactly. `smallint`, `integer`, `real`, `varchar(n)` and
//! `timestamptz(p)` that somebody made are written to as well. A column of any other type, or one that the server alone
//! fills (`GENERATED ALWAYS`), takes no value, and rows without one are written around it. System columns never change
//! their type.
//!
//! Text with U+0000 and times beyond the years 1 to 9999 are refused by row. What only the server can say (a constraint,
//! a trigger or a policy that somebody added) is found by halving, and the refusal has the SQLSTATE.
//!
//! # Names
//! Names are kept as they are, quoted. One of more than 63 bytes, which the server would cut, is its first bytes,
//! `_`, and 16 digits of its hash. A column named as one that every table has (`ctid`, `xmin`, `xmax`, `cmin`,
//! `cmax`, `tableoid`) gets one `_` more.

mod describe;
mod encode;
mod fit;
mod insert;
mod layout;
mod load;
mod names;
mod plan;
mod prepare;
mod table;
mod types;
mod write;

use std::sync::Arc;

pub(in crate::store) use self::layout::{Layout, NewTable};
use super::prepare::TableStore;
use super::row_wise::RowWise;
use crate::config::secret::expose;
use crate::row::load::FileLoad;
use crate::row::table::TableRows;
use crate::sink::Sink;
use crate::store::postgres::uri;
use crate::store::{StoreError, StoreOptions};

/// Checks the URI; contacts nothing.
pub(in crate::store) fn open(
    options: &StoreOptions,
    layout: &'static Layout,
) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    open_tables(options, layout).map(|store| store as Arc<dyn Sink<TableRows>>)
}

/// The same, as a store that can also be asked to make tables alone.
pub(in crate::store) fn open_tables(
    options: &StoreOptions,
    layout: &'static Layout,
) -> Result<Arc<dyn TableStore>, StoreError> {
    uri::parse(layout.store, expose(&options.fetched))?;
    Ok(RowWise::around(write::Postgres::new(layout, options.uri.clone())))
}

/// The same for files.
pub(in crate::store) fn open_loads(
    options: &StoreOptions,
    layout: &'static Layout,
) -> Result<Arc<dyn Sink<FileLoad>>, StoreError> {
    uri::parse(layout.store, expose(&options.fetched))?;
    Ok(Arc::new(load::Loads::new(layout, options)))
}
