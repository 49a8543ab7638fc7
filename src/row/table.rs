//! The row of offline stores: one row of one table, its columns described once for many rows.

use std::convert::Infallible;
use std::sync::Arc;

use bytestring::ByteString;

use crate::sink::Row;
use crate::value::Value;
use crate::value::dtype::DataType;

/// Columns of a table as one kind of message fills them. Shared by all rows alike; a table has as
/// many shapes as there are sets of columns in its messages.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Name of the table: a namespace, or `query_log`.
    pub table: ByteString,
    /// The columns, in the order of a row's values.
    pub columns: Vec<Column>,
    /// Index of the timestamp column whose UTC date the lake partitions by.
    pub time: usize,
    /// Columns whose values together name a row, for stores that keep a key.
    pub key: Vec<usize>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Its name in the store, not quoted.
    pub name: ByteString,
    /// Declared type; `None` takes the type of the table where it has the column, else of the value.
    pub data_type: Option<DataType>,
}

/// One row.
///
/// A store adds `__inserted_at__` to tables of the `namespace` layout by itself: it alone knows when.
#[derive(Clone, Debug)]
pub struct TableRow {
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// Its table and columns.
    pub shape: Arc<Shape>,
    /// Values aligned with the shape's columns.
    pub values: Vec<Value>,
    /// Names the row inside its message, for a dead letter (`user/42`).
    pub name: ByteString,
}

impl Row for TableRow {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn size(&self) -> usize {
        std::mem::size_of::<Self>() + self.values.iter().map(Value::size).sum::<usize>()
    }
}
