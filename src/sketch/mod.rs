//! Distributions in little space: [`UddSketch`], which answers for any quantile within a known relative error
//! and merges, and the sums beside it, which are exact.
//!
//! Partial results of many processes are merged when they are read, in whatever order and grouping. So
//! everything here is a function of the values that were added and of nothing else: of any split of them, the
//! parts merged are the whole, to the last bit.

mod bucket;
mod distribution;
mod exact;
mod text;
mod udd;

pub use bucket::{Bucket, FIRST_ERROR, error_after, gamma};
pub use distribution::{Distribution, Statistics};
pub use exact::ExactSum;
pub use text::BadSketch;
pub use udd::UddSketch;

#[cfg(test)]
mod tests;
