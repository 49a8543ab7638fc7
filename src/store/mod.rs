//! Stores: where rows go. A store is chosen by the scheme of its URI.
//!
//! A new store is one file and one line in the registry of its kind.

pub mod offline;
pub mod online;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// A store that could not be opened because of how it is configured. Nothing was contacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// What a store is opened with. Opening contacts nothing: a store that is away is retried in `write`.
#[derive(Clone)]
pub struct StoreOptions {
    /// The URI, or where to find it: fetched when connecting, and again when the store rejects the credentials.
    pub uri: crate::config::secret::SecretRef,
    /// The URI as it is now; its scheme chose the store.
    pub fetched: SecretString,
    /// Put before every key.
    pub cache_prefix: Arc<str>,
    /// Redis: whether it is a cluster.
    pub clustered: bool,
    /// Requests at a time at the most, by which a store shares out its memory; each write says how many
    /// it may have now.
    pub concurrency: usize,
    /// How long a tombstone is kept.
    pub tombstone_retention: Duration,
    /// Memory that a writer's file builders may take, in bytes.
    pub memory_limit: usize,
}
