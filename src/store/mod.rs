//! Stores: where rows go. A store is chosen by the scheme of its URI.
//!
//! Each is described once, by a [`Store`]: what it is called, its schemes and settings, and how it takes which kinds
//! of rows. What the configuration, the commands and the writers know of stores is derived from the list of them,
//! [`STORES`]. A new store is one file and one line in it.

mod description;
pub mod durability;
pub mod examine;
pub mod load;
pub mod look;
pub mod metrics;
pub mod offline;
pub mod online;
mod options;
mod postgres;
mod registry;
mod sqlite;
mod stores;
pub mod tables;
pub mod usage;
pub mod vector;

pub use description::{Examine, OpenLook, Store, Takes};
pub use options::{StoreError, StoreLimits, StoreOptions};
pub use postgres::reader::Reader as PostgresReader;
pub use registry::{Family, LOADS, METRICS, OFFLINE, ONLINE, USAGE, VECTOR, database, examine, of_uri, open_look};
pub use stores::STORES;
