//! Partitions whose messages cannot be had though their brokers answer: a broken segment, a batch that cannot be decompressed.
//!
//! librdkafka reads the others on, tries these again twice a second, and tells the error each time; of which partition it is
//! the binding does not. So it is looked for: what has messages behind what was read, and does not move.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{Poller, Trouble};
use crate::bus::BusError;
use crate::bus::kafka::chunk::Item;
use crate::bus::kafka::ledger::ReadTo;
use crate::bus::kafka::rebalance::Member;

/// An error that a broker gets over sooner is no trouble.
const LASTS: Duration = Duration::from_secs(3);
/// What has not been told for so long is over.
const OVER_AFTER: Duration = Duration::from_secs(10);
/// Between two looks at what stands still,
const LOOKS_EVERY: Duration = Duration::from_secs(5);
/// and how often it has to be found where it was.
const LOOKS: u32 = 2;

/// An error that is told again and again.
pub(super) struct Unfetched {
    code: Code,
    since: Instant,
    heard: Instant,
    looked: Option<Instant>,
    /// Up to where each partition was read when it was looked at last, and how often it was found there.
    read_to: BTreeMap<i32, (i64, u32)>,
    /// Partitions that stand still, since when, and why.
    still: BTreeMap<i32, (Instant, String)>,
}

impl Unfetched {
    fn new(code: Code) -> Self {
        let now = Instant::now();
        Self { code, since: now, heard: now, looked: None, read_to: BTreeMap::new(), still: BTreeMap::new() }
    }

    /// Since when a partition stands still, and why.
    pub(super) fn of(&self, partition: i32) -> Option<(Instant, String)> {
        self.still.get(&partition).cloned()
    }

    /// Takes how far partitions are now; returns those that are found to stand still.
    ///
    /// One of which something is still at work is left out: what lies behind that may be no more than the mark of a
    /// transaction, which counts as read once all before it is dealt with. And messages of one may wait behind those of
    /// another for a while, so that once is not enough.
    fn look(&mut self, now: &BTreeMap<i32, ReadTo>) -> Vec<i32> {
        let why = || format!("its broker answers, and its messages cannot be had: {}", self.code);
        let mut still = BTreeMap::new();
        let mut found = Vec::new();
        let mut seen = BTreeMap::new();
        for (&partition, at) in now {
            let times =
                self.read_to.get(&partition).filter(|(read_to, _)| *read_to == at.offset).map_or(0, |seen| seen.1);
            seen.insert(partition, (at.offset, times + 1));
            if at.is_idle && at.end.is_some_and(|end| end > at.offset) && times >= LOOKS {
                let known = self.still.remove(&partition).unwrap_or_else(|| {
                    found.push(partition);
                    (self.since, why())
                });
                still.insert(partition, known);
            }
        }
        self.still = still;
        self.read_to = seen;
        found
    }
}

/// Whether an error says that something cannot be had which is there: every answer of a broker (they are above zero, but for
/// the one that it has for what it did not expect, as of a tier that fails), and what cannot be read of it. The others are of connections, which are heard of otherwise.
pub(super) fn is_of_messages(code: Code) -> bool {
    let unreadable = [Code::Unknown, Code::BadMessage, Code::BadCompression, Code::NotImplemented, Code::Underflow];
    code as i32 > 0 || unreadable.contains(&code)
}

impl Poller {
    /// An error came that says so.
    pub(super) fn cannot_fetch(&mut self, code: Code) {
        let known = self.unfetched.take().filter(|known| known.heard.elapsed() < OVER_AFTER);
        let mut known = known.unwrap_or_else(|| Unfetched::new(code));
        known.heard = Instant::now();
        known.code = code;
        let lasts = known.since.elapsed() > LASTS;
        self.unfetched = Some(known);
        if lasts {
            let text = format!("topic {}: Kafka answers again and again with an error: {code}", self.topic);
            self.complain(Trouble::Messages, BusError::Unavailable(text));
        }
    }

    /// Looks whether it is over, and otherwise for the partitions that it is about.
    pub(super) fn look_for_unfetched(&mut self, consumer: &BaseConsumer<Member>) {
        let Some(mut known) = self.unfetched.take() else { return };
        if self.shared.paused.load(Ordering::Acquire) || !self.outbox.is_empty() {
            // Nothing is fetched, so nothing is told of it either.
            known.heard = Instant::now();
            self.unfetched = Some(known);
            return;
        }
        if known.heard.elapsed() > OVER_AFTER {
            self.is_over(consumer, &[Trouble::Messages]);
            return;
        }
        // What was not polled just now stands still for another reason.
        let is_due = known.looked.is_none_or(|looked| looked.elapsed() > LOOKS_EVERY);
        if self.troubles.contains(&Trouble::Messages) && is_due && known.heard.elapsed() < LASTS {
            known.looked = Some(Instant::now());
            let _ = self.ask_ends(consumer);
            let found = known.look(&self.shared.ledger.read_to());
            if !found.is_empty() {
                // From here on it is these partitions that are in trouble, and the bus is not.
                self.outbox.push_back(Item::CaughtUp);
            }
            for partition in found {
                tracing::error!(
                    topic = &*self.topic, partition, code = %known.code,
                    "messages of a partition cannot be had, though its broker answers; the others are read on, and this \
                     one is tried again and again. Look at the broker's log for this partition; where its messages are \
                     broken and nobody can mend them, its group's position can be set behind them, which loses them"
                );
            }
        }
        self.unfetched = Some(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_more_behind_it_and_does_not_move_stands_still_and_is_told_once() {
        let mut known = Unfetched::new(Code::BadCompression);
        let of = |offset, end, is_idle| ReadTo { offset, end, is_idle };
        let at = |moving: i64| {
            BTreeMap::from([
                (0, of(5, Some(9), true)),
                (1, of(moving, Some(90), true)),
                (2, of(7, Some(7), true)),
                (3, of(1, None, true)),
                // Behind what is at work may be a mark.
                (4, of(7, Some(8), false)),
            ])
        };
        assert_eq!(known.look(&at(10)), Vec::<i32>::new(), "nobody knows yet whether it moves");
        assert_eq!(known.look(&at(20)), Vec::<i32>::new(), "once is not enough");
        assert_eq!(known.look(&at(30)), [0]);
        assert_eq!(known.look(&at(40)), Vec::<i32>::new(), "it was told");
        let (since, why) = known.of(0).expect("it stands still");
        assert_eq!(since, known.since);
        assert!(why.contains("compress"), "{why}");
        assert!([1, 2, 3, 4].iter().all(|other| known.of(*other).is_none()));
        known.look(&BTreeMap::from([(0, of(6, Some(9), true))]));
        assert_eq!(known.of(0), None, "it moves");
    }

    #[test]
    fn an_answer_of_a_broker_is_of_messages_and_a_connection_that_ends_is_not() {
        for code in [Code::InvalidMessage, Code::Unknown, Code::BadCompression, Code::BadMessage] {
            assert!(is_of_messages(code), "{code:?}");
        }
        for code in [Code::BrokerTransportFailure, Code::Resolve, Code::OperationTimedOut, Code::PollExceeded] {
            assert!(!is_of_messages(code), "{code:?}");
        }
    }
}
