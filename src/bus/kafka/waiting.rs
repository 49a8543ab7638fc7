//! Partitions that are assigned and cannot be read yet, because their leaders do not answer; and ends that are not known yet
//! for the same reason.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two questions: the first pause, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// Partitions that wait.
pub(super) struct Waiting {
    /// Each, and since when.
    since: BTreeMap<i32, Instant>,
    again: Instant,
    pause: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { since: BTreeMap::new(), again: Instant::now(), pause: FIRST }
    }
}

impl Waiting {
    pub(super) fn add(&mut self, partitions: &[i32]) {
        self.since.extend(partitions.iter().map(|partition| (*partition, Instant::now())));
        (self.again, self.pause) = (Instant::now() + FIRST, FIRST);
    }

    pub(super) fn forget(&mut self, partitions: &[i32]) {
        self.since.retain(|partition, _| !partitions.contains(partition));
    }

    pub(super) fn partitions(&self) -> Vec<i32> {
        self.since.keys().copied().collect()
    }

    /// Each, and since when.
    pub(super) fn since(&self) -> impl Iterator<Item = (i32, Instant)> {
        self.since.iter().map(|(partition, since)| (*partition, *since))
    }

    /// Whether it is time to ask; the next time is then later. While nobody answers it is asked less and less often: whoever
    /// asks reads nothing meanwhile.
    pub(super) fn is_due(&mut self) -> bool {
        let due = Instant::now() >= self.again;
        if due {
            self.again = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(LONGEST);
        }
        due
    }
}

/// Where a drain ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// Of each partition whose leader has told it.
    pub(super) known: Vec<(i32, i64)>,
    /// The others. A drain is not at its end without them.
    pub(super) missing: Vec<i32>,
}

impl Ends {
    /// Of a topic with these partitions.
    pub(super) fn of(partitions: Vec<i32>) -> Self {
        Self { known: Vec::new(), missing: partitions }
    }

    /// Notes what was told.
    pub(super) fn found(&mut self, told: &BTreeMap<i32, (i64, i64)>) {
        self.missing.retain(|partition| !told.contains_key(partition));
        self.known.extend(told.iter().map(|(partition, (_, end))| (*partition, *end)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_that_are_missing_are_noted_when_they_are_told_and_once() {
        let mut ends = Ends::of(vec![0, 1, 2]);
        ends.found(&BTreeMap::from([(0, (3, 9)), (2, (0, 0))]));
        assert_eq!((ends.known.as_slice(), ends.missing.as_slice()), (&[(0, 9), (2, 0)][..], &[1][..]));
        ends.found(&BTreeMap::from([(1, (0, 4))]));
        assert_eq!((ends.known.as_slice(), ends.missing.len()), (&[(0, 9), (2, 0), (1, 4)][..], 0));
    }

    #[test]
    fn who_waits_is_asked_for_less_and_less_often() {
        let mut waiting = Waiting::default();
        waiting.add(&[3, 5]);
        assert!(!waiting.is_due(), "just asked");
        let mut pauses = Vec::new();
        for _ in 0..6 {
            waiting.again = Instant::now();
            assert!(waiting.is_due() && !waiting.is_due());
            pauses.push(waiting.pause);
        }
        assert_eq!(pauses.last(), Some(&LONGEST));
        waiting.forget(&[3]);
        assert_eq!(waiting.partitions(), [5]);
    }
}
