//! One write: rows sorted into files, encoded beside the runtime's threads, published one by one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use hashbrown::HashMap;
use object_store::PutPayload;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;

use crate::row::table::{TableColumns, TableRow, TableRows};
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};

use super::build::Builder;
use super::encode::Encoder;
use super::files::Files;
use super::layout;
use super::ledger::Ledger;
use super::plan::Piece;
use super::schema::TableSchema;

/// Rows that are made into arrays at once: enough to amortize, small enough for the cache.
const CHUNK: usize = 8_192;
/// Arrays that wait for the encoder of one file.
const WAITING: usize = 1;
/// Writes whose time is remembered for a repetition.
const REMEMBERED: usize = 1_024;

/// A lake in a folder; see [`super`].
pub struct Lake {
    pub(super) files: Files,
    pub(super) ledger: Ledger,
    /// Files that are encoded at a time at the most; `memory` is one file's share.
    concurrency: usize,
    /// Bytes that one file may take while it is encoded.
    memory: usize,
    /// When a write was first tried, so that a repetition makes the same rows.
    inserted_at: Mutex<VecDeque<(String, i64)>>,
}

/// The rows of one file.
pub(super) struct Unit<'a> {
    schema: Arc<TableSchema>,
    arrow: SchemaRef,
    pub(super) folder: object_store::path::Path,
    pieces: Vec<Piece<'a>>,
}

impl Lake {
    /// A lake at an absolute path, which is made when it is first written to.
    ///
    /// At most `concurrency` files are encoded at a time, and no more than the write may have under way,
    /// within about `memory_limit` bytes together.
    pub fn new(root: PathBuf, concurrency: usize, memory_limit: usize) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            files: Files::new(root),
            ledger: Ledger::default(),
            concurrency,
            // Per file: arrays being built, waiting and being encoded, and the encoder's own pages.
            memory: (memory_limit / concurrency / (WAITING + 3)).max(64 * 1024),
            inserted_at: Mutex::default(),
        }
    }

    /// The time that a write's rows carry: that of its first attempt.
    fn inserted_at(&self, id: &str) -> i64 {
        let mut remembered = self.inserted_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, time)) = remembered.iter().find(|(known, _)| known == id) {
            return *time;
        }
        let now = chrono::Utc::now().timestamp_micros();
        if remembered.len() >= REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back((id.to_owned(), now));
        now
    }

    fn forget(&self, id: &str) {
        self.inserted_at.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| known != id);
    }

    /// Sorts rows into files; what no table will take is named in the outcome.
    pub(super) async fn sort<'a>(
        &self,
        rows: &[&'a TableRows],
        outcome: &mut Outcome,
    ) -> Result<Vec<Unit<'a>>, SinkError> {
        let mut units = Vec::new();
        for (table, rows) in by_table(rows) {
            let Some(folder) = layout::segment(table) else {
                outcome.refused.extend(rows.iter().map(|(index, row)| (*index, unnameable(row))));
                continue;
            };
            let planned = self.ledger.agree(&self.files, table, &folder, &rows).await?;
            outcome.refused.extend(planned.refused);
            let schema = Arc::new(planned.schema);
            let arrow = schema.arrow();
            outcome.stored += planned.days.iter().flat_map(|(_, pieces)| pieces).map(Piece::rows).sum::<usize>() as u64;
            units.extend(planned.days.into_iter().map(|(day, pieces)| Unit {
                schema: Arc::clone(&schema),
                arrow: Arc::clone(&arrow),
                folder: layout::partition(&folder, &layout::date(day)),
                pieces,
            }));
        }
        Ok(units)
    }

    /// Encodes and publishes one file.
    async fn file(&self, unit: Unit<'_>, name: &str, inserted_at: i64) -> Result<(), SinkError> {
        let folder = unit.folder.clone();
        let bytes = self.encoded(unit, inserted_at).await?;
        self.files.publish(&folder, name, PutPayload::from(bytes)).await
    }

    /// The bytes of one file.
    pub(super) async fn encoded(&self, unit: Unit<'_>, inserted_at: i64) -> Result<Vec<u8>, SinkError> {
        let began = Instant::now();
        let (batches, waiting) = mpsc::channel(WAITING);
        let (arrow, schema, memory) = (Arc::clone(&unit.arrow), Arc::clone(&unit.arrow), self.memory);
        let encoding = tokio::task::spawn_blocking(move || encode(waiting, arrow, memory));
        let mut builder = Builder::new(&unit.schema, unit.arrow, inserted_at);
        let width: usize = unit.schema.types().map(super::types::ColumnType::fixed_width).sum();
        let mut small = Vec::new();
        let mut chunks = self.chunks(&unit.pieces, width).into_iter().peekable();
        while let Some(chunk) = chunks.next() {
            let (batch, size) = match chunk {
                Chunk::Rows(rows, size) => (builder.batch(&rows), size),
                Chunk::Columns(columns, rows, size) => (builder.columns(columns, rows), size),
            };
            small.push((batch.map_err(|error| bug(&error))?, size));
            // A message may bring a row or two in columns: to encode each by itself costs many times more.
            if let Some(next) = chunks.peek()
                && small.iter().map(|(batch, _)| batch.num_rows()).sum::<usize>() + next.rows() <= CHUNK
                && small.iter().map(|(_, size)| size).sum::<usize>() + next.size() <= self.memory
            {
                continue;
            }
            let batch = match small.len() {
                1 => small.remove(0).0,
                _ => concat_batches(&schema, small.iter().map(|(batch, _)| batch)).map_err(|error| bug(&error))?,
            };
            small.clear();
            // A closed channel is an encoder that failed: its own words say more.
            if batches.send(batch).await.is_err() {
                break;
            }
        }
        drop(batches);
        let bytes = encoding.await.map_err(|error| bug(&error))?.map_err(|error| bug(&error))?;
        metrics::histogram!("chalk_writer_lake_encode_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("chalk_writer_lake_written_files_total").increment(1);
        metrics::counter!("chalk_writer_lake_written_bytes_total").increment(bytes.len() as u64);
        Ok(bytes)
    }

    /// What is made into arrays at a time: at least one row, and no more than there is memory for.
    fn chunks<'a>(&self, pieces: &'a [Piece<'a>], width: usize) -> Vec<Chunk<'a>> {
        let mut chunks = Vec::new();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for piece in pieces {
            match piece {
                Piece::Row(row, size) => {
                    let size = size + width;
                    if !rows.is_empty() && (rows.len() == CHUNK || bytes + size > self.memory) {
                        chunks.push(Chunk::Rows(std::mem::take(&mut rows), std::mem::take(&mut bytes)));
                    }
                    bytes += size;
                    rows.push(*row);
                }
                Piece::Columns(columns, selected) => {
                    if !rows.is_empty() {
                        chunks.push(Chunk::Rows(std::mem::take(&mut rows), std::mem::take(&mut bytes)));
                    }
                    let size = columns.size() / columns.rows.max(1) + width + 1;
                    let count = (self.memory / size).clamp(1, CHUNK);
                    chunks.extend(selected.chunks(count).map(|some| Chunk::Columns(columns, some, some.len() * size)));
                }
            }
        }
        if !rows.is_empty() {
            chunks.push(Chunk::Rows(rows, bytes));
        }
        chunks
    }
}

/// What is made into arrays at a time, and about how many bytes it takes.
enum Chunk<'a> {
    Rows(Vec<&'a TableRow>, usize),
    Columns(&'a TableColumns, &'a [u32], usize),
}

impl Chunk<'_> {
    fn rows(&self) -> usize {
        match self {
            Self::Rows(rows, _) => rows.len(),
            Self::Columns(_, rows, _) => rows.len(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Rows(_, size) | Self::Columns(_, _, size) => *size,
        }
    }
}

#[async_trait]
impl Sink<TableRows> for Lake {
    async fn write(&self, write: Write<'_, TableRows>) -> Result<Outcome, SinkError> {
        let Some(id) = layout::segment(write.id) else {
            return Err(SinkError::Bug { reason: format!("`{}` cannot name a file", write.id) });
        };
        let name = format!("{id}.parquet");
        let inserted_at = self.inserted_at(write.id);
        let mut outcome = Outcome::default();
        let units = self.sort(write.rows, &mut outcome).await?;
        let files: Vec<_> = units.into_iter().map(|unit| self.file(unit, &name, inserted_at)).collect();
        // Every file is tried to the end: one that is given up half-way would leave its staged part.
        let at_once = write.concurrency.clamp(1, self.concurrency);
        let written: Vec<_> = stream::iter(files).buffer_unordered(at_once).collect().await;
        written.into_iter().collect::<Result<(), SinkError>>()?;
        self.forget(write.id);
        Ok(outcome)
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.files.probe().await
    }

    /// No row of a table has a key.
    fn collapse(&self, key: &Infallible, _: &[&TableRows]) -> TableRows {
        match *key {}
    }
}

fn encode(mut batches: mpsc::Receiver<RecordBatch>, schema: SchemaRef, memory: usize) -> Result<Vec<u8>, ParquetError> {
    let Some(first) = batches.blocking_recv() else { return Ok(Vec::new()) };
    let mut encoder = Encoder::begin(schema, &first, memory)?;
    drop(first);
    while let Some(batch) = batches.blocking_recv() {
        encoder.push(&batch)?;
    }
    encoder.finish()
}

fn bug(error: &dyn std::error::Error) -> SinkError {
    SinkError::Bug { reason: format!("encoding a parquet file: {error}") }
}

/// Rows by their table, in the order in which the tables appear.
pub(super) fn by_table<'a>(rows: &[&'a TableRows]) -> Vec<(&'a str, Vec<(usize, &'a TableRows)>)> {
    let mut tables: Vec<(&'a str, Vec<(usize, &'a TableRows)>)> = Vec::new();
    let mut places: HashMap<&'a str, usize> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        let table: &'a str = &row.shape().table;
        let at = *places.entry(table).or_insert_with(|| {
            tables.push((table, Vec::new()));
            tables.len() - 1
        });
        tables[at].1.push((index, row));
    }
    tables
}

pub(super) fn unnameable(rows: &TableRows) -> Refusal {
    let message = "a table's name must not be empty, nor longer than 200 bytes once escaped for a folder";
    let (name, shape) = match rows {
        TableRows::Row(row) => (row.name(), &row.shape),
        TableRows::Columns(columns) => (columns.name(0), &columns.shape),
    };
    Refusal::new(ErrorClass::ValueRefused, message).row(name).table(&shape.table)
}
