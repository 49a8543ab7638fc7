//! The numbers of a sketch that the views reckon with. Bucket `k` of a sketch that was compacted `c` times reaches up
//! to `base ^ (k · 2^c)`.

/// Columns of the view of quantiles.
pub(super) const QUANTILES: [(&str, f64); 7] =
    [("p5", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// The relative error of a sketch that was never compacted.
const FIRST_ERROR: f64 = 0.001;

/// What an index more multiplies by.
pub(super) fn base() -> f64 {
    (1.0 + FIRST_ERROR) / (1.0 - FIRST_ERROR)
}

/// The relative error after so many compactions.
pub(super) fn error_after(compactions: u32) -> f64 {
    (0..compactions).fold(FIRST_ERROR, |error, _| 2.0 * error / (1.0 + error * error))
}
