//! Every store of this version. A new one is a file or a folder here, with its [`Store`], and a line in [`STORES`];
//! `docs/adding-a-store.md` walks through it.

mod blackhole;
mod lake;
mod postgres;
mod redis;
mod sqlite;

use super::description::Store;

/// In the order in which their schemes are listed to people.
pub static STORES: &[&Store] = &[&sqlite::STORE, &redis::STORE, &postgres::STORE, &lake::STORE, &blackhole::STORE];
