//! What is known of a writer's destinations before anything is connected, as far as guarantees depend on it.

use serde::Serialize;

use crate::config::secret::expose;
use crate::sink::Row;
use crate::store::durability::Durability;
use crate::store::{self, StoreLimits, StoreOptions};
use crate::writer::destinations::{PlannedDestination, To};
use crate::writer::doubles::Doubles;

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What people know it by; never holds a credential.
    pub name: String,
    /// The scheme of its URI; `None` of a topic, and where its secret is not here to tell.
    pub scheme: Option<String>,
    /// When it has twice what it is given twice; why that is not known, where it is not.
    #[serde(skip)]
    pub doubles: Result<Doubles, String>,
    /// Whether it is a store; else it is a topic.
    pub is_store: bool,
    /// Where rows are that it has acknowledged; `None` of a topic, and where that is not known.
    #[serde(skip)]
    pub durability: Option<Durability>,
    /// Whether what is evicted in it leaves a tombstone, which expires.
    pub has_tombstones: bool,
    /// Replicas that must have a write before it counts; 0 where none must.
    pub wait_replicas: u32,
    /// Whether its credentials are read again, when they are denied, from where they may have changed meanwhile.
    pub reads_credentials_again: bool,
}

impl Kept {
    /// That of a destination. A secret is fetched, since the scheme of its URI decides much.
    pub(in crate::writer) async fn of<R: Row>(planned: &PlannedDestination<R>) -> Self {
        let name = planned.name.clone();
        let store = match &planned.to {
            To::Topic(_) => return Self::topic(name, Doubles::SentAgain),
            To::Transactions(_) => return Self::topic(name, Doubles::OutOfPosition),
            To::Store(store) => store,
        };
        let settings = &store.settings;
        let fetched = settings.uri.fetch().await.map_err(|error| error.to_string());
        let uri = fetched.as_ref().ok().map(expose);
        let scheme = uri.and_then(|uri| Some(uri.split_once(':')?.0.to_ascii_lowercase()));
        let doubles = uri.map(|uri| store.doubles(uri).map_err(|error| error.to_string()));
        let known = uri.and_then(store::of_uri);
        let options = fetched.as_ref().ok().map(|uri| StoreOptions::new(settings, uri.clone(), StoreLimits::default()));
        let replicas = known.zip(options).and_then(|(store, options)| (store.replicas)(&options));
        Self {
            name,
            durability: known.map(|store| store.durability),
            scheme,
            doubles: doubles.unwrap_or_else(|| Err(fetched.as_ref().err().cloned().unwrap_or_default())),
            is_store: true,
            has_tombstones: store.has_tombstones,
            wait_replicas: replicas.unwrap_or(0),
            reads_credentials_again: settings.uri.is_read_again(),
        }
    }

    fn topic(name: String, doubles: Doubles) -> Self {
        Self {
            name,
            scheme: None,
            doubles: Ok(doubles),
            is_store: false,
            durability: None,
            has_tombstones: false,
            wait_replicas: 0,
            // They are the bus's.
            reads_credentials_again: true,
        }
    }
}
