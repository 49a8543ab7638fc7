//! Tables made for rows that somebody else will write: what a write does before its transaction, and nothing else.

use arrow::datatypes::DataType as Arrow;
use async_trait::async_trait;
use hashbrown::{HashMap, HashSet};

use super::names;
use super::plan::Table;
use super::table::Name;
use super::types::{ColumnType, Scalar};
use super::write::{Postgres, by_table};
use crate::row::table::{TableRow, TableRows};
use crate::sink::{Refusal, SinkError};
use crate::store::tables::prepare::{Form, Part, Prepared, PreparedTable, TableStore, Taken, columns};
use crate::store::tables::row_wise::{RowWise, apart, some};
use crate::value::arrow::{Extension, element, timestamp};

/// What the server has of the tables of some rows, and which of these they refuse.
#[derive(Default)]
struct Judged {
    tables: HashMap<Name, Table>,
    refused: Vec<(usize, Refusal)>,
}

impl Postgres {
    /// Makes the tables hold rows.
    async fn judge(&self, rows: &[&TableRow]) -> Result<Judged, SinkError> {
        let connection = self.pool.take().await?;
        let mut judged = Judged::default();
        for (name, rows) in by_table(rows, self.tables.layout, &mut judged.refused) {
            match self.tables.agree(&connection, &name, &rows).await {
                Ok(mut planned) => {
                    judged.refused.append(&mut planned.refused);
                    judged.tables.insert(name, planned.table);
                }
                Err(error) => {
                    self.tables.forget();
                    return Err(error);
                }
            }
        }
        self.pool.give_back(connection);
        Ok(judged)
    }
}

#[async_trait]
impl TableStore for RowWise<Postgres> {
    async fn prepare<'a>(&self, rows: &[&'a TableRows]) -> Result<Prepared<'a>, SinkError> {
        let mut tables: HashMap<Name, Table> = HashMap::new();
        let mut first: HashMap<usize, Refusal> = HashMap::new();
        let mut refused: HashSet<(usize, u32)> = HashSet::new();
        // Rows before a column became wider were judged by the narrower type. Each further pass begins with wider
        // types, so there are few.
        loop {
            let (mut widened, mut seen) = (false, Seen::default());
            first.clear();
            refused.clear();
            let mut left = apart(rows);
            loop {
                let (of, some) = some(&mut left);
                if some.is_empty() {
                    break;
                }
                let places: Vec<(usize, u32)> = of.into_iter().map(|at| (at, seen.next(at))).collect();
                let some: Vec<&TableRow> = some.iter().map(AsRef::as_ref).collect();
                let judged = self.0.judge(&some).await?;
                for (at, refusal) in judged.refused {
                    refused.insert(places[at]);
                    first.entry(places[at].0).or_insert(refusal);
                }
                for (name, table) in judged.tables {
                    let before = tables.insert(name.clone(), table);
                    widened |= before.is_some_and(|before| differs(&before, &tables[&name]));
                }
            }
            if !widened {
                break;
            }
        }
        let taken = taken(rows, &refused);
        let tables = taken.into_iter().filter_map(|(name, rows)| {
            let table = tables.get(&name)?;
            let columns = columns(&rows, |column| form(table, column));
            Some(PreparedTable { columns, rows })
        });
        let mut refused: Vec<_> = first.into_iter().collect();
        refused.sort_unstable_by_key(|(at, _)| *at);
        Ok(Prepared { tables: tables.collect(), refused })
    }
}

/// How many rows of each of several sets were seen.
#[derive(Default)]
struct Seen {
    of: usize,
    rows: u32,
}

impl Seen {
    fn next(&mut self, of: usize) -> u32 {
        if self.of != of {
            *self = Self { of, rows: 0 };
        }
        self.rows += 1;
        self.rows - 1
    }
}

/// Whether a column that had a type has another.
fn differs(before: &Table, after: &Table) -> bool {
    before.columns.iter().any(|column| {
        let now = after.position(&column.name).map(|at| &after.columns[at].column_type);
        column.column_type != ColumnType::Unknown && now.is_some_and(|now| *now != column.column_type)
    })
}

/// The rows that are not refused, by their table, in order.
fn taken<'a>(rows: &[&'a TableRows], refused: &HashSet<(usize, u32)>) -> Vec<(Name, Vec<Taken<'a>>)> {
    let mut tables: Vec<(Name, Vec<Taken<'a>>)> = Vec::new();
    let mut places: HashMap<Name, usize> = HashMap::new();
    for (index, rows) in rows.iter().enumerate() {
        let part = match rows {
            TableRows::Row(_) if refused.contains(&(index, 0)) => continue,
            TableRows::Row(row) => Part::Row(row),
            TableRows::Columns(columns) => {
                let count = u32::try_from(columns.rows).unwrap_or(u32::MAX);
                Part::Columns(columns, (0..count).filter(|row| !refused.contains(&(index, *row))).collect())
            }
        };
        let Some(name) = Name::of(part.shape()).filter(|_| part.count() > 0) else { continue };
        let at = *places.entry(name.clone()).or_insert_with(|| {
            tables.push((name, Vec::new()));
            tables.len() - 1
        });
        tables[at].1.push(Taken { index, rows: part });
    }
    tables
}

/// How a table keeps the values of a column that a message calls so.
fn form(table: &Table, name: &str) -> Option<Form> {
    let at = table.position(&names::column(name)?)?;
    Some(match &table.columns[at].column_type {
        ColumnType::Unknown | ColumnType::Other(_) => return None,
        ColumnType::Jsonb => Form { arrow: Arrow::Utf8, extension: Some(Extension::Json) },
        ColumnType::One(scalar) => scalar_form(*scalar),
        ColumnType::Many(scalar) => {
            let Form { arrow, extension } = scalar_form(*scalar);
            Form { arrow: Arrow::List(element(arrow)), extension }
        }
    })
}

fn scalar_form(scalar: Scalar) -> Form {
    /// Digits that a decimal of Arrow's smaller type may have.
    const DIGITS: u16 = 38;
    match scalar {
        Scalar::Bool => Arrow::Boolean.into(),
        Scalar::Int2 | Scalar::Int4 | Scalar::Int8 => Arrow::Int64.into(),
        Scalar::Float4 | Scalar::Float8 => Arrow::Float64.into(),
        Scalar::Text | Scalar::Varchar(_) => Arrow::Utf8.into(),
        Scalar::Bytea => Arrow::Binary.into(),
        Scalar::Timestamptz(_) => timestamp().into(),
        Scalar::Date => Arrow::Date32.into(),
        Scalar::Numeric(Some((precision, scale))) if precision <= DIGITS && scale <= precision => {
            Arrow::Decimal128(precision as u8, scale as i8).into()
        }
        Scalar::Numeric(_) => Form { arrow: Arrow::Utf8, extension: Some(Extension::Decimal) },
    }
}
