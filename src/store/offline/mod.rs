//! Offline stores: the history of every feature, and one row per query.

pub mod lake;

use std::sync::Arc;

use super::postgres::{SCHEMA, uri};
use super::tables::postgres;
use super::tables::prepare::TableStore;
use super::{StoreError, StoreKind, StoreOptions};
use crate::row::table::TableRows;
use crate::sink::Sink;

/// Every offline store of this version.
pub static OFFLINE_STORES: &[StoreKind<dyn TableStore>] = &[
    StoreKind { schemes: &["file"], absorbs_repeats: false, open: lake::open_tables },
    StoreKind { schemes: &["postgres", "postgresql"], absorbs_repeats: true, open: open_postgres },
];

const NAME: &str = "offline store";

pub(super) static POSTGRES: postgres::Layout =
    postgres::Layout { store: NAME, schema: SCHEMA, with_table: |_| Vec::new() };

fn open_postgres(options: &StoreOptions) -> Result<Arc<dyn TableStore>, StoreError> {
    postgres::open_tables(options, &POSTGRES)
}

/// Opens the store that the URI's scheme names. Contacts nothing.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    open_tables(options).map(|store| store as Arc<dyn Sink<TableRows>>)
}

/// The same, as a store that can also be asked to make tables alone.
pub fn open_tables(options: &StoreOptions) -> Result<Arc<dyn TableStore>, StoreError> {
    super::open(NAME, OFFLINE_STORES, options)
}

/// Whether a URI is of a store of this version.
pub fn check(uri: &str) -> Result<(), StoreError> {
    super::find(NAME, OFFLINE_STORES, uri).map(drop)
}

/// The database that a URI names; `None` where the store has none, or the URI is no such thing.
pub fn database(uri: &str) -> Option<String> {
    let scheme = uri.split_once(':')?.0;
    ["postgres", "postgresql"].contains(&scheme).then(|| uri::parse(NAME, uri).ok()?.database().map(str::to_owned))?
}

/// Whether the store of a URI takes rows again without a trace: see [`StoreKind::absorbs_repeats`].
pub fn absorbs_repeats(uri: &str) -> Result<bool, StoreError> {
    super::find(NAME, OFFLINE_STORES, uri).map(|kind| kind.absorbs_repeats)
}
