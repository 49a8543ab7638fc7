//! The stores of the torture checker, as far as they can be taken away and given back.

mod cluster;
mod disk;
mod lake;
mod own;
mod postgres;
mod redis;
mod sqlite;

use std::time::Duration;

pub use cluster::Cluster;
pub use disk::Disk;
pub use lake::Lake;
pub use own::OwnServer;
pub use postgres::Postgres;
pub use redis::Redis;
pub use sqlite::Sqlite;

use super::look;
use super::proxy::Proxy;

/// How long a store may take to come back. It bounds a hang and nothing else.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// One of the things that happen to stores of one kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Who has what changes, or a connection ends.
    Light,
    /// A server ends.
    Heavy,
}

/// A store that is not always there. What it has acknowledged it keeps, whatever happens to it.
pub trait Store {
    fn name(&self) -> &'static str;

    /// As the configuration names it.
    fn uri(&self) -> String;

    /// It takes nothing from here on. Called again and again for as long as that is to last.
    fn stall(&mut self);

    /// Whether what it has can be read meanwhile.
    fn can_be_read_stalled(&self) -> bool;

    /// It goes on where it was stalled.
    fn go_on(&mut self);

    /// It is gone, with everything that it has not acknowledged.
    fn vanish(&mut self);

    /// It comes back.
    fn come_back(&mut self);

    /// Begins something that happens to stores of this kind alone; whether there is such a thing.
    fn begin_trouble(&mut self, which: Trouble, random: &mut fastrand::Rng) -> bool;

    /// Goes through with it, and says what it was; afterwards the store is as sound as before.
    fn end_trouble(&mut self) -> &'static str;

    /// What the writers' connections go through.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// Refuses what it is given, as a server does that has too much to do.
    fn throttle(&mut self, _random: &mut fastrand::Rng) -> Throttling {
        Throttling::Never
    }

    /// Takes it again.
    fn let_pass(&mut self) {}
}

/// Whether a store can be made to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttling {
    Refuses,
    /// No server of this kind does, or it is not ours.
    Never,
}

/// A store of features.
pub trait Online: Store {
    /// Reads what is in it, for as long as the run lasts.
    fn reader(&self) -> Box<dyn look::Online>;
}

/// A store of history.
pub trait Offline: Store {
    /// Reads what is in it, for as long as the run lasts.
    fn reader(&self) -> Box<dyn look::Offline>;
}
