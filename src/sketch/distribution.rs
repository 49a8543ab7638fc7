//! A sketch with what a sketch cannot say: the ends, the nulls, and the moments without error.

use super::exact::ExactSum;
use super::udd::UddSketch;

/// What is known of many values of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    sketch: UddSketch,
    /// The smallest and the largest, where there is one.
    ends: Option<(f64, f64)>,
    nulls: u64,
    squares: ExactSum,
}

/// Numbers that describe a distribution; all zero where there are no values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// The smallest value.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many values there are, without the nulls.
    pub count: u64,
    /// How many nulls.
    pub null_count: u64,
    /// The mean.
    pub mean: f64,
    /// The mean square of the distances from the mean (that of a population).
    pub variance: f64,
}

impl Distribution {
    /// Of no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value. False, with nothing added, for one that is not finite.
    #[must_use]
    pub fn add(&mut self, value: f64) -> bool {
        let added = self.sketch.add(value);
        if added {
            let (min, max) = self.ends.unwrap_or((value, value));
            self.ends = Some((min.min(value), max.max(value)));
            self.squares.add_square(value);
        }
        added
    }

    /// Adds so many values that are known to be absent.
    pub fn add_nulls(&mut self, nulls: u64) {
        self.nulls += nulls;
    }

    /// Adds the values of another one.
    pub fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.ends = match (self.ends, other.ends) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
        self.nulls += other.nulls;
        self.squares.merge(&other.squares);
    }

    /// The sketch of the values.
    pub const fn sketch(&self) -> &UddSketch {
        &self.sketch
    }

    /// The numbers that describe it. Sums are exact until the last step, so neither the order in which values
    /// came nor how they were grouped shows in any of them.
    pub fn statistics(&self) -> Statistics {
        let count = self.sketch.count();
        let Some((min, max)) = self.ends else {
            return Statistics { null_count: self.nulls, ..Statistics::default() };
        };
        let sum = self.sketch.sum();
        let spread = ExactSum::spread(count, &self.squares, sum);
        let variance = spread.over(count as f64 * count as f64);
        Statistics { min, max, count, null_count: self.nulls, mean: sum.over(count as f64), variance }
    }
}
