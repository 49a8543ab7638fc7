//! Files loaded into tables by the writer of loads: a real process, a real bus, real files and real servers.
//!
//! Seen to fail: `Ledger::take` without its lock (a load doubled in `killed_in_the_middle…`), `LAND` left out (doubled by
//! a redelivery), `skips_bad_files` ignored, the file names of the lake made of the write's id (doubled after a kill).

mod changed;
mod clouds;
mod faults;
mod files;
mod kinds;
mod once;
mod plant;
#[path = "../services/postgres/server.rs"]
mod postgres;
mod together;
