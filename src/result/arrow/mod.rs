//! Results, and tables of results, as Arrow IPC files and streams.
//!
//! A whole message is one table; what it says of its query stands in the metadata of its schema, under
//! `chalk.…`. Inside a message of another encoding a table may be Arrow too. Either way a table is opened
//! late, by the writer that needs it, and its columns are made values of ours one by one: what nobody
//! asks for is validated and no more.
//!
//! Nothing that a stranger sends is trusted: lengths are checked before anything is read by them
//! ([`ipc`]), decoded bytes and elements are counted against a [`Budget`] before there is memory for
//! them, the library validates what it builds, and should it panic all the same, that is one more refusal.

mod budget;
mod columns;
pub mod encode;
mod header;
mod ipc;
mod table;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use bytes::Bytes;
use bytestring::ByteString;

use super::{FeatureTable, QueryResult, TableBody, Wanted};
use crate::panics::caught;
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;

pub use budget::Budget;
pub use columns::{Column, Faults};
pub use table::ArrowTable;

/// How a column with the sources of a feature's values begins.
const RESULT_METADATA: &str = "__chalk__.__result_metadata__.";
/// The column with the primary keys.
const ID: &str = "__id__";

/// Reads a body that is one table, as far as its schema; the table is opened with [`table()`].
pub(super) fn decode(body: &Bytes, wanted: Wanted) -> Result<QueryResult, Refusal> {
    let ipc = ipc::open(body)?;
    let (mut result, namespace) = header::read(&ipc.schema, wanted)?;
    if !ipc.schema.fields().is_empty() {
        result.tables.push(FeatureTable { namespace, body: TableBody::Arrow(body.clone()) });
    }
    Ok(result)
}

/// Opens a table; what it takes in memory comes out of the budget.
pub fn table(ipc: &Bytes, budget: &mut Budget) -> Result<ArrowTable, Refusal> {
    ArrowTable::of(ipc::open(ipc)?, budget)
}

/// The columns of any table, with or without keys, as values; those whose rows cannot all be used are refused.
pub fn values(ipc: &Bytes, budget: &mut Budget) -> Result<Vec<(ByteString, Vec<Value>)>, Refusal> {
    let ipc = ipc::open(ipc)?;
    let batches = ipc.read(budget)?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let columns = columns(&ipc.schema, &batches, budget)?;
    let value = |(name, Column { array, faults })| {
        if let Some((row, fault)) = faults.first_key_value() {
            return Err(malformed(format_args!("column `{name}`, row {row}: {fault}")));
        }
        budget.take_rows(rows, size_of::<Value>())?;
        Ok((name, crate::value::arrow::values(&array)))
    };
    columns.into_iter().map(value).collect()
}

/// The columns of batches of one schema, by their names, each whole and in a type that values have.
pub fn columns(
    schema: &Schema,
    batches: &[RecordBatch],
    budget: &mut Budget,
) -> Result<Vec<(ByteString, Column)>, Refusal> {
    let column = |(at, field): (usize, &FieldRef)| {
        let whole = || -> Result<Column, Refusal> {
            let parts = batches.iter().map(|batch| Column::of(batch.column(at), budget));
            Column::concatenated(parts.collect::<Result<_, _>>()?)
        };
        let whole = caught(whole).unwrap_or_else(|| Err(malformed("a column made the reader give up")))?;
        Ok((field.name().as_str().into(), whole))
    };
    schema.fields().iter().enumerate().map(column).collect()
}

/// The verdict on a table that has no namespace, neither said nor in the names of its columns.
pub fn no_namespace(ipc: &Bytes) -> Refusal {
    ipc::open(ipc).map_or_else(|refusal| refusal, |ipc| header::no_namespace(&ipc.schema))
}

fn malformed(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorClass::Decode, format!("Arrow: {what}"))
}
