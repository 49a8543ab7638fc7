//! Rows cut into the arrays of single statements, in the order of the table's key: writers that touch the same
//! rows lock them in one order, and so never wait for one another in a circle.

use std::sync::Arc;

use tokio_postgres::types::{ToSql, Type};

use super::elements;
use super::table::Table;
use crate::row::vector::{Point, VectorRow};
use crate::sink::{ErrorClass, Refusal};
use crate::store::postgres::{LONGEST_KEY, binary};
use crate::store::vector::fit;
use crate::value::{Vector, jsonb};

/// Vectors in one statement: each costs a walk through the index, so few enough that its locks are soon gone.
const ROWS: u64 = 500;

/// Bytes in one statement, though a single larger row is still sent alone.
const BYTES: usize = 8 * 1024 * 1024;

/// Dimensions that pgvector stores at the most.
const MOST_DIMENSIONS: usize = 16_000;

/// The first byte of a `jsonb` on its way.
const VERSION: u8 = 1;

/// Rows of one statement, as its parameters.
pub(super) struct Chunk {
    environment: binary::Array,
    id: binary::Array,
    payload: binary::Array,
    observed_at: binary::Array,
    embedding: binary::Array,
    pub(super) count: u64,
    bytes: usize,
}

impl Default for Chunk {
    fn default() -> Self {
        let text = || binary::Array::of(Type::TEXT);
        let (payload, observed_at) = (binary::Array::of(Type::JSONB), binary::Array::of(Type::TIMESTAMPTZ));
        Self { environment: text(), id: text(), payload, observed_at, embedding: text(), count: 0, bytes: 0 }
    }
}

impl Chunk {
    fn push(&mut self, row: &VectorRow, vector: Option<&Vector>) {
        self.environment.push(row.key.environment.as_bytes());
        self.id.push(row.key.id.as_bytes());
        self.observed_at.push(&binary::timestamptz(row.observed_at).to_be_bytes());
        match row.point.as_ref().zip(vector) {
            None => {
                self.payload.push_null();
                self.embedding.push_null();
            }
            Some((point, vector)) => {
                self.payload.push_with(|out| {
                    out.push(VERSION);
                    jsonb::write(&point.payload, out);
                });
                self.embedding.push_with(|out| elements::write(vector, out));
                self.bytes += point.payload.heap_size() + 12 * vector.dimension();
            }
        }
        self.count += 1;
    }

    pub(super) fn parameters(&self, with_vectors: bool) -> Vec<&(dyn ToSql + Sync)> {
        let columns = [&self.environment, &self.id, &self.payload, &self.observed_at, &self.embedding];
        let count = if with_vectors { 5 } else { 4 };
        columns.into_iter().take(count).map(|column| column as &(dyn ToSql + Sync)).collect()
    }
}

/// Cuts rows of one table into chunks; what the table can never take is named in `refused`.
pub(super) fn of(mut rows: Vec<(usize, &VectorRow)>, table: &Table, refused: &mut Vec<(usize, Refusal)>) -> Vec<Chunk> {
    rows.sort_unstable_by(|(_, one), (_, other)| one.key.cmp(&other.key));
    let mut chunks = Vec::new();
    let mut chunk = Chunk::default();
    for (at, row) in rows {
        let vector: Option<Arc<Vector>> = match (&row.point, table.made) {
            (Some(Point { vector, .. }), Some(made)) => {
                fit::warn_of_another_metric(row, made);
                match fit::fitted(row, vector, made) {
                    Ok(vector) => Some(vector),
                    Err(refusal) => {
                        refused.push((at, refusal));
                        continue;
                    }
                }
            }
            _ => None,
        };
        chunk.push(row, vector.as_deref());
        if chunk.count >= ROWS || chunk.bytes >= BYTES {
            chunks.push(std::mem::take(&mut chunk));
        }
    }
    if chunk.count > 0 {
        chunks.push(chunk);
    }
    chunks
}

/// Why Postgres takes no row like this.
pub(super) fn refusal(row: &VectorRow) -> Option<Refusal> {
    let key = &row.key;
    let refuse = |message: String| Some(fit::at(Refusal::new(ErrorClass::ValueRefused, message), row));
    let names = [&*key.environment, &*key.feature.namespace, &*key.feature.name, &*key.id];
    if names.iter().any(|name| name.contains('\0')) {
        return refuse("its key holds U+0000, which Postgres cannot store".to_owned());
    }
    let of_features = key.feature.namespace.len() + key.feature.name.len();
    let length = of_features.max(key.environment.len() + key.id.len());
    if length > LONGEST_KEY {
        return refuse(format!("its key is {length} bytes; an index of Postgres takes {LONGEST_KEY}"));
    }
    let point = row.point.as_ref()?;
    if jsonb::holds_nul(&point.payload) {
        return refuse("its payload holds U+0000, which Postgres cannot store".to_owned());
    }
    let dimension = point.vector.dimension();
    (dimension > MOST_DIMENSIONS).then(|| {
        let message = format!("a vector of dimension {dimension}; pgvector stores at most {MOST_DIMENSIONS}");
        fit::at(Refusal::new(ErrorClass::TooLarge, message).harmless(), row)
    })
}
