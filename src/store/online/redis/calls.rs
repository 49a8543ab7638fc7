//! Cuts the rows of a write into calls of the script: in a cluster each of one slot.

use std::ops::Range;
use std::sync::Arc;

use super::layout;
use super::node::Node;
use super::topology::Topology;
use crate::row::feature::FeatureRow;
use crate::sink::Row;

/// Entities in one call of the script.
pub(super) const ENTITIES: usize = 50;

/// Fields in one call: a call holds the server up for its whole length.
const FIELDS: usize = 5_000;

/// Bytes in one call, though a single larger row is still sent alone.
pub(super) const BYTES: usize = 4 * 1024 * 1024;

/// Rows in the order in which calls take them.
pub(super) struct Plan<'a> {
    rows: &'a [&'a FeatureRow],
    /// Indices of rows, those of one slot beside one another.
    order: Vec<usize>,
}

/// One call of the script.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Places in the plan's order.
    places: Range<usize>,
    pub(super) slot: u16,
    /// The node that is to be asked rather than the slot's owner: the slot is on its way there.
    pub(super) ask: Option<Arc<Node>>,
}

impl Call {
    /// How many entities it writes.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The same at another node than the slot's owner, or at the owner again.
    pub(super) fn at(self, ask: Option<Arc<Node>>) -> Self {
        Self { ask, ..self }
    }

    /// The same in calls of one entity each.
    pub(super) fn single(&self) -> impl Iterator<Item = Self> {
        self.places.clone().map(|place| Self { places: place..place + 1, slot: self.slot, ask: None })
    }
}

impl<'a> Plan<'a> {
    /// Plans the rows with the given indices.
    pub(super) fn new(topology: &Topology, rows: &'a [&'a FeatureRow], indices: Vec<usize>) -> (Self, Vec<Call>) {
        let prefix = &topology.link.prefix;
        let mut key = Vec::new();
        let mut slots: Vec<(u16, usize)> = Vec::new();
        let order = if topology.clustered {
            slots.extend(indices.into_iter().map(|index| {
                key.clear();
                layout::put_key(prefix, &rows[index].entity, &mut key);
                (topology.slot(&key), index)
            }));
            slots.sort_unstable();
            slots.iter().map(|(_, index)| *index).collect()
        } else {
            indices
        };
        let plan = Self { rows, order };
        let slot = |place: usize| slots.get(place).map_or(0, |(slot, _)| *slot);
        let mut calls = Vec::new();
        let (mut start, mut fields, mut bytes) = (0, 0, 0);
        for (place, index) in plan.order.iter().enumerate() {
            let (row_fields, row_bytes) = (rows[*index].cells.len(), rows[*index].size());
            let full = place - start >= ENTITIES || fields + row_fields > FIELDS || bytes + row_bytes > BYTES;
            if place > start && (full || slot(place) != slot(start)) {
                calls.push(Call { places: start..place, slot: slot(start), ask: None });
                (start, fields, bytes) = (place, 0, 0);
            }
            fields += row_fields;
            bytes += row_bytes;
        }
        if start < plan.order.len() {
            calls.push(Call { places: start..plan.order.len(), slot: slot(start), ask: None });
        }
        (plan, calls)
    }

    /// Indices of a call's rows.
    pub(super) fn indices(&self, call: &Call) -> &[usize] {
        &self.order[call.places.clone()]
    }

    /// A call's rows.
    pub(super) fn rows(&self, call: &Call) -> impl ExactSizeIterator<Item = &'a FeatureRow> + Clone {
        let rows = self.rows;
        self.indices(call).iter().map(move |index| rows[*index])
    }
}
