//! The columns of one table, in one version of its schema.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::types::ColumnType;

/// The columns of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct TableSchema {
    pub(super) version: u64,
    columns: Vec<ColumnSchema>,
    index: HashMap<String, usize>,
}

/// One column, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ColumnSchema {
    name: String,
    #[serde(rename = "type")]
    data_type: ColumnType,
}

impl TableSchema {
    pub(super) fn new(version: u64, columns: Vec<ColumnSchema>) -> Self {
        let index = columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        Self { version, columns, index }
    }

    pub(super) fn columns(&self) -> &[ColumnSchema] {
        &self.columns
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    pub(super) fn name(&self, column: usize) -> &str {
        &self.columns[column].name
    }

    pub(super) fn column_type(&self, column: usize) -> &ColumnType {
        &self.columns[column].data_type
    }

    pub(super) fn types(&self) -> impl Iterator<Item = &ColumnType> {
        self.columns.iter().map(|column| &column.data_type)
    }

    pub(super) fn set_type(&mut self, column: usize, data_type: ColumnType) {
        self.columns[column].data_type = data_type;
    }

    /// The index of a column, which is added with a type where it is new.
    pub(super) fn add(&mut self, name: &str, data_type: &ColumnType) -> usize {
        if let Some(column) = self.position(name) {
            return column;
        }
        self.columns.push(ColumnSchema { name: name.to_owned(), data_type: data_type.clone() });
        self.index.insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    /// Leaves out columns of which only nulls were seen: they appear once there is a type for them.
    pub(super) fn forget_unknown(&mut self) {
        if self.types().any(|data_type| *data_type == ColumnType::Unknown) {
            let known = self.columns.drain(..).filter(|column| column.data_type != ColumnType::Unknown).collect();
            *self = Self::new(self.version, known);
        }
    }

    /// The schema of the table's files.
    pub(super) fn arrow(&self) -> SchemaRef {
        let fields: Vec<Field> =
            self.columns.iter().map(|column| Field::new(&column.name, column.data_type.arrow(), true)).collect();
        Arc::new(Schema::new(fields))
    }
}
