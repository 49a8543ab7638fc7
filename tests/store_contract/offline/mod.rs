//! What every offline store must show, shown for the lake under `file://`.

mod contract;
mod crash;
pub(crate) mod disk;
mod model;
mod race;
mod readers;
mod support;
