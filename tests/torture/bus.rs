//! The buses of the torture checker: how messages are sent, what groups have committed, the broker
//! restarted, the topic of dead letters read.

mod admin;
mod kafka;
mod local;
mod pubsub;

use std::collections::BTreeMap;

pub use kafka::{Brokers, Kafka};
pub use local::Local;
pub use pubsub::Pubsub;

use super::bodies::Packed;
use super::proxy::Proxy;

/// A topic, and how many partitions it has.
pub type Topic = (&'static str, i32);

/// The topic of dead letters: marks and letters are in one partition.
pub const LETTERS: Topic = ("dlq", 1);

/// Where a message landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

/// A message to be sent.
pub struct Sending {
    pub topic: &'static str,
    pub key: String,
    /// Beside those of the body.
    pub headers: Vec<(&'static str, String)>,
    pub packed: Packed,
}

impl Sending {
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let Packed { content_type, content_encoding, .. } = &self.packed;
        let headers = [("content-type", *content_type), ("content-encoding", *content_encoding)];
        let more = self.headers.iter().map(|(name, value)| (*name, &**value));
        headers.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(more)
    }
}

/// What is in the topic of dead letters.
pub enum Record {
    Letter(Letter),
    /// The letter at this offset was sent again.
    Mark(i64),
}

/// A dead letter.
pub struct Letter {
    pub offset: i64,
    pub body: Vec<u8>,
    pub class: String,
    /// Type of the writer that buried it.
    pub writer: String,
}

/// A message that was moved aside.
#[derive(Clone, Debug)]
pub struct Parked {
    /// Partition and offset where it is.
    pub at: (i32, i64),
    pub key: Vec<u8>,
    /// The group that it is for.
    pub group: String,
    /// Partition and offset where it came from.
    pub from: (i32, i64),
}

/// What the checker needs of a bus.
pub trait TestBus {
    fn name(&self) -> &'static str;

    /// What a topic, or a writer, is called on it.
    fn named(&self, name: &str) -> String {
        name.to_owned()
    }

    /// Whether it tells how far a group is. Where it does not, all is looked at in the end alone.
    fn has_positions(&self) -> bool {
        true
    }

    /// Whether clients of it wait by the time of day, so that their writers have to end themselves where the clock is set back.
    fn waits_by_the_time_of_day(&self) -> bool {
        false
    }

    /// What connections of writers to it go through, where they can.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// Adds the bus to a configuration.
    fn configure(&self, config: &mut serde_json::Value);

    /// Sends and returns once every message is confirmed, with where each landed;
    /// nothing where none was taken.
    fn publish(&mut self, messages: &[&Sending]) -> Option<Vec<Place>>;

    /// The end of each partition of a topic, whoever sent there.
    fn ends(&mut self, topic: &str) -> BTreeMap<i32, i64>;

    /// Kills the broker, or one of them, and starts it again; false where there is none.
    fn restart(&mut self) -> bool;

    /// Kills one of several brokers; false where there is one alone, or none.
    fn lose_one(&mut self) -> bool;

    /// Starts it again.
    fn regain_one(&mut self);

    /// Committed positions of a group in a topic, by partition: everything before is acknowledged.
    fn committed(&mut self, group: &str, topic: &str) -> BTreeMap<i32, i64>;

    /// What has come to the topic of dead letters since the last call.
    fn new_records(&mut self) -> Vec<Record>;

    /// Bodies of all that a reader of a topic finds.
    fn bodies(&mut self, topic: &str) -> Vec<Vec<u8>>;

    /// What a reader of a topic of parked messages finds, partition by partition in its order.
    fn parked(&mut self, topic: &str) -> Vec<Parked>;

    /// Deletes the topic of dead letters, with all that is in it; false where that cannot be.
    fn delete_letters(&mut self) -> bool;

    /// Makes it again.
    fn create_letters(&mut self);
}

/// A record by its headers.
fn record<'a>(offset: i64, body: &[u8], header: impl Fn(&str) -> Option<&'a str>) -> Record {
    if let Some(letter) = header("chalk_dlq_replayed") {
        let (_, offset) = letter.split_once('/').unwrap_or_else(|| panic!("a mark of {letter}"));
        return Record::Mark(offset.parse().unwrap());
    }
    let header = |name| header(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    let (class, writer) = (header("chalk_dlq_error_class"), header("chalk_dlq_writer_type"));
    Record::Letter(Letter { offset, body: body.to_vec(), class, writer })
}

/// A parked message by its headers.
fn parked<'a>(at: (i32, i64), key: Option<&[u8]>, header: impl Fn(&str) -> Option<&'a str>) -> Parked {
    let header = |name: &str| header(name).unwrap_or_else(|| panic!("a parked message has no {name}"));
    let number = |name: &str| header(name).parse::<i64>().expect("a number");
    let from = (number("chalk_parked_partition") as i32, number("chalk_parked_offset"));
    let group = header("chalk_target_group").to_owned();
    Parked { at, key: key.unwrap_or_default().to_vec(), group, from }
}
