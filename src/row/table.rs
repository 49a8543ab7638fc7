//! What offline stores write: rows of tables, one by one or column by column, their columns described
//! once for many rows.

use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter;
use arrow::error::ArrowError;

use bytestring::ByteString;

use crate::sink::Row;
use crate::value::dtype::DataType;
use crate::value::{self, Value};

/// Columns of a table as one kind of message fills them. Shared by all rows alike; a table has as
/// many shapes as there are sets of columns in its messages.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The schema that the table is in, where the message or a setting names one; else it is the store's to say. A store
    /// without schemas passes over it.
    pub schema: Option<ByteString>,
    /// Name of the table: a namespace, or `query_log`.
    pub table: ByteString,
    /// The columns, in the order of a row's values.
    pub columns: Vec<Column>,
    /// The time of a row, by whose UTC date the lake partitions, and by which the newest of one key is told.
    pub time: When,
    /// Index of the column that names a row inside its message, behind the table's name, for a dead letter (`user/42`).
    pub name: usize,
    /// Columns whose values together are a row's key, for stores that keep one.
    pub key: Vec<usize>,
    /// What a store that keeps a key does with a row whose key it has already.
    pub repeats: Repeats,
    /// Whether the table is made where it is not there. Else rows wait until somebody has made it.
    pub create: bool,
    /// What its rows are.
    pub of: Of,
}

/// What the rows of a table are, as far as a store makes something of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Of {
    /// Nothing that a store knows more of.
    #[default]
    Anything,
    /// History in the `namespace` layout: a store says when it wrote a row, in a column `__inserted_at__`.
    History,
    /// Partials of metrics, which are put together where they are read.
    Metrics,
    /// What happened at its time and never changes.
    Events,
}

/// The time of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// In this column, by its index: a timestamp.
    Column(usize),
    /// Of a table without such a column: this one for every row, in microseconds since 1970. It is a property of
    /// their message, so that they are put in the same place when it comes again.
    At(i64),
}

/// Which of two rows of one key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeats {
    /// The one that was there first: a row never changes.
    First,
    /// The one with the later time; of two of one time the larger, by an order that is the store's own.
    Newest,
    /// The one with the larger number in the column of this index, which says how far the row is on; of two that are
    /// equally far the newest.
    Furthest(usize),
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
}

/// Rows of one table that came column by column, and are stored so where the store can.
#[derive(Clone, Debug)]
pub struct TableColumns {
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// Their table and columns.
    pub shape: Arc<Shape>,
    /// How many rows they are; at least one.
    pub rows: usize,
    /// Aligned with the shape's columns, each with a value for every row.
    pub columns: Vec<ColumnData>,
}

/// The values of one column.
#[derive(Clone, Debug)]
pub enum ColumnData {
    /// In one of the types of [`crate::value::arrow`].
    Array(ArrayRef),
    /// One by one.
    Values(Vec<Value>),
    /// The same in every row.
    Constant(Value),
}

/// What is written to offline stores, in the form in which its message brought it.
///
/// A store that has no columnar way in is made one of these by
/// [`RowWise`](crate::store::tables::row_wise::RowWise).
#[derive(Clone, Debug)]
pub enum TableRows {
    /// One row.
    Row(TableRow),
    /// Many at once. A store that refuses some of them stores the others all the same, and names the
    /// whole by the first refusal.
    Columns(Box<TableColumns>),
}

impl When {
    /// The index of the column that it is in.
    pub fn column(self) -> Option<usize> {
        match self {
            Self::Column(column) => Some(column),
            Self::At(_) => None,
        }
    }
}

impl Shape {
    /// How a row with this name and place is called, for a dead letter.
    fn row_name(&self, value: Option<&Value>, row: Option<usize>) -> ByteString {
        let table = &self.table;
        match (value, row) {
            (Some(Value::Text(text)), _) => format!("{table}/{text}").into(),
            (Some(Value::Int(number)), _) => format!("{table}/{number}").into(),
            (_, Some(row)) => format!("{table}[{row}]").into(),
            (_, None) => table.clone(),
        }
    }
}

impl TableRow {
    /// How it is named inside its message, for a dead letter: `user/42`; its table, where it has no key.
    pub fn name(&self) -> ByteString {
        self.shape.row_name(self.values.get(self.shape.name), None)
    }

    /// Bytes that it takes in a batch.
    pub fn size(&self) -> usize {
        std::mem::size_of::<Self>() + self.values.iter().map(Value::size).sum::<usize>()
    }
}

impl TableColumns {
    /// How one of the rows is named inside its message, for a dead letter.
    pub fn name(&self, row: usize) -> ByteString {
        let value = self.columns.get(self.shape.name).and_then(|column| column.values(row, 1).pop());
        self.shape.row_name(value.as_ref(), Some(row))
    }

    /// Some of the rows one by one: what a store without columns writes.
    pub fn each(&self, from: usize, count: usize) -> impl Iterator<Item = TableRow> + '_ {
        let columns: Vec<_> = self.columns.iter().map(|column| column.values(from, count)).collect();
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        (0..count).map(move |_| {
            let values = columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null)).collect();
            TableRow { destination: self.destination, shape: Arc::clone(&self.shape), values }
        })
    }

    /// Bytes that they take in a batch.
    pub fn size(&self) -> usize {
        std::mem::size_of::<Self>() + self.columns.iter().map(ColumnData::size).sum::<usize>()
    }
}

impl ColumnData {
    /// The values of some rows.
    pub fn values(&self, from: usize, count: usize) -> Vec<Value> {
        match self {
            Self::Array(array) => value::arrow::values(&array.slice(from, count)),
            Self::Values(values) => values[from..from + count].to_vec(),
            Self::Constant(value) => vec![value.clone(); count],
        }
    }

    /// The rows for which `kept` says so.
    pub fn filtered(self, kept: &BooleanArray) -> Result<Self, ArrowError> {
        Ok(match self {
            Self::Array(array) => Self::Array(filter(&array, kept)?),
            Self::Values(values) => {
                let values = values.into_iter().enumerate().filter(|(row, _)| kept.value(*row));
                Self::Values(values.map(|(_, value)| value).collect())
            }
            constant @ Self::Constant(_) => constant,
        })
    }

    fn size(&self) -> usize {
        match self {
            Self::Array(array) => value::arrow::size(array),
            Self::Values(values) => values.iter().map(Value::size).sum(),
            Self::Constant(value) => value.size(),
        }
    }
}

impl TableRows {
    /// Their table and columns.
    pub fn shape(&self) -> &Arc<Shape> {
        match self {
            Self::Row(row) => &row.shape,
            Self::Columns(columns) => &columns.shape,
        }
    }
}

impl Row for TableRows {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        match self {
            Self::Row(row) => row.destination,
            Self::Columns(columns) => columns.destination,
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Row(_) => 1,
            Self::Columns(columns) => columns.rows,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Row(row) => row.size(),
            Self::Columns(columns) => columns.size(),
        }
    }
}

impl Row for TableRow {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        Self::size(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_came_as_a_row_takes_no_more_for_the_others_that_may_come() {
        assert_eq!(std::mem::size_of::<TableRows>(), std::mem::size_of::<TableRow>());
    }

    #[test]
    fn columns_count_as_their_rows_and_come_apart_into_them() {
        let column = |name: &'static str| Column { name: name.into(), data_type: None };
        let columns = vec![column("id"), column("a"), column("b")];
        let shape = Arc::new(Shape {
            schema: None,
            table: "user".into(),
            columns,
            time: When::Column(0),
            name: 0,
            key: vec![],
            repeats: Repeats::First,
            create: true,
            of: Of::Anything,
        });
        let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![Some(7), None, Some(9)]));
        let columns = vec![
            ColumnData::Array(ids),
            ColumnData::Values(vec![Value::text("x"), Value::Null, Value::Bool(true)]),
            ColumnData::Constant(Value::text("all")),
        ];
        let columns = TableColumns { destination: 3, shape, rows: 3, columns };
        let names: Vec<_> = (0..3).map(|row| columns.name(row).to_string()).collect();
        assert_eq!(names, ["user/7", "user[1]", "user/9"]);
        let rows: Vec<TableRow> = columns.each(1, 2).collect();
        assert_eq!(rows[0].values, [Value::Null, Value::Null, Value::text("all")]);
        assert_eq!(rows[1].values, [Value::Int(9), Value::Bool(true), Value::text("all")]);
        assert_eq!((&*rows[0].name(), &*rows[1].name(), rows[1].destination), ("user", "user/9", 3));
        let rows = TableRows::Columns(Box::new(columns));
        assert_eq!((rows.rows(), rows.destination()), (3, 3));
        assert!(rows.size() > 3 * 8);
    }
}
