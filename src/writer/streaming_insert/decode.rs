//! From a parquet file and its attributes to the columns of a table.

use std::collections::BTreeSet;

use arrow::array::{Array, BooleanArray};
use bytestring::ByteString;

use super::database;
use crate::decode::{Decoded, Decoder};
use crate::insert::decode;
use crate::insert::target::{Mode, Target};
use crate::message::Message;
use crate::message::insert::{InsertAttributes, WriteMode};
use crate::result::arrow::Budget;
use crate::result::body::unpacked;
use crate::result::sniff::Encoding;
use crate::row::table::{ColumnData, Repeats, TableColumns, TableRows};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::writer::catalog::{Catalog, Prepared};
use crate::writer::open::{Admitted, Gate};
use crate::writer::time::{Believable, MessageTimes, observed_at};

/// Makes rows of streaming inserts.
pub struct InsertDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<Place>,
    /// Which times are taken where they say which of two rows is newer.
    pub(super) believable: Believable,
}

/// One environment, prepared.
#[derive(Debug)]
pub(super) struct Place {
    /// Index of the pipeline's destination; `None` where it has no offline store.
    pub(super) destination: Option<usize>,
    /// The database of that store, as far as it is known.
    pub(super) database: Option<String>,
}

impl Prepared for Place {
    fn destination(&self) -> Option<usize> {
        self.destination
    }
}

impl Decoder<TableRows> for InsertDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<TableRows>) {
        match self.gate.admit(message) {
            Err(unopened) => self.catalog.unopened(unopened, decoded),
            Ok(admitted) => {
                decoded.event_time = admitted.event_time(None);
                let environment = admitted.envelope.environment.unwrap_or_default();
                let Some((place, destination)) = self.catalog.place(environment, || 1, decoded) else { return };
                match rows(&admitted, &place.entry, destination, decoded) {
                    Ok(Some(rows)) => {
                        let rows = fit(rows, &self.believable, decoded);
                        decoded.rows.extend(rows);
                    }
                    Ok(None) => {}
                    Err(refusal) => decoded.refuse(refusal),
                }
            }
        }
    }
}

/// The rows of a message, where there are any.
fn rows(
    admitted: &Admitted<'_>,
    place: &Place,
    destination: usize,
    decoded: &mut Decoded<TableRows>,
) -> Result<Option<TableColumns>, Refusal> {
    let attributes = InsertAttributes::read(&admitted.message.headers)?;
    let named = |refusal: Refusal| match refusal.table {
        None => refusal.table(&attributes.table.table),
        Some(_) => refusal,
    };
    database::check(&attributes.table, place.database.as_deref())?;
    let body = unpacked(admitted.message, &admitted.envelope, admitted.limit, "parquet file").map_err(named)?;
    match Encoding::of(admitted.envelope.content_type, &body.bytes).map_err(named)? {
        Encoding::Parquet => {}
        // What has no content type is sniffed, and what is no parquet file is said to be none by its reader.
        _ if admitted.envelope.content_type.is_none() => {}
        other => {
            let message = format!("a body of type {}; a streaming insert is a parquet file", other.content_type());
            return Err(named(Refusal::new(ErrorClass::Decode, message)));
        }
    }
    let batches = decode(&body.bytes, admitted.limit).map_err(named)?;
    decoded.unpacked = body.unpacked;
    let times = MessageTimes { message: admitted.envelope.time, bus: admitted.bus_time() };
    let time = observed_at(None, times).map_err(named)?;
    target(attributes).rows(destination, &batches, time, &mut Budget::new(admitted.limit))
}

fn target(attributes: InsertAttributes) -> Target {
    let InsertAttributes { table, mode, keys, order, create, schema_hash: _ } = attributes;
    let mode = match mode {
        WriteMode::Append => Mode::Append,
        WriteMode::Upsert => {
            Mode::Upsert { keys: keys.into_iter().map(ByteString::from).collect(), order: order.map(ByteString::from) }
        }
    };
    Target { schema: table.schema.map(ByteString::from), table: table.table.into(), mode, create }
}

/// The rows whose key is whole and whose time can be; the others are refused one by one. A row that is to replace older
/// ones and is of the future would stand for ever.
fn fit(mut rows: TableColumns, believable: &Believable, decoded: &mut Decoded<TableRows>) -> Option<TableRows> {
    let mut without = BTreeSet::new();
    for at in &rows.shape.key {
        let is_null: Vec<usize> = match &rows.columns[*at] {
            ColumnData::Array(array) => match array.logical_nulls() {
                Some(nulls) => (0..rows.rows).filter(|row| nulls.is_null(*row)).collect(),
                None => Vec::new(),
            },
            other => {
                let values = other.values(0, rows.rows);
                (0..rows.rows).filter(|row| values[*row] == Value::Null).collect()
            }
        };
        for row in is_null {
            if without.insert(row) {
                let name = &rows.shape.columns[*at].name;
                let message = format!("row {row}: column `{name}` is a part of the key and is null");
                let refusal = Refusal::new(ErrorClass::ValueRefused, message).row(rows.name(row));
                decoded.refuse(refusal.table(&rows.shape.table));
            }
        }
    }
    let order = rows.shape.time.column().filter(|_| rows.shape.repeats != Repeats::First);
    if let Some(column) = order {
        for (row, value) in rows.columns[column].values(0, rows.rows).into_iter().enumerate() {
            let Value::Timestamp(time) = value else { continue };
            if let Err(refusal) = believable.check(time)
                && without.insert(row)
            {
                decoded.refuse(refusal.row(rows.name(row)).table(&rows.shape.table));
            }
        }
    }
    if without.len() == rows.rows {
        return None;
    }
    if !without.is_empty() {
        let kept: BooleanArray = (0..rows.rows).map(|row| Some(!without.contains(&row))).collect();
        let columns: Result<Vec<_>, _> =
            std::mem::take(&mut rows.columns).into_iter().map(|column| column.filtered(&kept)).collect();
        match columns {
            Ok(columns) => rows = TableColumns { columns, rows: rows.rows - without.len(), ..rows },
            Err(error) => {
                decoded.refuse(Refusal::new(ErrorClass::Decode, format!("parquet: {error}")));
                return None;
            }
        }
    }
    Some(TableRows::Columns(Box::new(rows)))
}
