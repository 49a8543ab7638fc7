//! Which bus and which stores a run has. They are dealt by the seed: every one of them to some run of each seed, and
//! over several seeds every combination.

use std::path::Path;

use super::bus::{Brokers, Kafka, Local, TestBus};
use super::postgres::Version;
use super::sent::RESULTS;
use super::stores::{Cluster, Lake, Offline, Online, Postgres, Redis, Sqlite};

#[derive(Clone, Copy, Debug)]
enum Bus {
    Kafka,
    Local,
}

#[derive(Clone, Copy, Debug)]
enum Features {
    Redis,
    Cluster,
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, Debug)]
enum History {
    Lake,
    Postgres,
}

/// What one run has.
#[derive(Clone, Copy, Debug)]
pub struct Hand {
    bus: Bus,
    online: Features,
    offline: History,
}

/// What a seed deals to one of its four runs.
pub fn to(run: usize, seed: u64) -> Hand {
    let mut random = fastrand::Rng::with_seed(seed);
    // With two processors two runs go on at once, and those with Kafka take longer.
    let buses = [Bus::Kafka, Bus::Kafka, Bus::Local, Bus::Local];
    let mut online = [Features::Redis, Features::Cluster, Features::Sqlite, Features::Postgres];
    let mut offline = [History::Lake, History::Lake, History::Postgres, History::Postgres];
    random.shuffle(&mut online);
    random.shuffle(&mut offline);
    Hand { bus: buses[run], online: online[run], offline: offline[run] }
}

impl Hand {
    pub fn bus(self, folder: &Path) -> Box<dyn TestBus> {
        match self.bus {
            Bus::Kafka => Box::new(Kafka::start(folder, Brokers::One, &[RESULTS])),
            Bus::Local => Box::new(Local::new(folder, &[RESULTS])),
        }
    }

    pub fn online(self, folder: &Path) -> Box<dyn Online> {
        match self.online {
            Features::Redis => Box::new(Redis::start(folder)),
            Features::Cluster => Box::new(Cluster::start()),
            Features::Sqlite => Box::new(Sqlite::new(folder.join("online.sqlite"))),
            Features::Postgres => Box::new(Postgres::start(Version::Debian)),
        }
    }

    pub fn offline(self, folder: &Path) -> Box<dyn Offline> {
        match self.offline {
            History::Lake => Box::new(Lake::mount(folder)),
            History::Postgres => Box::new(Postgres::start(Version::Debian)),
        }
    }
}
