//! Puts letters in parts together again while a dead letter topic is read.

use std::collections::{BTreeMap, VecDeque};

use super::DeadLetter;

/// Parts of letters that are not complete yet, within a limit of memory.
#[derive(Debug)]
pub struct Assembler {
    limit: usize,
    held: usize,
    waiting: BTreeMap<Burial, BTreeMap<u32, DeadLetter>>,
    /// Oldest first.
    order: VecDeque<Burial>,
    given_up: Vec<DeadLetter>,
}

/// What the parts of one letter have in common. The batch tells two burials of one message apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Burial {
    topic: String,
    partition: Option<i32>,
    offset: Option<i64>,
    batch: String,
    failed_at: String,
    of: u32,
}

impl Assembler {
    /// Holds at most so many bytes of incomplete letters; beyond that the oldest is given up and
    /// shows among the [`Assembler::incomplete`].
    pub const fn new(limit: usize) -> Self {
        Self { limit, held: 0, waiting: BTreeMap::new(), order: VecDeque::new(), given_up: Vec::new() }
    }

    /// Takes a letter or a part; returns a letter once it is whole. Parts may come in any order,
    /// repeatedly, and mixed with those of other letters.
    pub fn push(&mut self, letter: DeadLetter) -> Option<DeadLetter> {
        let Some(part) = letter.part else { return Some(letter) };
        if part.number == 0 || part.number > part.of {
            self.given_up.push(letter);
            return None;
        }
        let burial = Burial {
            topic: letter.notes.topic.clone(),
            partition: letter.notes.partition,
            offset: letter.notes.offset,
            batch: letter.notes.batch_id.clone(),
            failed_at: letter.notes.failed_at.clone(),
            of: part.of,
        };
        let parts = self.waiting.entry(burial.clone()).or_insert_with(|| {
            self.order.push_back(burial.clone());
            BTreeMap::new()
        });
        self.held += size(&letter);
        if let Some(earlier) = parts.insert(part.number, letter) {
            self.held -= size(&earlier);
        }
        if parts.len() == part.of as usize {
            let parts = self.take(&burial);
            let first = parts.first().cloned();
            let whole = DeadLetter::join(parts);
            if whole.is_none() {
                self.given_up.extend(first);
            }
            return whole;
        }
        while self.held > self.limit {
            let Some(oldest) = self.order.front().cloned() else { break };
            let first = self.take(&oldest).into_iter().next();
            self.given_up.extend(first);
        }
        None
    }

    /// One part of each letter that never became whole: others are past the topic's retention, or
    /// the writer died while burying it (and then buried it again).
    pub fn incomplete(mut self) -> Vec<DeadLetter> {
        let rest = std::mem::take(&mut self.order);
        for burial in rest {
            let first = self.take(&burial).into_iter().next();
            self.given_up.extend(first);
        }
        self.given_up
    }

    fn take(&mut self, burial: &Burial) -> Vec<DeadLetter> {
        self.order.retain(|known| known != burial);
        let parts: Vec<_> = self.waiting.remove(burial).unwrap_or_default().into_values().collect();
        self.held -= parts.iter().map(size).sum::<usize>();
        parts
    }
}

fn size(letter: &DeadLetter) -> usize {
    letter.original.payload.as_ref().map_or(0, bytes::Bytes::len) + letter.original.headers.size()
}
