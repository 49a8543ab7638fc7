//! Stores: where rows go. A store is chosen by the scheme of its URI.
//!
//! A new store is one file and one line in the registry of its kind.

pub mod durability;
pub mod examine;
pub mod load;
pub mod look;
pub mod metrics;
pub mod offline;
pub mod online;
mod postgres;
mod sqlite;
pub mod tables;
pub mod usage;
pub mod vector;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::secret::expose;

/// A store by the schemes of its URI; `S` is what it opens.
pub struct StoreKind<S: ?Sized> {
    /// Schemes without `:` (`redis`), in lower case.
    pub schemes: &'static [&'static str],
    /// Whether rows that it has already leave no trace when they are written again: it knows them by
    /// a key or a time. Where not, reading a topic again doubles them.
    pub absorbs_repeats: bool,
    /// Checks the options and makes a client that has not connected yet.
    pub open: fn(&StoreOptions) -> Result<Arc<S>, StoreError>,
}

/// The schemes of all stores of a registry.
pub fn schemes<S: ?Sized>(stores: &[StoreKind<S>]) -> Vec<&'static str> {
    stores.iter().flat_map(|kind| kind.schemes).copied().collect()
}

/// The store of a registry that a URI's scheme names.
///
/// The error names the scheme alone, and only where it is one: the rest of a URI, or what stands in
/// its place, may be a password.
fn find<'a, S: ?Sized>(name: &str, stores: &'a [StoreKind<S>], uri: &str) -> Result<&'a StoreKind<S>, StoreError> {
    let known = || schemes(stores).join(", ");
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if scheme.is_empty() || !scheme.bytes().all(sound) {
        return Err(StoreError(format!("{name}: a URI without a scheme; known are {}", known())));
    }
    stores
        .iter()
        .find(|kind| kind.schemes.contains(&scheme.as_str()))
        .ok_or_else(|| StoreError(format!("{name}: scheme `{scheme}` is not in this version; known are {}", known())))
}

/// Opens the store of a registry that the options name. Contacts nothing.
fn open<S: ?Sized>(name: &str, stores: &[StoreKind<S>], options: &StoreOptions) -> Result<Arc<S>, StoreError> {
    (find(name, stores, expose(&options.fetched))?.open)(options)
}

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
    /// Redis: how many replicas must have a write before it counts, where a setting says so.
    pub wait_replicas: Option<u32>,
    /// Requests at a time at the most, by which a store shares out its memory; each write says how many
    /// it may have now.
    pub concurrency: usize,
    /// How long a tombstone is kept.
    pub tombstone_retention: Duration,
    /// Memory that a writer's file builders may take, in bytes.
    pub memory_limit: usize,
}
