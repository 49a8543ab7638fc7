//! Parquet files in folders.

use crate::store::description::{Store, Takes};
use crate::store::durability::Durability;
use crate::store::examine;
use crate::store::look::lake as look;
use crate::store::offline::lake;
use crate::store::usage;

pub(super) static STORE: Store = Store {
    name: "the lake",
    schemes: &["file"],
    before_path: Some("//"),
    // Files have no keys; a load has an id, by which it lands once.
    offline: Some(Takes { absorbs_repeats: false, open: lake::open_tables }),
    loads: Some(Takes { absorbs_repeats: true, open: lake::open_loads }),
    usage: Some(Takes { absorbs_repeats: false, open: usage::open_lake }),
    look: Some(look::open),
    durability: Durability::OwnDisk,
    examine: Some(|_, options| Box::pin(examine::lake::examine(options))),
    ..Store::NONE
};
