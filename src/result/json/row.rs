//! A row in JSON, in both of its forms: values aligned with the columns, or features by name.

use std::borrow::Cow;

use super::part::{Ignored, Part, Seen, twice};
use super::reader::Reader;
use super::scan::{Fault, List, Object};
use super::value::{AnyValue, any};
use crate::result::columns::Columns;
use crate::result::meta::{Meta, Metas, source_id, source_named};
use crate::result::{Cell, EntityRow, Source, expected_cells, too_many};
use crate::value::conform::describe;
use crate::value::{Value, time};

/// The table that rows are read into.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) columns: Columns,
    /// How many columns `columns` named; features add their own behind them.
    pub(super) declared: Option<usize>,
    pub(super) rows: Vec<EntityRow>,
    /// Rows with `values` that came before `columns`, and how many values each has.
    pub(super) early: Vec<(usize, usize)>,
    /// For each column the last row (its number + 1) that had it, and the cell there.
    last: Vec<(u32, u32)>,
    metas: Metas,
}

impl Rows {
    /// The column of a feature, made where it is new.
    fn column<'de>(&mut self, reader: &Reader<'de>, name: Cow<'de, str>, expected: usize) -> usize {
        let place = self.columns.place(&name, expected, || match &name {
            Cow::Borrowed(name) => reader.slice(name),
            Cow::Owned(name) => name.as_str().into(),
        });
        place.0
    }

    /// Number of the row in hand, from 1 on. A message has no 2^32 rows: each takes some bytes of its text,
    /// and a text is smaller than that on every bus.
    fn number(&self) -> u32 {
        self.rows.len() as u32 + 1
    }

    /// Notes that the row in hand has a column; false if it had it before.
    fn note(&mut self, column: usize, cell: usize) -> bool {
        let row = self.number();
        if self.last.len() <= column {
            self.last.resize((column + 1).max(16), (0, 0));
        }
        let fresh = self.last[column].0 != row;
        self.last[column] = (row, cell as u32);
        fresh
    }
}

/// Reads one row and appends it.
pub(super) struct Row<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
    pub(super) table: &'r mut Rows,
}

impl<'de> Part<'de> for Row<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        let fault = Some(format!("expected a row as an object, found {found}"));
        self.table.rows.push(EntityRow { id: Value::Null, observed_at: None, cells: Vec::new(), fault });
        Ok(())
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, table } = self;
        reader.take::<EntityRow>()?;
        let mut seen = Seen::default();
        let (mut id, mut observed_at) = (None, None);
        let mut cells = Vec::new();
        let (mut values, mut features) = (None, false);
        table.metas.clear();
        while let Some(key) = object.key()? {
            match &*key {
                "id" => {
                    seen.field(0, "id")?;
                    id = Some(any(reader, &mut object)?);
                }
                "text_id" | "textId" | "int_id" | "intId" => {
                    seen.field(0, "id")?;
                    let integer = key.starts_with("int");
                    id = Some(match any(reader, &mut object)? {
                        Value::Text(digits) if integer => digits.parse().map_or(Value::Text(digits), Value::Int),
                        value => value,
                    });
                }
                "observed_at" | "observedAt" => {
                    seen.field(1, "observed_at")?;
                    observed_at = match any(reader, &mut object)? {
                        Value::Null => None,
                        Value::Text(text) if time::parse_timestamp(&text).is_some() => time::parse_timestamp(&text),
                        value => {
                            let found = describe(&value);
                            reader.fault(format_args!("`observed_at`: expected an RFC 3339 time, found {found}"));
                            None
                        }
                    };
                }
                "features" => {
                    seen.field(2, "features")?;
                    features = true;
                    object.value(Features { reader, table, cells: &mut cells })?;
                }
                "values" => {
                    seen.field(3, "values")?;
                    let expected = expected_cells(&table.rows, table.columns.len());
                    values = object.value(Values { reader, cells: &mut cells, expected })?;
                }
                "meta" => {
                    seen.field(4, "meta")?;
                    object.value(MetaOfRow { reader, table })?;
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        let id = match id {
            Some(id @ (Value::Int(_) | Value::Text(_))) => id,
            None => {
                reader.fault("`id` is missing: expected text or a 64-bit integer");
                Value::Null
            }
            Some(other) => {
                reader.fault(format_args!("`id`: expected text or a 64-bit integer, found {}", describe(&other)));
                Value::Null
            }
        };
        table.finish(reader, &mut cells, values, features);
        let fault = reader.take_fault();
        if fault.is_some() {
            cells = Vec::new();
        }
        if table.rows.capacity() == 0 {
            table.rows = Vec::with_capacity(1);
        }
        table.rows.push(EntityRow { id, observed_at, cells, fault });
        Ok(())
    }
}

impl Rows {
    /// Checks the shape of the row in hand and gives its cells their meta.
    fn finish(&mut self, reader: &Reader<'_>, cells: &mut Vec<Cell>, values: Option<usize>, features: bool) {
        let aligned = self.metas.aligned.max(values.unwrap_or_default());
        if features && (values.is_some() || self.metas.aligned > 0) {
            reader.fault("a row has `features` by name, or `values` and `meta` as lists, not both");
        } else if values.is_some() && !self.metas.named.is_empty() && self.metas.aligned == 0 {
            reader.fault("`meta`: expected a list beside `values`, found an object");
        } else if aligned > 0 {
            match self.declared {
                Some(declared) if aligned > declared => reader.fault(too_many(aligned, declared)),
                Some(_) => {}
                None => self.early.push((self.rows.len(), aligned)),
            }
        }
        if self.metas.named.is_empty() {
            return;
        }
        if !features {
            self.metas.apply_in_order(cells);
            return;
        }
        let (row, last) = (self.number(), &self.last);
        self.metas.apply(cells, |column| last.get(column).filter(|(of, _)| *of == row).map(|(_, cell)| *cell as usize));
    }
}

struct Features<'r, 'de> {
    reader: &'r Reader<'de>,
    table: &'r mut Rows,
    cells: &'r mut Vec<Cell>,
}

impl<'de> Part<'de> for Features<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        self.reader.fault(format_args!("`features`: expected an object, found {found}"));
        Ok(())
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, table, cells } = self;
        let mut expected = 0;
        loop {
            let likely = table.columns.likely(expected).and_then(|likely| object.key_if(likely));
            let (name, column) = match likely {
                Some(name) => {
                    table.columns.place_expected(expected);
                    (Cow::Borrowed(name), expected)
                }
                None => {
                    let Some(name) = object.key()? else { break };
                    let column = table.column(reader, name.clone(), expected);
                    (name, column)
                }
            };
            if cells.capacity() == 0 {
                *cells =
                    Vec::with_capacity(expected_cells(&table.rows, table.columns.likely_len().unwrap_or(16).min(16)));
            }
            if !table.note(column, cells.len()) {
                return Err(twice(&name));
            }
            expected = column + 1;
            reader.take::<Cell>()?;
            let cell = cells.push_mut(Cell::ABSENT);
            cell.column = column;
            object.value(AnyValue { reader, into: &mut cell.value })?;
            reader.name_fault(&name);
        }
        Ok(())
    }
}

/// The values of the compact form; how many there are, null and absent ones included.
struct Values<'r, 'de> {
    reader: &'r Reader<'de>,
    cells: &'r mut Vec<Cell>,
    expected: usize,
}

impl<'de> Part<'de> for Values<'_, 'de> {
    type Output = Option<usize>;

    fn wrong(self, found: &str) -> Result<Option<usize>, Fault> {
        self.reader.fault(format_args!("`values`: expected a list, found {found}"));
        Ok(None)
    }

    fn null(self) -> Result<Option<usize>, Fault> {
        Ok(None)
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<Option<usize>, Fault> {
        let Self { reader, cells, expected } = self;
        let mut column = 0;
        reader.empty_at.set(0);
        while list.more()? {
            if cells.is_empty() {
                cells.reserve_exact(expected);
            }
            reader.take::<Cell>()?;
            let cell = cells.push_mut(Cell::ABSENT);
            cell.column = column;
            list.item(AnyValue { reader, into: &mut cell.value })?;
            reader.name_fault("values");
            // `{}` is a value with nothing set: this row does not have that feature.
            if reader.empty_at.replace(0) == list.depth() && cell.value == Value::Struct(Vec::new()) {
                cells.pop();
            }
            column += 1;
        }
        Ok(Some(column))
    }
}

/// Where values came from: a list aligned with the columns, or an object by feature.
struct MetaOfRow<'r, 'de> {
    reader: &'r Reader<'de>,
    table: &'r mut Rows,
}

impl<'de> Part<'de> for MetaOfRow<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        self.reader.fault(format_args!("`meta`: expected an object or a list, found {found}"));
        Ok(())
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<(), Fault> {
        let mut column = 0;
        while let Some(meta) = list.next(OneMeta { reader: self.reader, column })? {
            self.table.metas.named.push(meta);
            column += 1;
        }
        self.table.metas.aligned = column;
        Ok(())
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, table } = self;
        let mut expected = 0;
        while let Some(name) = object.key()? {
            let column = table.column(reader, name.clone(), expected);
            let row = table.number();
            if !table.metas.note(column, row) {
                return Err(twice(&name));
            }
            expected = column + 1;
            let meta = object.value(OneMeta { reader, column })?;
            reader.name_fault(&name);
            table.metas.named.push(meta);
        }
        Ok(())
    }
}

struct OneMeta<'r, 'de> {
    reader: &'r Reader<'de>,
    column: usize,
}

impl<'de> Part<'de> for OneMeta<'_, 'de> {
    type Output = Meta;

    fn wrong(self, found: &str) -> Result<Meta, Fault> {
        self.reader.fault(format_args!("`meta`: expected an object, found {found}"));
        self.null()
    }

    fn null(self) -> Result<Meta, Fault> {
        Ok(Meta { column: self.column, source: Source::Unknown, source_id: None })
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<Meta, Fault> {
        self.reader.take::<Meta>()?;
        let mut meta = Meta { column: self.column, source: Source::Unknown, source_id: None };
        let mut seen = Seen::default();
        while let Some(key) = object.key()? {
            match &*key {
                "source_type" | "sourceType" => {
                    seen.field(0, "source_type")?;
                    meta.source = match any(self.reader, &mut object)? {
                        Value::Text(name) => source_named(&name),
                        Value::Int(number) => i32::try_from(number).map_or(Source::Unknown, Source::numbered),
                        _ => Source::Unknown,
                    };
                }
                "source_id" | "sourceId" => {
                    seen.field(1, "source_id")?;
                    match any(self.reader, &mut object)? {
                        Value::Text(id) => meta.source_id = source_id(id),
                        Value::Null => {}
                        other => {
                            self.reader.fault(format_args!("`source_id`: expected text, found {}", describe(&other)));
                        }
                    }
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        Ok(meta)
    }
}
