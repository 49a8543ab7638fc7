//! The row of vector stores: one vector of one entity, or that it was deleted.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use crate::sink::Row;
use crate::value::{Metric, Value, Vector};

/// Which vector a row is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VectorKey {
    /// The feature whose vectors are in one table.
    pub feature: Arc<VectorFeature>,
    /// The environment's id.
    pub environment: Arc<str>,
    /// What the vector is of, as text; an integer is its decimal text.
    pub id: ByteString,
}

/// A feature that has vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VectorFeature {
    /// The namespace (`user`).
    pub namespace: ByteString,
    /// Persistence key without its namespace (`embedding`, `embedding@2`, `embedding~1`).
    pub name: ByteString,
}

impl fmt::Display for VectorFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// One vector, to be stored if nothing newer is.
#[derive(Clone, Debug)]
pub struct VectorRow {
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// Which vector.
    pub key: VectorKey,
    /// The metric of its feature's table, where this row is the first of it.
    pub metric: Metric,
    /// Event time in microseconds since 1970.
    pub observed_at: i64,
    /// The vector; `None` is a tombstone: it was deleted at `observed_at`.
    pub point: Option<Point>,
}

/// A vector with what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The vector. Its dimension and precision are those of its feature's table, where it is the first of it.
    pub vector: Arc<Vector>,
    /// Named values that readers filter by and show: a [`Value::Struct`].
    pub payload: Value,
}

impl Row for VectorRow {
    type Key = VectorKey;

    fn key(&self) -> Option<&VectorKey> {
        Some(&self.key)
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        let point = self.point.as_ref().map_or(0, |Point { vector, payload }| {
            std::mem::size_of::<Vector>() + vector.dimension() * vector.width() + payload.heap_size()
        });
        std::mem::size_of::<Self>() + self.key.id.len() + point
    }
}
