//! The buses of the torture checker: how messages are sent, what groups have committed, the broker
//! restarted, dead letters read.

mod kafka;
mod local;

use std::collections::BTreeMap;

pub use kafka::Kafka;
pub use local::Local;

/// Partitions of `results`.
pub const PARTITIONS: i32 = 4;

/// Where a message landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

/// A dead letter.
pub struct Letter {
    pub body: Vec<u8>,
    pub class: String,
    /// Type of the writer that buried it.
    pub writer: String,
}

/// What the checker needs of a bus.
pub trait TestBus {
    fn name(&self) -> &'static str;

    /// Adds the bus to a configuration.
    fn configure(&self, config: &mut serde_json::Value);

    /// Sends to `results` and returns once every message is confirmed, with where each landed;
    /// nothing where none was taken.
    fn publish(&mut self, keys: &[String], bodies: &[Vec<u8>]) -> Option<Vec<Place>>;

    /// Kills the broker and starts it again; false where there is none.
    fn restart(&mut self) -> bool;

    /// Committed positions of a group, by partition: everything before is acknowledged.
    fn committed(&mut self, group: &str) -> BTreeMap<i32, i64>;

    /// The dead letters since the last call.
    fn new_letters(&mut self) -> Vec<Letter>;
}
