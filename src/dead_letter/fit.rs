//! How large a dead letter may be, also in a topic that counts more than we do.

use super::Note;
use super::compose::{SMALLEST_LIMIT, compose_within};
use crate::message::{Message, Outgoing};

/// A larger dead letter goes in parts, whatever the topic takes: a publisher's queue holds it.
const LARGEST: usize = 16 << 20;

/// What a dead letter topic takes where the bus does not tell, in bytes: the default of Kafka, the one
/// bus here that may keep it to itself.
pub const ASSUMED_LIMIT: usize = 1 << 20;

/// How the letters for a topic are made: the size to which they are cut, and whether each has a key.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    limit: usize,
    longest_header: usize,
    keyed: bool,
}

impl Fit {
    /// For a topic that takes records of this size, `None` where it does not tell, and headers of this size; `keyed`: and none without
    /// a key.
    pub fn of(max_message_bytes: Option<usize>, max_header_bytes: Option<usize>, keyed: bool) -> Self {
        Self {
            limit: max_message_bytes.unwrap_or(ASSUMED_LIMIT).min(LARGEST),
            longest_header: max_header_bytes.unwrap_or(usize::MAX),
            keyed,
        }
    }

    /// The largest record of a letter.
    pub fn limit(self) -> usize {
        self.limit
    }

    /// The letter of a message, in as many parts as it takes.
    pub fn letter(self, message: &Message, note: &Note, topic: &str) -> Vec<Outgoing> {
        compose_within(message, note, topic, self.limit, self.longest_header, self.keyed)
    }

    /// The topic refused a letter without a key: the next has one. `false`: it had one.
    pub fn give_key(&mut self) -> bool {
        !std::mem::replace(&mut self.keyed, true)
    }

    /// The topic found that too large: the next is cut to half of it. `false`: no smaller ones are made.
    pub fn halve(&mut self) -> bool {
        let is_smaller = self.limit > SMALLEST_LIMIT;
        self.limit = (self.limit / 2).max(SMALLEST_LIMIT);
        is_smaller
    }
}
