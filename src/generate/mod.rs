//! Realistic messages of every kind for `publish --generate`, `demo`, the benchmarks and the torture checker.
//!
//! The same seed and options give the same bytes, on every machine. [`Generator`] makes results, [`Messages`] any
//! [`Kind`], one file each.

mod draft;
mod features;
mod inserts;
mod kind;
mod loads;
mod messages;
mod metrics;
mod metrics_v4;
mod nodes;
mod options;
mod pods;
mod queries;
mod query_log;
mod results;
#[cfg(test)]
mod tests;
mod usage;
mod vectors;

pub use kind::Kind;
pub use messages::{Made, Messages};
pub use options::{BodyEncoding, Options, Shape};
pub use results::Generator;
