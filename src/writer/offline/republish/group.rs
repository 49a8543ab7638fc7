//! Rows by their environment, and in parts that are small enough.

use std::borrow::Cow;

use bytestring::ByteString;

use crate::row::table::{ColumnData, Shape};
use crate::store::tables::prepare::{Part, Taken};
use crate::value::Value;
use crate::writer::offline::{query_log, shapes};

/// Rows by the environment that is in their own column of it.
pub(super) fn by_environment<'a>(rows: &[Taken<'a>]) -> Vec<(ByteString, Vec<Taken<'a>>)> {
    let mut groups: Vec<(ByteString, Vec<Taken<'a>>)> = Vec::new();
    for Taken { index, rows } in rows {
        for (environment, rows) in apart(rows) {
            let taken = Taken { index: *index, rows };
            match groups.iter_mut().find(|(known, _)| *known == environment) {
                Some((_, group)) => group.push(taken),
                None => groups.push((environment, vec![taken])),
            }
        }
    }
    groups
}

fn apart<'a>(rows: &Part<'a>) -> Vec<(ByteString, Part<'a>)> {
    let text = |value: Option<&Value>| match value {
        Some(Value::Text(text)) => text.clone(),
        _ => ByteString::new(),
    };
    let at = environment_column(rows.shape());
    match rows {
        Part::Row(row) => vec![(text(at.and_then(|at| row.values.get(at))), Part::Row(row))],
        Part::Columns(columns, selected) => match at.and_then(|at| columns.columns.get(at)) {
            None => vec![(ByteString::new(), rows.clone())],
            Some(ColumnData::Constant(value)) => vec![(text(Some(value)), rows.clone())],
            Some(data) => {
                let values = data.values(0, columns.rows);
                let mut groups: Vec<(ByteString, Vec<u32>)> = Vec::new();
                for row in selected {
                    let environment = text(values.get(*row as usize));
                    match groups.iter_mut().find(|(known, _)| *known == environment) {
                        Some((_, group)) => group.push(*row),
                        None => groups.push((environment, vec![*row])),
                    }
                }
                groups.into_iter().map(|(environment, rows)| (environment, Part::Columns(columns, rows))).collect()
            }
        },
    }
}

fn environment_column(shape: &Shape) -> Option<usize> {
    let of = |name: &str| shape.columns.iter().position(|column| column.name == name);
    of(shapes::SYSTEM[shapes::ENVIRONMENT]).or_else(|| of(query_log::COLUMNS[query_log::ENVIRONMENT_ID]))
}

/// How many rows they are.
pub(super) fn count(rows: &[Taken<'_>]) -> usize {
    rows.iter().map(|taken| taken.rows.count()).sum()
}

/// In how many parts rows should go so that each is far from being too large for who reads it: of its bytes and values,
/// which may grow on the way, a quarter of what is taken.
pub(super) fn parts_for_memory(rows: &[Taken<'_>], columns: usize, most: usize) -> usize {
    let size = |taken: &Taken<'_>| match &taken.rows {
        Part::Row(row) => row.size(),
        Part::Columns(columns, rows) => columns.size() / columns.rows.max(1) * rows.len(),
    };
    // Each column counts its rows, the pages of it count them once more.
    let values = count(rows) * (1 + 2 * columns);
    rows.iter().map(size).sum::<usize>().max(values).div_ceil((most / 4).max(1))
}

/// Rows in so many parts of about as many each, in their order; no part is empty.
pub(super) fn split(rows: Vec<Taken<'_>>, parts: usize) -> Vec<Vec<Taken<'_>>> {
    let each = count(&rows).div_ceil(parts.max(2)).max(1);
    let (mut all, mut part, mut room) = (Vec::new(), Vec::new(), each);
    for Taken { index, rows } in rows {
        let mut rest = Some(rows);
        while let Some(rows) = rest.take() {
            let (now, later) = first(rows, room);
            room -= now.count();
            part.push(Taken { index, rows: now });
            if room == 0 {
                all.push(std::mem::take(&mut part));
                room = each;
            }
            rest = later;
        }
    }
    if !part.is_empty() {
        all.push(part);
    }
    all
}

/// The first rows, at most so many, and the rest.
fn first(rows: Part<'_>, most: usize) -> (Part<'_>, Option<Part<'_>>) {
    match rows {
        Part::Columns(columns, mut rows) if rows.len() > most => {
            let later = rows.split_off(most);
            (Part::Columns(columns, rows), Some(Part::Columns(columns, later)))
        }
        whole => (whole, None),
    }
}

/// The latest of the rows' own times.
pub(super) fn newest(rows: &[Taken<'_>]) -> Option<i64> {
    let time = |value: &Value| match value {
        Value::Timestamp(time) => Some(*time),
        _ => None,
    };
    let of_part = |taken: &Taken<'_>| {
        let at = taken.rows.shape().time.column()?;
        match &taken.rows {
            Part::Row(row) => time(row.values.get(at)?),
            Part::Columns(columns, rows) => {
                let values: Cow<'_, [Value]> = match columns.columns.get(at)? {
                    ColumnData::Values(values) => Cow::Borrowed(values),
                    other => Cow::Owned(other.values(0, columns.rows)),
                };
                rows.iter().filter_map(|row| time(values.get(*row as usize)?)).max()
            }
        }
    };
    rows.iter().filter_map(of_part).max()
}
