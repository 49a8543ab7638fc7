//! Online stores: the newest value of each feature of each entity.
//!
//! Every one is last-write-wins by observed time, per feature, atomically in the store, so that every
//! order of arrival ends in the same state, as long as nothing that was written has expired; [`merge`] has
//! the rules in full. `tests/store_contract` walks the registry and holds each to them.

pub(in crate::store) mod blackhole;
mod merge;
pub mod postgres;
pub mod redis;
pub mod sqlite;

pub use merge::LARGEST_VALUE;

use async_trait::async_trait;

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
