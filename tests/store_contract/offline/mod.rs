//! What every offline store must show, shown for the lake under `file://` and for Postgres.

mod columns;
mod contract;
mod crash;
pub(crate) mod disk;
mod faults_postgres;
mod model;
mod postgres;
mod postgres_tables;
mod race;
mod readers;
pub(crate) mod support;
