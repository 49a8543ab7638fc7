//! Usage stores: what was used, and the state of nodes and pods that usage is counted from.
//!
//! Tables ([`shapes`]) are in the schema `chalk` of Postgres, unless the URI names another, under plain names in
//! SQLite, and folders of a lake. Of two rows of one key the first stands, for money is counted from them: what comes
//! again changes nothing, and neither does another event of the same id. A lake has no keys: there a row that comes
//! again is there twice, and its readers take one of each key.

pub mod shapes;

use std::sync::Arc;

use super::offline::lake;
use super::tables::{postgres, sqlite};
use super::{StoreError, StoreKind, StoreOptions};
use crate::row::table::TableRows;
use crate::sink::Sink;

/// Every usage store of this version.
pub static USAGE_STORES: &[StoreKind<dyn Sink<TableRows>>] = &[
    StoreKind { schemes: &["sqlite"], absorbs_repeats: true, open: open_sqlite },
    StoreKind { schemes: &["postgres", "postgresql"], absorbs_repeats: true, open: open_postgres },
    StoreKind { schemes: &["file"], absorbs_repeats: false, open: open_lake },
];

const NAME: &str = "usage store";

static POSTGRES: postgres::Layout = postgres::Layout { store: NAME, schema: "chalk", with_table: |_| Vec::new() };
static SQLITE: sqlite::Layout = sqlite::Layout { store: NAME, with_table: |_| Vec::new() };

/// Opens the store that the URI's scheme names. Contacts nothing.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    super::open(NAME, USAGE_STORES, options)
}

/// Whether a URI is of a store of this version.
pub fn check(uri: &str) -> Result<(), StoreError> {
    super::find(NAME, USAGE_STORES, uri).map(drop)
}

/// Whether the store of a URI takes rows again without a trace: see [`StoreKind::absorbs_repeats`].
pub fn absorbs_repeats(uri: &str) -> Result<bool, StoreError> {
    super::find(NAME, USAGE_STORES, uri).map(|kind| kind.absorbs_repeats)
}

fn open_sqlite(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    sqlite::open(options, &SQLITE)
}

fn open_postgres(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    postgres::open(options, &POSTGRES)
}

fn open_lake(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    lake::open_as(NAME, options).map(|lake| lake as Arc<dyn Sink<TableRows>>)
}
