//! Offline stores: the history of every feature, and one row per query.

pub mod lake;

use std::sync::Arc;

use super::postgres::SCHEMA;
use super::tables::postgres;
use super::{StoreError, StoreKind, StoreOptions};
use crate::row::table::TableRows;
use crate::sink::Sink;

/// Every offline store of this version.
pub static OFFLINE_STORES: &[StoreKind<dyn Sink<TableRows>>] = &[
    StoreKind { schemes: &["file"], absorbs_repeats: false, open: lake::open },
    StoreKind { schemes: &["postgres", "postgresql"], absorbs_repeats: true, open: open_postgres },
];

const NAME: &str = "offline store";

pub(super) static POSTGRES: postgres::Layout =
    postgres::Layout { store: NAME, schema: SCHEMA, with_table: |_| Vec::new() };

fn open_postgres(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    postgres::open(options, &POSTGRES)
}

/// Opens the store that the URI's scheme names. Contacts nothing.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    super::open(NAME, OFFLINE_STORES, options)
}

/// Whether a URI is of a store of this version.
pub fn check(uri: &str) -> Result<(), StoreError> {
    super::find(NAME, OFFLINE_STORES, uri).map(drop)
}

/// Whether the store of a URI takes rows again without a trace: see [`StoreKind::absorbs_repeats`].
pub fn absorbs_repeats(uri: &str) -> Result<bool, StoreError> {
    super::find(NAME, OFFLINE_STORES, uri).map(|kind| kind.absorbs_repeats)
}
