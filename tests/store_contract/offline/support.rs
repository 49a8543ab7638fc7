//! Rows to write, and a reader of what was written that shares no code with the writer.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType as Arrow, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use chalk_writer::row::table::{Column, Of, Repeats, Shape, TableRow, TableRows, When};
use chalk_writer::sink::{Outcome, Sink, SinkError, Write};
use chalk_writer::store::{OFFLINE, StoreLimits, StoreOptions, offline};
use chalk_writer::value::{Value, Vector};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// 2026-11-22T18:32:00.123456Z
pub(crate) const NOON: i64 = 1_795_372_320_123_456;
pub(crate) const DAY: i64 = 86_400_000_000;

pub(crate) type Store = Arc<dyn Sink<TableRows>>;
pub(crate) type ReadRow = BTreeMap<String, Value>;

pub(crate) fn open(root: &Path) -> Store {
    open_uri(&format!("file://{}", root.display())).expect("the lake opens")
}

pub(crate) fn open_uri(uri: &str) -> Result<Store, chalk_writer::store::StoreError> {
    let limits = StoreLimits { concurrency: 4, tombstone_retention: Duration::from_secs(60), memory_limit: 64 << 20 };
    OFFLINE.open(&StoreOptions::of(uri, limits)).map(|store| store as Store)
}

/// A shape of the `namespace` layout with these feature columns.
pub(crate) fn shape(table: &str, features: &[(&str, Option<&str>)]) -> Arc<Shape> {
    let system = [("__observation_id__", Some("string")), ("__id__", None), ("__ts__", Some("timestamp"))];
    let columns = system.iter().chain(features).map(|(name, data_type)| Column {
        name: (*name).into(),
        data_type: data_type.map(|text| text.parse().expect("a known type")),
    });
    Arc::new(Shape {
        schema: None,
        table: table.into(),
        columns: columns.collect(),
        time: When::Column(2),
        name: 1,
        key: vec![0],
        repeats: Repeats::First,
        create: true,
        of: Of::History,
    })
}

pub(crate) fn row(shape: &Arc<Shape>, id: i64, time: i64, features: impl IntoIterator<Item = Value>) -> TableRow {
    let system = [Value::text(format!("obs-{id}")), Value::Int(id), Value::Timestamp(time)];
    TableRow { destination: 0, shape: Arc::clone(shape), values: system.into_iter().chain(features).collect() }
}

pub(crate) async fn write(store: &Store, id: &str, rows: &[TableRow]) -> Result<Outcome, SinkError> {
    let rows: Vec<TableRows> = rows.iter().cloned().map(TableRows::Row).collect();
    write_all(store, id, &rows).await
}

pub(crate) async fn write_all(store: &Store, id: &str, rows: &[TableRows]) -> Result<Outcome, SinkError> {
    let rows: Vec<&TableRows> = rows.iter().collect();
    store.write(Write { id, rows: &rows, concurrency: 2 }).await
}

/// Every row of every file of a table; a null is as absent.
pub(crate) fn read(root: &Path, table: &str) -> Vec<ReadRow> {
    let files = offline::lake::read::files(root, table).unwrap_or_default();
    files.iter().flat_map(|file| read_file(file)).collect()
}

pub(crate) fn read_file(file: &Path) -> Vec<ReadRow> {
    let file = File::open(file).expect("a visible file opens");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a visible file is whole").build();
    let mut rows = Vec::new();
    for batch in reader.expect("a reader") {
        let batch = batch.expect("every batch is whole");
        let start = rows.len();
        rows.resize(start + batch.num_rows(), ReadRow::new());
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            for at in 0..batch.num_rows() {
                if !column.is_null(at) {
                    rows[start + at].insert(field.name().clone(), value(column, at));
                }
            }
        }
    }
    rows
}

/// The rows by observation id, doubles (which must be equal) dropped.
pub(crate) fn read_once(root: &Path, table: &str) -> BTreeMap<String, ReadRow> {
    let mut once = BTreeMap::new();
    for mut row in read(root, table) {
        row.remove("__inserted_at__").expect("every row of a namespace says when it was inserted");
        let Some(Value::Text(id)) = row.get("__observation_id__").cloned() else { panic!("{row:?} has no id") };
        if let Some(earlier) = once.insert(id.to_string(), row.clone()) {
            assert_eq!(earlier, row, "two different rows of one id");
        }
    }
    once
}

fn value(array: &dyn Array, at: usize) -> Value {
    if array.is_null(at) || *array.data_type() == Arrow::Null {
        return Value::Null;
    }
    let all = |items: &dyn Array| (0..items.len()).map(|at| value(items, at)).collect::<Vec<_>>();
    match array.data_type() {
        Arrow::Boolean => Value::Bool(array.as_boolean().value(at)),
        Arrow::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(at)),
        Arrow::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(at)),
        Arrow::Float32 => Value::Double(array.as_primitive::<Float32Type>().value(at).into()),
        Arrow::Utf8 => Value::text(array.as_string::<i32>().value(at)),
        Arrow::Binary => Value::Bytes(array.as_binary::<i32>().value(at).to_vec().into()),
        Arrow::Timestamp(..) => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(at)),
        Arrow::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(at)),
        Arrow::Decimal128(..) => Value::Decimal(array.as_primitive::<Decimal128Type>().value_as_string(at).into()),
        Arrow::List(_) => Value::List(all(&array.as_list::<i32>().value(at))),
        Arrow::FixedSizeList(..) => {
            let items = all(&array.as_fixed_size_list().value(at));
            let elements = items.into_iter().map(|item| match item {
                Value::Double(element) => element,
                other => panic!("{other:?} in a vector"),
            });
            Value::Vector(Arc::new(Vector::Fp64(elements.collect())))
        }
        Arrow::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            Value::Struct(fields.iter().zip(columns).map(|(f, c)| (f.name().as_str().into(), value(c, at))).collect())
        }
        other => panic!("{other} was not expected in a lake"),
    }
}

/// A child process that runs one test of this crate with an environment of its own.
pub(crate) fn child(test: &str, environment: &[(&str, &str)]) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this test has a path"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.envs(environment.iter().copied());
    command
}
