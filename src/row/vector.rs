//! The row of vector stores: one vector of one entity, or that it was deleted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytestring::ByteString;

use crate::sink::Row;
use crate::value::{Value, Vector};

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

/// How far apart two vectors are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Their Euclidean distance.
    #[default]
    L2,
    /// Their inner product, the larger the nearer; as a distance it is negative.
    Ip,
    /// One less the cosine of the angle between them.
    Cos,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 3] = [Self::L2, Self::Ip, Self::Cos];

    /// Its name in configurations and stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Ip => "ip",
            Self::Cos => "cos",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| format!("unknown metric `{text}`; known are l2, ip, cos"))
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
