//! Reading outside every group, from a place to the end that there is now.

use async_trait::async_trait;

use super::BusError;
use crate::message::Message;

/// Where a reading outside every group begins.
#[derive(Clone, Debug)]
pub enum BrowseFrom {
    /// The earliest message left.
    Earliest,
    /// The positions that a group has committed; the earliest where it has none.
    Group(String),
    /// The last so many messages of each partition.
    Last(u64),
    /// One position of one partition.
    Position(i32, i64),
    /// These stretches, each up to its own end. Partitions that are not named are left out.
    Stretches(Vec<Stretch>),
}

/// Messages of one partition that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The first offset beyond it.
    pub until: i64,
    /// The earliest offset that is left of the partition; what lay before it has expired.
    pub earliest: i64,
}

/// A reading outside every group.
#[async_trait]
pub trait Browse: Send {
    /// The next messages, or none at the end.
    async fn next(&mut self) -> Result<Vec<Message>, BusError>;
}
