//! A batch is the unit of everything: of writing, of retrying and of acknowledging.
//!
//! It holds every message consumed since the last one was cut, also those that gave no rows and
//! those that could not be read, so that acknowledging its last delivery acknowledges no message
//! that nobody dealt with.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use tokio::time::Instant;

use super::Policy;
use crate::decode::Decoded;
use crate::message::{Delivery, Message, Partition};
use crate::sink::{Refusal, Row, Sink};

/// A message of a batch, and what was found out about it while it was read.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Message,
    pub(super) environment: Option<Arc<str>>,
    pub(super) event_time: Option<i64>,
    /// The first verdict on it: a message is buried once, whole, whatever else is wrong with it.
    pub(super) refusal: Option<Box<Refusal>>,
    /// Bytes that it takes with its rows.
    size: usize,
}

/// Messages and their rows, in order of arrival.
#[derive(Debug)]
pub(super) struct Batch<R> {
    pub(super) messages: Vec<Held>,
    /// Each row with the index of its message.
    pub(super) rows: Vec<(R, usize)>,
    pub(super) partitions: HashSet<Partition>,
    last: Option<Delivery>,
    row_count: usize,
    bytes: usize,
    due: Option<Instant>,
}

/// Rows that are written as one: all of one key, or a single row without a key.
#[derive(Debug)]
pub(super) struct Unit<R> {
    /// What stands for the members where there are several.
    pub(super) collapsed: Option<Box<R>>,
    /// Index into [`Batch::rows`] of the one that arrived first.
    first: usize,
    /// The others in order of arrival: of nearly every unit there are none, and nothing is allocated.
    later: Vec<usize>,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            rows: Vec::new(),
            partitions: HashSet::new(),
            last: None,
            row_count: 0,
            bytes: 0,
            due: None,
        }
    }
}

impl<R: Row> Batch<R> {
    /// Takes a message with what was made of it and the [size](size_of) of both; `decoded` is left empty.
    pub(super) fn push(&mut self, message: Message, decoded: &mut Decoded<R>, size: usize, policy: &Policy) {
        self.last = Some(message.delivery);
        self.due.get_or_insert_with(|| Instant::now() + policy.max_age);
        self.bytes += size;
        // Messages of one partition come in runs.
        let same = self.messages.last().is_some_and(|last| last.message.partition == message.partition);
        if !same && !self.partitions.contains(&message.partition) {
            self.partitions.insert(message.partition.clone());
        }
        let at = self.messages.len();
        self.row_count += count(&decoded.rows);
        self.rows.extend(decoded.rows.drain(..).map(|row| (row, at)));
        self.messages.push(Held {
            message,
            environment: decoded.environment.take(),
            event_time: decoded.event_time.take(),
            refusal: decoded.refused.drain(..).next().map(Box::new),
            size,
        });
        decoded.unpacked = 0;
    }

    /// Whether a message of this size with its rows still fits. An empty batch takes any message: one
    /// that is larger than the limit is written alone.
    pub(super) fn has_room_for(&self, decoded: &Decoded<R>, size: usize, policy: &Policy) -> bool {
        self.messages.is_empty()
            || (self.row_count + count(&decoded.rows) <= policy.max_rows
                && self.bytes + size <= policy.max_bytes
                && self.messages.len() < policy.max_messages)
    }

    pub(super) fn is_full(&self, policy: &Policy) -> bool {
        self.row_count >= policy.max_rows
            || self.bytes >= policy.max_bytes
            || self.messages.len() >= policy.max_messages
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The delivery whose acknowledgement acknowledges this batch; `None` where it never held one.
    pub(super) fn last(&self) -> Option<Delivery> {
        self.last
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn row_count(&self) -> usize {
        self.row_count
    }

    /// Makes it as new, keeping its memory: lists of thousands of rows are grown once and not for every batch.
    pub(super) fn clear(&mut self) {
        let Self { messages, rows, partitions, last, row_count, bytes, due } = self;
        messages.clear();
        rows.clear();
        partitions.clear();
        (*last, *row_count, *bytes, *due) = (None, 0, 0, None);
    }

    /// When it is to be written though it is not full.
    pub(super) fn due(&self) -> Instant {
        self.due.unwrap_or_else(Instant::now)
    }

    /// Makes it due at once, where it holds anything.
    pub(super) fn hurry(&mut self) {
        if !self.is_empty() {
            self.due = Some(Instant::now());
        }
    }

    /// Whether it holds messages of any of these partitions.
    pub(super) fn involves(&self, partitions: &[Partition]) -> bool {
        partitions.iter().any(|partition| self.partitions.contains(partition))
    }

    /// Drops what belongs to these partitions: their next owner reads it again.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        let kept: Vec<bool> = self.messages.iter().map(|held| !partitions.contains(&held.message.partition)).collect();
        let mut moved = Vec::with_capacity(kept.len());
        let mut next = 0;
        for keep in &kept {
            moved.push(next);
            next += usize::from(*keep);
        }
        self.rows.retain_mut(|(_, message)| {
            let keep = kept[*message];
            *message = moved[*message];
            keep
        });
        let mut verdicts = kept.iter();
        self.messages.retain(|_| *verdicts.next().expect("one verdict per message"));
        self.partitions.retain(|partition| !partitions.contains(partition));
        self.bytes = self.messages.iter().map(|held| held.size).sum();
        self.row_count = self.rows.iter().map(|(row, _)| row.rows()).sum();
        if self.messages.is_empty() {
            *self = Self::default();
        }
    }

    /// The rows of one destination as units: rows of one key are collapsed by the sink that knows
    /// which of two equally old values wins.
    pub(super) fn units(&self, destination: usize, sink: &dyn Sink<R>) -> Vec<Unit<R>> {
        let mut units: Vec<Unit<R>> = Vec::with_capacity(self.rows.len());
        let mut by_key: HashMap<&R::Key, usize> = HashMap::with_capacity(self.rows.len());
        for (at, (row, _)) in self.rows.iter().enumerate() {
            if row.destination() != destination {
                continue;
            }
            let unit = row.key().map_or(units.len(), |key| *by_key.entry(key).or_insert(units.len()));
            match units.get_mut(unit) {
                Some(unit) => unit.later.push(at),
                None => units.push(Unit::of(at)),
            }
        }
        for unit in units.iter_mut().filter(|unit| !unit.later.is_empty()) {
            let rows: Vec<&R> = unit.members().map(|at| &self.rows[at].0).collect();
            unit.collapsed = rows[0].key().map(|key| Box::new(sink.collapse(key, &rows)));
        }
        units
    }
}

impl<R> Unit<R> {
    fn of(row: usize) -> Self {
        Self { collapsed: None, first: row, later: Vec::new() }
    }

    /// Indices into [`Batch::rows`], in order of arrival; at least one.
    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.first).chain(self.later.iter().copied())
    }

    /// The row that it is, where it is not several.
    pub(super) fn alone(&self) -> Option<usize> {
        self.later.is_empty().then_some(self.first)
    }

    /// The row that is written for it.
    pub(super) fn row<'a>(&'a self, batch: &'a Batch<R>) -> &'a R {
        self.collapsed.as_deref().unwrap_or_else(|| &batch.rows[self.first].0)
    }

    /// One unit per member, in order of arrival.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        std::iter::once(self.first).chain(self.later).map(Self::of)
    }
}

fn count<R: Row>(rows: &[R]) -> usize {
    rows.iter().map(Row::rows).sum()
}

/// Bytes that a message takes in a batch with what was made of it.
pub(super) fn size_of<R: Row>(message: &Message, decoded: &Decoded<R>) -> usize {
    message.size() + decoded.unpacked + decoded.rows.iter().map(Row::size).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::{DeadLetterBudget, Retry};

    /// So many rows in one.
    #[derive(Debug)]
    struct Many(usize);

    impl Row for Many {
        type Key = u8;

        fn key(&self) -> Option<&u8> {
            None
        }

        fn destination(&self) -> usize {
            0
        }

        fn rows(&self) -> usize {
            self.0
        }

        fn size(&self) -> usize {
            10 * self.0
        }
    }

    fn policy() -> Policy {
        Policy {
            writer_type: "TEST",
            group: "test".to_owned(),
            max_rows: 10,
            max_bytes: 100_000,
            max_messages: 100,
            max_age: Duration::from_secs(1),
            in_flight: 1,
            concurrency: 1,
            drain_within: Duration::from_secs(1),
            beside: false,
            eager: false,
            retry: Retry { first: Duration::ZERO, longest: Duration::ZERO },
            budget: DeadLetterBudget { max_ratio: 1.0, max_consecutive: 1 },
        }
    }

    fn message(partition: i32) -> Message {
        Message {
            delivery: Delivery(0),
            partition: Partition { topic: "t".into(), number: partition },
            offset: 0,
            timestamp_ms: None,
            key: None,
            headers: crate::message::Headers::new(),
            payload: None,
        }
    }

    #[tokio::test]
    async fn the_limits_count_what_a_row_stands_for_and_what_was_unpacked() {
        let policy = policy();
        let decoded = |rows: &[usize], unpacked| {
            let rows = rows.iter().copied().map(Many).collect();
            Decoded { unpacked, rows, ..Decoded::default() }
        };
        let fits = |batch: &Batch<Many>, decoded: &Decoded<Many>| {
            batch.has_room_for(decoded, size_of(&message(1), decoded), &policy)
        };
        let mut batch = Batch::default();
        let mut first = decoded(&[6], 0);
        let size = size_of(&message(0), &first);
        batch.push(message(0), &mut first, size, &policy);
        assert_eq!((batch.row_count(), batch.is_full(&policy)), (6, false));
        assert!(fits(&batch, &decoded(&[1, 3], 0)));
        assert!(!fits(&batch, &decoded(&[5], 0)));
        assert!(!fits(&batch, &decoded(&[], 100_000)));
        let mut more = decoded(&[4], 500);
        let (before, size) = (batch.bytes(), size_of(&message(1), &more));
        batch.push(message(1), &mut more, size, &policy);
        assert!(batch.is_full(&policy));
        assert_eq!(batch.bytes() - before, message(1).size() + 500 + 40);
        assert_eq!(more.unpacked, 0, "the next message begins anew");
        batch.forget(&[message(0).partition]);
        assert_eq!((batch.row_count(), batch.is_full(&policy)), (4, false));
    }
}
