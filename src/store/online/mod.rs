//! Online stores: the newest value of each feature of each entity.
//!
//! Every one is last-write-wins by observed time, per feature, atomically in the store, so that every
//! order of arrival ends in the same state, as long as nothing that was written has expired; [`merge`] has
//! the rules in full. `tests/store_contract` walks [`ONLINE_STORES`] and holds each to them.

mod blackhole;
mod merge;
pub mod postgres;
pub mod redis;
pub mod sqlite;

use std::sync::Arc;

pub use merge::LARGEST_VALUE;

use async_trait::async_trait;

use super::{StoreError, StoreKind, StoreOptions};
use crate::config::secret::expose;
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

/// Every online store of this version.
pub static ONLINE_STORES: &[StoreKind<dyn OnlineStore>] = &[
    StoreKind { schemes: &["sqlite"], absorbs_repeats: true, open: sqlite::open },
    StoreKind { schemes: redis::SCHEMES, absorbs_repeats: true, open: redis::open },
    StoreKind { schemes: &["postgres", "postgresql"], absorbs_repeats: true, open: postgres::open },
    StoreKind { schemes: &[blackhole::SCHEME], absorbs_repeats: true, open: blackhole::open },
];

/// Schemes of the stores that keep nothing of what is written to them. What is promised of stores is
/// not promised of these, and a configuration with one is warned of.
pub const KEEPS_NOTHING: &[&str] = &[blackhole::SCHEME];

const NAME: &str = "online store";

/// Opens the store that the URI's scheme names. Contacts nothing.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    let uri = expose(&options.fetched);
    let of_redis = super::find(NAME, ONLINE_STORES, uri)?.schemes == redis::SCHEMES;
    if options.wait_replicas.is_some() && !of_redis {
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        return Err(StoreError(format!("{NAME} `{scheme}:`: `wait_replicas` is for Redis; leave it out")));
    }
    super::open(NAME, ONLINE_STORES, options)
}

/// Whether a URI is of a store of this version.
pub fn check(uri: &str) -> Result<(), StoreError> {
    super::find(NAME, ONLINE_STORES, uri).map(drop)
}

/// Whether the store of a URI takes rows again without a trace: see [`StoreKind::absorbs_repeats`].
pub fn absorbs_repeats(uri: &str) -> Result<bool, StoreError> {
    super::find(NAME, ONLINE_STORES, uri).map(|kind| kind.absorbs_repeats)
}
