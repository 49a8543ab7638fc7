//! One SQLite file.

use crate::store::description::{Store, Takes};
use crate::store::durability::Durability;
use crate::store::examine;
use crate::store::look::sqlite as look;
use crate::store::tables::sqlite as tables;
use crate::store::{metrics, online, usage, vector};

pub(super) static STORE: Store = Store {
    name: "SQLite",
    schemes: &["sqlite"],
    before_path: Some(""),
    online: Some(Takes { absorbs_repeats: true, open: online::sqlite::open }),
    metrics: Some(Takes { absorbs_repeats: true, open: |options| tables::open(options, &metrics::SQLITE) }),
    usage: Some(Takes { absorbs_repeats: true, open: |options| tables::open(options, &usage::SQLITE) }),
    vector: Some(Takes { absorbs_repeats: true, open: vector::sqlite::open }),
    look: Some(look::open),
    durability: Durability::OwnDisk,
    examine: Some(|kind, options| Box::pin(examine::sqlite::examine(kind, options))),
    ..Store::NONE
};
