//! Parquet that is to be inserted, made batches within a bound: bodies of streaming inserts, and files ([`stored`]).
//!
//! A parquet file says in many places how large something is, and the library takes memory by it: the
//! footer's lists, each page's size unpacked, and how many values a run of a few bytes stands for. Those
//! numbers are read and added up first ([`pages`], [`thrift`], [`width`]); what is read then is validated by the library,
//! and counted again as it comes. [`target`] says where its rows go, [`rows`] what
//! those of one file are.

pub mod object;
mod pages;
pub mod rows;
pub mod stored;
pub mod target;
mod thrift;
mod weight;
mod width;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use crate::panics::caught;
use crate::sink::{ErrorClass, Refusal};

/// Rows of a batch at the most.
const ROWS: usize = 8_192;
const MAGIC: &[u8] = b"PAR1";

/// The batches of a parquet file, in their order.
///
/// Refused with [`ErrorClass::TooLarge`]: a file whose pages hold more than `limit` bytes or values once
/// unpacked, or whose batches would. With [`ErrorClass::Decode`]: anything that is not a whole file.
pub fn decode(body: &Bytes, limit: usize) -> Result<Vec<RecordBatch>, Refusal> {
    caught(|| read(body, limit)).unwrap_or_else(|| Err(malformed("it made the reader give up")))
}

fn read(body: &Bytes, limit: usize) -> Result<Vec<RecordBatch>, Refusal> {
    if body.len() > limit {
        return Err(too_large(limit));
    }
    thrift::check(footer(body)?, limit)?;
    let metadata = ArrowReaderMetadata::load(body, ArrowReaderOptions::new()).map_err(wrong)?;
    let repeated = pages::check(body, metadata.metadata(), limit)?;
    let width = width::check(metadata.schema(), metadata.metadata().row_groups(), limit)?;
    // What is told once in a page is copied for each row that has it.
    let rows = (limit / repeated.saturating_add(width).max(1)).clamp(1, ROWS);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(body.clone(), metadata).with_batch_size(rows);
    let mut batches = Vec::new();
    let mut left = limit;
    for batch in reader.build().map_err(wrong)? {
        let batch = batch.map_err(malformed)?;
        left = left.checked_sub(batch.get_array_memory_size()).ok_or_else(|| too_large(limit))?;
        batches.push(batch);
    }
    Ok(batches)
}

/// The description of the file at its end.
fn footer(body: &[u8]) -> Result<&[u8], Refusal> {
    let inside = body.strip_prefix(MAGIC).and_then(|rest| rest.strip_suffix(MAGIC));
    let (rest, length) = inside
        .and_then(<[u8]>::split_last_chunk::<4>)
        .ok_or_else(|| malformed("cut off: a file begins and ends with PAR1"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let from = rest.len().checked_sub(length);
    let from = from.ok_or_else(|| malformed(format_args!("a footer of {length} bytes in {}", body.len())))?;
    Ok(&rest[from..])
}

fn wrong(error: ParquetError) -> Refusal {
    malformed(error)
}

fn malformed(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorClass::Decode, format!("parquet: {what}"))
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("parquet: more than {limit} bytes or values once unpacked (`max_message_bytes`)");
    Refusal::new(ErrorClass::TooLarge, message)
}

#[cfg(test)]
mod tests;
