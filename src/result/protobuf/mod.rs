//! `QueryResult` as protobuf, read straight into the model: texts and bytes are slices of the
//! message, and no generated type is built on the way but for the query, errors and resolver runs, where
//! they are wanted.
//!
//! Fields may come in any order and more than once: of a scalar the last counts, messages merge,
//! lists grow, as the format has it.

mod value;
mod wire;

use bytes::Bytes;
use bytestring::ByteString;
use prost::Message as _;

use self::value::{TimestampParts, merge_value, plain_value};
use self::wire::{Field, Malformed, Wire, refused};
use super::allowance::Allowance;
use super::columns::{COLUMNS, Columns};
use super::meta::{Meta, Metas, source_id};
use super::{
    Cell, EntityRow, FeatureTable, Persistence, QueryResult, Source, TableBody, Wanted, expected_cells,
    first_double_name,
};
use crate::proto::pubsub::v1::QueryMessagePubSub;
use crate::sink::Refusal;
use crate::value::Value;

/// Reads a message, of which no more than `limit` bytes may be decoded, into `result`, which is as new.
pub(super) fn decode(body: &Bytes, wanted: Wanted, limit: usize, result: &mut QueryResult) -> Result<(), Refusal> {
    read(body, wanted, &Allowance::new(limit), result).map_err(|malformed| *malformed)
}

fn read(body: &Bytes, wanted: Wanted, allowance: &Allowance, result: &mut QueryResult) -> Result<(), Malformed> {
    let mut wire = Wire::new(body, allowance);
    let mut observed_at: Option<TimestampParts> = None;
    let mut known = false;
    while let Some((number, field)) = wire.next()? {
        known |= (1..=10).contains(&number);
        match number {
            1 => result.environment_id = wire.text("environment_id", field)?,
            2 => result.deployment_id = wire.text("deployment_id", field)?,
            3 => result.operation_id = wire.text("operation_id", field)?,
            4 => result.operation_kind = wire.integer("operation_kind", field)? as i32,
            5 => observed_at.get_or_insert_default().merge(wire.message("observed_at", field)?)?,
            6 => {
                let table = table(wire.message("tables", field)?)?;
                // Most have one.
                if result.tables.is_empty() {
                    result.tables = Vec::with_capacity(1);
                }
                result.tables.push(table);
            }
            7 => persistence(wire.message("persistence", field)?, wanted, &mut result.persistence)?,
            8 => {
                let content = wire.bytes("query", field)?;
                if wanted.query {
                    let query: &mut QueryMessagePubSub = result.query.get_or_insert_default();
                    query.merge(content).map_err(|error| refused(format!("protobuf: `query`: {error}")))?;
                }
            }
            9 if wanted.metrics => result.errors.push(generated(&wire, "errors", field)?),
            9 => drop(wire.bytes("errors", field)?),
            10 if wanted.metrics => result.resolver_runs.push(generated(&wire, "resolver_runs", field)?),
            10 => drop(wire.bytes("resolver_runs", field)?),
            _ => {}
        }
    }
    if !known {
        return Err(refused(super::NOTHING_KNOWN.to_owned()));
    }
    if let Some(parts) = observed_at {
        let micros = parts.micros().ok_or_else(|| refused(format!("protobuf: `observed_at`: {}", parts.fault())))?;
        result.observed_at = Some(micros);
    }
    Ok(())
}

/// A message as its generated type reads it.
fn generated<M: prost::Message + Default>(wire: &Wire<'_>, name: &str, field: Field<'_>) -> Result<M, Malformed> {
    wire.take::<M>()?;
    let content = wire.content(name, field)?;
    M::decode(content).map_err(|error| refused(format!("protobuf: `{name}`: {error}")))
}

fn persistence(mut wire: Wire<'_>, wanted: Wanted, persistence: &mut Persistence) -> Result<(), Malformed> {
    while let Some((number, field)) = wire.next()? {
        match number {
            1 if wanted.metrics => {
                persistence.verbose_metrics = wire.integer("persist_verbose_metrics", field)? != 0;
            }
            2 if wanted.metrics => {
                persistence.status_metrics = wire.integer("persist_status_metrics", field)? != 0;
            }
            3 => persistence.online = wire.integer("persist_online_storage", field)? != 0,
            4 => persistence.offline = wire.integer("persist_offline_storage", field)? != 0,
            _ => {}
        }
    }
    Ok(())
}

/// How a value of a row begins: field 4, of a length.
const VALUES: u8 = 4 << 3 | 2;

/// So many values of a row are read before they are accounted for.
const UNPAID: usize = 64;

/// The rows of a table while they are read.
#[derive(Default)]
struct Rows {
    columns: Columns,
    rows: Vec<EntityRow>,
    /// Values or meta that each row has, where that is more than the columns read so far.
    wide: Vec<(usize, usize)>,
    metas: Metas,
}

fn table(mut wire: Wire<'_>) -> Result<FeatureTable, Malformed> {
    let mut namespace = ByteString::new();
    let mut rows = Rows::default();
    let mut arrow = None;
    while let Some((number, field)) = wire.next()? {
        match number {
            1 => namespace = wire.text("namespace", field)?,
            2 => {
                // Of the two bodies the last counts; rows after rows are more of the same.
                if arrow.take().is_some() {
                    rows = Rows::default();
                }
                rows.merge(wire.message("rows", field)?)?;
            }
            3 => arrow = Some(wire.bytes("arrow_ipc", field)?),
            _ => {}
        }
    }
    let body = match arrow {
        Some(arrow) => TableBody::Arrow(arrow),
        None => rows.finish(),
    };
    Ok(FeatureTable { namespace, body })
}

impl Rows {
    fn merge(&mut self, mut wire: Wire<'_>) -> Result<(), Malformed> {
        if self.columns.len() == 0
            && let Some(first) = wire.text_ahead(COLUMNS)
            && let Some(read) = self.columns.place_all(first, wire.rest())
        {
            wire.go_on(&wire.rest()[read..]);
            wire.take_many::<[ByteString; 2]>(self.columns.len())?;
        }
        while let Some((number, field)) = wire.next()? {
            match number {
                1 => {
                    // Kept in the list, and found by it.
                    wire.take::<[ByteString; 2]>()?;
                    let name = wire.str("columns", field)?;
                    let next = self.columns.len();
                    if let (_, false) = self.columns.place(name, next, || wire.slice(name)) {
                        return Err(refused(format!("`columns`: `{name}` stands twice")));
                    }
                }
                2 => {
                    wire.take::<EntityRow>()?;
                    self.row(wire.message("rows", field)?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn row(&mut self, mut wire: Wire<'_>) -> Result<(), Malformed> {
        let mut id = None;
        let mut observed_at: Option<TimestampParts> = None;
        let mut cells: Vec<Cell> = Vec::new();
        let mut fault = None;
        let mut values = 0;
        self.metas.clear();
        loop {
            // Nearly all of a row is values of few kinds, one after another, each with a key and a length before it.
            let before = cells.len();
            while cells.len() < cells.capacity().min(before + UNPAID)
                && let Some((content, rest)) = wire.content_ahead(VALUES)
            {
                let cell = cells.push_mut(Cell::ABSENT);
                cell.column = values;
                if !plain_value(&wire, content, &mut cell.value) {
                    cells.pop();
                    break;
                }
                wire.go_on(rest);
                values += 1;
            }
            wire.take_many::<Cell>(cells.len() - before)?;
            let Some((number, field)) = wire.next()? else { break };
            match number {
                1 => id = Some(Value::Text(wire.text("text_id", field)?)),
                2 => id = Some(Value::Int(wire.integer("int_id", field)? as i64)),
                3 => observed_at.get_or_insert_default().merge(wire.message("observed_at", field)?)?,
                4 => {
                    let message = wire.message("values", field)?;
                    if cells.capacity() == 0 {
                        cells = Vec::with_capacity(expected_cells(&self.rows, self.columns.len()));
                    }
                    wire.take::<Cell>()?;
                    let cell = cells.push_mut(Cell::ABSENT);
                    cell.column = values;
                    if !plain_value(&wire, message.rest(), &mut cell.value) {
                        if !merge_value(message, &mut cell.value, &mut fault)? {
                            cells.pop();
                        } else if let Some(name) = first_double_name(&cell.value) {
                            fault.get_or_insert_with(|| format!("field {name:?} stands twice in a struct"));
                        }
                    }
                    values += 1;
                }
                5 => {
                    wire.take::<Meta>()?;
                    let column = self.metas.aligned;
                    self.metas.named.push(meta(wire.message("meta", field)?, column)?);
                    self.metas.aligned += 1;
                }
                _ => {}
            }
        }
        let width = values.max(self.metas.aligned);
        if width > self.columns.len() {
            self.wide.push((self.rows.len(), width));
        }
        if !self.metas.named.is_empty() {
            self.metas.apply_in_order(&mut cells);
        }
        if id.is_none() {
            fault.get_or_insert_with(|| "`id` is missing: expected `text_id` or `int_id`".to_owned());
        }
        let observed_at = match observed_at {
            None => None,
            Some(parts) => {
                let micros = parts.micros();
                if micros.is_none() {
                    fault.get_or_insert_with(|| format!("`observed_at`: {}", parts.fault()));
                }
                micros
            }
        };
        if fault.is_some() {
            cells = Vec::new();
        }
        if self.rows.capacity() == 0 {
            self.rows = Vec::with_capacity(1);
        }
        self.rows.push(EntityRow { id: id.unwrap_or(Value::Null), observed_at, cells, fault });
        Ok(())
    }

    fn finish(mut self) -> TableBody {
        let columns = self.columns.into_names();
        for (row, values) in self.wide.into_iter().filter(|(_, values)| *values > columns.len()) {
            let row = &mut self.rows[row];
            row.cells = Vec::new();
            row.fault.get_or_insert_with(|| super::too_many(values, columns.len()));
        }
        TableBody::Rows { columns, rows: self.rows }
    }
}

fn meta(mut wire: Wire<'_>, column: usize) -> Result<Meta, Malformed> {
    let mut meta = Meta { column, source: Source::Unknown, source_id: None };
    while let Some((number, field)) = wire.next()? {
        match number {
            1 => meta.source = Source::numbered(wire.integer("source_type", field)? as i32),
            2 => meta.source_id = source_id(wire.text("source_id", field)?),
            _ => {}
        }
    }
    Ok(meta)
}
