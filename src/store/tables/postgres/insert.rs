//! The statements that bring rows from a temporary table to their own.

use super::plan::{INSERTED_AT, Table};
use super::types::{ColumnType, Scalar};
use crate::store::postgres::quoted;

/// Those of the copied columns that tell which of two rows is newer, each with what stands for null, which is older than
/// any.
pub(super) fn newer(table: &Table, newer: &[usize], columns: &[usize]) -> Vec<(String, &'static str)> {
    let copied = newer.iter().filter(|at| columns.contains(at)).map(|at| &table.columns[*at]);
    let with_least = copied.filter_map(|column| {
        let least = match column.column_type {
            ColumnType::One(Scalar::Timestamptz(_)) => "'-infinity'",
            ColumnType::One(Scalar::Int8) => "'-9223372036854775808'",
            _ => return None,
        };
        Some((quoted(&column.name), least))
    });
    with_least.collect()
}

/// Inserts rows of which those that are there stay as they are.
pub(super) fn insert_new(target: &str, stage: &str, names: &[String], key: &[String], history: bool) -> String {
    let (names, key) = (names.join(", "), key.join(", "));
    let (inserted_at, now) =
        if history { (format!(", {}", quoted(INSERTED_AT)), ", now()") } else { (String::new(), "") };
    let conflict = if key.is_empty() { String::new() } else { format!(" ON CONFLICT ({key}) DO NOTHING") };
    format!("INSERT INTO {target} ({names}{inserted_at}) SELECT {names}{now} FROM {stage}{conflict}")
}

/// Inserts the newest row of each key, where none that is there is newer: by the columns of `newer`, each with what stands
/// for null. Rows that are equal there are ordered by their text, byte by byte, so that the same one stands in whatever
/// order they came; the same row changes nothing.
///
/// Keys are locked in their order, so that two writers do not wait for one another in a circle.
pub(super) fn insert_newest(
    target: &str,
    stage: &str,
    names: &[String],
    key: &[String],
    newer: &[(String, &str)],
) -> String {
    let order = |of: &str| {
        let columns: Vec<String> = names.iter().map(|name| format!("{of}.{name}")).collect();
        let text = format!("ROW({})::text COLLATE \"C\"", columns.join(", "));
        let newer = newer.iter().map(|(column, least)| format!("coalesce({of}.{column}, {least})"));
        newer.chain([text]).collect::<Vec<String>>()
    };
    let newest: Vec<String> = order("new").iter().map(|part| format!("{part} DESC")).collect();
    let set: Vec<String> = names
        .iter()
        .filter(|column| !key.contains(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    let (all, key) = (names.join(", "), key.join(", "));
    let conflict = if set.is_empty() {
        "NOTHING".to_owned()
    } else {
        let (new, old) = (order("excluded").join(", "), order("old").join(", "));
        format!("UPDATE SET {} WHERE ROW({new}) > ROW({old})", set.join(", "))
    };
    format!(
        "INSERT INTO {target} AS old ({all}) SELECT DISTINCT ON ({key}) {all} FROM {stage} AS new \
         ORDER BY {key}, {} ON CONFLICT ({key}) DO {conflict}",
        newest.join(", ")
    )
}
