//! A table in JSON: its namespace and its rows, or an Arrow body as base64.

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{self, MapAccess, SeqAccess};

use super::part::{Ignored, Part, Seed, Seen, next_key};
use super::reader::{Reader, Text, unexpected};
use super::row::{Row, Rows};
use crate::result::{FeatureTable, TableBody, too_many};
use crate::value::conform::decode_base64;

/// The list of tables.
pub(super) struct Tables<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
    pub(super) tables: &'r mut Vec<FeatureTable>,
    pub(super) depth: usize,
}

impl<'de> Part<'de> for Tables<'_, 'de> {
    type Output = ();

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<(), E> {
        Err(unexpected("tables", "a list", found))
    }

    fn null<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(table) = list.next_element_seed(Seed(Table { reader: self.reader, depth: self.depth + 1 }))? {
            self.tables.push(table);
        }
        Ok(())
    }
}

struct Table<'r, 'de> {
    reader: &'r Reader<'de>,
    depth: usize,
}

impl<'de> Part<'de> for Table<'_, 'de> {
    type Output = FeatureTable;

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<FeatureTable, E> {
        Err(unexpected("tables", "tables as objects", found))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<FeatureTable, A::Error> {
        let Self { reader, depth } = self;
        let inner = depth + 1;
        let mut seen = Seen::default();
        let mut namespace = ByteString::new();
        let mut body = None;
        while let Some(key) = next_key(&mut object)? {
            match &*key {
                "namespace" => {
                    seen.field(0, "namespace")?;
                    namespace = object.next_value_seed(Seed(Text(reader, "namespace", inner)))?;
                }
                // Both forms have one number: a table has one of them.
                "rows" => {
                    seen.field(1, "rows` or `arrow_ipc")?;
                    let mut rows = Rows::default();
                    object.next_value_seed(Seed(RowsOfTable { reader, rows: &mut rows, depth: inner }))?;
                    let columns = rows.columns.into_names();
                    body = Some(TableBody::Rows { columns, rows: rows.rows });
                }
                "arrow_ipc" | "arrowIpc" => {
                    seen.field(1, "rows` or `arrow_ipc")?;
                    let text = object.next_value_seed(Seed(Text(reader, "arrow_ipc", inner)))?;
                    let bytes =
                        decode_base64(&text).ok_or_else(|| unexpected("arrow_ipc", "base64", "text that is not"))?;
                    body = Some(TableBody::Arrow(Bytes::from(bytes)));
                }
                _ => {
                    seen.key(key)?;
                    object.next_value_seed(Seed(Ignored(inner)))?;
                }
            }
        }
        let body = body.unwrap_or(TableBody::Rows { columns: Vec::new(), rows: Vec::new() });
        Ok(FeatureTable { namespace, body })
    }
}

struct RowsOfTable<'r, 'de> {
    reader: &'r Reader<'de>,
    rows: &'r mut Rows,
    depth: usize,
}

impl<'de> Part<'de> for RowsOfTable<'_, 'de> {
    type Output = ();

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<(), E> {
        Err(unexpected("rows", "an object with `columns` and `rows`", found))
    }

    fn null<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self { reader, rows, depth } = self;
        let inner = depth + 1;
        let mut seen = Seen::default();
        while let Some(key) = next_key(&mut object)? {
            match &*key {
                "columns" => {
                    seen.field(0, "columns")?;
                    let mut names = Vec::new();
                    object.next_value_seed(Seed(Names { reader, names: &mut names, depth: inner }))?;
                    rows.declare(names).map_err(de::Error::custom)?;
                }
                "rows" => {
                    seen.field(1, "rows")?;
                    object.next_value_seed(Seed(ListOfRows { reader, rows, depth: inner }))?;
                }
                _ => {
                    seen.key(key)?;
                    object.next_value_seed(Seed(Ignored(inner)))?;
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
        for name in names {
            if self.columns.find(&name, usize::MAX).is_some() {
                return Err(format!("`columns`: `{name}` stands twice"));
            }
            self.columns.push(name);
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let moved: Vec<usize> = before
            .into_iter()
            .map(|name| self.columns.find(&name, usize::MAX).unwrap_or_else(|| self.columns.push(name)))
            .collect();
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
    depth: usize,
}

impl<'de> Part<'de> for Names<'_, 'de> {
    type Output = ();

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<(), E> {
        Err(unexpected("columns", "a list of texts", found))
    }

    fn null<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(name) = list.next_element_seed(Seed(Text(self.reader, "columns", self.depth + 1)))? {
            self.names.push(name);
        }
        Ok(())
    }
}

struct ListOfRows<'r, 'de> {
    reader: &'r Reader<'de>,
    rows: &'r mut Rows,
    depth: usize,
}

impl<'de> Part<'de> for ListOfRows<'_, 'de> {
    type Output = ();

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<(), E> {
        Err(unexpected("rows", "a list", found))
    }

    fn null<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { reader, rows, depth } = self;
        while list.next_element_seed(Seed(Row { reader, table: rows, depth: depth + 1 }))?.is_some() {}
        Ok(())
    }
}
