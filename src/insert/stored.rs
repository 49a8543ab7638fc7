//! A parquet file in a store, read a group of rows at a time.
//!
//! As little is believed of it as of a body that came in a message: the footer's lists are walked before they are
//! read, and the pages of a group are added up before one of them is unpacked. What is bounded is what is in memory
//! at once: its footer, one group as it is stored, a page and a dictionary of each column, and a batch of rows. Whoever
//! has many files to read closes those whose turn is not yet.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type;
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_128;

use super::object::{Buckets, Object, Unread, invalid};
use super::{MAGIC, ROWS, pages, thrift, width};
use crate::panics::caught;
use crate::row::load::LoadFile;
use crate::sink::{Refusal, SinkError};

/// Bytes at the end of a file that are read first: most footers are in them.
const TAIL: u64 = 64 << 10;
/// Batches that wait for whoever reads them.
const WAITING: usize = 1;

/// A file whose footer was read and judged.
#[derive(Clone, Debug)]
pub struct Stored {
    closed: Closed,
    metadata: ArrowReaderMetadata,
}

/// What it takes to open the same file again: a few hundred bytes, whatever its footer takes.
#[derive(Clone, Debug)]
pub struct Closed {
    object: Object,
    size: u64,
    limit: usize,
    /// Where its footer is.
    footer: Range<u64>,
    /// The hash of its footer.
    hash: u128,
}

impl Stored {
    /// Opens a file: reads its footer, and holds it against what the message says.
    ///
    /// `limit` is how many bytes of it may be in memory at once. What is refused has class `FILE_MISSING` or
    /// `FILE_INVALID`, and names no file: that is for the caller.
    pub async fn open(buckets: &Buckets, file: &LoadFile, limit: usize) -> Result<Self, Unread> {
        let mut object = buckets.object(file)?;
        let tail = object.tail(TAIL).await?;
        if let Some(said) = file.bytes.filter(|said| *said != tail.size) {
            return Err(invalid(format!("has {} bytes, and the message says {said}", tail.size)).into());
        }
        let (place, bytes) = footer(&object, tail.bytes, tail.size, limit).await?;
        let closed = Closed { object, size: tail.size, limit, footer: place, hash: xxh3_128(&bytes) };
        let stored = closed.with(&bytes)?;
        stored.check(file)?;
        Ok(stored)
    }

    /// Lets go of its footer, which may take megabytes.
    pub fn close(self) -> Closed {
        self.closed
    }

    /// Its columns, as they are stored.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().unsigned_abs()
    }

    fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.metadata().row_groups()
    }

    fn check(&self, file: &LoadFile) -> Result<(), Refusal> {
        let mut rows = 0_i64;
        for group in self.groups() {
            rows = rows.saturating_add(group.num_rows());
            if group.num_rows() < 0 {
                return Err(malformed(format_args!("a group of {} rows", group.num_rows())));
            }
            let Range { start, end } = span(group, self.closed.size)?;
            if end - start > self.closed.limit as u64 {
                return Err(invalid(format!(
                    "has a group of rows of {} bytes; {} may be in memory at once (`memory_limit`), and a group is \
                     read whole",
                    end - start,
                    self.closed.limit
                )));
            }
        }
        let total = self.metadata.metadata().file_metadata().num_rows();
        if rows != total {
            return Err(malformed(format_args!("its footer says {total} rows, and its groups {rows}")));
        }
        match file.rows.filter(|said| *said != self.rows()) {
            Some(said) => Err(invalid(format!("has {} rows, and the message says {said}", self.rows()))),
            None => Ok(()),
        }
    }

    /// Begins to read its rows, in their order.
    ///
    /// Reading goes no more than a batch ahead, and ends when nobody listens.
    pub fn batches(&self) -> Batches {
        let (send, receive) = mpsc::channel(WAITING);
        tokio::spawn(self.clone().read(send));
        Batches { receive, left: self.rows() }
    }

    async fn read(self, send: mpsc::Sender<Result<RecordBatch, Unread>>) {
        for (number, group) in self.groups().iter().enumerate() {
            let failed = match self.group(group).await {
                Ok(group) => {
                    let (metadata, limit, to) = (self.metadata.clone(), self.closed.limit, send.clone());
                    let decoded = tokio::task::spawn_blocking(move || {
                        let read = caught(|| decode(group, metadata, number, limit, &to));
                        read.unwrap_or_else(|| Err(malformed("it made the reader give up")))
                    });
                    match decoded.await {
                        Ok(Ok(true)) => continue,
                        Ok(Ok(false)) => return,
                        Ok(Err(refusal)) => Unread::Refused(refusal),
                        Err(error) => Unread::Store(SinkError::Bug { reason: error.to_string() }),
                    }
                }
                Err(unread) => unread,
            };
            // Nobody listens any more where it cannot be told.
            send.send(Err(failed)).await.ok();
            return;
        }
    }

    async fn group(&self, group: &RowGroupMetaData) -> Result<Group, Unread> {
        let Closed { object, size, .. } = &self.closed;
        let Range { start, end } = span(group, *size)?;
        let bytes = if start == end { Bytes::new() } else { object.range(start..end).await? };
        Ok(Group { bytes, start, size: *size })
    }
}

impl Closed {
    /// Opens it again, by one request for its footer.
    ///
    /// It is the same file still: where it is gone, or another is in its place, the error is the one that reading on
    /// would have ended with.
    pub async fn open(&self) -> Result<Stored, Unread> {
        let footer = self.object.range(self.footer.clone()).await?;
        // A store that knows neither versions nor tags does not tell one object from the next.
        if xxh3_128(&footer) != self.hash {
            return Err(self.object.overwritten());
        }
        self.clone().with(&footer).map_err(Unread::Refused)
    }

    fn with(self, footer: &[u8]) -> Result<Stored, Refusal> {
        let metadata = caught(|| metadata(footer, self.limit))
            .unwrap_or_else(|| Err(malformed("its footer made the reader give up")))?;
        Ok(Stored { closed: self, metadata })
    }
}

/// The rows of a file as they are read.
#[derive(Debug)]
pub struct Batches {
    receive: mpsc::Receiver<Result<RecordBatch, Unread>>,
    left: u64,
}

impl Batches {
    /// The next rows; `None` after the last. Nothing comes after an error.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, Unread>> {
        match self.receive.recv().await {
            Some(Ok(batch)) => {
                self.left = self.left.saturating_sub(batch.num_rows() as u64);
                Some(Ok(batch))
            }
            None if self.left > 0 => {
                let reason = format!("reading ended with {} rows to come", std::mem::take(&mut self.left));
                Some(Err(Unread::Store(SinkError::Transient { reason })))
            }
            end => end,
        }
    }
}

/// Unpacks one group into batches; `false` where nobody listens any more.
fn decode(
    group: Group,
    metadata: ArrowReaderMetadata,
    number: usize,
    limit: usize,
    send: &mpsc::Sender<Result<RecordBatch, Unread>>,
) -> Result<bool, Refusal> {
    let described = metadata.metadata().row_group(number);
    let said = described.num_rows().unsigned_abs();
    let pages::Rows { mut one, with_dictionary } =
        pages::of_group(&group.bytes, group.start, described, limit).map_err(as_file)?;
    one = one.saturating_add(width::check(metadata.schema(), std::slice::from_ref(described), limit).map_err(as_file)?);
    let group = Arc::new(group);
    for column in with_dictionary {
        // A value of a dictionary is copied for each row that has it.
        one = one.saturating_add(longest(&group, described, column)?);
    }
    let rows = (limit / one.max(1)).clamp(1, ROWS);
    let group = Arc::unwrap_or_clone(group);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(group, metadata)
        .with_row_groups(vec![number])
        .with_batch_size(rows)
        .build()
        .map_err(malformed)?;
    let mut found = 0;
    for batch in reader {
        let batch = batch.map_err(malformed)?;
        found += batch.num_rows() as u64;
        if send.blocking_send(Ok(batch)).is_err() {
            return Ok(false);
        }
    }
    if found != said {
        return Err(malformed(format_args!("{found} rows in a group of which its footer says {said}")));
    }
    Ok(true)
}

/// Bytes of the longest value in the dictionary of a column.
fn longest(group: &Arc<Group>, described: &RowGroupMetaData, column: usize) -> Result<usize, Refusal> {
    let column = described.column(column);
    if column.column_descr().physical_type() != Type::BYTE_ARRAY {
        return Ok(usize::try_from(column.column_descr().type_length()).unwrap_or_default().max(16));
    }
    let rows = usize::try_from(described.num_rows()).unwrap_or_default();
    let mut pages = SerializedPageReader::new(Arc::clone(group), column, rows, None).map_err(malformed)?;
    let Some(Page::DictionaryPage { buf, .. }) = pages.get_next_page().map_err(malformed)? else { return Ok(0) };
    let (mut longest, mut rest) = (0, &buf[..]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        longest = longest.max(length);
        rest = after.get(length..).ok_or_else(|| malformed("a dictionary whose values are cut off"))?;
    }
    Ok(longest)
}

/// Where the footer is in a file of so many bytes, and its bytes.
async fn footer(object: &Object, tail: Bytes, size: u64, limit: usize) -> Result<(Range<u64>, Bytes), Unread> {
    const ENDS: u64 = 8;
    if size == 0 {
        return Err(invalid("is empty").into());
    }
    let end = tail.strip_suffix(MAGIC).and_then(<[u8]>::split_last_chunk::<4>);
    let Some((_, length)) = end.filter(|_| size >= ENDS + MAGIC.len() as u64) else {
        return Err(malformed("it does not end with PAR1: no parquet file, or cut off").into());
    };
    let length = u64::from(u32::from_le_bytes(*length));
    if length + ENDS > size || length > limit as u64 {
        return Err(malformed(format_args!("a footer of {length} bytes in a file of {size}")).into());
    }
    let whole = length + ENDS;
    let place = size - whole..size - ENDS;
    if whole <= tail.len() as u64 {
        let from = tail.len() - whole as usize;
        return Ok((place, tail.slice(from..tail.len() - ENDS as usize)));
    }
    let bytes = object.range(place.clone()).await?;
    Ok((place, bytes))
}

fn metadata(footer: &[u8], limit: usize) -> Result<ArrowReaderMetadata, Refusal> {
    thrift::check(footer, limit).map_err(as_file)?;
    let metadata = ParquetMetaDataReader::decode_metadata(footer).map_err(malformed)?;
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(malformed)
}

/// Where the columns of a group are, in a file of so many bytes.
fn span(group: &RowGroupMetaData, size: u64) -> Result<Range<u64>, Refusal> {
    let mut span: Option<Range<u64>> = None;
    for column in group.columns() {
        let (start, length) = pages::place(column)
            .ok_or_else(|| malformed(format_args!("a column of {} bytes", column.compressed_size())))?;
        let end = start.checked_add(length).filter(|end| *end <= size);
        let end = end.ok_or_else(|| malformed(format_args!("a column of {length} bytes at byte {start} of {size}")))?;
        let (from, to) = span.map_or((start, end), |span| (span.start.min(start), span.end.max(end)));
        span = Some(from..to);
    }
    Ok(span.unwrap_or(0..0))
}

/// One group of a file in memory, which the library reads as if it were all of the file.
#[derive(Clone, Debug)]
struct Group {
    bytes: Bytes,
    start: u64,
    size: u64,
}

impl Group {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..))
            .ok_or_else(|| ParquetError::EOF(format!("byte {start} is of another group")))
    }
}

impl Length for Group {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Group {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.from(start).map(Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at byte {start} go beyond their group")));
        }
        Ok(bytes.slice(..length))
    }
}

fn malformed(what: impl std::fmt::Display) -> Refusal {
    invalid(format!("cannot be read: {}", crate::cut::cut(&what.to_string(), 300)))
}

/// What was said of a body, of a file.
fn as_file(refusal: Refusal) -> Refusal {
    malformed(refusal.message.strip_prefix("parquet: ").unwrap_or(&refusal.message))
}

#[cfg(test)]
mod tests;
