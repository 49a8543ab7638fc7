//! Offline stores: the history of every feature, and one row per query.

pub mod lake;

use super::postgres::SCHEMA;
use super::tables::postgres;
use crate::config::StoreKind;

pub(super) static POSTGRES: postgres::Layout =
    postgres::Layout { store: StoreKind::Offline.name(), schema: SCHEMA, with_table: |_| Vec::new() };
