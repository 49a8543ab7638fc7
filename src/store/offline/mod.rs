//! Offline stores: the history of every feature, and one row per query.

pub mod lake;

use std::sync::Arc;

use super::{StoreError, StoreOptions};
use crate::config::secret::expose;
use crate::row::table::TableRow;
use crate::sink::Sink;

/// A kind of offline store, by the schemes of its URI.
pub struct OfflineStoreKind {
    /// Schemes without `:` (`file`).
    pub schemes: &'static [&'static str],
    /// Checks the options and makes a client that has not connected yet.
    pub open: fn(&StoreOptions) -> Result<Arc<dyn Sink<TableRow>>, StoreError>,
}

/// Every offline store of this version.
pub static OFFLINE_STORES: &[OfflineStoreKind] = &[OfflineStoreKind { schemes: &["file"], open: lake::open }];

/// Schemes that the documentation names and this version does not write to.
const PLANNED: &[&str] = &[
    "s3",
    "gs",
    "az",
    "delta+file",
    "delta+s3",
    "delta+gs",
    "iceberg+rest",
    "iceberg+glue",
    "iceberg+sqlite",
    "snowflake",
    "bigquery",
    "redshift",
    "databricks",
    "postgres",
    "postgresql",
    "clickhouse",
];

/// Opens the store that the URI's scheme names. Contacts nothing.
///
/// The error names the scheme alone: the rest of a URI may hold a password.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRow>>, StoreError> {
    let known = || OFFLINE_STORES.iter().flat_map(|kind| kind.schemes).copied().collect::<Vec<_>>().join(", ");
    let Some((scheme, _)) = expose(&options.fetched).split_once(':') else {
        return Err(StoreError(format!("the offline store's URI has no scheme; known are {}", known())));
    };
    let scheme = scheme.to_ascii_lowercase();
    if let Some(kind) = OFFLINE_STORES.iter().find(|kind| kind.schemes.contains(&scheme.as_str())) {
        return (kind.open)(options);
    }
    if PLANNED.contains(&scheme.as_str()) {
        return Err(StoreError(format!("offline store `{scheme}:` is not in this version; known are {}", known())));
    }
    Err(StoreError(format!("unknown scheme `{scheme}:` of an offline store; known are {}", known())))
}
