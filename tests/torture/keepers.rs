//! Where the stores of the program's registry live in a run. One that is added there has to have a line here, or every
//! run of its kind fails.

use chalk_writer::config::StoreKind;
use chalk_writer::store::{METRICS, OFFLINE, ONLINE, Store, USAGE, VECTOR};

/// A place for what one store of the registry keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    Sqlite,
    Postgres,
    Redis,
    /// A Redis that is spoken to under TLS.
    RedisTls,
    /// Speaks as Redis does.
    Valkey,
    Cluster,
    Lake,
}

impl Keeper {
    /// As the report has it, and `TORTURE_STORES`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "Postgres",
            Self::Redis => "Redis",
            Self::RedisTls => "Redis with TLS",
            Self::Valkey => "Valkey",
            Self::Cluster => "Redis Cluster",
            Self::Lake => "the lake",
        }
    }

    /// Every one that the URIs of a store may lead to.
    fn of(store: &Store) -> &'static [Self] {
        match store.schemes[0] {
            "sqlite" => &[Self::Sqlite],
            "postgres" => &[Self::Postgres],
            "redis" => &[Self::Redis, Self::RedisTls, Self::Valkey, Self::Cluster],
            "file" => &[Self::Lake],
            other => panic!("the store `{other}` is not tortured: give it a place in `tests/torture/keepers.rs`"),
        }
    }

    /// Those of a kind of store, in the order of the registry, without stores that keep nothing.
    pub fn of_kind(kind: StoreKind) -> Vec<Self> {
        let stores: Vec<&'static Store> = match kind {
            StoreKind::Online => ONLINE.stores().map(|(store, _)| store).collect(),
            StoreKind::Offline => OFFLINE.stores().map(|(store, _)| store).collect(),
            StoreKind::Metrics => METRICS.stores().map(|(store, _)| store).collect(),
            StoreKind::Usage => USAGE.stores().map(|(store, _)| store).collect(),
            StoreKind::Vector => VECTOR.stores().map(|(store, _)| store).collect(),
        };
        let keeping = stores.into_iter().filter(|store| !store.keeps_nothing());
        keeping.flat_map(|store| Self::of(store).iter().copied()).collect()
    }
}
