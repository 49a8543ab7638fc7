//! Where a store's vectors live during a test, and short ways to write and to read them.

use std::sync::Arc;
use std::time::Duration;

use chalk_writer::row::vector::{Point, VectorFeature, VectorKey, VectorRow};
use chalk_writer::sink::{ErrorClass, Outcome, Write};
use chalk_writer::store::vector::{Near, Neighbour, StoredVector, VectorStore};
use chalk_writer::store::{StoreLimits, StoreOptions, VECTOR};
use chalk_writer::value::Metric;
use chalk_writer::value::dtype::Precision;
use chalk_writer::value::{Value, Vector};

use crate::postgres::{PostgresServer, Version};

/// How long tombstones are kept where a test does not say.
pub(crate) const RETENTION: Duration = Duration::from_hours(7 * 24);

/// Where vectors live.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(Box<PostgresServer>),
}

impl Place {
    pub(crate) fn start(scheme: &str) -> Self {
        match scheme {
            "sqlite" => Self::Sqlite(tempfile::tempdir().expect("a folder")),
            "postgres" => Self::Postgres(Box::new(pgvector())),
            other => panic!("the vector store `{other}` has no place to be tested in: add one here"),
        }
    }

    pub(crate) fn uri(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}/vectors.db", folder.path().display()),
            Self::Postgres(server) => server.uri(),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn VectorStore> {
        store(&self.uri(), RETENTION)
    }

    /// A vector as this place gives it back: pgvector has no doubles.
    pub(crate) fn kept(&self, vector: &Vector, table: Precision) -> Vector {
        let single = Vector::Fp32(vector.to_f64().into_iter().map(|element| element as f32).collect());
        match (self, table) {
            (Self::Sqlite(_), Precision::Fp64) => Vector::Fp64(vector.to_f64()),
            (_, Precision::Fp16) => vector.clone(),
            _ => single,
        }
    }
}

/// A server with the extension, which this build of it lets only a superuser make.
pub(crate) fn pgvector() -> PostgresServer {
    let server = PostgresServer::start(Version::Newest, &[]);
    server.sql("CREATE EXTENSION vector");
    server
}

/// One of every store of the registry.
pub(crate) fn places() -> impl Iterator<Item = Place> {
    VECTOR.stores().map(|(store, _)| Place::start(store.schemes[0]))
}

pub(crate) fn store(uri: &str, tombstone_retention: Duration) -> Arc<dyn VectorStore> {
    let limits = StoreLimits { concurrency: 4, tombstone_retention, memory_limit: 64 << 20 };
    VECTOR.open(&StoreOptions::of(uri, limits)).expect("a store that can be opened")
}

pub(crate) fn feature(name: &str) -> Arc<VectorFeature> {
    Arc::new(VectorFeature { namespace: "user".into(), name: name.into() })
}

pub(crate) fn key(feature: &str, id: &str) -> VectorKey {
    VectorKey { feature: self::feature(feature), environment: "prod".into(), id: id.into() }
}

pub(crate) fn singles(elements: &[f32]) -> Vector {
    Vector::Fp32(elements.to_vec())
}

/// A vector without a payload, under L2.
pub(crate) fn row(key: VectorKey, observed_at: i64, vector: Vector) -> VectorRow {
    let point = Point { vector: Arc::new(vector), payload: Value::Struct(Vec::new()) };
    VectorRow { destination: 0, key, metric: Metric::L2, observed_at, point: Some(point) }
}

pub(crate) fn tombstone(key: VectorKey, observed_at: i64) -> VectorRow {
    VectorRow { destination: 0, key, metric: Metric::L2, observed_at, point: None }
}

pub(crate) fn under(metric: Metric, row: VectorRow) -> VectorRow {
    VectorRow { metric, ..row }
}

pub(crate) async fn write(store: &dyn VectorStore, rows: &[VectorRow]) -> Outcome {
    let rows: Vec<&VectorRow> = rows.iter().collect();
    store.write(Write { id: "write", rows: &rows, concurrency: 4 }).await.expect("written")
}

/// Writes rows, none of which may be refused.
pub(crate) async fn stored(store: &dyn VectorStore, rows: &[VectorRow]) -> Outcome {
    let outcome = write(store, rows).await;
    assert!(outcome.refused.is_empty() && outcome.again.is_empty(), "{outcome:?}");
    outcome
}

/// Which rows are refused, and why.
pub(crate) async fn refused(store: &dyn VectorStore, rows: &[VectorRow]) -> Vec<(usize, ErrorClass)> {
    let mut refused: Vec<_> =
        write(store, rows).await.refused.into_iter().map(|(at, refusal)| (at, refusal.class)).collect();
    refused.sort_unstable();
    refused
}

pub(crate) async fn read(store: &dyn VectorStore, key: &VectorKey) -> Option<StoredVector> {
    store.read(key).await.expect("read")
}

/// The vector that stands.
pub(crate) async fn vector(store: &dyn VectorStore, key: &VectorKey) -> Option<Vector> {
    read(store, key).await.and_then(|stored| stored.point).map(|point| Vector::clone(&point.vector))
}

pub(crate) async fn nearest(
    store: &dyn VectorStore,
    feature: &str,
    environment: &str,
    vector: &[f32],
    count: usize,
) -> Vec<Neighbour> {
    let feature = self::feature(feature);
    store.nearest(&Near { feature: &feature, environment, vector, count }).await.expect("found")
}
