//! The checker of rows: what must be there against what is.
//!
//! There are millions of them, so that each is a hash of its key with two counts, and what is there is looked at while it is
//! read. A message can be made again from its number: that is where the text of what is wrong comes from.

use std::collections::{HashMap, HashSet};

use super::role::Leaves;
use crate::check::{Problem, Wrong};
use crate::sent::Fingerprint;

/// Rows of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    pub times: u32,
    /// Time of the newest value, where there is one alone.
    pub newest: i64,
}

#[derive(Clone, Copy, Default)]
struct Both {
    expected: Rows,
    found: Rows,
}

/// What must be there of a role, and what is.
#[derive(Default)]
pub struct Compared {
    rows: HashMap<Fingerprint, Both>,
    /// The id under which a row was found first.
    ids: HashMap<Fingerprint, Fingerprint>,
    /// What is there and nobody sent.
    strangers: Vec<String>,
}

impl Compared {
    /// Adds what a message leaves. All of it comes before what is found.
    pub fn expect(&mut self, leaves: &[Leaves]) {
        for one in leaves {
            let expected = &mut self.rows.entry(Fingerprint::of(one.key().as_bytes())).or_default().expected;
            match one {
                Leaves::Row(_) => expected.times += 1,
                Leaves::Value(_, time) => *expected = Rows { times: 1, newest: expected.newest.max(*time) },
            }
        }
    }

    pub fn expected(&self) -> usize {
        self.rows.len()
    }

    /// So many rows of a key are there.
    pub fn found(&mut self, key: &str, times: u32) {
        match self.rows.get_mut(&Fingerprint::of(key.as_bytes())) {
            Some(Both { found, .. }) => found.times += times,
            None => self.strangers.push(format!("{key}, {times} times")),
        }
    }

    /// A value is there.
    pub fn found_value(&mut self, key: &str, newest: i64) {
        match self.rows.get_mut(&Fingerprint::of(key.as_bytes())) {
            Some(Both { expected, found }) => {
                *found = Rows { times: found.times + 1, newest };
                if newest > expected.newest {
                    self.strangers.push(format!("{key} is {found:?}, not {expected:?}"));
                }
            }
            None => self.strangers.push(format!("{key} of {newest}")),
        }
    }

    /// A row is there under an id: by it a reader of a lake tells a row that is there twice.
    pub fn found_under(&mut self, key: &str, id: &str) {
        self.found(key, 1);
        let id = Fingerprint::of(id.as_bytes());
        if *self.ids.entry(Fingerprint::of(key.as_bytes())).or_insert(id) != id {
            self.strangers.push(format!("{key} under several ids"));
        }
    }

    /// What is missing, of what must be there by now; `sent` makes again what it is of.
    pub fn missing(&self, name: &str, sent: impl Iterator<Item = Vec<Leaves>>) -> Vec<Problem> {
        let is_wrong = |both: &Both| {
            if both.found.times < both.expected.times {
                Some(Wrong::Lost)
            } else {
                (both.found.newest < both.expected.newest).then_some(Wrong::OlderOnTop)
            }
        };
        self.told(name, sent, is_wrong)
    }

    /// What is there more often than is promised, of these leaves.
    pub fn doubled(&self, name: &str, sent: impl Iterator<Item = Vec<Leaves>>) -> Vec<Problem> {
        self.told(name, sent, |both| (both.found.times > both.expected.times).then_some(Wrong::Doubled))
    }

    /// Whether there are more of a row than were expected.
    pub fn is_doubled(&self, leaf: &Leaves) -> bool {
        let both = self.rows.get(&Fingerprint::of(leaf.key().as_bytes()));
        both.is_some_and(|both| both.found.times > both.expected.times)
    }

    /// What is there and nobody sent.
    pub fn strangers(&self, name: &str) -> Vec<Problem> {
        self.strangers.iter().map(|what| (Wrong::NeverSent, format!("{name}: {what}"))).collect()
    }

    /// Rows beyond those that were expected.
    pub fn more(&self) -> u64 {
        self.rows.values().map(|both| u64::from(both.found.times.saturating_sub(both.expected.times))).sum()
    }

    fn told(
        &self,
        name: &str,
        sent: impl Iterator<Item = Vec<Leaves>>,
        is_wrong: impl Fn(&Both) -> Option<Wrong>,
    ) -> Vec<Problem> {
        let mut wrong: HashSet<Fingerprint> =
            self.rows.iter().filter(|(_, both)| is_wrong(both).is_some()).map(|(key, _)| *key).collect();
        let mut problems = Vec::new();
        if wrong.is_empty() {
            return problems;
        }
        for leaf in sent.flatten() {
            let key = Fingerprint::of(leaf.key().as_bytes());
            if wrong.remove(&key) {
                let Both { expected, found } = self.rows[&key];
                let how = is_wrong(&self.rows[&key]).expect("it is among those");
                problems.push((how, format!("{name}: {} is {found:?}, not {expected:?}", leaf.key())));
            }
        }
        problems
    }
}
