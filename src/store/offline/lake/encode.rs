//! Arrow batches to one parquet file in memory: zstd, typed columns, statistics, a dictionary where
//! values repeat.
//!
//! Encodings are the ones that every reader of the last ten years knows; delta encodings would save
//! a third of the time, and Spark's older vectorised reader does not read them.

use std::hash::{BuildHasher, Hash};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use hashbrown::{DefaultHashBuilder, HashSet};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// Rows of a group: readers fetch and decode a group at a time.
const GROUP: usize = 100_000;
/// Values that are looked at to choose between a dictionary and plain values.
const SAMPLE: usize = 1_024;

/// A file that is being made.
pub(super) struct Encoder {
    writer: ArrowWriter<Vec<u8>>,
    memory: usize,
}

impl Encoder {
    /// Begins a file with its first batch, which also decides about dictionaries.
    ///
    /// A group is closed early once it takes `memory` bytes.
    pub(super) fn begin(schema: SchemaRef, first: &RecordBatch, memory: usize) -> Result<Self, ParquetError> {
        let level = ZstdLevel::try_new(1)?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_dictionary_enabled(false);
        for (field, column) in schema.fields().iter().zip(first.columns()) {
            if repeats(column) {
                let path = ColumnPath::new(vec![field.name().clone()]);
                properties = properties.set_column_dictionary_enabled(path, true);
            }
        }
        let mut encoder = Self { writer: ArrowWriter::try_new(Vec::new(), schema, Some(properties.build()))?, memory };
        encoder.push(first)?;
        Ok(encoder)
    }

    /// Adds a batch.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(batch)?;
        if self.writer.memory_size() > self.memory {
            self.writer.flush()?;
        }
        Ok(())
    }

    /// The bytes of the whole file.
    pub(super) fn finish(self) -> Result<Vec<u8>, ParquetError> {
        self.writer.into_inner()
    }
}

/// Whether at most half of a column's first values are different.
fn repeats(column: &dyn Array) -> bool {
    let sample = column.slice(0, column.len().min(SAMPLE));
    match sample.data_type() {
        DataType::Int64 => few(sample.as_primitive::<Int64Type>().iter()),
        DataType::Date32 => few(sample.as_primitive::<Date32Type>().iter()),
        DataType::Timestamp(..) => few(sample.as_primitive::<TimestampMicrosecondType>().iter()),
        DataType::Decimal128(..) => few(sample.as_primitive::<Decimal128Type>().iter()),
        DataType::Utf8 => few(sample.as_string::<i32>().iter()),
        DataType::Binary => few(sample.as_binary::<i32>().iter()),
        // Doubles rarely repeat, and the rest gains nothing from a dictionary.
        _ => false,
    }
}

fn few<T: Hash>(values: impl Iterator<Item = Option<T>>) -> bool {
    let hasher = DefaultHashBuilder::default();
    let mut distinct = HashSet::with_capacity(SAMPLE);
    let mut present = 0;
    for value in values.flatten() {
        distinct.insert(hasher.hash_one(value));
        present += 1;
    }
    distinct.len() * 2 <= present
}
