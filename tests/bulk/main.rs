//! Files loaded into tables by the writer of loads: a real process, a real bus, real files and real servers.
//!
//! Seen to fail: the ledger not asked (a load doubled by a redelivery and after a kill), the marker of the lake not asked
//! (files that are gone by then refused), that and names of the lake's files made up anew (doubled after a kill), and
//! `on_error: skip_file` ignored.

mod changed;
#[path = "../services/clouds.rs"]
mod clouds;
mod faults;
mod files;
mod kinds;
mod once;
mod plant;
#[path = "../services/postgres/server.rs"]
mod postgres;
mod together;
