//! The stores, rows to write into them, and readers that share no code with the writer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::row::table::{Column, Of, Repeats, Shape, TableRow, TableRows, When};
use chalk_writer::sink::{Outcome, Sink, SinkError, Write};
use chalk_writer::store::{METRICS, Store, StoreError, StoreLimits, StoreOptions};
use chalk_writer::value::Value;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value as Json};

use crate::postgres::{PostgresServer, Version};

/// 2026-11-22T18:32:00.123456Z
pub(crate) const NOON: i64 = 1_795_372_320_123_456;

pub(crate) type Opened = Arc<dyn Sink<TableRows>>;
/// A row without its nulls.
pub(crate) type Found = Map<String, Json>;

pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(Box<PostgresServer>),
}

/// One of every kind of every store of the registry.
pub(crate) fn places() -> Vec<Place> {
    METRICS.stores().flat_map(|(store, _)| start_all(store)).collect()
}

/// Every kind of place that the tables of a store may live in.
pub(crate) fn start_all(store: &Store) -> Vec<Place> {
    match store.schemes[0] {
        "sqlite" => vec![sqlite()],
        "postgres" => vec![postgres(Version::Debian), postgres(Version::Newest)],
        other => panic!("the tables of `{other}` have no place to be tested in: add one here"),
    }
}

pub(crate) fn sqlite() -> Place {
    Place::Sqlite(tempfile::tempdir().expect("a folder"))
}

pub(crate) fn postgres(version: Version) -> Place {
    Place::Postgres(Box::new(PostgresServer::start(version, &[])))
}

pub(crate) fn open_uri(uri: &str) -> Result<Opened, StoreError> {
    let limits = StoreLimits { concurrency: 4, tombstone_retention: Duration::from_secs(60), memory_limit: 64 << 20 };
    METRICS.open(&StoreOptions::of(uri, limits))
}

impl Place {
    pub(crate) fn uri(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}/metrics.db", folder.path().display()),
            Self::Postgres(server) => server.uri(),
        }
    }

    pub(crate) fn open(&self) -> Opened {
        open_uri(&self.uri()).expect("the store opens")
    }

    /// The file of SQLite, as another program opens it.
    pub(crate) fn file(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.uri().trim_start_matches("sqlite://")).expect("a file")
    }

    /// Runs SQL that both understand; tables are named without a schema.
    pub(crate) fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => self.file().execute_batch(sql).expect(sql),
            Self::Postgres(server) => drop(server.sql(&format!("SET search_path = chalk; {sql}"))),
        }
    }

    /// The rows of a table or view in the order of their text. Times are as RFC 3339 with a `Z`, booleans 0 and 1, and
    /// lists and objects themselves, wherever they come from.
    pub(crate) fn rows(&self, table: &str) -> Vec<Found> {
        let mut rows = match self {
            Self::Sqlite(_) => self.rows_of_sqlite(table),
            Self::Postgres(server) => server
                .texts("jsonb_strip_nulls(to_jsonb(whole))", &format!("chalk.{table} whole"))
                .iter()
                .map(|line| match serde_json::from_str(line).expect("JSON") {
                    Json::Object(row) => row.into_iter().map(|(name, value)| (name, plain(value))).collect(),
                    other => panic!("{other} is no row"),
                })
                .collect(),
        };
        rows.sort_by_key(|row: &Found| Json::Object(row.clone()).to_string());
        rows
    }

    fn rows_of_sqlite(&self, table: &str) -> Vec<Found> {
        let file = self.file();
        let mut statement = file.prepare(&format!("SELECT * FROM {table}")).expect("the table");
        let names: Vec<String> = statement.column_names().map(ToOwned::to_owned).collect();
        let mut rows = statement.query([]).expect("rows");
        let mut found = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            let cells = names.iter().enumerate().filter_map(|(at, name)| {
                let value = match row.get_ref(at).expect("a value") {
                    ValueRef::Null => return None,
                    ValueRef::Integer(number) => Json::from(number),
                    ValueRef::Real(number) => Json::from(number),
                    ValueRef::Blob(bytes) => Json::from(bytes),
                    ValueRef::Text(text) => match str::from_utf8(text).expect("UTF-8") {
                        text if text.starts_with(['[', '{']) => serde_json::from_str(text).expect("JSON"),
                        text => Json::from(text),
                    },
                };
                Some((name.clone(), value))
            });
            found.push(cells.collect());
        }
        found
    }
}

pub(crate) fn plain(value: Json) -> Json {
    match value {
        Json::Bool(value) => Json::from(i64::from(value)),
        Json::String(text) => match text.strip_suffix("+00:00") {
            Some(time) => Json::from(format!("{time}Z")),
            None => Json::from(text),
        },
        other => other,
    }
}

/// A shape of any columns, named in `table` by the first; keyed by those whose name ends in `*`.
pub(crate) fn shape(table: &str, columns: &[(&str, Option<&str>)], repeats: Repeats) -> Arc<Shape> {
    let key = columns.iter().enumerate().filter(|(_, (name, _))| name.ends_with('*')).map(|(at, _)| at).collect();
    let time = columns.iter().position(|(name, _)| *name == "at").unwrap_or_default();
    let columns = columns.iter().map(|(name, data_type)| Column {
        name: name.trim_end_matches('*').into(),
        data_type: data_type.map(|text| text.parse().expect("a known type")),
    });
    let (columns, time) = (columns.collect(), When::Column(time));
    Arc::new(Shape {
        schema: None,
        table: table.into(),
        columns,
        time,
        name: 0,
        key,
        repeats,
        create: true,
        of: Of::Anything,
    })
}

pub(crate) fn row(shape: &Arc<Shape>, values: impl IntoIterator<Item = Value>) -> TableRow {
    TableRow { destination: 0, shape: Arc::clone(shape), values: values.into_iter().collect() }
}

/// A row of a shape with these of its columns.
pub(crate) fn of(shape: &Arc<Shape>, cells: &[(&str, Value)]) -> TableRow {
    let mut cells: BTreeMap<&str, Value> = cells.iter().cloned().collect();
    let values = shape.columns.iter().map(|column| cells.remove(&*column.name).unwrap_or(Value::Null)).collect();
    assert!(cells.is_empty(), "{cells:?} are no columns");
    TableRow { destination: 0, shape: Arc::clone(shape), values }
}

pub(crate) async fn write(store: &Opened, rows: &[TableRow]) -> Result<Outcome, SinkError> {
    let rows: Vec<TableRows> = rows.iter().cloned().map(TableRows::Row).collect();
    let rows: Vec<&TableRows> = rows.iter().collect();
    store.write(Write { id: "w", rows: &rows, concurrency: 2 }).await
}

/// Writes rows again until they are taken, as the runtime does.
pub(crate) async fn written(store: &Opened, rows: &[TableRow]) -> Outcome {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match write(store, rows).await {
            Ok(outcome) => return outcome,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "still {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
