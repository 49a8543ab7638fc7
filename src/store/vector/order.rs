//! Which of two rows of one vector stands.
//!
//! The later observed time wins. Of equal times a vector wins over a tombstone; of two vectors the one whose
//! elements, in single precision and from the first to the last, are the larger; of equal ones the one with the
//! larger payload, as the store's own text compares by its bytes; and of these the one whose elements are the larger
//! as they came. So the outcome depends on what was written and not on its order, and writing anything again changes
//! nothing.

use std::cmp::Ordering;

use crate::row::vector::{Point, VectorRow};
use crate::value::Value;

/// A payload as the store keeps it.
pub(super) type Text = fn(&Value) -> Vec<u8>;

/// One row that leaves the store as all of these would: the one that stands among them.
pub(super) fn collapse(rows: &[&VectorRow], text: Text) -> VectorRow {
    let stands = rows.iter().max_by(|one, other| order(one, other, text));
    (*stands.expect("collapse is given rows")).clone()
}

fn order(one: &VectorRow, other: &VectorRow, text: Text) -> Ordering {
    one.observed_at.cmp(&other.observed_at).then_with(|| match (&one.point, &other.point) {
        (Some(one), Some(other)) => points(one, other, text),
        (one, other) => one.is_some().cmp(&other.is_some()),
    })
}

/// Two vectors of one observed time.
pub(super) fn points(one: &Point, other: &Point, text: Text) -> Ordering {
    let (ours, theirs) = (one.vector.to_f64(), other.vector.to_f64());
    // Adding zero makes one zero of both, as the servers' comparison does.
    let single = |elements: &[f64]| elements.iter().map(|element| *element as f32 + 0.0).collect::<Vec<_>>();
    elements(&single(&ours), &single(&theirs), f32::total_cmp)
        .then_with(|| text(&one.payload).cmp(&text(&other.payload)))
        .then_with(|| elements(&ours, &theirs, f64::total_cmp))
}

fn elements<T>(one: &[T], other: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    let first = one.iter().zip(other).map(|(one, other)| compare(one, other)).find(|found| found.is_ne());
    first.unwrap_or_else(|| one.len().cmp(&other.len()))
}
