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
    /// Event time after which readers treat it as absent.
    pub expires_at: Expires,
    /// The value. `None` is a tombstone: the feature was evicted at `observed_at`.
    pub value: Option<Value>,
}

impl FeatureCell {
    /// A cell of which everything is still to be said. One constant, so that it is put down where it is to stay and filled
    /// there: made elsewhere and copied, it costs more than all else that is done with it.
    pub(crate) const ABSENT: Self = Self { feature: 0, observed_at: 0, expires_at: Expires::NEVER, value: None };
}

/// When a value expires; the later is the greater, and never comes after every time there is.
///
/// Eight bytes, where an optional time would take sixteen of each of the cells that a batch is full of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expires(i64);

impl Expires {
    /// It does not.
    pub const NEVER: Self = Self(i64::MAX);

    /// At an event time in microseconds since 1970.
    pub const fn at(time: i64) -> Self {
        Self(time)
    }

    /// The event time, microseconds since 1970; `None` is never.
    pub const fn time(self) -> Option<i64> {
        if self.0 == i64::MAX { None } else { Some(self.0) }
    }

    /// Whether it lies after a time, microseconds since 1970.
    pub const fn is_after(self, time: i64) -> bool {
        self.0 > time || self.0 == i64::MAX
    }
}

impl From<Option<i64>> for Expires {
    fn from(time: Option<i64>) -> Self {
        time.map_or(Self::NEVER, Self::at)
    }
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
        let values: usize = self.cells.iter().filter_map(|cell| cell.value.as_ref()).map(Value::heap_size).sum();
        let cells = self.cells.capacity() * std::mem::size_of::<FeatureCell>();
        std::mem::size_of::<Self>() + self.entity.primary_key.len() + cells + values
    }
}
