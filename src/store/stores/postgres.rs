//! Postgres, which can be every store.

use crate::store::description::{Store, Takes};
use crate::store::durability::Durability;
use crate::store::examine;
use crate::store::look::postgres as look;
use crate::store::postgres::uri;
use crate::store::tables::postgres as tables;
use crate::store::{metrics, offline, online, usage, vector};

pub(super) static STORE: Store = Store {
    name: "Postgres",
    schemes: &["postgres", "postgresql"],
    database: uri::database,
    online: Some(Takes { absorbs_repeats: true, open: online::postgres::open }),
    offline: Some(Takes { absorbs_repeats: true, open: |options| tables::open_tables(options, &offline::POSTGRES) }),
    loads: Some(Takes { absorbs_repeats: true, open: |options| tables::open_loads(options, &offline::POSTGRES) }),
    metrics: Some(Takes { absorbs_repeats: true, open: |options| tables::open(options, &metrics::POSTGRES) }),
    usage: Some(Takes { absorbs_repeats: true, open: |options| tables::open(options, &usage::POSTGRES) }),
    vector: Some(Takes { absorbs_repeats: true, open: vector::postgres::open }),
    look: Some(look::open),
    durability: Durability::ServersDisk,
    examine: Some(|kind, options| Box::pin(examine::postgres::examine(kind, options))),
    ..Store::NONE
};
