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
use std::time::{Duration, Instant};

use super::chunk::{Chunk, Run};
use super::positions::Start;
use crate::bus::{HeldUp, PartitionStatus};
use crate::message::{Delivery, Message, Partition};

/// What is read within this time of being known of is no lag.
const UNREAD_FOR: Duration = Duration::from_secs(5);

/// Before every position.
const NOTHING: i64 = -1;

/// The books of one consumer.
#[derive(Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// Changes with every assignment and every departure.
    epoch: AtomicU64,
    /// Acknowledging moves nothing: positions move when a transaction has landed.
    transactional: bool,
}

/// A position to be committed in a transaction, under the assignment in which what lies before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) partition: i32,
    pub(super) generation: u64,
    pub(super) next: i64,
}

/// How claims stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// These partitions are not held any more, or anew.
    Lost(Vec<i32>),
    /// All are held; these positions the broker is not known to have. None where it has all.
    Open(Vec<Claim>),
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
    /// Where reading began.
    began: i64,
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
    /// Since when that has been behind what was read, where everything that was read is dealt with.
    behind_since: Option<Instant>,
    /// Where the end was when it was reached, where nothing was read since. What lies before it and was not read is no
    /// message: markers of transactions, what was compacted away.
    reached: Option<i64>,
    /// Where the oldest open transaction begins, how many messages lie from there on, and since when that is so.
    open: Option<(i64, u64, Instant)>,
    /// Timestamp of the last message that was acknowledged, as of its run.
    acknowledged_ms: Option<i64>,
    /// Timestamp of the first message that was read after everything before was dealt with.
    waiting_ms: Option<i64>,
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
    /// Of a consumer whose positions move in transactions only.
    pub(super) fn of_transactions() -> Self {
        Self { transactional: true, ..Self::default() }
    }

    /// Takes partitions, each with the offset at which reading starts.
    pub(super) fn take(&self, starts: &[Start]) {
        let mut books = self.lock();
        for &Start { partition, offset, committed, .. } in starts {
            books.generation += 1;
            let held = Held {
                generation: books.generation,
                leaving: false,
                began: offset,
                position: offset,
                polled: offset,
                committed: if committed { offset } else { NOTHING },
                stored: if committed { offset } else { NOTHING },
                end: None,
                behind_since: None,
                reached: None,
                open: None,
                acknowledged_ms: None,
                waiting_ms: None,
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

    /// Every partition that is held, under its assignment, with the position that the broker is known to have.
    pub(super) fn holdings(&self) -> Vec<Claim> {
        let books = self.lock();
        let held = books.held.iter();
        held.map(|(&partition, held)| Claim { partition, generation: held.generation, next: held.committed }).collect()
    }

    /// The next offset to be read of every partition that is held and stays.
    pub(super) fn places(&self) -> Vec<(i32, i64)> {
        let books = self.lock();
        let stays = books.held.iter().filter(|(_, held)| !held.leaving);
        stays.map(|(partition, held)| (*partition, held.polled)).collect()
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
                held.reached = None;
                held.behind_since = None;
            }
        }
    }

    /// Numbers the messages of a chunk, but for those of partitions that went or are going.
    pub(super) fn hand_out(&self, mut chunk: Chunk) -> Vec<Message> {
        let runs = std::mem::take(&mut chunk.runs);
        let mut books = self.lock();
        let is_current = |books: &Books, run: &Run| {
            books.held.get(&run.partition).is_some_and(|held| held.generation == run.generation && !held.leaving)
        };
        if !runs.iter().all(|run| is_current(&books, run)) {
            let keep = runs.iter().flat_map(|run| std::iter::repeat_n(is_current(&books, run), run.count as usize));
            let mut keep = keep.collect::<Vec<_>>().into_iter();
            chunk.entries.retain(|_| keep.next().unwrap_or(false));
        }
        let first = books.delivered;
        for run in runs {
            if is_current(&books, &run) {
                let first = books.delivered;
                books.delivered += u64::from(run.count);
                books.handed.push_back(Handed { first, run });
            }
        }
        drop(books);
        chunk.messages(first)
    }

    /// Everything delivered up to and including `last` is dealt with.
    pub(super) fn acknowledge(&self, last: Delivery) {
        let books = &mut *self.lock();
        while let Some(handed) = books.handed.front_mut().filter(|handed| handed.first <= last.0) {
            let run = &mut handed.run;
            let done = (last.0 - handed.first + 1).min(u64::from(run.count)) as u32;
            let position = run.offset + i64::from(done);
            if let Some(held) = books.held.get_mut(&run.partition).filter(|held| held.generation == run.generation) {
                if !self.transactional {
                    held.position = held.position.max(position);
                }
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

    /// The position after a message that was handed out and is not acknowledged; `None` where there is no such one.
    pub(super) fn claim(&self, partition: i32, last: Delivery, next: i64) -> Option<Claim> {
        let books = self.lock();
        let after = books.handed.partition_point(|handed| handed.first <= last.0);
        let Handed { first, run } = books.handed.get(after.checked_sub(1)?)?;
        let covers = run.partition == partition && last.0 < first + u64::from(run.count);
        covers.then_some(Claim { partition, generation: run.generation, next })
    }

    /// Positions that moved without a message: passed over, or where reading began.
    pub(super) fn unclaimed(&self) -> Vec<Claim> {
        let books = self.lock();
        let due =
            books.held.iter().filter(|(_, held)| held.is_idle() && !held.leaving && held.committed < held.position);
        let claim = |(partition, held): (&i32, &Held)| Claim {
            partition: *partition,
            generation: held.generation,
            next: held.position,
        };
        due.map(claim).collect()
    }

    /// How claims stand now.
    pub(super) fn standing(&self, claims: &[Claim]) -> Standing {
        let books = self.lock();
        let held = |claim: &Claim| books.held.get(&claim.partition).filter(|held| held.generation == claim.generation);
        let lost: Vec<i32> = claims.iter().filter(|claim| held(claim).is_none()).map(|claim| claim.partition).collect();
        if !lost.is_empty() {
            return Standing::Lost(lost);
        }
        let is_open = |claim: &&Claim| held(claim).is_some_and(|held| held.committed < claim.next);
        Standing::Open(claims.iter().filter(is_open).copied().collect())
    }

    /// The broker has these positions, and with them what was published, for good.
    pub(super) fn landed(&self, claims: &[Claim]) {
        let mut books = self.lock();
        for Claim { partition, generation, next } in claims {
            if let Some(held) = books.held.get_mut(partition).filter(|held| held.generation == *generation) {
                held.position = held.position.max(*next);
                held.committed = held.committed.max(*next);
            }
        }
    }

    /// Whether there are partitions and each has been read up to its end.
    pub(super) fn is_at_end(&self) -> bool {
        let books = self.lock();
        !books.held.is_empty() && books.held.values().all(|held| held.reached.is_some())
    }

    /// Where everything that was read is dealt with and the end was reached, what lies before the end and is no message
    /// counts as read: it must not count as lag.
    pub(super) fn pass_gaps(&self) {
        let mut books = self.lock();
        for held in books.held.values_mut().filter(|held| held.is_idle()) {
            let Some(reached) = held.reached else { continue };
            held.position = held.position.max(reached);
            held.polled = held.position;
            if held.end.is_none_or(|end| end <= held.polled) {
                held.behind_since = None;
            }
        }
    }

    /// Notes that a partition has been read up to its end under an assignment, and where that is: nothing that is to be
    /// read lies before it.
    pub(super) fn reached_end(&self, partition: i32, generation: u64, end: i64) {
        if let Some(held) = self.lock().held.get_mut(&partition).filter(|held| held.generation == generation) {
            held.reached = Some(end);
            held.behind_since = None;
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

    /// How many messages are acknowledged whose positions the broker is not known to have, and of how many partitions.
    pub(super) fn unsettled(&self) -> (u64, usize) {
        let books = self.lock();
        let open = books.held.values().map(|held| held.position - held.committed.max(held.began));
        let open: Vec<u64> = open.filter_map(|open| u64::try_from(open).ok().filter(|open| *open > 0)).collect();
        (open.iter().sum(), open.len())
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
            if end <= held.polled || held.reached.is_some_and(|reached| end <= reached) {
                held.behind_since = None;
            } else if held.is_idle() {
                held.behind_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Notes up to where a partition may be read (`stable`), and up to where there is something.
    pub(super) fn set_ends(&self, partition: i32, stable: i64, all: i64) {
        self.set_end(partition, stable);
        if let Some(held) = self.lock().held.get_mut(&partition) {
            let since = held.open.filter(|(known, ..)| *known == stable).map_or_else(Instant::now, |(.., since)| since);
            held.open =
                u64::try_from(all - stable).ok().filter(|behind| *behind > 0).map(|behind| (stable, behind, since));
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
            let at_end = held.is_idle() && (held.reached.is_some() || held.end == Some(held.position));
            let lag = if at_end {
                // What came since the end was reached is not older than that it has been known of. A moment is none: what is
                // before the end need not be messages, which is found out within a tick.
                let behind = held.behind_since.map_or(Duration::ZERO, |since| since.elapsed());
                if behind > UNREAD_FOR { behind } else { Duration::ZERO }
            } else if let Some(Some(timestamp_ms)) = oldest.get(&(number, held.generation)) {
                age(*timestamp_ms)
            } else {
                // What waits is not older than either: the smaller age is the most that it can be.
                held.acknowledged_ms.max(held.waiting_ms).map_or(Duration::ZERO, age)
            };
            let partition = Partition { topic: Arc::clone(topic), number };
            let held_up = HeldUp { away: None, open: held.open.map(|(_, behind, since)| (behind, since)) };
            PartitionStatus { partition, position: Some(held.position), end: held.end, lag, held_up }
        });
        status.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
