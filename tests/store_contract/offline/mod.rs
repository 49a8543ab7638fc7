//! What every offline store must show. [`every`] walks the registry; a store without a line in its `Place::start` fails
//! every test there.

mod columns;
mod contract;
mod crash;
pub(crate) mod disk;
mod every;
mod faults_postgres;
mod model;
mod postgres;
mod postgres_changed;
mod postgres_own_code;
mod postgres_tables;
mod race;
mod readers;
pub(crate) mod support;
