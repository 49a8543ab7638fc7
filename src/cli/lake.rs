//! A look into a lake: how much lies in each table, and a few of its rows.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::store::offline::lake::read;

use super::output::{self, count, grouped, shortened};

/// Rows and columns that are shown of a table: what fits in a terminal.
const ROWS: usize = 3;
const COLUMNS: usize = 6;

/// Prints every table of a lake.
pub(super) fn print(root: &Path) -> anyhow::Result<()> {
    for table in read::tables(root)? {
        let files = read::files(root, &table)?;
        let mut bytes = 0;
        for file in &files {
            bytes += file.metadata()?.len();
        }
        output::line(format!(
            "\noffline store, table {table}: {} in {}, {} kB",
            count(read::count(root, &table)?, "row"),
            count(files.len() as u64, "parquet file"),
            grouped(bytes / 1000)
        ))?;
        if let Some(rows) = read::sample(root, &table, ROWS)? {
            output::line(text(&rows)?)?;
        }
    }
    Ok(())
}

fn text(rows: &RecordBatch) -> Result<String, ArrowError> {
    let names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    let shown = interesting(&names);
    let options = FormatOptions::default().with_null("null");
    let shown_columns: Vec<ArrayRef> = shown.iter().map(|at| with_offset(rows.column(*at))).collect();
    let columns = shown_columns.iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let mut table = output::table([]);
    table.set_header(shown.iter().map(|at| output::inline(&names[*at])));
    for row in 0..rows.num_rows() {
        table.add_row(columns.iter().map(|column| shortened(&column.value(row).to_string(), 28)));
    }
    Ok(table.trim_fmt())
}

/// A time's zone as an offset: names of zones need a database that nothing else here needs.
fn with_offset(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) if times.timezone().is_some() => Arc::new(times.clone().with_timezone("+00:00")),
        _ => Arc::clone(column),
    }
}

/// Which columns tell most about a row: its key and time, then those that are features.
fn interesting(names: &[String]) -> Vec<usize> {
    let first = ["__id__", "__ts__"].iter().filter_map(|name| names.iter().position(|known| known == name));
    let features = names.iter().enumerate().filter(|(_, name)| !name.starts_with("__")).map(|(at, _)| at);
    first.chain(features).take(COLUMNS).collect()
}
