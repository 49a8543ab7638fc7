//! Which of two values of a feature stands, and what no online store takes.
//!
//! # Rules
//! The later observed time wins. Of equal times the larger value in the store's own encoding wins,
//! no value (a tombstone) being smallest and null next; of equal values the later expiry, never being
//! the latest. So as long as no value has expired the outcome depends on what was written and not on
//! its order, and writing anything again changes nothing.
//!
//! A cell that has expired when it arrives is not stored, but an older value of its feature goes:
//! that is the state in which storing it and waiting for the end of its life would leave the store.
//! It counts as stale.
//!
//! # Where order matters
//! A value keeps older ones away only until it expires: then nothing is left of it, at once where it
//! arrived late, else when the store removes it. What was observed before it and arrives after that is
//! stored. Say one value is observed at 5 and never expires, another at 10 and expires at 20: written in
//! this order after 20 they leave nothing, in the other order the first. Tombstones have expiries of
//! their own (`tombstone_retention`) for this reason.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::row::feature::{FeatureCell, FeatureRow};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;

/// The largest encoded value that an online store is given, in bytes; a larger one is `TOO_LARGE`.
///
/// Below what the stores themselves can hold (SQLite 1 GB, Redis 512 MB), so that their own limit,
/// which may end the connection rather than name the value, is never met with default settings.
pub const LARGEST_VALUE: usize = 256 * 1024 * 1024;

/// Why no online store takes a row, where that is so.
pub(super) fn refusal(row: &FeatureRow) -> Option<Refusal> {
    row.cells.iter().find_map(|cell| {
        let refusal = if cell.observed_at < 0 {
            Refusal::new(
                ErrorClass::ValueRefused,
                format!(
                    "`{}` was observed at {} µs; times before 1970 cannot be stored",
                    row.feature(cell),
                    cell.observed_at
                ),
            )
        } else if row.feature(cell).is_empty() {
            Refusal::new(ErrorClass::ValueRefused, "a feature without a name cannot be stored")
        } else if cell.value.as_ref().map_or(0, Value::heap_size) > LARGEST_VALUE {
            too_large(row.feature(cell))
        } else {
            return None;
        };
        Some(at(refusal, row))
    })
}

/// The verdict on a value that is larger than a store can hold.
pub(super) fn too_large(feature: &str) -> Refusal {
    Refusal::new(ErrorClass::TooLarge, format!("the value of `{feature}` is larger than {LARGEST_VALUE} bytes"))
        .harmless()
}

/// Adds to a verdict which row it is on.
pub(super) fn at(refusal: Refusal, row: &FeatureRow) -> Refusal {
    let entity = &row.entity;
    refusal.row(format_args!("{}/{}", entity.namespace, entity.primary_key)).table(&entity.namespace)
}

/// One row that stands for rows of one entity: of each feature the cell that wins among them.
///
/// `compare` orders two values of which neither is null or a tombstone, as the store does.
pub(super) fn collapse(rows: &[&FeatureRow], compare: fn(&Value, &Value) -> Ordering) -> FeatureRow {
    let first = rows.first().expect("collapse is given rows");
    let mut winners: Vec<(&str, &FeatureCell)> = Vec::with_capacity(first.cells.len());
    let mut places = HashMap::with_capacity(first.cells.len());
    for (row, cell) in rows.iter().flat_map(|row| row.cells.iter().map(move |cell| (row, cell))) {
        let feature = row.feature(cell);
        match places.entry(feature) {
            Entry::Occupied(place) => {
                let (_, standing): &mut (_, &FeatureCell) = &mut winners[*place.get()];
                if order(cell, standing, compare).is_gt() {
                    *standing = cell;
                }
            }
            Entry::Vacant(place) => {
                place.insert(winners.len());
                winners.push((feature, cell));
            }
        }
    }
    let (entity, destination) = (first.entity.clone(), first.destination);
    if rows.iter().all(|row| Arc::ptr_eq(&row.features, &first.features)) {
        let cells = winners.into_iter().map(|(_, cell)| cell.clone()).collect();
        return FeatureRow { destination, entity, features: Arc::clone(&first.features), cells };
    }
    let cells = winners.into_iter().map(|(feature, cell)| (feature, cell.clone()));
    FeatureRow { destination, ..FeatureRow::of(entity, cells) }
}

/// The order in which cells of one feature win, the last over all before it.
fn order(one: &FeatureCell, other: &FeatureCell, compare: fn(&Value, &Value) -> Ordering) -> Ordering {
    one.observed_at
        .cmp(&other.observed_at)
        .then_with(|| rank(one).cmp(&rank(other)))
        .then_with(|| match (&one.value, &other.value) {
            (Some(one), Some(other)) => compare(one, other),
            _ => Ordering::Equal,
        })
        .then_with(|| one.expires_at.cmp(&other.expires_at))
}

fn rank(cell: &FeatureCell) -> u8 {
    match cell.value {
        None => 0,
        Some(Value::Null) => 1,
        Some(_) => 2,
    }
}

/// The time now in microseconds since 1970.
pub(super) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
