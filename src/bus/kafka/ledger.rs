//! What was read, what is dealt with, what is committed, partition by partition.
//!
//! Every assignment of a partition has a generation of its own. A partition that is about to go is
//! first marked as leaving: its messages are no longer handed out, its acknowledgements still count.
//! Once it went, both are silently nothing, whatever arrives late. Other partitions never notice.
//!
//! Messages are remembered as runs of consecutive offsets, not one by one, so that acknowledging
//! costs next to nothing at a million messages a second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::chunk::{Chunk, Run};
use super::positions::Start;
use crate::bus::PartitionStatus;
use crate::message::{Delivery, Message, Partition};

/// Before every position.
const NOTHING: i64 = -1;

/// The books of one consumer.
#[derive(Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// Changes with every assignment and every departure.
    epoch: AtomicU64,
}

#[derive(Default)]
struct Books {
    held: BTreeMap<i32, Held>,
    /// Handed out and not acknowledged, in the order of delivery.
    handed: VecDeque<Handed>,
    delivered: u64,
    generation: u64,
}

/// A partition that this consumer has.
struct Held {
    generation: u64,
    leaving: bool,
    /// The next offset to be acknowledged.
    position: i64,
    /// The next offset to be read.
    polled: i64,
    /// What librdkafka was last told to commit, and does on its clock, again after a failure.
    stored: i64,
    /// What the broker is known to have.
    committed: i64,
    /// The end of the partition as the broker last told it.
    end: Option<i64>,
    /// Timestamp of the last message that was acknowledged, as of its run.
    acknowledged_ms: Option<i64>,
    /// Timestamp of the first message that was read after everything before was dealt with.
    waiting_ms: Option<i64>,
    /// Nothing was read since the end was reached.
    caught_up: bool,
}

impl Held {
    fn is_idle(&self) -> bool {
        self.position == self.polled
    }
}

struct Handed {
    first: u64,
    run: Run,
}

impl Ledger {
    /// Takes partitions, each with the offset at which reading starts.
    pub(super) fn take(&self, starts: &[Start]) {
        let mut books = self.lock();
        for &Start { partition, offset, committed } in starts {
            books.generation += 1;
            let held = Held {
                generation: books.generation,
                leaving: false,
                position: offset,
                polled: offset,
                committed: if committed { offset } else { NOTHING },
                stored: if committed { offset } else { NOTHING },
                end: None,
                acknowledged_ms: None,
                waiting_ms: None,
                caught_up: false,
            };
            books.held.insert(partition, held);
        }
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// From here on no message of these partitions is handed out. Returns those that are held.
    pub(super) fn leave(&self, partitions: &[i32]) -> Vec<i32> {
        let mut books = self.lock();
        let mut leaving = Vec::new();
        for partition in partitions {
            if let Some(held) = books.held.get_mut(partition) {
                held.leaving = true;
                leaving.push(*partition);
            }
        }
        self.epoch.fetch_add(1, Ordering::Release);
        leaving
    }

    /// From here on acknowledgements of these partitions count for nothing.
    pub(super) fn let_go(&self, partitions: &[i32]) {
        self.lock().held.retain(|partition, _| !partitions.contains(partition));
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Every partition that is held.
    pub(super) fn held(&self) -> Vec<i32> {
        self.lock().held.keys().copied().collect()
    }

    /// The next offset to be acknowledged of every partition that is held.
    pub(super) fn positions(&self) -> BTreeMap<i32, i64> {
        self.lock().held.iter().map(|(partition, held)| (*partition, held.position)).collect()
    }

    /// Changes whenever an answer of [`Ledger::generation`] may have changed.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The generation under which messages of a partition are read now; `None` where it is not held.
    pub(super) fn generation(&self, partition: i32) -> Option<u64> {
        self.lock().held.get(&partition).filter(|held| !held.leaving).map(|held| held.generation)
    }

    /// Notes what was read. Comes before the chunk can be seen by anyone.
    pub(super) fn read(&self, runs: &[Run]) {
        let mut books = self.lock();
        for run in runs {
            if let Some(held) = books.held.get_mut(&run.partition).filter(|held| held.generation == run.generation) {
                if held.is_idle() {
                    held.waiting_ms = run.timestamp_ms;
                }
                held.polled = held.polled.max(run.offset + i64::from(run.count));
                held.caught_up = false;
            }
        }
    }

    /// Numbers the messages of a chunk, but for those of partitions that went or are going.
    pub(super) fn hand_out(&self, chunk: Chunk) -> Vec<Message> {
        let Chunk { mut messages, runs } = chunk;
        let mut books = self.lock();
        let is_current = |books: &Books, run: &Run| {
            books.held.get(&run.partition).is_some_and(|held| held.generation == run.generation && !held.leaving)
        };
        if !runs.iter().all(|run| is_current(&books, run)) {
            let keep = runs.iter().flat_map(|run| std::iter::repeat_n(is_current(&books, run), run.count as usize));
            let mut keep = keep.collect::<Vec<_>>().into_iter();
            messages.retain(|_| keep.next().unwrap_or(false));
        }
        for run in runs {
            if is_current(&books, &run) {
                let first = books.delivered;
                books.delivered += u64::from(run.count);
                books.handed.push_back(Handed { first, run });
            }
        }
        let first = books.delivered - messages.len() as u64;
        for (message, delivery) in messages.iter_mut().zip(first..) {
            message.delivery = Delivery(delivery);
        }
        messages
    }

    /// Everything delivered up to and including `last` is dealt with.
    pub(super) fn acknowledge(&self, last: Delivery) {
        let books = &mut *self.lock();
        while let Some(handed) = books.handed.front_mut().filter(|handed| handed.first <= last.0) {
            let run = &mut handed.run;
            let done = (last.0 - handed.first + 1).min(u64::from(run.count)) as u32;
            let position = run.offset + i64::from(done);
            if let Some(held) = books.held.get_mut(&run.partition).filter(|held| held.generation == run.generation) {
                held.position = held.position.max(position);
                held.acknowledged_ms = run.timestamp_ms.or(held.acknowledged_ms);
            }
            if done < run.count {
                handed.first += u64::from(done);
                run.offset = position;
                run.count -= done;
            } else {
                books.handed.pop_front();
            }
        }
    }

    /// Partitions of which everything that was read is dealt with.
    pub(super) fn idle(&self) -> Vec<i32> {
        self.lock().held.iter().filter(|(_, held)| held.is_idle()).map(|(partition, _)| *partition).collect()
    }

    /// Notes that there is nothing to read before `position`: transaction markers and other gaps
    /// are not messages, and yet must not count as lag. Nothing where messages are outstanding.
    pub(super) fn pass(&self, partition: i32, position: i64) {
        if let Some(held) = self.lock().held.get_mut(&partition).filter(|held| held.is_idle()) {
            held.position = held.position.max(position);
            held.polled = held.position;
        }
    }

    /// Notes that a partition has been read up to its end.
    pub(super) fn reached_end(&self, partition: i32) {
        if let Some(held) = self.lock().held.get_mut(&partition) {
            held.caught_up = true;
        }
    }

    /// Positions that moved since the last call.
    pub(super) fn to_store(&self) -> Vec<(i32, i64)> {
        let mut books = self.lock();
        let due = books.held.iter_mut().filter(|(_, held)| held.stored < held.position);
        due.map(|(partition, held)| {
            held.stored = held.position;
            (*partition, held.position)
        })
        .collect()
    }

    /// Positions of some partitions that the broker is not known to have.
    pub(super) fn uncommitted(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let books = self.lock();
        let due = books.held.iter().filter(|(_, held)| held.committed < held.position);
        due.filter(|(partition, _)| partitions.contains(partition))
            .map(|(partition, held)| (*partition, held.position))
            .collect()
    }

    /// The broker has these positions for good.
    pub(super) fn committed(&self, positions: &[(i32, i64)]) {
        let mut books = self.lock();
        for (partition, position) in positions {
            if let Some(held) = books.held.get_mut(partition) {
                held.committed = held.committed.max(*position);
            }
        }
    }

    /// Notes the end of a partition as the broker last told it.
    pub(super) fn set_end(&self, partition: i32, end: i64) {
        if let Some(held) = self.lock().held.get_mut(&partition) {
            held.end = Some(end.max(held.polled));
        }
    }

    /// How far each partition is. `now_ms` is milliseconds since 1970.
    pub(super) fn status(&self, topic: &Arc<str>, now_ms: i64) -> Vec<PartitionStatus> {
        let books = self.lock();
        let mut oldest = BTreeMap::new();
        for handed in &books.handed {
            oldest.entry((handed.run.partition, handed.run.generation)).or_insert(handed.run.timestamp_ms);
        }
        let age = |timestamp_ms: i64| Duration::from_millis(u64::try_from(now_ms - timestamp_ms).unwrap_or(0));
        let status = books.held.iter().map(|(&number, held)| {
            let at_end = held.is_idle() && (held.caught_up || held.end == Some(held.position));
            let lag = if at_end {
                Duration::ZERO
            } else if let Some(Some(timestamp_ms)) = oldest.get(&(number, held.generation)) {
                age(*timestamp_ms)
            } else {
                // What waits is not older than either: the smaller age is the most that it can be.
                held.acknowledged_ms.max(held.waiting_ms).map_or(Duration::ZERO, age)
            };
            let partition = Partition { topic: Arc::clone(topic), number };
            PartitionStatus { partition, position: Some(held.position), end: held.end, lag }
        });
        status.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::message::Headers;

    fn topic() -> Arc<str> {
        Arc::from("t")
    }

    fn run(partition: i32, generation: u64, offset: i64, count: u32) -> Run {
        Run { partition, generation, offset, count, timestamp_ms: Some(offset) }
    }

    fn chunk(runs: &[Run]) -> Chunk {
        let messages = runs.iter().flat_map(|run| {
            (0..i64::from(run.count)).map(|number| Message {
                delivery: Delivery(0),
                partition: Partition { topic: topic(), number: run.partition },
                offset: run.offset + number,
                timestamp_ms: run.timestamp_ms,
                key: None,
                headers: Headers::new(),
                payload: Some(Bytes::new()),
            })
        });
        Chunk { messages: messages.collect(), runs: runs.to_vec() }
    }

    fn take(ledger: &Ledger, starts: &[(i32, i64)]) {
        let starts = starts.iter().map(|&(partition, offset)| Start { partition, offset, committed: true });
        ledger.take(&starts.collect::<Vec<_>>());
    }

    /// Reads and hands out one run of each given partition.
    fn deliver(ledger: &Ledger, runs: &[(i32, i64, u32)]) -> Vec<Message> {
        let runs = runs.iter().map(|&(partition, offset, count)| {
            run(partition, ledger.generation(partition).expect("held"), offset, count)
        });
        let runs = runs.collect::<Vec<_>>();
        ledger.read(&runs);
        ledger.hand_out(chunk(&runs))
    }

    #[test]
    fn an_acknowledged_number_moves_every_partition_as_far_as_it_covers() {
        let ledger = Ledger::default();
        take(&ledger, &[(0, 10), (1, 0)]);
        let messages = deliver(&ledger, &[(0, 10, 5), (1, 0, 5), (0, 20, 5)]);
        assert_eq!(messages.iter().map(|m| m.delivery.0).collect::<Vec<_>>(), (0..15).collect::<Vec<_>>());
        ledger.acknowledge(Delivery(6));
        assert_eq!(ledger.uncommitted(&[0, 1]), [(0, 15), (1, 2)]);
        ledger.acknowledge(Delivery(3));
        assert_eq!(ledger.uncommitted(&[0, 1]), [(0, 15), (1, 2)], "an older number moves nothing back");
        ledger.acknowledge(Delivery(14));
        assert_eq!(ledger.uncommitted(&[0, 1]), [(0, 25), (1, 5)]);
        ledger.committed(&[(0, 25)]);
        assert_eq!(ledger.uncommitted(&[0, 1]), [(1, 5)]);
    }

    #[test]
    fn a_start_that_the_group_does_not_have_is_committed_before_anything_is_read() {
        let ledger = Ledger::default();
        ledger.take(&[Start { partition: 0, offset: 7, committed: false }]);
        assert_eq!(ledger.to_store(), [(0, 7)]);
        assert_eq!(ledger.to_store(), []);
        assert_eq!(ledger.uncommitted(&[0]), [(0, 7)]);
    }

    #[test]
    fn a_leaving_partition_delivers_nothing_and_still_counts_acknowledgements() {
        let ledger = Ledger::default();
        take(&ledger, &[(0, 0), (1, 0)]);
        deliver(&ledger, &[(0, 0, 4), (1, 0, 4)]);
        let queued = [run(0, 1, 4, 4), run(1, 2, 4, 4)];
        ledger.read(&queued);
        assert_eq!(ledger.leave(&[0]), [0]);
        let messages = ledger.hand_out(chunk(&queued));
        assert!(messages.iter().all(|message| message.partition.number == 1));
        assert_eq!(messages[0].delivery, Delivery(8), "what is dropped takes no number");
        ledger.acknowledge(Delivery(7));
        assert_eq!(ledger.uncommitted(&[0]), [(0, 4)]);
    }

    #[test]
    fn a_late_acknowledgement_of_a_lost_partition_is_nothing_even_when_it_came_back() {
        let ledger = Ledger::default();
        take(&ledger, &[(0, 0)]);
        deliver(&ledger, &[(0, 0, 4)]);
        ledger.leave(&[0]);
        ledger.let_go(&[0]);
        ledger.acknowledge(Delivery(1));
        take(&ledger, &[(0, 0)]);
        ledger.acknowledge(Delivery(3));
        assert_eq!(ledger.uncommitted(&[0]), []);
        assert!(ledger.hand_out(chunk(&[run(0, 1, 4, 4)])).is_empty(), "read under the first assignment");
    }

    #[test]
    fn markers_count_as_read_only_when_nothing_is_outstanding() {
        let ledger = Ledger::default();
        take(&ledger, &[(0, 0)]);
        deliver(&ledger, &[(0, 0, 4)]);
        ledger.pass(0, 5);
        assert_eq!(ledger.uncommitted(&[0]), []);
        ledger.acknowledge(Delivery(3));
        ledger.pass(0, 5);
        assert_eq!(ledger.uncommitted(&[0]), [(0, 5)]);
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_message_and_zero_at_the_end() {
        let ledger = Ledger::default();
        take(&ledger, &[(0, 1_000)]);
        deliver(&ledger, &[(0, 1_000, 10)]);
        ledger.set_end(0, 1_010);
        let lag = |now| ledger.status(&topic(), now)[0].lag;
        assert_eq!(lag(61_000), Duration::from_secs(60));
        ledger.acknowledge(Delivery(9));
        assert_eq!(lag(61_000), Duration::ZERO);
    }

    proptest! {
        // Seen to fail with the position moved by the whole run in `acknowledge`.
        #[test]
        fn positions_never_pass_an_open_message(
            steps in proptest::collection::vec((0..3i32, 1..5u32, any::<bool>(), 0..40u64), 1..60),
        ) {
            let ledger = Ledger::default();
            take(&ledger, &[(0, 0), (1, 0), (2, 0)]);
            let mut next = [0i64; 3];
            let mut open: Vec<(u64, i32, i64)> = Vec::new();
            for (partition, count, gap, acknowledged) in steps {
                let at = &mut next[partition as usize];
                *at += i64::from(gap);
                for message in deliver(&ledger, &[(partition, *at, count)]) {
                    open.push((message.delivery.0, partition, message.offset));
                }
                *at += i64::from(count);
                ledger.acknowledge(Delivery(acknowledged));
                open.retain(|(delivery, ..)| *delivery > acknowledged);
                for (partition, position) in ledger.positions() {
                    let first_open = open.iter().find(|(_, of, _)| *of == partition).map(|(.., offset)| *offset);
                    prop_assert!(first_open.is_none_or(|open| position <= open));
                    let end = next[partition as usize];
                    prop_assert!(first_open.is_some() || position == end, "everything is dealt with");
                }
            }
        }
    }
}
