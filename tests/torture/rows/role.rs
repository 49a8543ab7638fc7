//! What the checker has to know of a writer: how its numbered message is made, what that leaves in its store, how often.

use std::path::Path;

use chalk_writer::config::StoreKind;
use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

use super::check::Compared;
use super::place::Place;
use crate::bodies::Packed;
use crate::bus::{Sending, TestBus, Topic};

/// The time of message 0: 2026-01-01T00:00:00Z in microseconds.
const BASE: i64 = 1_767_225_600_000_000;

/// A writer, with those behind it through which its messages go.
pub struct Role {
    /// What the report calls it by.
    pub name: &'static str,
    /// Types of the writers, in the order in which a message meets them.
    pub writers: &'static [&'static str],
    pub topic: Topic,
    /// Topics that lie between, or behind.
    pub more_topics: &'static [Topic],
    pub message: &'static str,
    /// Where its rows go; none where that is a topic.
    pub store: Option<StoreKind>,
    /// Whether some of its messages are of the second environment, where there is one.
    pub is_in_both: bool,
    pub pace: Pace,
    /// Makes the sound message of a number.
    pub make: fn(&mut Making<'_>) -> Made,
    /// Shows to `looking` all that is there. Every row has what the writer knows rows by.
    pub look: fn(&mut Looking<'_>),
}

/// The environments of a run. What is of the second one begins with its name.
pub const ENVIRONMENTS: [&str; 2] = ["prod", "spare"];

/// How many messages there are in a second.
#[derive(Clone, Copy)]
pub enum Pace {
    /// So many, where `TORTURE_RATE` does not say how many all of these have together.
    Share(f64),
    /// So many whatever it says: each is a file, or a request.
    Fixed(f64),
}

/// What a message is made of. The same number makes the same message again.
pub struct Making<'a> {
    pub number: i64,
    pub random: fastrand::Rng,
    /// For files; none where they were made before.
    pub folder: Option<&'a Path>,
    /// Whether there is a second environment.
    pub has_spare: bool,
}

impl Making<'_> {
    /// One of the environments.
    pub fn environment(&mut self) -> &'static str {
        ENVIRONMENTS[usize::from(self.has_spare && self.random.u8(..3) == 0)]
    }

    /// The time of the message: unique, and of one in four before that of messages that were sent earlier.
    pub fn time(&mut self) -> i64 {
        let late = if self.random.u8(..4) == 0 { self.random.i64(1..1000) } else { 0 };
        BASE + (self.number - late) * 10_000 + self.number % 10_000
    }
}

/// A time as messages have it.
pub fn rfc3339(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A message and what it leaves.
pub struct Made {
    pub body: Value,
    pub key: String,
    pub leaves: Vec<Leaves>,
    /// Sent twice, which leaves nothing more.
    pub twice: bool,
    pub environment: &'static str,
}

/// A row that a message leaves.
pub enum Leaves {
    /// One of the key; where several messages leave one, they add up.
    Row(String),
    /// The value of the key, unless a newer one is there.
    Value(String, i64),
}

impl Leaves {
    pub fn key(&self) -> &str {
        let (Self::Row(key) | Self::Value(key, _)) = self;
        key
    }

    /// Whether it is in an environment.
    pub fn is_in(&self, environment: &str) -> bool {
        let [_, spare] = ENVIRONMENTS;
        let is_spare = self.key().strip_prefix(spare).is_some_and(|rest| rest.starts_with('/'));
        is_spare == (environment == spare)
    }
}

/// Where there is something to look at, and who is told of what is there.
pub struct Looking<'a> {
    pub place: &'a Place,
    pub environment: &'static str,
    pub bus: &'a mut dyn TestBus,
    pub seen: &'a mut Compared,
}

impl Role {
    /// Its part of what `TORTURE_RATE` says.
    pub fn share(&self) -> f64 {
        if let Pace::Share(share) = self.pace { share } else { 0.0 }
    }

    /// A sound message.
    pub fn sending(&self, number: i64, made: &Made) -> Sending {
        self.sends(number, &made.key, made.body.to_string(), made.environment)
    }

    /// A message that nobody can read.
    pub fn bad(&self, number: i64) -> Sending {
        self.sends(number, &number.to_string(), format!("{{\"{}\": {number}", self.name), ENVIRONMENTS[0])
    }

    fn sends(&self, number: i64, key: &str, body: String, environment: &str) -> Sending {
        let headers = [
            ("ce_type", self.message.to_owned()),
            ("ce_source", "torture".to_owned()),
            ("ce_id", format!("{}-{number}", self.name)),
            ("ce_environmentid", environment.to_owned()),
        ];
        let packed = Packed { body: body.into_bytes(), content_type: Some("application/json"), content_encoding: None };
        Sending { topic: self.topic.0, key: key.to_owned(), headers: headers.to_vec(), packed }
    }
}
