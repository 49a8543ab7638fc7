//! What `doctor` asks of a bus beyond what a writer does. Nothing of it changes anything.

use std::time::Duration;

use async_trait::async_trait;

use super::BusError;

/// A bus that can be asked about itself.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Who is in a group; nobody where it does not exist.
    async fn members(&self, group: &str) -> Result<Members, BusError>;

    /// How what a writer reads is set up, where the bus has settings of it that matter here.
    async fn set_up(&self, _readable: &str) -> Result<Vec<SetUp>, BusError> {
        Ok(Vec::new())
    }

    /// Whether messages may be sent to a topic, without sending one.
    async fn takes(&self, topic: &str) -> Result<Takes, BusError>;

    /// Partitions of a topic of which nothing comes, though the bus answers; none where a bus has no such states.
    async fn held_up(&self, _topic: &str) -> Result<Vec<(i32, HeldUpBy)>, BusError> {
        Ok(Vec::new())
    }
}

/// What holds a partition up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldUpBy {
    /// It cannot be read, and why.
    Away(String),
    /// A transaction that is open.
    Transaction {
        /// Messages behind its beginning.
        messages: u64,
        /// How long ago its first message was sent, where that could be read.
        age: Option<Duration>,
    },
}

/// One setting of what a writer reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUp {
    /// Its name.
    pub name: &'static str,
    /// What it is, and what follows from that.
    pub found: String,
    /// What to do about it, where something should be done.
    pub fix: Option<String>,
}

/// Who is in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Who.
    pub members: Vec<Member>,
    /// What the bus says of the group, or why it does not tell; may be empty.
    pub state: String,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id that the bus gave it.
    pub id: String,
    /// Where it is, where the bus tells.
    pub host: Option<String>,
    /// What it reads, where it tells.
    pub topics: Vec<String>,
    /// The program that it says to be, where that is another one than this.
    pub program: Option<String>,
}

/// Whether a topic takes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// It does; found out in this way.
    Yes(&'static str),
    /// That cannot be found out without sending one, for this reason.
    Unknown(String),
}
