//! Where a group is in a partition, and moving that by hand.

/// How far a group is in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPosition {
    /// The partition.
    pub partition: i32,
    /// The position that it has committed; `None` where it has none, and so starts at the earliest.
    pub committed: Option<i64>,
    /// The earliest offset that is left.
    pub earliest: i64,
    /// The end of the partition.
    pub end: i64,
}

impl GroupPosition {
    /// Where a member of the group would start to read.
    pub fn next(&self) -> i64 {
        self.committed.unwrap_or(self.earliest)
    }
}

/// A position to be moved by hand.
#[derive(Clone, Debug)]
pub struct Step {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The consumer group.
    pub group: String,
    /// Where it has to be: see [`GroupPosition::next`].
    pub from: i64,
    /// Where it is to be.
    pub to: i64,
}

/// What became of a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// The position is moved, for good.
    Done,
    /// The group has members, which read on from positions of their own.
    InUse,
    /// It was somewhere else: here.
    Elsewhere(i64),
}
