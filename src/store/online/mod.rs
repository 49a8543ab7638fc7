//! Online stores: the newest value of each feature of each entity.
//!
//! Every one is last-write-wins by observed time, per feature, atomically in the store
//! (hard-cases 8 to 11 and 38). `tests/store_contract` walks [`ONLINE_STORES`] and holds each to it.

use std::sync::Arc;

use async_trait::async_trait;

use super::{StoreError, StoreOptions};
use crate::row::feature::{Entity, FeatureRow};
use crate::sink::Sink;
use crate::value::Value;

/// A store of newest values: a sink, and a reader for `get`, `peek` and the tests.
#[async_trait]
pub trait OnlineStore: Sink<FeatureRow> {
    /// The features that are stored of an entity, expired ones and tombstones included, by name.
    ///
    /// Errors are told apart as in [`Sink::write`].
    async fn read(&self, entity: &Entity) -> Result<Vec<StoredFeature>, crate::sink::SinkError>;
}

/// One feature as it stands in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFeature {
    /// Persistence key without its namespace.
    pub feature: String,
    /// Microseconds since 1970.
    pub observed_at: i64,
    /// Microseconds since 1970; `None` is never.
    pub expires_at: Option<i64>,
    /// The value as far as the store's own encoding keeps its type; `None` is a tombstone.
    pub value: Option<Value>,
}

/// A kind of online store, by the schemes of its URI.
pub struct OnlineStoreKind {
    /// Schemes without `:` (`redis`).
    pub schemes: &'static [&'static str],
    /// Checks the options and makes a client that has not connected yet.
    pub open: fn(&StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError>,
}

/// Every online store of this version.
pub static ONLINE_STORES: &[OnlineStoreKind] = &[];
