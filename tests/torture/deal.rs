//! Which bus and which stores a run has. They are dealt by the seed: of the stores of the program's registry
//! ([`Keeper`]) as many as there are runs, and over several seeds every combination.

use std::path::Path;

use chalk_writer::config::StoreKind;

use super::bus::{Brokers, Kafka, Local, TestBus};
use super::keepers::Keeper;
use super::postgres::Version;
use super::sent::RESULTS;
use super::stores::{Cluster, Lake, Offline, Online, Postgres, Redis, Sqlite};

#[derive(Clone, Copy, Debug)]
enum Bus {
    Kafka,
    Local,
}

/// With two processors two runs go on at once, and those with Kafka take longer.
const BUSES: [Bus; 4] = [Bus::Kafka, Bus::Kafka, Bus::Local, Bus::Local];

/// What one run has.
#[derive(Clone, Copy, Debug)]
pub struct Hand {
    bus: Bus,
    online: Keeper,
    offline: Keeper,
}

/// What a seed deals to one of its four runs.
pub fn to(run: usize, seed: u64) -> Hand {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut dealt = |kind| {
        let keepers = Keeper::of_kind(kind);
        let mut cards: Vec<Keeper> = Vec::new();
        // Each as often as any other, but for one time.
        while cards.len() < BUSES.len() {
            let mut round = keepers.clone();
            random.shuffle(&mut round);
            cards.extend(round);
        }
        cards.truncate(BUSES.len());
        random.shuffle(&mut cards);
        cards[run]
    };
    Hand { bus: BUSES[run], online: dealt(StoreKind::Online), offline: dealt(StoreKind::Offline) }
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
            Keeper::Redis => Box::new(Redis::start(folder)),
            Keeper::RedisTls => Box::new(Redis::start_with_tls(folder)),
            Keeper::Valkey => Box::new(Redis::start_valkey(folder)),
            Keeper::Cluster => Box::new(Cluster::start()),
            Keeper::Sqlite => Box::new(Sqlite::new(folder.join("online.sqlite"))),
            Keeper::Postgres => Box::new(Postgres::start(Version::Debian)),
            Keeper::Lake => panic!("{} keeps no features: see `tests/torture/deal.rs`", self.online.name()),
        }
    }

    pub fn offline(self, folder: &Path) -> Box<dyn Offline> {
        match self.offline {
            Keeper::Lake => Box::new(Lake::mount(folder)),
            Keeper::Postgres => Box::new(Postgres::start(Version::Debian)),
            other => panic!("{} keeps no history: see `tests/torture/deal.rs`", other.name()),
        }
    }
}

#[test]
fn every_store_of_features_and_history_comes_on_each_bus() {
    for (kind, of) in
        [(StoreKind::Online, (|hand| hand.online) as fn(Hand) -> Keeper), (StoreKind::Offline, |hand| hand.offline)]
    {
        for keeper in Keeper::of_kind(kind) {
            for runs in [[0, 1], [2, 3]] {
                let comes = (0..40).any(|seed| runs.iter().any(|run| of(to(*run, seed)) == keeper));
                assert!(comes, "{keeper:?} in runs {runs:?}");
            }
        }
    }
}
