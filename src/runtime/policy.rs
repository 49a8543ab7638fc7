//! Limits and times that a pipeline keeps to.

use std::time::Duration;

use crate::bus::Hold;

/// Limits and times of one pipeline.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `ONLINE_WRITER`, …: in dead letters, logs and metrics.
    pub writer_type: &'static str,
    /// The consumer group, for dead letters: a replay is for it alone.
    pub group: String,
    /// Rows in a batch at the most.
    pub max_rows: usize,
    /// Decoded bytes in a batch at the most.
    pub max_bytes: usize,
    /// Messages in a batch at the most: empty ones have no rows and next to no bytes.
    pub max_messages: usize,
    /// Age at which a batch is written though it is not full.
    pub max_age: Duration,
    /// Batches being written at once. One keeps the order of rows that share a key.
    pub in_flight: usize,
    /// Requests to one destination at once, as long as it does not throttle.
    pub concurrency: usize,
    /// Time for writing what is at hand on a revocation, and for all of a shutdown.
    pub drain_within: Duration,
    /// Write what is at hand as soon as the source has caught up: a drain does not wait for `max_age`.
    pub eager: bool,
    /// Another pipeline of the same writer tells how it is.
    pub beside: bool,
    /// Pauses between attempts.
    pub retry: Retry,
    /// How many messages may be buried.
    pub budget: DeadLetterBudget,
}

/// Of a shutdown the share that may go by before what is at hand is written; the rest is for committing it and leaving the bus.
const WRITES_FOR: f64 = 0.8;

/// Leaving a bus is given so long in any case.
const LEAST: Duration = Duration::from_secs(5);

/// How long all of a shutdown may take, from the signal to the end: writing what is at hand, committing, leaving.
pub fn stops_within(drain_within: Duration) -> Duration {
    drain_within.max(LEAST)
}

/// Messages that may be held however few rows a batch has: else a bus would bring them one by one.
const LEAST_HELD: usize = 10_000;

impl Policy {
    /// What a bus may have delivered that is not acknowledged: the batches that are written, the one that fills and the next one, and
    /// what is fetched ahead. A message takes at least as much in a batch as it does on the bus, and one without rows counts too.
    pub fn holds(&self, fetch_bytes: usize) -> Hold {
        let batches = self.in_flight.saturating_add(2);
        Hold {
            bytes: self.max_bytes.saturating_mul(batches).saturating_add(fetch_bytes),
            messages: self.max_rows.min(self.max_messages).saturating_mul(batches).max(LEAST_HELD),
        }
    }

    /// How long what is at hand may be written at a shutdown.
    pub(super) fn writes_within(&self) -> Duration {
        self.drain_within.mul_f64(WRITES_FOR)
    }
}

/// Pauses between attempts: full jitter, doubling.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The first.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

/// How many messages may be buried before something else must be wrong.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterBudget {
    /// Share of messages, judged over at least 100.
    pub max_ratio: f64,
    /// Messages in a row.
    pub max_consecutive: u64,
}

/// Where dead letters go.
#[derive(Clone, Debug)]
pub struct DeadLetterTopic {
    /// The topic.
    pub name: String,
    /// Largest message that it takes, where the bus says so.
    pub max_message_bytes: Option<usize>,
    /// Largest header of a message, where the bus has a limit for one.
    pub max_header_bytes: Option<usize>,
    /// Whether it keeps only the last message of a key, and so takes none without one, as far as the bus says so.
    pub compacts: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batch_that_there_may_be_at_once_has_room() {
        let policy = Policy {
            writer_type: "ONLINE_WRITER",
            group: "g".to_owned(),
            max_rows: 90_000,
            max_bytes: 200 << 20,
            max_messages: 100_000,
            max_age: Duration::from_secs(1),
            in_flight: 3,
            concurrency: 1,
            drain_within: Duration::from_secs(1),
            eager: false,
            beside: false,
            retry: Retry { first: Duration::ZERO, longest: Duration::ZERO },
            budget: DeadLetterBudget { max_ratio: 1.0, max_consecutive: 1 },
        };
        assert_eq!(policy.holds(1 << 30), Hold { bytes: 5 * (200 << 20) + (1 << 30), messages: 5 * 90_000 });
        let with_many_rows = Policy { max_rows: 1 << 30, ..policy.clone() };
        assert_eq!(with_many_rows.holds(0).messages, 5 * 100_000);
        let few = Policy { max_rows: 1, ..policy.clone() };
        assert_eq!(few.holds(0).messages, LEAST_HELD);
        let without_end = Policy { max_bytes: usize::MAX, max_rows: usize::MAX, max_messages: usize::MAX, ..policy };
        assert_eq!(without_end.holds(1), Hold { bytes: usize::MAX, messages: usize::MAX });
    }
}
