//! What every usage store must show: each event once where there are keys, and told by its id where there are none.
//!
//! How tables with keys behave beyond that is shown for metrics, which are kept by the same code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::config::StoreKind;
use chalk_writer::row::table::{Shape, TableRow, TableRows};
use chalk_writer::sink::{ErrorClass, Write};
use chalk_writer::store::usage::shapes;
use chalk_writer::store::{STORES, Store, StoreError, StoreLimits, StoreOptions, USAGE, open_look};
use chalk_writer::value::Value;
use serde_json::{Value as Json, json};

use crate::offline::support::read;
use crate::tables::place::{Found, NOON, Opened, Place, of, start_all, write};

enum Kept {
    Keyed(Place),
    Lake(tempfile::TempDir),
}

/// One of every kind of every store of the registry.
fn all() -> Vec<Kept> {
    let places = |store: &Store| match store.schemes[0] {
        "file" => vec![Kept::Lake(tempfile::tempdir().expect("a folder"))],
        _ => start_all(store).into_iter().map(Kept::Keyed).collect(),
    };
    USAGE.stores().flat_map(|(store, _)| places(store)).collect()
}

fn open(uri: &str) -> Result<Opened, StoreError> {
    USAGE.open(&options(uri))
}

fn options(uri: &str) -> StoreOptions {
    let limits = StoreLimits { concurrency: 4, tombstone_retention: Duration::from_secs(60), memory_limit: 64 << 20 };
    StoreOptions::of(uri, limits)
}

impl Kept {
    fn uri(&self) -> String {
        match self {
            Self::Keyed(place) => place.uri(),
            Self::Lake(folder) => format!("file://{}", folder.path().display()),
        }
    }

    fn open(&self) -> Opened {
        open(&self.uri()).expect("it opens")
    }

    /// The rows of a table, and how many of them are there more than once.
    fn rows(&self, table: &str) -> (Vec<Found>, usize) {
        match self {
            Self::Keyed(place) => (place.rows(table), 0),
            Self::Lake(folder) => {
                let rows = read(folder.path(), table);
                let count = rows.len();
                let once: BTreeMap<String, Found> = rows.into_iter().map(|row| plain(&row)).collect();
                let doubles = count - once.len();
                (once.into_values().collect(), doubles)
            }
        }
    }
}

/// A row of a lake as the other stores have it, by its text.
pub(crate) fn plain(row: &BTreeMap<String, Value>) -> (String, Found) {
    let cell = |value: &Value| match value {
        Value::Text(text) if text.starts_with('{') => serde_json::from_str(text).expect("JSON"),
        Value::Text(text) => Json::from(&**text),
        Value::Bool(value) => Json::from(i64::from(*value)),
        Value::Int(number) => Json::from(*number),
        Value::Double(number) => Json::from(*number),
        Value::Timestamp(time) => Json::from(chalk_writer::value::time::format_timestamp(*time)),
        other => panic!("{other:?} in a table of usage"),
    };
    let found: Found = row.iter().map(|(name, value)| (name.clone(), cell(value))).collect();
    (Json::Object(found.clone()).to_string(), found)
}

fn event(id: &str, quantity: f64) -> TableRow {
    let cells = [
        ("event_id", Value::text(id.to_owned())),
        ("environment_id", Value::text("prod")),
        ("quantity", Value::Double(quantity)),
        ("started_at", Value::Timestamp(NOON)),
        ("dimensions", Value::Struct(vec![("a\"'".into(), Value::text("é 😀")), ("date".into(), Value::text(""))])),
    ];
    of(&shapes::usage_events(), &cells)
}

fn status(shape: &Arc<Shape>, uid: &str, seen: i64) -> TableRow {
    let cells = [
        ("cluster", Value::text("")),
        ("uid", Value::text(uid.to_owned())),
        ("observed_timestamp", Value::Timestamp(seen)),
        ("labels", Value::Struct(vec![])),
    ];
    of(shape, &cells)
}

#[test]
fn what_is_no_usage_store_is_refused_without_showing_the_rest_of_the_uri() {
    let Err(error) = open("bigquery://hunter2/dataset") else { panic!("it was opened") };
    assert!(error.0.contains("usage store: scheme `bigquery` is not in this version"), "{error}");
    let Err(error) = open("file:lake") else { panic!("it was opened") };
    assert!(error.0.starts_with("usage store `file:lake`: "), "{error}");
}

#[tokio::test]
async fn what_comes_again_in_whatever_cut_is_there_once_or_told_by_its_key() {
    for kept in all() {
        let (nodes, pods) = (shapes::node_status(), shapes::pod_status());
        let events = (0..40).map(|n| event(&format!("e-{n:02}"), f64::from(n)));
        let seen = (0..10).flat_map(|n| [status(&nodes, "n", NOON + n), status(&pods, "n", NOON + n)]);
        let rows: Vec<TableRow> = events.chain(seen).collect();
        let outcome = write(&kept.open(), &rows).await.expect("written");
        assert_eq!((outcome.stored, outcome.refused.len()), (60, 0));
        let tables = ["usage_events", "node_status", "pod_status"];
        let once = tables.map(|table| kept.rows(table));
        assert_eq!(once.each_ref().map(|(rows, doubles)| (rows.len(), *doubles)), [(40, 0), (10, 0), (10, 0)]);
        assert_eq!(once[0].0[7]["dimensions"], json!({"a\"'": "é 😀", "date": ""}));
        assert_eq!(once[1].0[0]["labels"], json!({}));
        let store = kept.open();
        for (at, part) in rows.chunks(17).rev().enumerate() {
            let part: Vec<TableRows> = part.iter().cloned().map(TableRows::Row).collect();
            let part: Vec<&TableRows> = part.iter().collect();
            // Another cut is another write: a lake replaces the files of one that is repeated.
            let write = Write { id: &format!("again-{at}"), rows: &part, concurrency: 2 };
            store.write(write).await.expect("written");
        }
        let again = tables.map(|table| kept.rows(table));
        assert_eq!(again.each_ref().map(|(rows, _)| rows), once.each_ref().map(|(rows, _)| rows));
        let doubles: usize = again.iter().map(|(_, doubles)| doubles).sum();
        assert_eq!(doubles, if matches!(kept, Kept::Lake(_)) { 60 } else { 0 });
    }
}

#[tokio::test]
async fn of_two_events_of_one_id_the_first_is_counted() {
    for kept in all().into_iter().filter(|kept| matches!(kept, Kept::Keyed(_))) {
        let store = kept.open();
        let outcome = write(&store, &[event("e", 1.0), event("e", 2.0)]).await.expect("written");
        assert_eq!((outcome.stored, outcome.stale), (1, 1));
        let outcome = write(&kept.open(), &[event("e", 3.0)]).await.expect("written");
        assert_eq!((outcome.stored, outcome.stale), (0, 1));
        assert_eq!(kept.rows("usage_events").0[0]["quantity"], 1.0);
    }
}

#[tokio::test]
async fn a_bad_event_fails_alone() {
    for kept in all() {
        let with = |name: &str, value: Value| {
            let mut row = event("bad", 1.0);
            let at = row.shape.columns.iter().position(|column| column.name == name).expect("a column");
            row.values[at] = value;
            row
        };
        let rows = [
            event("first", 1.0),
            with("ended_at", Value::Timestamp(i64::MAX)),
            with("cost_micros", Value::text("much")),
            event("last", 2.0),
        ];
        let outcome = write(&kept.open(), &rows).await.expect("the others are written");
        let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
        assert_eq!(refused, [(1, ErrorClass::ValueRefused), (2, ErrorClass::TypeMismatch)]);
        assert_eq!(outcome.refused[0].1.row.as_deref(), Some("usage_events/bad"));
        let ids: Vec<_> = kept.rows("usage_events").0.iter().map(|row| row["event_id"].clone()).collect();
        assert_eq!(ids, ["first", "last"]);
    }
}

#[tokio::test]
async fn large_numbers_and_odd_texts_survive() {
    for kept in all() {
        let cells = [
            ("event_id", Value::text("'; DROP TABLE usage_events; --")),
            ("environment_id", Value::text("prod")),
            ("subject", Value::text("Ünï\u{10ffff}\u{1}\n\\ '\"")),
            ("quantity", Value::Double(-1.5e300)),
            ("started_at", Value::Timestamp(-62_135_596_800_000_000)),
            ("ended_at", Value::Timestamp(253_402_300_799_999_999)),
            ("cost_micros", Value::Int(i64::MAX)),
        ];
        write(&kept.open(), &[of(&shapes::usage_events(), &cells)]).await.expect("written");
        let found = &kept.rows("usage_events").0[0];
        assert_eq!(found["event_id"], "'; DROP TABLE usage_events; --");
        assert_eq!(found["subject"], "Ünï\u{10ffff}\u{1}\n\\ '\"");
        assert_eq!((&found["quantity"], &found["cost_micros"]), (&json!(-1.5e300), &json!(i64::MAX)));
        let times = (&found["started_at"], &found["ended_at"]);
        assert!(times.0.as_str().is_some_and(|time| time.starts_with("0001-01-01T00:00:00")), "{times:?}");
        assert_eq!(times.1, "9999-12-31T23:59:59.999999Z");
        assert!(!found.contains_key("team") && !found.contains_key("dimensions"));
    }
}

/// A look reads with what the store was written by, and each kind of it has a file of its own.
#[tokio::test]
async fn what_is_there_can_be_looked_at() {
    for kept in all() {
        let look = open_look(StoreKind::Usage, &options(&kept.uri())).expect("it opens");
        assert_eq!(look.tables().await.expect("an answer"), [], "nothing was written yet");
        let at = |n: i64| {
            let mut row = event(&format!("e-{n}"), 0.25);
            let time = row.shape.columns.iter().position(|column| column.name == "started_at").expect("a column");
            row.values[time] = Value::Timestamp(NOON + n);
            row
        };
        let mut rows: Vec<TableRow> = (0..5).map(at).collect();
        rows.push(status(&shapes::node_status(), "n", NOON));
        write(&kept.open(), &rows).await.expect("written");
        let tables = look.tables().await.expect("an answer");
        let tables: Vec<_> = tables.iter().map(|table| (&*table.name, table.rows, table.is_estimate)).collect();
        assert_eq!(tables, [("node_status", Some(1), false), ("usage_events", Some(5), false)]);
        let newest = look.rows("usage_events", 2).await.expect("rows");
        assert_eq!((newest.columns.len(), newest.columns[0].as_str(), newest.rows.len()), (11, "event_id", 2));
        let cells: Vec<&str> = newest.rows[0].iter().map(|cell| cell.get()).collect();
        assert_eq!((cells[5], cells[2]), ("0.25", "null"));
        if let Kept::Keyed(_) = kept {
            assert_eq!((cells[0], newest.rows[1][0].get()), ("\"e-4\"", "\"e-3\""), "the newest first");
            let dimensions: Json = serde_json::from_str(cells[10]).expect("JSON");
            assert_eq!(dimensions, json!({"a\"'": "é 😀", "date": ""}), "JSON is itself");
        }
        let error = look.rows("odd\"; --", 1).await.expect_err("no such table").to_string();
        assert_eq!(error, "no table `odd\"; --`; there is `node_status`, `usage_events`");
    }
    let Err(error) = open_look(StoreKind::Online, &options("redis://:hunter2@host")) else { panic!("it was opened") };
    assert!(error.0.contains("no tables to show in a `redis:` store") && !error.0.contains("hunter2"), "{error}");
    let schemes: Vec<&str> =
        STORES.iter().filter(|store| store.look.is_some()).flat_map(|store| store.schemes).copied().collect();
    assert_eq!(schemes, ["sqlite", "postgres", "postgresql", "file"], "a look that this test does not have");
}
