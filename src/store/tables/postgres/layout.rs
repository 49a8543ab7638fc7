//! What one kind of store has beyond the tables of all.

use crate::row::table::Shape;

/// What is particular to the tables of one kind of store.
pub(in crate::store) struct Layout {
    /// How the store is called in messages.
    pub(in crate::store) store: &'static str,
    /// Where a table is whose shape names no schema, where the URI names none either.
    pub(in crate::store) schema: &'static str,
    /// What is made together with a table, in the transaction that makes it.
    pub(in crate::store) with_table: fn(&NewTable<'_>) -> Vec<String>,
}

/// A table that is being made.
pub(in crate::store) struct NewTable<'a> {
    /// Its schema, not quoted.
    pub(in crate::store) schema: &'a str,
    /// Its name, not quoted.
    pub(in crate::store) name: &'a str,
    /// Its columns, and what its rows are.
    pub(in crate::store) shape: &'a Shape,
    /// What is installed in the database.
    pub(in crate::store) extensions: &'a [String],
}
