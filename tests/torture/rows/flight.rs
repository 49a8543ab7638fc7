//! When a message was on its way, as far as the positions of those who read it tell: from the last look at which it was not there
//! yet to the first at which its group had committed it.

use std::collections::BTreeMap;
use std::time::Instant;

/// What there was of a topic, and how far its group was.
pub struct Look {
    pub begun: Instant,
    pub ended: Instant,
    /// The end of each partition. Read before the positions.
    pub ends: BTreeMap<i32, i64>,
    pub committed: BTreeMap<i32, i64>,
}

impl Look {
    fn end(&self, partition: i32) -> i64 {
        self.ends.get(&partition).copied().unwrap_or_default()
    }

    fn position(&self, partition: i32) -> i64 {
        self.committed.get(&partition).copied().unwrap_or_default()
    }
}

/// When a message was on its way. Where there was no look before it came, or after it was done, that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    pub from: Option<Instant>,
    pub until: Option<Instant>,
}

impl Flight {
    pub fn meets(self, (begun, ended): (Instant, Instant)) -> bool {
        self.from.is_none_or(|from| from <= ended) && self.until.is_none_or(|until| begun <= until)
    }
}

/// Looks at one topic and one group, one after the other.
#[derive(Default)]
pub struct Flights(Vec<Look>);

impl Flights {
    pub fn add(&mut self, mut look: Look) {
        // What was committed once is done, whatever is committed over it.
        if let Some(before) = self.0.last() {
            for (partition, position) in &before.committed {
                let now = look.committed.entry(*partition).or_default();
                *now = (*now).max(*position);
            }
        }
        self.0.push(look);
    }

    /// Of a message by its partition and offset.
    pub fn of(&self, (partition, offset): (i32, i64)) -> Flight {
        let came = self.0.partition_point(|look| look.end(partition) <= offset);
        let done = self.0.partition_point(|look| look.position(partition) <= offset);
        Flight { from: came.checked_sub(1).map(|at| self.0[at].begun), until: self.0.get(done).map(|look| look.ended) }
    }

    /// When all was committed that was there at a moment. Never, for all that is known, of a moment that did not come.
    pub fn passed(&self, moment: Option<Instant>) -> Option<Instant> {
        let moment = moment?;
        let first = self.0.partition_point(|look| look.begun < moment);
        let ends = &self.0.get(first)?.ends;
        let is_behind = |look: &Look| ends.iter().any(|(partition, end)| look.position(*partition) < *end);
        let more = self.0[first..].partition_point(is_behind);
        self.0.get(first + more).map(|look| look.ended)
    }
}
