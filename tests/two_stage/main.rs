//! History by two writers: the first makes tables and publishes rows as parquet, the second writes them. What they
//! write is what one writer would have written, row by row.
//!
//! Every writer here is a process of the built program, on the embedded bus.

mod cases;
mod inserts;
mod look;
mod plant;
#[path = "../services/postgres/server.rs"]
mod postgres;
