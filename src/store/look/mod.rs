//! A look into a store of tables, for a person: which tables it has, how many rows are in each, and the newest of them.
//!
//! Whatever is there is shown, whoever wrote it; nothing is changed.

pub(super) mod lake;
pub(super) mod postgres;
pub(super) mod sqlite;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::config::StoreKind;
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
