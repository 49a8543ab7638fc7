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
const BYTES: usize = 4 * 1024 * 1024;

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
    /// About the bytes of its rows.
    bytes: usize,
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
        let bytes = self.bytes / self.len().max(1);
        self.places.clone().map(move |place| Self { places: place..place + 1, bytes, slot: self.slot, ask: None })
    }

    /// How many entities it counts for: as many as it writes, or more where they are large.
    pub(super) fn weight(&self) -> u32 {
        self.len().max(self.bytes / (BYTES / ENTITIES)) as u32
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
                calls.push(Call { places: start..place, bytes, slot: slot(start), ask: None });
                (start, fields, bytes) = (place, 0, 0);
            }
            fields += row_fields;
            bytes += row_bytes;
        }
        if start < plan.order.len() {
            calls.push(Call { places: start..plan.order.len(), bytes, slot: slot(start), ask: None });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::feature::{Entity, Expires, FeatureCell};
    use crate::store::online::redis::link::Link;
    use crate::store::online::redis::uri;
    use crate::value::Value;

    fn topology(clustered: bool) -> Topology {
        Topology::new(Link::new(uri::parse("redis://h").expect("sound"), "".into()), clustered)
    }

    fn row(key: &str, cells: usize, bytes: usize) -> FeatureRow {
        let cell = |number: usize| {
            let value = Some(Value::Bytes(vec![0; bytes].into()));
            (format!("f{number}"), FeatureCell { feature: 0, observed_at: 1, expires_at: Expires::NEVER, value })
        };
        let entity = Entity { environment: "e".into(), namespace: "n".into(), primary_key: key.into() };
        FeatureRow::of(entity, (0..cells).map(cell))
    }

    fn sizes(topology: &Topology, rows: &[FeatureRow]) -> Vec<usize> {
        let rows: Vec<&FeatureRow> = rows.iter().collect();
        let (plan, calls) = Plan::new(topology, &rows, (0..rows.len()).collect());
        let mut all: Vec<usize> = calls.iter().flat_map(|call| plan.indices(call)).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..rows.len()).collect::<Vec<_>>(), "every row is in one call");
        if topology.clustered {
            for call in &calls {
                for row in plan.rows(call) {
                    assert_eq!(topology.slot(&layout::key("", &row.entity)), call.slot, "{:?}", row.entity);
                }
            }
        }
        calls.iter().map(Call::len).collect()
    }

    #[test]
    fn a_call_is_full_at_so_many_entities_fields_or_bytes() {
        let single = topology(false);
        let rows =
            |count: usize, cells, bytes| (0..count).map(|n| row(&n.to_string(), cells, bytes)).collect::<Vec<_>>();
        assert_eq!(sizes(&single, &[]), [] as [usize; 0]);
        assert_eq!(sizes(&single, &rows(ENTITIES * 2 + 1, 1, 1)), [ENTITIES, ENTITIES, 1]);
        assert_eq!(sizes(&single, &rows(3, FIELDS / 2, 0)), [2, 1]);
        assert_eq!(sizes(&single, &rows(2, FIELDS + 1, 0)), [1, 1], "what is larger goes alone");
        assert_eq!(sizes(&single, &rows(3, 1, BYTES / 2)), [1, 1, 1]);
    }

    #[test]
    fn a_call_to_a_cluster_is_of_one_slot() {
        let cluster = topology(true);
        let rows: Vec<_> = (0..4_000).map(|number| row(&format!("user-{number}"), 1, 1)).collect();
        let calls = sizes(&cluster, &rows);
        assert!(calls.len() < 4_000 && calls.iter().any(|size| *size > 1), "some share a slot");
        // The tag ends at the first brace: these share one.
        let tagged: Vec<_> = (0..=ENTITIES).map(|number| row(&format!("a}}{number}"), 1, 1)).collect();
        assert_eq!(sizes(&cluster, &tagged), [ENTITIES, 1]);
    }
}
