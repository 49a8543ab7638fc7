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

/// The features that cells of a row may be of: persistence keys without their namespace (`score`, `score@2`,
/// `score~1`). Rows of one table share one list, so that a cell costs no counting of owners.
pub type Features = Arc<[Box<str>]>;

/// One entity with values to be stored if nothing newer is.
#[derive(Clone, Debug)]
pub struct FeatureRow {
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// The entity.
    pub entity: Entity,
    /// What its cells are of.
    pub features: Features,
    /// Values by feature; no two of one feature.
    pub cells: Vec<FeatureCell>,
}

/// One feature of one entity.
#[derive(Clone, Debug)]
pub struct FeatureCell {
    /// Its place in [`FeatureRow::features`].
    pub feature: u32,
    /// Event time in microseconds since 1970; never negative.
    pub observed_at: i64,
    /// Event time after which readers treat it as absent, microseconds since 1970; `None` is never.
    pub expires_at: Option<i64>,
    /// The value. `None` is a tombstone: the feature was evicted at `observed_at`.
    pub value: Option<Value>,
}

impl FeatureCell {
    /// A cell of which everything is still to be said. One constant, so that it is put down where it is to stay and filled
    /// there: made elsewhere and copied, it costs more than all else that is done with it.
    pub(crate) const ABSENT: Self = Self { feature: 0, observed_at: 0, expires_at: None, value: None };
}

impl FeatureRow {
    /// A row with a list of features of its own, in the order of its cells.
    pub fn of<N: Into<Box<str>>>(entity: Entity, cells: impl IntoIterator<Item = (N, FeatureCell)>) -> Self {
        let (features, mut cells): (Vec<Box<str>>, Vec<_>) =
            cells.into_iter().map(|(feature, cell)| (feature.into(), cell)).unzip();
        for (cell, place) in cells.iter_mut().zip(0..) {
            cell.feature = place;
        }
        Self { destination: 0, entity, features: features.into(), cells }
    }

    /// The feature of one of its cells.
    pub fn feature(&self, cell: &FeatureCell) -> &str {
        &self.features[cell.feature as usize]
    }
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
