//! Tables that are made for rows which somebody else will write.

use std::sync::Arc;

use arrow::datatypes::DataType as Arrow;
use async_trait::async_trait;
use bytestring::ByteString;
use hashbrown::HashSet;

use crate::row::table::{Shape, TableColumns, TableRow, TableRows};
use crate::sink::{Refusal, Sink, SinkError};
use crate::value::arrow::Extension;

/// A store of tables that can also be asked to make them hold rows, without writing one.
#[async_trait]
pub trait TableStore: Sink<TableRows> {
    /// Makes the tables of rows, their columns and types, as [`write`](Sink::write) would, and says which rows they
    /// take. What only the server can say of a row is not known before it is written.
    async fn prepare<'a>(&self, rows: &[&'a TableRows]) -> Result<Prepared<'a>, SinkError>;
}

/// What became of rows whose tables were made.
#[derive(Default)]
pub struct Prepared<'a> {
    /// The tables, each with the rows that it takes.
    pub tables: Vec<PreparedTable<'a>>,
    /// Rows that a table will never take, by their index; of what stands for many rows the first.
    pub refused: Vec<(usize, Refusal)>,
}

/// A table that holds rows.
pub struct PreparedTable<'a> {
    /// Columns of the rows, as these call them, and how the table keeps their values. A column without a type in the
    /// table, of which there are only nulls, is not among them.
    pub columns: Vec<(ByteString, Form)>,
    /// The rows that it takes, at least one.
    pub rows: Vec<Taken<'a>>,
}

/// Rows that a table takes.
#[derive(Clone, Debug)]
pub struct Taken<'a> {
    /// The index of what they are of.
    pub index: usize,
    /// They themselves.
    pub rows: Part<'a>,
}

/// Rows in the form in which they came.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// One.
    Row(&'a TableRow),
    /// These of many, in order; at least one.
    Columns(&'a TableColumns, Vec<u32>),
}

/// In which form the values of a column lose nothing on their way into its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The type of the values, one of [`crate::value::arrow`]; of the texts where there is an extension.
    pub arrow: Arrow,
    /// What the texts stand for.
    pub extension: Option<Extension>,
}

impl From<Arrow> for Form {
    fn from(arrow: Arrow) -> Self {
        Self { arrow, extension: None }
    }
}

impl Part<'_> {
    /// Their table and columns.
    pub fn shape(&self) -> &Arc<Shape> {
        match self {
            Self::Row(row) => &row.shape,
            Self::Columns(columns, _) => &columns.shape,
        }
    }

    /// How many rows they are.
    pub fn count(&self) -> usize {
        match self {
            Self::Row(_) => 1,
            Self::Columns(_, rows) => rows.len(),
        }
    }
}

/// The columns of rows, in the order in which they appear, with their forms in a table.
pub(in crate::store) fn columns(rows: &[Taken<'_>], form: impl Fn(&str) -> Option<Form>) -> Vec<(ByteString, Form)> {
    let (mut shapes, mut names) = (HashSet::new(), HashSet::new());
    let mut columns = Vec::new();
    for taken in rows {
        let shape = taken.rows.shape();
        if !shapes.insert(Arc::as_ptr(shape).addr()) {
            continue;
        }
        for column in &shape.columns {
            if names.insert(&*column.name)
                && let Some(form) = form(&column.name)
            {
                columns.push((column.name.clone(), form));
            }
        }
    }
    columns
}
