//! What every store of keyed tables must show, shown for metrics in every store of the registry. One without
//! a line in [`place::start_all`] fails every test that walks it.

mod contract;
mod faults_sqlite;
pub(crate) mod place;
mod views;
