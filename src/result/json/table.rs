//! A table in JSON: its namespace and its rows, or an Arrow body as base64.

use super::part::{Ignored, Part, Seen};
use super::reader::{Reader, Text, unexpected};
use super::row::{Row, Rows};
use super::scan::{Fault, List, Object};
use crate::result::{FeatureTable, Names as ColumnNames, TableBody, too_many};
use crate::value::conform::decode_base64;
use bytes::Bytes;
use bytestring::ByteString;

/// The list of tables.
pub(super) struct Tables<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
    pub(super) tables: &'r mut Vec<FeatureTable>,
}

impl<'de> Part<'de> for Tables<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        Err(unexpected("tables", "a list", found))
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<(), Fault> {
        while let Some(table) = list.next(Table { reader: self.reader })? {
            // Most have one.
            if self.tables.is_empty() {
                *self.tables = Vec::with_capacity(1);
            }
            self.tables.push(table);
        }
        Ok(())
    }
}

struct Table<'r, 'de> {
    reader: &'r Reader<'de>,
}

impl<'de> Part<'de> for Table<'_, 'de> {
    type Output = FeatureTable;

    fn wrong(self, found: &str) -> Result<FeatureTable, Fault> {
        Err(unexpected("tables", "tables as objects", found))
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<FeatureTable, Fault> {
        let Self { reader } = self;
        let mut seen = Seen::default();
        let mut namespace = ByteString::new();
        let mut body = None;
        while let Some(key) = object.key()? {
            match &*key {
                "namespace" => {
                    seen.field(0, "namespace")?;
                    namespace = object.value(Text(reader, "namespace"))?;
                }
                // Both forms have one number: a table has one of them.
                "rows" => {
                    seen.field(1, "rows` or `arrow_ipc")?;
                    let mut rows = Rows::default();
                    object.value(RowsOfTable { reader, rows: &mut rows })?;
                    let columns = rows.columns.into_names();
                    body = Some(TableBody::Rows { columns, rows: rows.rows });
                }
                "arrow_ipc" | "arrowIpc" => {
                    seen.field(1, "rows` or `arrow_ipc")?;
                    let text = object.value(Text(reader, "arrow_ipc"))?;
                    let bytes =
                        decode_base64(&text).ok_or_else(|| unexpected("arrow_ipc", "base64", "text that is not"))?;
                    body = Some(TableBody::Arrow(Bytes::from(bytes)));
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        let body = body.unwrap_or_else(|| TableBody::Rows { columns: ColumnNames::default(), rows: Vec::new() });
        Ok(FeatureTable { namespace, body })
    }
}

struct RowsOfTable<'r, 'de> {
    reader: &'r Reader<'de>,
    rows: &'r mut Rows,
}

impl<'de> Part<'de> for RowsOfTable<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        Err(unexpected("rows", "an object with `columns` and `rows`", found))
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, rows } = self;
        let mut seen = Seen::default();
        while let Some(key) = object.key()? {
            match &*key {
                "columns" => {
                    seen.field(0, "columns")?;
                    let mut names = Vec::new();
                    object.value(Names { reader, names: &mut names })?;
                    rows.declare(names).map_err(Fault::new)?;
                }
                "rows" => {
                    seen.field(1, "rows")?;
                    object.value(ListOfRows { reader, rows })?;
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        rows.check_early();
        Ok(())
    }
}

impl Rows {
    /// Takes the names that `columns` gives. Features of rows that came before it get places behind
    /// them; values of such rows were numbered as if it had come first.
    fn declare(&mut self, names: Vec<ByteString>) -> Result<(), String> {
        let before = std::mem::take(&mut self.columns).into_names();
        self.declared = Some(names.len());
        for (at, name) in names.iter().enumerate() {
            if let (_, false) = self.columns.place(name, at, || name.clone()) {
                return Err(format!("`columns`: `{name}` stands twice"));
            }
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let moved: Vec<usize> =
            before.iter().map(|name| self.columns.place(name, usize::MAX, || name.clone()).0).collect();
        let mut early = self.early.iter().map(|(row, _)| *row).peekable();
        for (at, row) in self.rows.iter_mut().enumerate() {
            if early.next_if_eq(&at).is_none() {
                row.cells.iter_mut().for_each(|cell| cell.column = moved[cell.column]);
            }
        }
        Ok(())
    }

    /// Rows with values whose columns came later, or never, are checked at the end.
    fn check_early(&mut self) {
        let declared = self.declared.unwrap_or_default();
        for (row, values) in self.early.drain(..).filter(|(_, values)| *values > declared) {
            let row = &mut self.rows[row];
            row.cells = Vec::new();
            row.fault.get_or_insert_with(|| too_many(values, declared));
        }
    }
}

/// The names of the columns.
struct Names<'r, 'de> {
    reader: &'r Reader<'de>,
    names: &'r mut Vec<ByteString>,
}

impl<'de> Part<'de> for Names<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        Err(unexpected("columns", "a list of texts", found))
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<(), Fault> {
        while let Some(name) = list.next(Text(self.reader, "columns"))? {
            // Kept in the list, and found by it.
            self.reader.take::<[ByteString; 2]>()?;
            self.names.push(name);
        }
        Ok(())
    }
}

struct ListOfRows<'r, 'de> {
    reader: &'r Reader<'de>,
    rows: &'r mut Rows,
}

impl<'de> Part<'de> for ListOfRows<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        Err(unexpected("rows", "a list", found))
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, rows } = self;
        while list.next(Row { reader, table: rows })?.is_some() {}
        Ok(())
    }
}
