//! The id of a row of history: the same for the same row of the same event, however often it comes.

use crate::writer::digest::{digest, put};

/// Makes the `__observation_id__`s of one message.
///
/// An id is the XXH3 hash (128 bits, no seed, 32 lower-case hexadecimal digits, the highest first)
/// of these bytes: the event's source, its id, the namespace and the primary key as text, each as
/// its length in bytes (u64, little-endian) and its UTF-8; then the table's index in the message
/// and the row's in the table (each u64, little-endian).
///
/// Source and id name an event for good, so a redelivery, a replay and another encoding of the
/// event all give the same ids. The indices tell two rows of one entity apart.
#[derive(Debug)]
pub struct ObservationIds {
    bytes: Vec<u8>,
    event: usize,
}

impl ObservationIds {
    /// For the rows of an event.
    pub fn of_event(source: &str, id: &str) -> Self {
        let mut bytes = Vec::with_capacity(source.len() + id.len() + 120);
        put(&mut bytes, source);
        put(&mut bytes, id);
        Self { event: bytes.len(), bytes }
    }

    /// The id of one row.
    pub fn row(&mut self, namespace: &str, primary_key: &str, table: usize, row: usize) -> String {
        self.bytes.truncate(self.event);
        put(&mut self.bytes, namespace);
        put(&mut self.bytes, primary_key);
        self.bytes.extend_from_slice(&(table as u64).to_le_bytes());
        self.bytes.extend_from_slice(&(row as u64).to_le_bytes());
        digest(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_row_never_changes() {
        let mut ids = ObservationIds::of_event("engine", "018f");
        assert_eq!(ids.row("user", "42", 0, 0), PUBLISHED);
        let _ = ids.row("user", "43", 0, 1);
        assert_eq!(ids.row("user", "42", 0, 0), PUBLISHED);
    }

    /// Readers drop doubles by it, so a change of the hash is a change of the contract.
    const PUBLISHED: &str = "365f45a1353e50535c6e25222df551eb";

    #[test]
    fn every_part_of_it_tells_rows_apart() {
        let id = |source: &str, id: &str, namespace: &str, key: &str, table, row| {
            ObservationIds::of_event(source, id).row(namespace, key, table, row)
        };
        let all = [
            id("a", "b", "c", "d", 0, 0),
            id("ab", "", "c", "d", 0, 0),
            id("a", "bc", "", "d", 0, 0),
            id("a", "b", "cd", "", 0, 0),
            id("a", "b", "c", "d", 1, 0),
            id("a", "b", "c", "d", 0, 1),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
