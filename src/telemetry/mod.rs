//! What a running writer shows of itself: logs, metrics, and the one HTTP port that serves them.
//!
//! The rest of the program only uses the `tracing` and `metrics` facades, and never this module.

pub mod build;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod process;
pub mod scrape;
pub mod status;
pub mod summary;
pub mod throughput;
pub mod watched;
