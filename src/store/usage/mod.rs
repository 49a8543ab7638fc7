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
use super::{StoreError, StoreOptions};
use crate::config::StoreKind;
use crate::row::table::TableRows;
use crate::sink::Sink;

pub(super) static POSTGRES: postgres::Layout =
    postgres::Layout { store: StoreKind::Usage.name(), schema: "chalk", with_table: |_| Vec::new() };
pub(super) static SQLITE: sqlite::Layout =
    sqlite::Layout { store: StoreKind::Usage.name(), with_table: |_| Vec::new() };

/// A lake of usage; contacts nothing.
pub(super) fn open_lake(options: &StoreOptions) -> Result<Arc<dyn Sink<TableRows>>, StoreError> {
    lake::open_as(StoreKind::Usage.name(), options).map(|lake| lake as Arc<dyn Sink<TableRows>>)
}
