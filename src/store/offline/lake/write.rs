//! One write: rows sorted into files, encoded beside the runtime's threads, published one by one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use hashbrown::HashMap;
use object_store::PutPayload;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;

use crate::row::table::TableRow;
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};

use super::build::Builder;
use super::encode::Encoder;
use super::files::Files;
use super::layout;
use super::schema::{Ledger, TableSchema};

/// Rows that are made into arrays at once: enough to amortize, small enough for the cache.
const CHUNK: usize = 8_192;
/// Arrays that wait for the encoder of one file.
const WAITING: usize = 1;
/// Writes whose time is remembered for a repetition.
const REMEMBERED: usize = 1_024;

/// A lake in a folder; see [`super`].
pub struct Lake {
    files: Files,
    ledger: Ledger,
    /// Files that are encoded at a time at the most; `memory` is one file's share.
    concurrency: usize,
    /// Bytes that one file may take while it is encoded.
    memory: usize,
    /// When a write was first tried, so that a repetition makes the same rows.
    inserted_at: Mutex<VecDeque<(String, i64)>>,
}

/// The rows of one file.
struct Unit<'a> {
    schema: Arc<TableSchema>,
    arrow: SchemaRef,
    folder: object_store::path::Path,
    rows: Vec<&'a TableRow>,
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
    async fn sort<'a>(&self, rows: &[&'a TableRow], outcome: &mut Outcome) -> Result<Vec<Unit<'a>>, SinkError> {
        let mut order: Vec<&str> = Vec::new();
        let mut tables: HashMap<&str, Vec<(usize, &'a TableRow)>> = HashMap::new();
        for (index, row) in rows.iter().enumerate() {
            tables
                .entry(&row.shape.table)
                .or_insert_with_key(|table| {
                    order.push(table);
                    Vec::new()
                })
                .push((index, row));
        }
        let mut units = Vec::new();
        for table in order {
            let rows = &tables[table];
            let Some(folder) = layout::segment(table) else {
                outcome.refused.extend(rows.iter().map(|(index, row)| (*index, unnameable(row))));
                continue;
            };
            let planned = self.ledger.agree(&self.files, table, &folder, rows).await?;
            outcome.refused.extend(planned.refused);
            let schema = Arc::new(planned.schema);
            let arrow = schema.arrow();
            units.extend(planned.days.into_iter().map(|(day, rows)| Unit {
                schema: Arc::clone(&schema),
                arrow: Arc::clone(&arrow),
                folder: layout::partition(&folder, &layout::date(day)),
                rows,
            }));
        }
        Ok(units)
    }

    /// Encodes and publishes one file.
    async fn file(&self, unit: Unit<'_>, name: &str, inserted_at: i64) -> Result<(), SinkError> {
        let began = Instant::now();
        let (batches, waiting) = mpsc::channel(WAITING);
        let (arrow, memory) = (Arc::clone(&unit.arrow), self.memory);
        let encoding = tokio::task::spawn_blocking(move || encode(waiting, arrow, memory));
        let mut builder = Builder::new(&unit.schema, unit.arrow, inserted_at);
        let width: usize = unit.schema.types().map(super::types::ColumnType::fixed_width).sum();
        let mut rows = unit.rows.as_slice();
        while !rows.is_empty() {
            let (chunk, rest) = rows.split_at(self.chunk(rows, width));
            rows = rest;
            let batch = builder.batch(chunk).map_err(|error| bug(&error))?;
            // A closed channel is an encoder that failed: its own words say more.
            if batches.send(batch).await.is_err() {
                break;
            }
        }
        drop(batches);
        let bytes = encoding.await.map_err(|error| bug(&error))?.map_err(|error| bug(&error))?;
        metrics::histogram!("chalk_writer_lake_encode_seconds").record(began.elapsed().as_secs_f64());
        let size = bytes.len() as u64;
        self.files.publish(&unit.folder, name, PutPayload::from(bytes)).await?;
        metrics::counter!("chalk_writer_lake_written_files_total").increment(1);
        metrics::counter!("chalk_writer_lake_written_bytes_total").increment(size);
        Ok(())
    }

    /// How many of the rows are made into arrays next: at least one.
    fn chunk(&self, rows: &[&TableRow], width: usize) -> usize {
        let mut bytes = 0;
        let fits = rows.iter().take(CHUNK).take_while(|row| {
            bytes += row.size() + width;
            bytes <= self.memory
        });
        fits.count().max(1)
    }
}

#[async_trait]
impl Sink<TableRow> for Lake {
    async fn write(&self, write: Write<'_, TableRow>) -> Result<Outcome, SinkError> {
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
        outcome.stored = (write.rows.len() - outcome.refused.len()) as u64;
        Ok(outcome)
    }

    /// Rows of a lake have no key, so there is nothing to collapse; the newest stands for all.
    fn collapse(&self, rows: &[&TableRow]) -> TableRow {
        (*rows[rows.len() - 1]).clone()
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

fn unnameable(row: &TableRow) -> Refusal {
    let message = "a table's name must not be empty, nor longer than 200 bytes once escaped for a folder";
    Refusal::new(ErrorClass::ValueRefused, message).row(&row.name).table(&row.shape.table)
}
