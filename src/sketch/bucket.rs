//! Buckets on a logarithmic scale, and how they become half as many.

use std::cmp::Ordering;

/// The relative error of a sketch that was never compacted.
pub const FIRST_ERROR: f64 = 0.001;

/// A class of numbers that a sketch does not tell apart.
///
/// With `gamma = (1 + error) / (1 - error)` the positive bucket `k` has the numbers above `gamma^(k - 1)` up to
/// `gamma^k`; the negative ones mirror them. They are ordered as their numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Below zero; a larger index is further from it.
    Negative(i64),
    /// Zero.
    Zero,
    /// Above zero.
    Positive(i64),
}

impl Bucket {
    /// The bucket of a finite number at the error that a sketch begins with.
    ///
    /// A compacted sketch asks for this one too and compacts it: a logarithm to the larger base would put some
    /// numbers beside where those of another sketch were put before it was compacted.
    pub(super) fn of(value: f64, first_error: f64) -> Self {
        let index = || (value.abs().ln() / gamma(first_error).ln()).ceil() as i64;
        match value.partial_cmp(&0.0) {
            Some(Ordering::Less) => Self::Negative(index()),
            Some(Ordering::Greater) => Self::Positive(index()),
            _ => Self::Zero,
        }
    }

    /// The bucket that has its numbers after so many compactions: each puts `2k - 1` and `2k` into `k`.
    pub(super) fn compacted(self, times: u32) -> Self {
        let half = |index: i64| index / 2 + i64::from(index > 0 && index % 2 != 0);
        let compacted = |index: i64| (0..times).fold(index, |index, _| half(index));
        match self {
            Self::Negative(index) => Self::Negative(compacted(index)),
            Self::Zero => Self::Zero,
            Self::Positive(index) => Self::Positive(compacted(index)),
        }
    }

    /// -1, 0 or 1: on which side of zero its numbers are.
    pub const fn sign(self) -> i8 {
        match self {
            Self::Negative(_) => -1,
            Self::Zero => 0,
            Self::Positive(_) => 1,
        }
    }

    /// Its index on its side of zero; 0 for that of zero itself.
    pub const fn index(self) -> i64 {
        match self {
            Self::Negative(index) | Self::Positive(index) => index,
            Self::Zero => 0,
        }
    }

    /// The number from which the relative error to both ends of the bucket is the same, and is `error`.
    pub(super) fn middle(self, first_error: f64, compactions: u32) -> f64 {
        let gamma = (0..compactions).fold(gamma(first_error), |gamma, _| gamma * gamma);
        let middle = |index: i64| {
            // Two forms of one number: of each the first factor is one of the bucket's ends, and that one is
            // chosen which cannot be too small or too large for a double before the number itself is.
            let middle = if index <= 0 {
                gamma.powf(index as f64) * (2.0 / (gamma + 1.0))
            } else {
                gamma.powf(index as f64 - 1.0) * (1.0 + error_after(first_error, compactions))
            };
            middle.min(f64::MAX)
        };
        match self {
            Self::Negative(index) => -middle(index),
            Self::Zero => 0.0,
            Self::Positive(index) => middle(index),
        }
    }
}

/// The relative error after so many compactions of a sketch that began with this one.
pub fn error_after(first_error: f64, compactions: u32) -> f64 {
    (0..compactions).fold(first_error, |error, _| 2.0 * error / (1.0 + error * error))
}

/// What an index more multiplies by, at this relative error.
pub fn gamma(error: f64) -> f64 {
    (1.0 + error) / (1.0 - error)
}

impl Ord for Bucket {
    fn cmp(&self, other: &Self) -> Ordering {
        let (side, of) = (self.sign(), self.sign().cmp(&other.sign()));
        of.then_with(|| {
            let away = self.index().cmp(&other.index());
            if side < 0 { away.reverse() } else { away }
        })
    }
}

impl PartialOrd for Bucket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
