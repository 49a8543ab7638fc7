//! Arrow IPC: where its messages are, and batches out of them, with every length checked first.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{self, Endianness, Message, MessageHeader, root_as_footer_with_opts, root_as_message_with_opts};
use bytes::Bytes;
use flatbuffers::VerifierOptions;

use super::{Budget, malformed};
use crate::panics::caught;
use crate::result::DEEPEST;
use crate::sink::Refusal;
use crate::value::arrow::size;

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xff; 4];
/// What a batch takes besides its columns, in bytes and at most.
const BATCH: usize = 256;
/// What an array takes besides its buffers.
const ARRAY: usize = 256;
/// How often its own size what is in a flatbuffer may take: a table in it may be named in many places, and is read in each.
/// Tables that were written one by one take less than twice.
const APPARENT: usize = 4;
/// Tables of a flatbuffer at the most: a column is two, and one more for each pair of its metadata.
const TABLES: usize = 1 << 18;

/// A file or a stream of which the schema was read.
pub(super) struct Ipc {
    pub(super) schema: SchemaRef,
    body: Bytes,
    /// Dictionaries and batches in the order in which they are to be read.
    parts: Vec<Part>,
}

/// One message: its flatbuffer, and the buffers behind it.
struct Part {
    message: Range<usize>,
    buffers: Range<usize>,
}

/// Reads the schema and finds the messages.
pub(super) fn open(body: &Bytes) -> Result<Ipc, Refusal> {
    let opened = caught(|| {
        if body.starts_with(MAGIC) {
            file(body)
        } else if body.starts_with(&CONTINUATION) {
            stream(body)
        } else {
            Err(malformed("neither a file, which begins with ARROW1, nor a stream, which begins with FF FF FF FF"))
        }
    });
    opened.unwrap_or_else(|| Err(malformed("its schema made the reader give up")))
}

impl Ipc {
    /// The batches, validated.
    pub(super) fn read(&self, budget: &mut Budget) -> Result<Vec<RecordBatch>, Refusal> {
        caught(|| self.read_parts(budget)).unwrap_or_else(|| Err(malformed("its batches made the reader give up")))
    }

    fn read_parts(&self, budget: &mut Budget) -> Result<Vec<RecordBatch>, Refusal> {
        let mut dictionaries: HashMap<i64, ArrayRef> = HashMap::new();
        let mut batches = Vec::new();
        for Part { message, buffers } in &self.parts {
            let message = message_of(&self.body[message.clone()])?;
            let (version, buffers) = (message.version(), self.body.slice(buffers.clone()));
            if let Some(dictionary) = message.header_as_dictionary_batch() {
                let batch = dictionary.data().ok_or_else(|| malformed("a dictionary without data"))?;
                check(&batch, &buffers, budget)?;
                // What a delta is added to is copied with it, each time.
                if let Some(known) = dictionaries.get(&dictionary.id()).filter(|_| dictionary.isDelta()) {
                    budget.take_bytes(size(known) as u64)?;
                }
                read_dictionary(&Buffer::from(buffers), dictionary, &self.schema, &mut dictionaries, &version)
                    .map_err(wrong)?;
            } else if let Some(batch) = message.header_as_record_batch() {
                check(&batch, &buffers, budget)?;
                let buffers = Buffer::from(buffers);
                let schema = Arc::clone(&self.schema);
                batches.push(read_record_batch(&buffers, batch, schema, &dictionaries, None, &version).map_err(wrong)?);
            } else {
                return Err(malformed("a message that is neither a dictionary nor a batch"));
            }
        }
        Ok(batches)
    }
}

/// A batch whose lengths are what its buffers hold, and within the budget once decompressed.
fn check(batch: &ipc::RecordBatch<'_>, buffers: &[u8], budget: &mut Budget) -> Result<(), Refusal> {
    // Arrays without rows are there too, and the footer of a file may name one batch as often as it likes.
    budget.take_rows(1, BATCH)?;
    budget.take_rows(batch.nodes().map_or(0, |nodes| nodes.len()), ARRAY)?;
    let length = |length: i64| u64::try_from(length).map_err(|_| malformed(format_args!("a length of {length}")));
    let mut claimed = |what: &str, number: u64| {
        budget.take_elements(number).map_err(|refusal| {
            let message = format!("Arrow: {number} {what} claimed by {} bytes; {}", buffers.len(), refusal.message);
            Refusal { message, ..refusal }
        })
    };
    claimed("rows", length(batch.length())?)?;
    for node in batch.nodes().into_iter().flatten() {
        if length(node.null_count())? > length(node.length())? {
            return Err(malformed(format_args!("{} nulls in an array of {}", node.null_count(), node.length())));
        }
        claimed("values", length(node.length())?)?;
    }
    for buffer in batch.buffers().into_iter().flatten() {
        let (from, size) = (length(buffer.offset())?, length(buffer.length())?);
        let end = from.checked_add(size).filter(|end| *end <= buffers.len() as u64).ok_or_else(|| {
            let has = buffers.len();
            malformed(format_args!("a buffer of {size} bytes at {from} in a message that has {has}"))
        })?;
        let compressed = batch.compression().is_some().then(|| &buffers[from as usize..end as usize]);
        budget.take_bytes(match compressed.filter(|buffer| !buffer.is_empty()) {
            None => size,
            Some(buffer) => match buffer.first_chunk::<8>().map(|prefix| i64::from_le_bytes(*prefix)) {
                None => return Err(malformed(format_args!("a compressed buffer of {size} bytes"))),
                // Kept as it is.
                Some(-1) => size - 8,
                Some(unpacked) => length(unpacked)?,
            },
        })?;
    }
    Ok(())
}

fn wrong(error: ArrowError) -> Refusal {
    malformed(error)
}

fn message_of(flatbuffer: &[u8]) -> Result<Message<'_>, Refusal> {
    root_as_message_with_opts(&within(flatbuffer), flatbuffer)
        .map_err(|error| malformed(format_args!("a message that cannot be read: {error}")))
}

/// How much may be in a flatbuffer.
fn within(flatbuffer: &[u8]) -> VerifierOptions {
    let max_apparent_size = (flatbuffer.len() * APPARENT).max(64 << 10);
    VerifierOptions { max_apparent_size, max_tables: TABLES, ..VerifierOptions::default() }
}

fn schema_of(schema: ipc::Schema<'_>) -> Result<SchemaRef, Refusal> {
    if schema.endianness() != Endianness::Little {
        return Err(malformed("numbers are big-endian; expected little-endian"));
    }
    let schema = try_fb_to_schema(schema).map_err(wrong)?;
    for field in schema.fields() {
        if deeper_than(field.data_type(), DEEPEST) {
            return Err(malformed(format_args!("column `{}` is nested deeper than {DEEPEST}", field.name())));
        }
    }
    Ok(Arc::new(schema))
}

fn deeper_than(data_type: &DataType, depth: usize) -> bool {
    if depth == 0 {
        return true;
    }
    let inside: Vec<&DataType> = match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::Dictionary(_, values) => vec![values],
        DataType::RunEndEncoded(_, values) => vec![values.data_type()],
        _ => return false,
    };
    inside.into_iter().any(|inside| deeper_than(inside, depth - 1))
}

/// The flatbuffer of the message at a place, and where what follows it begins; `None` is the end mark.
fn message_at(body: &[u8], at: usize) -> Result<Option<(Range<usize>, usize)>, Refusal> {
    let word = |at: usize| body.get(at..)?.first_chunk::<4>().copied();
    let cut = || malformed(format_args!("cut off: no message at byte {at}"));
    let (length, start) = match word(at).ok_or_else(cut)? {
        CONTINUATION => (word(at + 4).ok_or_else(cut)?, at + 8),
        length => (length, at + 4),
    };
    let length = i32::from_le_bytes(length);
    if length == 0 {
        return Ok(None);
    }
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
    let end = end.filter(|end| *end <= body.len()).ok_or_else(|| {
        let left = body.len() - start;
        malformed(format_args!("a message of {length} bytes at byte {at}, where {left} are left"))
    })?;
    Ok(Some((start..end, end)))
}

fn stream(body: &Bytes) -> Result<Ipc, Refusal> {
    let mut schema = None;
    let mut parts = Vec::new();
    let mut at = 0;
    // It ends at its mark, or without one where a message does: a bus delivers bodies whole.
    while at < body.len() {
        let Some((flatbuffer, after)) = message_at(body, at)? else {
            let end = at + if body[at..].starts_with(&CONTINUATION) { 8 } else { 4 };
            if end != body.len() {
                return Err(malformed(format_args!("{} bytes behind the end of the stream", body.len() - end)));
            }
            break;
        };
        let message = message_of(&body[flatbuffer.clone()])?;
        let size = message.bodyLength();
        let end = usize::try_from(size).ok().and_then(|size| after.checked_add(size));
        let end = end.filter(|end| *end <= body.len()).ok_or_else(|| {
            let left = body.len() - after;
            malformed(format_args!("a body of {size} bytes at byte {after}, where {left} are left"))
        })?;
        match (message.header_type(), &schema) {
            (MessageHeader::Schema, None) => {
                let read = message.header_as_schema().ok_or_else(|| malformed("a schema that is none"))?;
                schema = Some(schema_of(read)?);
            }
            (MessageHeader::Schema, Some(_)) => return Err(malformed("a second schema")),
            (_, None) => return Err(malformed("no schema before the first batch")),
            (_, Some(_)) => parts.push(Part { message: flatbuffer, buffers: after..end }),
        }
        at = end;
    }
    let schema = schema.ok_or_else(|| malformed("a stream without a schema"))?;
    Ok(Ipc { schema, body: body.clone(), parts })
}

fn file(body: &Bytes) -> Result<Ipc, Refusal> {
    let footer = body
        .strip_suffix(MAGIC)
        .and_then(<[u8]>::split_last_chunk::<4>)
        .filter(|(rest, _)| rest.len() >= 8)
        .ok_or_else(|| malformed("cut off: a file ends with ARROW1"))?;
    let (rest, length) = footer;
    let length = i32::from_le_bytes(*length);
    let from = usize::try_from(length)
        .ok()
        .and_then(|length| rest.len().checked_sub(length))
        .ok_or_else(|| malformed(format_args!("a footer of {length} bytes in a file of {}", body.len())))?;
    let footer = root_as_footer_with_opts(&within(&rest[from..]), &rest[from..])
        .map_err(|error| malformed(format_args!("a footer that cannot be read: {error}")))?;
    let schema = schema_of(footer.schema().ok_or_else(|| malformed("a footer without a schema"))?)?;
    let blocks = footer.dictionaries().into_iter().flatten().chain(footer.recordBatches().into_iter().flatten());
    let mut parts = Vec::new();
    for block in blocks {
        let (at, metadata, size) = (block.offset(), block.metaDataLength(), block.bodyLength());
        let outside = || malformed(format_args!("a batch of {metadata} and {size} bytes at byte {at} of {from}"));
        let number = |number: i64| usize::try_from(number).ok();
        let place = number(at).zip(number(metadata.into())).zip(number(size)).and_then(|((at, metadata), size)| {
            let buffers = at.checked_add(metadata)?;
            let end = buffers.checked_add(size).filter(|end| *end <= from)?;
            Some((at, buffers..end))
        });
        let (at, buffers) = place.ok_or_else(outside)?;
        let (message, after) = message_at(body, at)?.ok_or_else(outside)?;
        if after > buffers.start {
            return Err(outside());
        }
        parts.push(Part { message, buffers });
    }
    Ok(Ipc { schema, body: body.clone(), parts })
}
