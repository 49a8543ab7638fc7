//! Online stores: the newest value of each feature of each entity.
//!
//! Every one is last-write-wins by observed time, per feature, atomically in the store, so that every
//! order of arrival ends in the same state, as long as nothing that was written has expired; [`merge`] has
//! the rules in full. `tests/store_contract` walks [`ONLINE_STORES`] and holds each to them.

mod merge;
pub mod redis;
pub mod sqlite;

use std::sync::Arc;

pub use merge::LARGEST_VALUE;

use async_trait::async_trait;

use super::{StoreError, StoreOptions};
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

/// A kind of online store, by the schemes of its URI.
pub struct OnlineStoreKind {
    /// Schemes without `:` (`redis`).
    pub schemes: &'static [&'static str],
    /// Checks the options and makes a client that has not connected yet.
    pub open: fn(&StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError>,
}

/// Every online store of this version.
pub static ONLINE_STORES: &[OnlineStoreKind] = &[
    OnlineStoreKind { schemes: &["sqlite"], open: sqlite::open },
    OnlineStoreKind { schemes: &["redis"], open: redis::open },
];

/// Schemes that the configuration may name and this version cannot open.
const NOT_YET: [&str; 6] = ["rediss", "valkey", "valkeys", "dynamodb", "bigtable", "postgres"];

/// Opens the store that the URI's scheme names. Contacts nothing.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    let uri = expose(&options.fetched);
    let known = || ONLINE_STORES.iter().flat_map(|kind| kind.schemes).copied().collect::<Vec<_>>().join(", ");
    let Some((scheme, _)) = uri.split_once(':') else {
        // The text may be a password that ended up in the wrong place: it is not shown.
        return Err(StoreError(format!("online store: a URI without a scheme; known schemes are {}", known())));
    };
    let scheme = scheme.to_ascii_lowercase();
    if let Some(kind) = ONLINE_STORES.iter().find(|kind| kind.schemes.contains(&scheme.as_str())) {
        return (kind.open)(options);
    }
    let why = if NOT_YET.contains(&scheme.as_str()) { "is not in this version" } else { "is unknown" };
    Err(StoreError(format!("online store: scheme `{scheme}` {why}; known are {}", known())))
}
