//! A look into a store of tables, for a person: which tables it has, how many rows are in each, and the newest of them.
//!
//! A store is one file here and one line in [`LOOKS`]. Whatever is there is shown, whoever wrote it; nothing is changed.

mod lake;
mod postgres;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;

use super::{StoreError, StoreOptions};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::sink::SinkError;

/// What can be looked into.
#[async_trait]
pub trait Look: Send + Sync {
    /// Its tables and views, by name; none where nothing was written yet.
    async fn tables(&self) -> Result<Vec<Table>, LookError>;

    /// The newest rows of a table, at most so many, the newest first as far as the table has a time.
    async fn rows(&self, table: &str, most: usize) -> Result<Rows, LookError>;
}

/// A table or a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// How many rows are in it; `None` of a view, which would have to be computed for it.
    pub rows: Option<u64>,
    /// Whether that is the server's own estimate: counting would take too long.
    pub is_estimate: bool,
    /// What else is to be said of it, in a few words (`in 3 parquet files`); may be empty.
    pub detail: String,
}

/// Some rows of a table.
#[derive(Debug, Default)]
pub struct Rows {
    /// Names, in the order of the table.
    pub columns: Vec<String>,
    /// Values aligned with the columns, as JSON.
    pub rows: Vec<Vec<Box<RawValue>>>,
}

/// Why a store could not be looked into, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookError(pub String);

impl From<SinkError> for LookError {
    /// Nothing is written, so nothing is tried again and no row is at fault: what happened is all that is said.
    fn from(error: SinkError) -> Self {
        Self(match error {
            SinkError::Transient { reason }
            | SinkError::Throttled { reason, .. }
            | SinkError::Denied { reason }
            | SinkError::Bug { reason } => reason,
            SinkError::Poisoned(refusal) => refusal.message,
        })
    }
}

/// A kind of store that can be looked into, by the schemes of its URI.
pub struct LookKind {
    /// Schemes without `:`, in lower case.
    pub schemes: &'static [&'static str],
    /// Makes a look of checked options for a store of a kind; contacts nothing.
    pub open: fn(StoreKind, &StoreOptions) -> Result<Arc<dyn Look>, StoreError>,
}

/// Every store that can be looked into.
pub static LOOKS: &[LookKind] = &[
    LookKind { schemes: &["sqlite"], open: sqlite::open },
    LookKind { schemes: &["postgres", "postgresql"], open: postgres::open },
    LookKind { schemes: &["file"], open: lake::open },
];

/// A look into the store that the URI's scheme names, which is of a kind. Contacts nothing.
pub fn open(kind: StoreKind, options: &StoreOptions) -> Result<Arc<dyn Look>, StoreError> {
    let scheme = expose(&options.fetched).split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    let known = LOOKS.iter().find(|known| known.schemes.contains(&scheme.as_str()));
    let Some(known) = known else {
        let schemes: Vec<&str> = LOOKS.iter().flat_map(|known| known.schemes).copied().collect();
        let text = format!("there are no tables to show in a `{scheme}:` store; there are in {}", schemes.join(", "));
        return Err(StoreError(text));
    };
    (known.open)(kind, options)
}

/// What a store of a kind is called in messages.
pub(super) const fn name(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Online => "online store",
        StoreKind::Offline => "offline store",
        StoreKind::Metrics => "metrics store",
        StoreKind::Usage => "usage store",
        StoreKind::Vector => "vector store",
    }
}

/// The schema of Postgres that a kind of store is in where the URI names none: `usual`, or one of its own.
pub(super) const fn schema(kind: StoreKind, usual: &'static str) -> &'static str {
    match kind {
        StoreKind::Metrics | StoreKind::Usage => "chalk",
        StoreKind::Online | StoreKind::Offline | StoreKind::Vector => usual,
    }
}

/// Columns with the time of a row, the first that a table has.
const TIMES: [&str; 6] = ["__ts__", "observed_at", "observed_timestamp", "started_at", "query_timestamp", "created_at"];

/// The column that says which rows are newest.
fn time_of(columns: &[String]) -> Option<&str> {
    TIMES.into_iter().find(|time| columns.iter().any(|column| column == time))
}

/// The answer to who asks for a table that is not there.
fn no_table(name: &str, known: &[Table]) -> LookError {
    let names: Vec<_> = known.iter().map(|table| format!("`{}`", table.name)).collect();
    let there = if names.is_empty() { "no table yet".to_owned() } else { names.join(", ") };
    LookError(format!("no table `{name}`; there is {there}"))
}

fn json(text: String) -> Result<Box<RawValue>, LookError> {
    RawValue::from_string(text).map_err(|error| LookError(format!("a value that is no JSON: {error}")))
}
