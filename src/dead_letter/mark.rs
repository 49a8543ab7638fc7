//! Marks: records in the dead letter topic itself that say which letter was sent again.
//!
//! A mark is written once the bus has the message, beside the letter: in the same partition, so that
//! both are kept equally long. It is no dead letter ([`read`](super::read()) does not take it for
//! one), and has a key of its own, so that a compacted topic keeps both.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::compose::{put, rfc3339};
use super::{DeadLetter, headers};
use crate::message::{Headers, Message, Outgoing};

/// That one letter was sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The letter's place in the dead letter topic: `partition/offset`.
    pub letter: String,
    /// Where the letter's message had been read from: `topic/partition/offset`.
    pub origin: String,
    /// When, RFC 3339, UTC.
    pub at: String,
    /// Where it landed: `topic/partition/offset`.
    pub to: String,
}

impl Mark {
    /// For a letter that was sent again at a time, in milliseconds since 1970.
    pub fn new(letter: &DeadLetter, at_ms: i64, to: String) -> Self {
        Self {
            letter: format!("{}/{}", letter.partition, letter.offset),
            origin: letter.origin(),
            at: rfc3339(at_ms),
            to,
        }
    }

    /// The mark in a record of a dead letter topic; `None` where the record is not one.
    pub fn read(message: &Message) -> Option<Self> {
        let text = |name: &str| message.headers.get_str(name).map(str::to_owned);
        Some(Self {
            letter: text(headers::REPLAYED)?,
            origin: text(headers::REPLAYED_ORIGIN).unwrap_or_default(),
            at: text(headers::REPLAYED_AT).unwrap_or_default(),
            to: text(headers::REPLAYED_TO).unwrap_or_default(),
        })
    }

    /// The record for a partition of the dead letter topic. Its body says the same for people.
    pub fn record(&self, topic: &str, partition: i32) -> Outgoing {
        let mut block = BytesMut::new();
        for (name, value) in [
            (headers::REPLAYED, &self.letter),
            (headers::REPLAYED_ORIGIN, &self.origin),
            (headers::REPLAYED_AT, &self.at),
            (headers::REPLAYED_TO, &self.to),
        ] {
            put(&mut block, name, value);
        }
        let body = serde_json::json!({ "replayed": self.letter, "at": self.at, "to": self.to });
        Outgoing {
            topic: topic.to_owned(),
            partition: Some(partition),
            key: Some(Bytes::from(format!("{}/{}", headers::REPLAYED, self.letter))),
            headers: Headers::from_block(block.freeze()),
            payload: Some(Bytes::from(body.to_string())),
            timestamp_ms: None,
        }
    }
}

/// The marks of a topic, the last of each letter.
#[derive(Debug, Default)]
pub struct Marks {
    by_letter: HashMap<String, Mark>,
}

impl Marks {
    /// Takes a mark; of two for one letter the one that came last counts.
    pub fn add(&mut self, mark: Mark) {
        self.by_letter.insert(mark.letter.clone(), mark);
    }

    /// The mark of the letter at a place (`partition/offset`) that came from an origin.
    pub fn of(&self, place: &str, origin: &str) -> Option<&Mark> {
        self.by_letter.get(place).filter(|mark| mark.origin == origin)
    }
}
