//! The nearest vectors of a table: asked of its index, or where it has none found by looking at each.

use rusqlite::{Connection, params};

use super::elements;
use super::table::Table;
use crate::store::vector::{Made, Near, Neighbour};
use crate::value::Metric;

/// Neighbours that sqlite-vec finds at the most.
const MOST: usize = 4_096;

pub(super) fn nearest(connection: &Connection, table: &Table, near: &Near<'_>) -> rusqlite::Result<Vec<Neighbour>> {
    let Some(made) = table.made.filter(|made| made.dimension == near.vector.len()) else { return Ok(Vec::new()) };
    match &table.index {
        Some(index) if near.count <= MOST => of_the_index(connection, &table.name, index, near),
        _ => of_all(connection, &table.name, made, near),
    }
}

fn of_the_index(
    connection: &Connection,
    table: &str,
    index: &str,
    near: &Near<'_>,
) -> rusqlite::Result<Vec<Neighbour>> {
    let bytes: Vec<u8> = near.vector.iter().flat_map(|element| element.to_le_bytes()).collect();
    let mut statement = connection.prepare(&format!(
        "SELECT stored.id, near.distance FROM \
         (SELECT rowid, distance FROM {index} WHERE embedding MATCH ?1 AND environment = ?2 AND k = ?3) AS near \
         JOIN {table} AS stored ON stored.key = near.rowid ORDER BY near.distance, stored.id"
    ))?;
    let found = statement.query_map(params![bytes, near.environment, near.count as i64], |row| {
        Ok(Neighbour { id: row.get(0)?, distance: row.get(1)? })
    })?;
    found.collect()
}

fn of_all(connection: &Connection, table: &str, made: Made, near: &Near<'_>) -> rusqlite::Result<Vec<Neighbour>> {
    let to: Vec<f64> = near.vector.iter().copied().map(f64::from).collect();
    let mut statement =
        connection.prepare(&format!("SELECT id, embedding FROM {table} WHERE environment = ?1 AND evicted = 0"))?;
    let stored = statement.query_map(params![near.environment], |row| {
        let bytes: Vec<u8> = row.get(1)?;
        let vector = elements::vector(&bytes, made.precision).to_f64();
        Ok(Neighbour { id: row.get(0)?, distance: distance(made.metric, &vector, &to) })
    })?;
    let mut found: Vec<Neighbour> = stored.collect::<rusqlite::Result<_>>()?;
    found.sort_by(|one, other| one.distance.total_cmp(&other.distance).then_with(|| one.id.cmp(&other.id)));
    found.truncate(near.count);
    Ok(found)
}

fn distance(metric: Metric, one: &[f64], other: &[f64]) -> f64 {
    let product = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f64>();
    match metric {
        Metric::L2 => one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt(),
        Metric::Ip => -product(one, other),
        Metric::Cos => 1.0 - product(one, other) / (product(one, one) * product(other, other)).sqrt(),
    }
}
