//! A bucket of permits: so many a second, and no more at once than a second brings.

use tokio::time::Instant;

/// Permits that come back with time. Sees no clock but the times that it is given.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    most: f64,
    permits: f64,
    seen: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        let most = per_second.max(1.0);
        Self { per_second, most, permits: most, seen: now }
    }

    /// Takes a permit where there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        // Fractions of seconds add up a little short of the whole.
        const ALMOST: f64 = 1.0 - 1e-9;
        let passed = now.saturating_duration_since(self.seen);
        self.seen = self.seen.max(now);
        self.permits = (self.permits + passed.as_secs_f64() * self.per_second).min(self.most);
        let has = self.permits >= ALMOST;
        if has {
            self.permits -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn taken(bucket: &mut Bucket, at: Instant) -> usize {
        std::iter::from_fn(|| bucket.take(at).then_some(())).take(10_000).count()
    }

    #[test]
    fn a_second_brings_so_many_and_a_fraction_of_one_in_its_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(20.0, start);
        assert_eq!(taken(&mut bucket, start), 20);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(250)), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_hours(1)), 20);
        let mut slow = Bucket::new(0.1, start);
        assert_eq!(taken(&mut slow, start), 1);
        assert_eq!(taken(&mut slow, start + Duration::from_secs(9)), 0);
        assert_eq!(taken(&mut slow, start + Duration::from_secs(10)), 1);
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_than_its_share_and_one_bucket(
            per_second in 0.1..200.0_f64,
            steps in prop::collection::vec(0..500_u64, 1..200),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(per_second, start);
            let (mut now, mut taken) = (start, 0.0);
            for step in steps {
                now += Duration::from_millis(step);
                if bucket.take(now) {
                    taken += 1.0;
                }
                prop_assert!(taken <= (now - start).as_secs_f64() * per_second + per_second.max(1.0) + 1e-6);
            }
        }
    }
}
