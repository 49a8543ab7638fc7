//! The pauses between attempts.

use std::time::Duration;

use super::Retry;

/// Doubling pauses with full jitter: many writers that lost one store do not come back as one.
#[derive(Debug)]
pub(crate) struct Pauses {
    limits: Retry,
    next: Duration,
}

impl Pauses {
    pub(crate) fn new(limits: Retry) -> Self {
        Self { limits, next: limits.first }
    }

    /// How long to wait before the next attempt; no shorter than the store asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.next.mul_f64(fastrand::f64());
        self.next = (self.next * 2).min(self.limits.longest);
        // Never zero: an attempt after no time at all would be a busy loop.
        pause.max(Duration::from_millis(1)).max(asked.unwrap_or_default())
    }

    /// Something worked: the next trouble is a new one.
    pub(super) fn reset(&mut self) {
        self.next = self.limits.first;
    }
}
