//! What one kind of store has beyond the tables of all.

use crate::row::table::Shape;

/// What is particular to the tables of one kind of store.
pub(in crate::store) struct Layout {
    /// How the store is called in messages.
    pub(in crate::store) store: &'static str,
    /// Statements that are run when a table was made, in its transaction.
    pub(in crate::store) with_table: fn(&Shape) -> Vec<String>,
}
