//! Vectors read back, and the nearest of them.

use std::sync::Arc;

use super::elements;
use super::session::{Connection, known};
use super::table::Table;
use crate::row::vector::{Point, VectorKey};
use crate::sink::SinkError;
use crate::store::postgres::binary::Micros;
use crate::store::vector::{Near, Neighbour, StoredVector};
use crate::value::Metric;
use crate::value::dtype::Precision;
use crate::value::{Value, Vector, json};

/// Candidates that an index is asked for at the least and at the most, by pgvector.
const LEAST: usize = 40;
const MOST: usize = 1_000;

pub(super) async fn read(connection: &mut Connection, key: &VectorKey) -> Result<Option<StoredVector>, SinkError> {
    known(connection).await?;
    let (environment, id) = (&*key.environment, &*key.id);
    if environment.contains('\0') || id.contains('\0') {
        // Such a row was refused.
        return Ok(None);
    }
    let Some(table) = Table::find(connection, &key.feature).await? else { return Ok(None) };
    let embedding = if table.made.is_some() { "embedding::text" } else { "NULL::text" };
    let text = format!(
        "SELECT observed_at, {embedding}, payload::text FROM {} WHERE environment = $1 AND id = $2",
        table.name
    );
    let found = connection.query(&text, &[&environment, &id]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let not_ours = |what: String| SinkError::Transient {
        reason: format!("{}: table {} is not this store's: {what}", connection.address, table.name),
    };
    let column = |error: tokio_postgres::Error| not_ours(error.to_string());
    let Micros(observed_at) = row.try_get(0).map_err(column)?;
    let (vector, payload): (Option<&str>, Option<&str>) =
        (row.try_get(1).map_err(column)?, row.try_get(2).map_err(column)?);
    let point = match (vector, table.made) {
        (Some(vector), Some(made)) => {
            let vector = elements::read(vector, made.precision).ok_or_else(|| not_ours("no vector".to_owned()))?;
            let payload = payload.map_or(Ok(Value::Struct(Vec::new())), json::from_text);
            let payload = payload.map_err(|error| not_ours(error.to_string()))?;
            Some(Point { vector: Arc::new(vector), payload })
        }
        _ => None,
    };
    Ok(Some(StoredVector { observed_at, point }))
}

pub(super) async fn nearest(connection: &mut Connection, near: &Near<'_>) -> Result<Vec<Neighbour>, SinkError> {
    known(connection).await?;
    let Some(table) = Table::find(connection, near.feature).await? else { return Ok(Vec::new()) };
    let Some(made) = table.made.filter(|made| made.dimension == near.vector.len()) else { return Ok(Vec::new()) };
    if near.environment.contains('\0') {
        return Ok(Vec::new());
    }
    let candidates = near.count.saturating_mul(2).clamp(LEAST, MOST);
    let iterative = if connection.state.iterative { "; SET hnsw.iterative_scan = strict_order" } else { "" };
    connection.run(&format!("SET hnsw.ef_search = {candidates}{iterative}")).await?;
    let distance = match made.metric {
        Metric::L2 => "<->",
        Metric::Ip => "<#>",
        Metric::Cos => "<=>",
    };
    let kind = if made.precision == Precision::Fp16 { "halfvec" } else { "vector" };
    let distance = format!("embedding {distance} $1::text::{kind}");
    let text = format!(
        "SELECT id, {distance} FROM {} WHERE environment = $2 AND embedding IS NOT NULL ORDER BY {distance} LIMIT $3",
        table.name
    );
    let mut to = Vec::new();
    elements::write(&Vector::Fp32(near.vector.to_vec()), &mut to);
    let to = String::from_utf8_lossy(&to);
    let count = i64::try_from(near.count).unwrap_or(i64::MAX);
    let rows = connection.query(&text, &[&to, &near.environment, &count]).await?;
    Ok(rows.iter().map(|row| Neighbour { id: row.get(0), distance: row.get(1) }).collect())
}
