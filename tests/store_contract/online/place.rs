//! Where a store's values live during a test, and short ways to write and to read them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chalk_writer::row::feature::{Entity, Expires, FeatureCell, FeatureRow};
use chalk_writer::sink::{Outcome, SinkError, Write};
use chalk_writer::store::online::{OnlineStore, StoredFeature};
use chalk_writer::store::{ONLINE, Store, StoreError, StoreLimits, StoreOptions};
use chalk_writer::value::Value;

use crate::postgres::{PostgresServer, Version};
use crate::redis::{RedisServer, Reply};
use crate::redis_cluster::RedisCluster;

/// A time far enough ahead never to come during a test, in microseconds: the year 2100.
pub(crate) const FAR: i64 = 4_102_444_800_000_000;

/// Where values live.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Redis(Box<RedisServer>),
    Postgres(Box<PostgresServer>),
    /// A Redis that fields can expire in.
    Valkey(Box<RedisServer>),
    /// A part of a cluster's keys: those with a prefix of their own.
    Cluster(&'static RedisCluster, String),
}

impl Place {
    pub(crate) fn start(scheme: &str) -> Self {
        match scheme {
            "sqlite" => Self::Sqlite(tempfile::tempdir().expect("a folder")),
            "redis" => Self::Redis(Box::new(RedisServer::start(&[]))),
            "postgres" => Self::Postgres(Box::new(PostgresServer::start(Version::Debian, &[]))),
            other => panic!("the online store `{other}` has no place to be tested in: add one here"),
        }
    }

    /// A Redis that fields can expire in.
    pub(crate) fn valkey() -> Self {
        Self::Valkey(Box::new(RedisServer::valkey(&[])))
    }

    /// Every kind of place that a store's values may live in.
    fn start_all(scheme: &str) -> Vec<Self> {
        let mut places = vec![Self::start(scheme)];
        if scheme == "redis" {
            places.push(Self::valkey());
            places.push(Self::Cluster(shared_cluster(), unique("test/")));
        }
        places
    }

    /// One of every kind of every store of the registry.
    pub(crate) fn of_every_store() -> impl Iterator<Item = Self> {
        keeping_stores().flat_map(|store| Self::start_all(store.schemes[0]))
    }

    pub(crate) fn uri(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}/online.db", folder.path().display()),
            Self::Redis(server) => server.uri(),
            Self::Postgres(server) => server.uri(),
            Self::Valkey(server) => server.uri().replace("redis:", "valkey:"),
            Self::Cluster(cluster, _) => cluster.uri(),
        }
    }

    /// What its keys begin with.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Cluster(_, prefix) => prefix,
            _ => "test/",
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn OnlineStore> {
        let options = StoreOptions { cache_prefix: self.prefix().into(), ..options(&self.uri()) };
        open(&options).expect("a store that can be opened")
    }

    /// Sends a command to a Redis, past the store.
    pub(crate) fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Reply {
        match self {
            Self::Redis(server) | Self::Valkey(server) => server.command(parts),
            Self::Cluster(cluster, _) => cluster.command(parts),
            Self::Sqlite(_) | Self::Postgres(_) => panic!("not Redis"),
        }
    }

    /// The encoding by which this place's store breaks ties.
    pub(crate) fn encoded(&self, value: &Value) -> Vec<u8> {
        match self {
            Self::Sqlite(_) => chalk_writer::value::json::to_text(value).into_bytes(),
            Self::Redis(_) | Self::Valkey(_) | Self::Cluster(..) => {
                let mut bytes = Vec::new();
                chalk_writer::value::msgpack::write(value, &mut bytes);
                bytes
            }
            Self::Postgres(_) => {
                let mut text = Vec::new();
                chalk_writer::value::jsonb::write(value, &mut text);
                text
            }
        }
    }

    /// Whether the store can hold U+0000 in text and names.
    pub(crate) fn holds_nul(&self) -> bool {
        !matches!(self, Self::Postgres(_))
    }
}

/// A cluster takes seconds to come up, so one serves every test; each has its keys in it.
fn shared_cluster() -> &'static RedisCluster {
    static CLUSTER: OnceLock<(RedisCluster, std::process::ChildStdin)> = OnceLock::new();
    let (cluster, _ends_it) = CLUSTER.get_or_init(|| {
        let cluster = RedisCluster::start(&[]);
        let ends_it = cluster.live_with_this_process();
        (cluster, ends_it)
    });
    cluster
}

/// Every store of the registry that keeps what is written to it; those that do not have a test of their own.
fn keeping_stores() -> impl Iterator<Item = &'static Store> {
    ONLINE.stores().map(|(store, _)| store).filter(|store| !store.keeps_nothing())
}

/// Runs a test on each of these, in places of its own.
pub(crate) async fn on_every_store(test: impl AsyncFn(&Place)) {
    for place in Place::of_every_store() {
        test(&place).await;
    }
}

pub(crate) fn options(uri: &str) -> StoreOptions {
    let limits =
        StoreLimits { concurrency: 4, tombstone_retention: Duration::from_hours(7 * 24), memory_limit: 64 << 20 };
    StoreOptions { cache_prefix: "test/".into(), ..StoreOptions::of(uri, limits) }
}

pub(crate) fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    ONLINE.open(options)
}

pub(crate) fn store(uri: &str) -> Arc<dyn OnlineStore> {
    open(&options(uri)).expect("a store that can be opened")
}

pub(crate) fn refused(uri: &str) -> StoreError {
    open(&options(uri)).err().expect("a store that cannot be opened")
}

pub(crate) fn entity(key: &str) -> Entity {
    Entity { environment: "prod".into(), namespace: "user".into(), primary_key: key.into() }
}

/// A cell with the feature that it is of.
pub(crate) type Named = (String, FeatureCell);

pub(crate) fn cell(feature: &str, observed_at: i64, value: Option<Value>) -> Named {
    (feature.to_owned(), FeatureCell { feature: 0, observed_at, expires_at: Expires::NEVER, value })
}

pub(crate) fn until(expires_at: i64, (feature, cell): Named) -> Named {
    (feature, FeatureCell { expires_at: Expires::at(expires_at), ..cell })
}

pub(crate) fn row(entity: Entity, cells: Vec<Named>) -> FeatureRow {
    FeatureRow::of(entity, cells)
}

pub(crate) fn int(number: i64) -> Option<Value> {
    Some(Value::Int(number))
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_micros() as i64
}

/// A text that no other call gave.
pub(crate) fn unique(text: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{text}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn write(store: &dyn OnlineStore, rows: &[FeatureRow]) -> Result<Outcome, SinkError> {
    let rows: Vec<&FeatureRow> = rows.iter().collect();
    store.write(Write { id: &unique("write"), rows: &rows, concurrency: 4 }).await
}

/// Writes rows that must all be taken.
pub(crate) async fn stored(store: &dyn OnlineStore, rows: &[FeatureRow]) -> Outcome {
    let outcome = write(store, rows).await.expect("a write that succeeds");
    assert!(outcome.refused.is_empty() && outcome.again.is_empty(), "{outcome:?}");
    let cells: usize = rows.iter().map(|row| row.cells.len()).sum();
    assert_eq!(outcome.stored + outcome.stale, cells as u64, "every value is counted once");
    outcome
}

/// Writes rows again and again until they are taken, as the runtime does.
pub(crate) async fn stored_at_last(store: &dyn OnlineStore, rows: &[FeatureRow]) -> Outcome {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match write(store, rows).await {
            Ok(outcome) if outcome.again.is_empty() => return outcome,
            // What was taken already is not harmed by coming again.
            Ok(outcome) => assert!(tokio::time::Instant::now() < deadline, "still {:?}", outcome.reason),
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "still {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All that is stored of an entity, by feature.
pub(crate) async fn read(store: &dyn OnlineStore, entity: &Entity) -> BTreeMap<String, StoredFeature> {
    let features = store.read(entity).await.expect("a read that succeeds");
    features.into_iter().map(|feature| (feature.feature.clone(), feature)).collect()
}

/// The stored value of one feature; the outer `None` is nothing stored, the inner one a tombstone.
pub(crate) async fn value(store: &dyn OnlineStore, entity: &Entity, feature: &str) -> Option<Option<Value>> {
    read(store, entity).await.remove(feature).map(|stored| stored.value)
}
