//! Partitions whose messages cannot be had though their brokers answer: a broken segment, a batch that cannot be decompressed.
//!
//! librdkafka reads the others on, tries these again twice a second, and tells the error each time. What is told of no
//! partition, as of a group that is full, is the bus's trouble.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{Poller, Trouble};
use crate::bus::BusError;
use crate::bus::kafka::rebalance::Member;

/// An error that a broker gets over sooner is no trouble.
const LASTS: Duration = Duration::from_secs(3);
/// What has not been told for so long is over.
const OVER_AFTER: Duration = Duration::from_secs(10);

/// Errors that are told again and again, by partition where they are of one.
#[derive(Default)]
pub(super) struct Unfetched {
    told: BTreeMap<Option<i32>, Told>,
}

struct Told {
    code: Code,
    since: Instant,
    heard: Instant,
    /// It lasts, and that was said.
    lasts: bool,
}

impl Unfetched {
    /// Since when nothing can be had of a partition, and why.
    pub(super) fn of(&self, partition: i32) -> Option<(Instant, String)> {
        let told = self.told.get(&Some(partition)).filter(|told| told.lasts)?;
        Some((told.since, format!("its broker answers, and its messages cannot be had: {}", told.code)))
    }

    /// An error was told. Returns whether it has to be said, as one that lasts.
    fn hear(&mut self, partition: Option<i32>, code: Code, now: Instant) -> bool {
        let told = self.told.entry(partition).or_insert(Told { code, since: now, heard: now, lasts: false });
        told.code = code;
        told.heard = now;
        !std::mem::replace(&mut told.lasts, now - told.since > LASTS) && told.lasts
    }

    /// Something came of a partition. Returns whether that ends what was said.
    fn came(&mut self, partition: i32) -> bool {
        !self.told.is_empty() && self.told.remove(&Some(partition)).is_some_and(|told| told.lasts)
    }

    /// Forgets what has not been told for long. Returns what was said of it.
    fn forget(&mut self, now: Instant) -> Vec<Option<i32>> {
        let over = |told: &Told| now - told.heard > OVER_AFTER;
        let gone =
            self.told.iter().filter(|(_, told)| over(told) && told.lasts).map(|(partition, _)| *partition).collect();
        self.told.retain(|_, told| !over(told));
        gone
    }

    /// Nothing is fetched, so nothing is told of it either.
    fn wait(&mut self, now: Instant) {
        self.told.iter_mut().filter(|(partition, _)| partition.is_some()).for_each(|(_, told)| told.heard = now);
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
    pub(super) fn cannot_fetch(&mut self, partition: Option<i32>, code: Code) {
        if !self.unfetched.hear(partition, code, Instant::now()) {
            return;
        }
        let topic = &*self.topic;
        let Some(partition) = partition else {
            let text = format!("topic {topic}: Kafka answers again and again with an error: {code}");
            return self.complain(Trouble::Answers, BusError::Unavailable(text));
        };
        tracing::error!(
            topic, partition, %code,
            "messages of a partition cannot be had, though its broker answers; the others are read on, and this one is \
             tried again and again. Look at the broker's log for this partition; where its messages are broken and \
             nobody can mend them, its group's position can be set behind them, which loses them"
        );
    }

    /// A message of a partition came, or its end.
    pub(super) fn can_fetch(&mut self, partition: i32) {
        if self.unfetched.came(partition) {
            tracing::info!(topic = &*self.topic, partition, "messages of the partition can be had again");
        }
    }

    /// Forgets what is not told any more.
    pub(super) fn forget_unfetched(&mut self, consumer: &BaseConsumer<Member>) {
        let now = Instant::now();
        if self.shared.full.load(Ordering::Acquire) || !self.outbox.is_empty() {
            self.unfetched.wait(now);
        }
        for partition in self.unfetched.forget(now) {
            match partition {
                Some(partition) => tracing::info!(
                    topic = &*self.topic,
                    partition,
                    "nothing is told any more of messages of the partition that could not be had"
                ),
                None => self.is_over(consumer, &[Trouble::Answers]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_for_long_is_said_once_and_is_over_with_a_message_or_in_silence() {
        let (begun, after) = (Instant::now(), |seconds| Duration::from_secs(seconds));
        let mut known = Unfetched::default();
        assert!(!known.hear(Some(4), Code::BadCompression, begun), "a broker may get over it");
        assert_eq!(known.of(4), None);
        assert!(known.hear(Some(4), Code::BadCompression, begun + after(4)));
        assert!(!known.hear(Some(4), Code::BadCompression, begun + after(5)), "it was said");
        assert!(!known.hear(Some(7), Code::Unknown, begun + after(5)), "another partition");
        let (since, why) = known.of(4).expect("it lasts");
        assert_eq!(since, begun);
        assert!(why.contains("compress"), "{why}");
        assert!(known.came(4) && !known.came(4), "said once");
        assert!(!known.came(7), "nothing was said of it");
        assert!(!known.hear(Some(4), Code::BadMessage, begun + after(6)), "from the beginning");
        assert!(known.hear(Some(4), Code::BadMessage, begun + after(10)));
        assert!(!known.hear(None, Code::GroupMaxSizeReached, begun + after(10)));
        assert!(known.hear(None, Code::GroupMaxSizeReached, begun + after(14)));
        assert_eq!(known.forget(begun + after(19)), [], "heard not long ago");
        known.wait(begun + after(21));
        assert_eq!(known.forget(begun + after(25)), [None], "whoever fetches nothing hears nothing of a partition");
        assert_eq!(known.forget(begun + after(32)), [Some(4)]);
        assert_eq!(known.of(4), None);
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
