//! What is in a store, row by row, without the time at which the store wrote it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use chalk_writer::store::offline::lake::read;
use chalk_writer::value::Value as Cell;
use chalk_writer::value::arrow::values;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::postgres::PostgresServer;

const INSERTED_AT: &str = "__inserted_at__";

/// Columns with their types, and rows, sorted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<String>,
}

pub(crate) type Tables = BTreeMap<String, Table>;

/// The tables of a schema of Postgres.
pub(crate) fn postgres(server: &PostgresServer, schema: &str) -> Tables {
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let names = lines(server.sql(&format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1")));
    names
        .into_iter()
        .map(|name| {
            let columns = format!(
                "SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
                 WHERE a.attrelid = '{schema}.\"{name}\"'::regclass AND a.attnum > 0 ORDER BY 1"
            );
            let keys = format!(
                "SELECT 'key ' || string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_index i \
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
                 WHERE i.indrelid = '{schema}.\"{name}\"'::regclass GROUP BY i.indexrelid"
            );
            let columns = [lines(server.sql(&columns)), lines(server.sql(&keys))].concat();
            // As text, so that `1` and `1.0` are two.
            let rows = format!(
                "SELECT r FROM (SELECT (to_jsonb(t) - '{INSERTED_AT}')::text AS r FROM {schema}.\"{name}\" t) s \
                 ORDER BY r COLLATE \"C\""
            );
            let rows = lines(server.sql(&rows));
            (name, Table { columns, rows })
        })
        .collect()
}

/// The tables of a lake: each row with the folder of its day.
pub(crate) fn lake(root: &Path) -> Tables {
    let names = read::tables(root).expect("a lake");
    names
        .into_iter()
        .map(|name| {
            let mut rows = Vec::new();
            for file in read::files(root, &name).expect("files") {
                let day = file.parent().and_then(Path::file_name).expect("a day").to_string_lossy().into_owned();
                let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file).expect("a file"));
                for batch in reader.expect("parquet").build().expect("a reader") {
                    let batch = batch.expect("a batch");
                    let schema = batch.schema();
                    let columns: Vec<(&str, Vec<Cell>)> = schema
                        .fields()
                        .iter()
                        .zip(batch.columns())
                        .filter(|(field, _)| field.name() != INSERTED_AT)
                        .map(|(field, array)| (field.name().as_str(), values(array)))
                        .collect();
                    for at in 0..batch.num_rows() {
                        let cells = columns.iter().map(|(name, cells)| (*name, &cells[at]));
                        let cells: BTreeMap<_, _> = cells.filter(|(_, cell)| **cell != Cell::Null).collect();
                        rows.push(format!("{day} {cells:?}"));
                    }
                }
            }
            rows.sort();
            let columns = schema(root, &name);
            (name, Table { columns, rows })
        })
        .collect()
}

/// The newest schema of a table, as its file says it.
fn schema(root: &Path, table: &str) -> Vec<String> {
    let mut versions: Vec<_> = std::fs::read_dir(root.join("_schema").join(table))
        .expect("schemas")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    versions.sort();
    let text = std::fs::read_to_string(versions.last().expect("a version")).expect("a schema");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let mut columns: Vec<String> =
        file["columns"].as_array().expect("columns").iter().map(ToString::to_string).collect();
    columns.sort();
    columns
}
