//! Vector stores: the newest vector of each entity by feature, and the nearest of them to another.
//!
//! # One table a feature
//! A feature's first vector makes its table, with that vector's dimension, metric and precision, which stay: a
//! vector of another dimension is refused, one of another precision is stored where it is exact in the table's, and
//! where a later message names another metric that is said once and the table's stays. What tables there are is
//! in a table of its own, `vector_tables`, where readers find them by namespace and feature.
//!
//! # Which vector stands
//! The later observed time wins, in the store and in one transaction; [`order`] has the rest of it. A delete is a
//! row without a vector, kept for `tombstone_retention` after its observed time so that nothing older comes back,
//! and then swept away.
//!
//! `tests/store_contract` walks the registry and holds each to this.

mod fit;
mod names;
mod order;
pub mod postgres;
pub mod sqlite;

use async_trait::async_trait;

use crate::row::vector::{Point, VectorFeature, VectorKey, VectorRow};
use crate::sink::{Sink, SinkError};
use crate::value::Metric;

/// A store of newest vectors: a sink, and a reader for people and tests.
#[async_trait]
pub trait VectorStore: Sink<VectorRow> {
    /// What stands of one vector, a tombstone included.
    async fn read(&self, key: &VectorKey) -> Result<Option<StoredVector>, SinkError>;

    /// Those that are nearest to a vector, the nearest first.
    async fn nearest(&self, near: &Near<'_>) -> Result<Vec<Neighbour>, SinkError>;

    /// How a feature's table was made; `None` where it has none, or no vector yet.
    async fn table(&self, feature: &VectorFeature) -> Result<Option<Made>, SinkError>;
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Near<'a> {
    /// Whose vectors.
    pub feature: &'a VectorFeature,
    /// The environment's id.
    pub environment: &'a str,
    /// To which they are to be near; of the table's dimension.
    pub vector: &'a [f32],
    /// How many, at the most.
    pub count: usize,
}

/// One of the nearest.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Its id.
    pub id: String,
    /// How far it is, by the table's metric.
    pub distance: f64,
}

/// One vector as it stands in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVector {
    /// Microseconds since 1970.
    pub observed_at: i64,
    /// The vector and its payload as far as the store keeps their types; `None` is a tombstone.
    pub point: Option<Point>,
}

/// What a feature's first vector made of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Elements of every vector in it.
    pub dimension: usize,
    /// How distances are measured.
    pub metric: Metric,
    /// Width of its elements.
    pub precision: crate::value::dtype::Precision,
}
