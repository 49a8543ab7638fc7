//! Stores of loads: offline stores, as files are loaded into them.
//!
//! They are the stores of [`offline`](super::offline) under the same URIs and with the same tables; what is different is
//! that rows come in files, which the store reads itself, and that a load has an id that lands once.

pub mod work;

use std::sync::Arc;

use super::offline::{POSTGRES, lake};
use super::tables::postgres;
use super::{StoreError, StoreKind, StoreOptions};
use crate::row::load::FileLoad;
use crate::sink::Sink;

/// Every store of loads of this version.
pub static LOAD_STORES: &[StoreKind<dyn Sink<FileLoad>>] = &[
    StoreKind { schemes: &["file"], absorbs_repeats: true, open: lake::open_loads },
    StoreKind {
        schemes: &["postgres", "postgresql"],
        absorbs_repeats: true,
        open: |options| postgres::open_loads(options, &POSTGRES),
    },
];

const NAME: &str = "offline store";

/// Opens the store that the URI's scheme names. Contacts nothing.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn Sink<FileLoad>>, StoreError> {
    super::open(NAME, LOAD_STORES, options)
}

/// Whether a URI is of a store of this version.
pub fn check(uri: &str) -> Result<(), StoreError> {
    super::find(NAME, LOAD_STORES, uri).map(drop)
}

/// Whether the store of a URI takes loads again without a trace: see [`StoreKind::absorbs_repeats`].
pub fn absorbs_repeats(uri: &str) -> Result<bool, StoreError> {
    super::find(NAME, LOAD_STORES, uri).map(|kind| kind.absorbs_repeats)
}
