//! What is counted of the columns of a table.

use bytestring::ByteString;
use hashbrown::HashSet;

use crate::writer::column::{Named, named};

/// Worked out once for all tables alike.
#[derive(Debug)]
pub(super) struct Layout {
    /// Aligned with the table's columns.
    pub(super) columns: Vec<Target>,
    /// The columns that hold the row's own time.
    pub(super) times: Vec<usize>,
}

/// What is done with a column.
#[derive(Debug)]
pub(super) enum Target {
    /// It is a feature.
    Count,
    /// It holds the row's own time.
    Time,
    /// It says something about the row and is no feature.
    Skip,
    /// A row that has it is refused, for this reason.
    Refuse(String),
}

impl Layout {
    pub(super) fn new(namespace: &str, columns: &[ByteString]) -> Self {
        let mut seen = HashSet::with_capacity(columns.len());
        let target = |name: &ByteString| match named(namespace, name) {
            _ if !seen.insert(name.clone()) => Target::Refuse(format!("column `{name}` stands twice")),
            Err(reason) => Target::Refuse(reason),
            Ok(Named::Time) => Target::Time,
            Ok(Named::Metadata) => Target::Skip,
            Ok(Named::Feature(_)) => Target::Count,
        };
        let columns: Vec<Target> = columns.iter().map(target).collect();
        let times = (0..columns.len()).filter(|at| matches!(columns[*at], Target::Time)).collect();
        Self { columns, times }
    }
}
