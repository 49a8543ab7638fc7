//! The row of online stores: one entity and its newest values.

use std::sync::Arc;

use bytestring::ByteString;

use crate::sink::Row;
use crate::value::Value;

/// Which entity a row is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity {
    /// The environment's id.
    pub environment: Arc<str>,
    /// The namespace (`user`).
    pub namespace: ByteString,
    /// The primary key as text; an integer key is its decimal text.
    pub primary_key: ByteString,
}

/// One entity with values to be stored if nothing newer is.
#[derive(Clone, Debug)]
pub struct FeatureRow {
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// The entity.
    pub entity: Entity,
    /// Values by feature; no two of one feature.
    pub cells: Vec<FeatureCell>,
}

/// One feature of one entity.
#[derive(Clone, Debug)]
pub struct FeatureCell {
    /// The persistence key without its namespace: `score`, `score@2`, `score~1`.
    pub feature: Arc<str>,
    /// Event time in microseconds since 1970; never negative.
    pub observed_at: i64,
    /// Event time after which readers treat it as absent, microseconds since 1970; `None` is never.
    pub expires_at: Option<i64>,
    /// The value. `None` is a tombstone: the feature was evicted at `observed_at`.
    pub value: Option<Value>,
}

impl Row for FeatureRow {
    type Key = Entity;

    fn key(&self) -> Option<&Entity> {
        Some(&self.entity)
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        let cells: usize = self
            .cells
            .iter()
            .map(|cell| std::mem::size_of::<FeatureCell>() + cell.value.as_ref().map_or(0, Value::heap_size))
            .sum();
        std::mem::size_of::<Self>() + self.entity.primary_key.len() + cells
    }
}
