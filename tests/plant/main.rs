//! Whole plants: one configuration file, one bus, a process of the real binary for each writer, and messages that
//! are followed to where they land.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod broker;
mod documented;
mod nine;
#[path = "../services/postgres/server.rs"]
mod postgres;
mod process;
mod stores;
