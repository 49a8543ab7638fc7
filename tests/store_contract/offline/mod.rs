//! What every offline store must show, shown for the lake under `file://`.

mod columns;
mod contract;
mod crash;
mod disk;
mod model;
mod race;
mod readers;
mod support;
