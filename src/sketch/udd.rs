//! The sketch itself: counts by bucket, never more buckets than a fixed number.

use super::bucket::{Bucket, FIRST_ERROR, error_after};
use super::exact::ExactSum;

/// A sketch has no more buckets than these.
pub(super) const MOST_BUCKETS: usize = 200;

/// A `UDDSketch` (Epicoco et al., 2020) of 200 buckets that begins with a relative error of 0.001.
///
/// Where numbers need more buckets, all buckets are joined in pairs and the error is about doubled, as often as
/// it takes: how often depends on the numbers and not on their order, so parts merged equal the whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UddSketch {
    /// In the order of their numbers; none is empty.
    pub(super) buckets: Vec<(Bucket, u64)>,
    pub(super) compactions: u32,
    pub(super) count: u64,
    pub(super) sum: ExactSum,
}

impl UddSketch {
    /// A sketch of no numbers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number. False, with nothing added, for one that is not finite.
    #[must_use]
    pub fn add(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        self.count_in(Bucket::of(value, FIRST_ERROR).compacted(self.compactions), 1);
        self.fit();
        self.count += 1;
        self.sum.add(value);
        true
    }

    /// Adds the numbers of another sketch.
    pub fn merge(&mut self, other: &Self) {
        if self.compactions < other.compactions {
            self.compact(other.compactions - self.compactions);
        }
        let further = self.compactions - other.compactions;
        for (bucket, count) in &other.buckets {
            self.count_in(bucket.compacted(further), *count);
        }
        self.fit();
        self.count += other.count;
        self.sum.merge(&other.sum);
    }

    /// The number at a quantile from 0 to 1 (the one with `quantile * count` others below it), within
    /// [`Self::max_error`]; `None` of no numbers.
    ///
    /// Numbers so near to zero that doubles lose digits (below 2.3e-308) have the error of that too.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (self.count as f64 * quantile.clamp(0.0, 1.0)) as u64;
        let mut before = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            before += count;
            before > rank
        });
        let (bucket, _) = found.or(self.buckets.last())?;
        Some(bucket.middle(FIRST_ERROR, self.compactions))
    }

    /// The relative error of every quantile.
    pub fn max_error(&self) -> f64 {
        error_after(FIRST_ERROR, self.compactions)
    }

    /// How many numbers were added.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, exactly.
    pub const fn sum(&self) -> &ExactSum {
        &self.sum
    }

    /// How often buckets were joined in pairs.
    pub const fn compactions(&self) -> u32 {
        self.compactions
    }

    /// The buckets with how many numbers each has, in the order of the numbers; none is empty.
    pub fn buckets(&self) -> &[(Bucket, u64)] {
        &self.buckets
    }

    fn count_in(&mut self, bucket: Bucket, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Compacts until the buckets are few enough.
    fn fit(&mut self) {
        while self.buckets.len() > MOST_BUCKETS {
            self.compact(1);
        }
    }

    fn compact(&mut self, times: u32) {
        for (bucket, _) in &mut self.buckets {
            *bucket = bucket.compacted(times);
        }
        // Their order stays, so those that became one stand beside one another.
        self.buckets.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        self.compactions += times;
    }
}
