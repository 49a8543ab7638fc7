//! Offline stores: the history of every feature, and one row per query.

use std::sync::Arc;

use super::{StoreError, StoreOptions};
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
pub static OFFLINE_STORES: &[OfflineStoreKind] = &[];
