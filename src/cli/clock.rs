//! A clock that is set back under a running writer.
//!
//! Clients of a bus may wait by the time of day. librdkafka (2.12) does in all of its threads: where the clock is set back by an hour they
//! sleep for an hour, send no heartbeats and cannot be joined, so that no drain ends either. A new process is the way out. It loses
//! nothing: what was not acknowledged is delivered again.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

/// How far a clock must have been set back for a new process to be worth it. Less is waited out: it is less than the session of
/// a consumer (45 s by default), and no more than a restart takes.
const FROM: Duration = Duration::from_secs(10);

const EVERY: Duration = Duration::from_secs(1);

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Moment {
    of_day: SystemTime,
    since_start: Instant,
}

impl Moment {
    fn now() -> Self {
        Self { of_day: SystemTime::now(), since_start: Instant::now() }
    }

    /// By how much the time of day was set back since an earlier moment.
    fn set_back_since(self, earlier: Self) -> Duration {
        let passed = self.since_start.saturating_duration_since(earlier.since_start);
        (earlier.of_day + passed).duration_since(self.of_day).unwrap_or_default()
    }
}

/// Looks at the clock until it is dropped.
#[must_use]
pub(super) struct Watch {
    _ends: Sender<Infallible>,
}

impl Watch {
    /// Calls `then` with how far the clock was set back, once it was.
    ///
    /// In a thread of its own: a call of the client that stands still holds up the task that made it, and whatever
    /// shares that task.
    pub(super) fn begin(then: impl FnOnce(Duration) + Send + 'static) -> Self {
        let (ends, ended) = mpsc::channel::<Infallible>();
        std::thread::spawn(move || {
            let mut last = Moment::now();
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = Moment::now();
                let back = now.set_back_since(last);
                if back >= FROM {
                    return then(back);
                }
                last = now;
            }
        });
        Self { _ends: ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_back_counts() {
        let earlier = Moment::now();
        let second = Duration::from_secs(1);
        let later = |of_day| Moment { of_day, since_start: earlier.since_start + second };
        let right = earlier.of_day + second;
        assert_eq!(later(right).set_back_since(earlier), Duration::ZERO);
        assert_eq!(later(right + 3600 * second).set_back_since(earlier), Duration::ZERO);
        assert_eq!(later(right - 3600 * second).set_back_since(earlier), 3600 * second);
    }
}
