//! How fast a growing number grows: over the last ten seconds and the last minute.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Samples of one number, a second apart, for a minute.
#[derive(Debug, Default)]
pub struct Throughput {
    samples: VecDeque<(Instant, u64)>,
}

const KEPT: Duration = Duration::from_secs(60);

impl Throughput {
    /// Notes what the number is now.
    pub fn sample(&mut self, now: Instant, value: u64) {
        self.samples.push_back((now, value));
        // One sample older than the minute stays, or the minute would be measured over less.
        while self.samples.get(1).is_some_and(|(at, _)| now - *at >= KEPT) {
            self.samples.pop_front();
        }
    }

    /// Growth per second over the last so long, or since the first sample; zero before there are two.
    pub fn rate(&self, over: Duration) -> f64 {
        let Some((now, last)) = self.samples.back() else { return 0. };
        let first = self.samples.iter().rev().find(|(at, _)| *now - *at >= over).or_else(|| self.samples.front());
        let Some((since, first)) = first else { return 0. };
        let seconds = (*now - *since).as_secs_f64();
        if seconds > 0. { last.saturating_sub(*first) as f64 / seconds } else { 0. }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_shows_in_ten_seconds_and_fades_in_a_minute() {
        let start = Instant::now();
        let mut throughput = Throughput::default();
        assert!(throughput.rate(KEPT).abs() < f64::EPSILON);
        for second in 0..=120u64 {
            throughput.sample(start + Duration::from_secs(second), if second > 115 { 600 } else { 0 });
        }
        assert!((throughput.rate(Duration::from_secs(10)) - 60.).abs() < 1e-9);
        assert!((throughput.rate(Duration::from_secs(60)) - 10.).abs() < 1e-9);
        assert!(throughput.samples.len() <= 62, "{}", throughput.samples.len());
    }

    #[test]
    fn a_young_process_is_measured_over_its_own_age() {
        let start = Instant::now();
        let mut throughput = Throughput::default();
        throughput.sample(start, 0);
        throughput.sample(start + Duration::from_secs(2), 100);
        assert!((throughput.rate(KEPT) - 50.).abs() < 1e-9);
    }
}
