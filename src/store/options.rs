//! What a store is opened with. Opening contacts nothing: a store that is away is retried in `write`.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::secret::{SecretError, SecretRef, Trouble};
use crate::config::settings::{OwnSettings, StoreSettings, Tuning};
use crate::sink::SinkError;

/// A store that could not be opened because of how it is configured. Nothing was contacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// What a store is opened with.
#[derive(Clone)]
pub struct StoreOptions {
    /// The URI, or where to find it: fetched when connecting, and again when the store rejects the credentials.
    pub uri: SecretRef,
    /// The URI as it is now; its scheme chose the store.
    pub fetched: SecretString,
    /// Put before every key.
    pub cache_prefix: Arc<str>,
    /// What the configuration says of settings that single stores have.
    pub own: OwnSettings,
    /// What it may take.
    pub limits: StoreLimits,
}

impl StoreOptions {
    /// Those of settings whose URI was fetched.
    pub fn new(settings: &StoreSettings, fetched: SecretString, limits: StoreLimits) -> Self {
        let StoreSettings { uri, cache_prefix, own } = settings;
        Self { uri: uri.clone(), fetched, cache_prefix: cache_prefix.as_str().into(), own: own.clone(), limits }
    }

    /// Those of a URI as it stands, with nothing beside it.
    pub fn of(uri: &str, limits: StoreLimits) -> Self {
        Self::new(&StoreSettings::of(SecretRef::plain(uri)), uri.to_owned().into(), limits)
    }

    /// Those of settings whose URI is fetched now.
    pub async fn fetch(settings: &StoreSettings, limits: StoreLimits) -> Result<Self, SecretError> {
        Ok(Self::new(settings, settings.uri.fetch().await?, limits))
    }
}

/// A URI that could not be fetched, as what a store says of a write: it is asked for again.
pub(in crate::store) fn unread(error: SecretError) -> SinkError {
    match error.trouble {
        Trouble::Away => SinkError::Transient { reason: error.text },
        Trouble::Never | Trouble::Missing | Trouble::Denied => SinkError::Denied { reason: error.text },
    }
}

/// Whether a store's error may come of a URI that is not the right one any more, so that it is to be read again.
pub(in crate::store) fn is_doubtful(error: &SinkError) -> bool {
    matches!(error, SinkError::Denied { .. } | SinkError::Transient { .. })
}

/// Limits that hold for each store.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreLimits {
    /// Requests at a time at the most, by which a store shares out its memory; each write says how many
    /// it may have now.
    pub concurrency: usize,
    /// How long a tombstone is kept.
    pub tombstone_retention: Duration,
    /// Memory that a writer's file builders may take, in bytes.
    pub memory_limit: usize,
}

impl StoreLimits {
    /// From the settings: a quarter of the memory is for building files, of all stores together.
    pub fn new(tuning: &Tuning, stores: usize) -> Self {
        Self {
            concurrency: tuning.concurrency,
            tombstone_retention: tuning.tombstone_retention,
            memory_limit: tuning.memory_limit / 4 / stores.max(1),
        }
    }
}
