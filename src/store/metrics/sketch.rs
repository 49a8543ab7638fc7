//! The numbers of a sketch that the views reckon with. Bucket `k` of a sketch that was compacted `c` times reaches up
//! to `base ^ (k · 2^c)`.

use crate::sketch::{self, FIRST_ERROR};

/// Columns of the view of quantiles.
pub(super) const QUANTILES: [(&str, f64); 7] =
    [("p5", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// What an index more multiplies by.
pub(super) fn base() -> f64 {
    sketch::gamma(FIRST_ERROR)
}

/// The relative error after so many compactions.
pub(super) fn error_after(compactions: u32) -> f64 {
    sketch::error_after(FIRST_ERROR, compactions)
}
