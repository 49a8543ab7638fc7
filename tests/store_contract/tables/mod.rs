//! What every store of keyed tables must show, shown for metrics in SQLite and in two versions of Postgres.

mod contract;
mod faults_sqlite;
pub(crate) mod place;
mod views;
