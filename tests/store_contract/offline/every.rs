//! What every offline store of the registry must show, and what takes files; the files beside this one show what is
//! particular to each.

use std::collections::BTreeMap;

use chalk_writer::sink::ErrorClass::TypeMismatch;
use chalk_writer::store::{LOADS, OFFLINE, Store as Described};
use chalk_writer::value::Value;
use serde_json::Value as Json;

use super::support::{DAY, NOON, Store, open_uri, read, row, shape, write};
use crate::postgres::PostgresServer;
use crate::tables::place::{Found, plain as plain_json};
use crate::usage::plain;

/// Where history lives.
enum Place {
    Lake(tempfile::TempDir),
    Postgres(Box<PostgresServer>),
}

impl Place {
    fn start(store: &Described) -> Self {
        match store.schemes[0] {
            "file" => Self::Lake(tempfile::tempdir().expect("a folder")),
            "postgres" => Self::Postgres(Box::new(super::postgres::server())),
            other => panic!("the offline store `{other}` has no place to be tested in: add one here"),
        }
    }

    fn open(&self) -> Store {
        let uri = match self {
            Self::Lake(folder) => format!("file://{}", folder.path().display()),
            Self::Postgres(server) => server.uri(),
        };
        open_uri(&uri).expect("the store opens")
    }

    /// The rows of a table by their ids, without `__inserted_at__`, and how many are there that another is the same as.
    fn rows(&self, table: &str) -> (BTreeMap<String, Found>, usize) {
        let rows: Vec<Found> = match self {
            Self::Lake(folder) => read(folder.path(), table).iter().map(|row| plain(row).1).collect(),
            Self::Postgres(server) => server
                .texts("jsonb_strip_nulls(to_jsonb(whole))", &format!("{table} whole"))
                .iter()
                .map(|line| match serde_json::from_str::<Json>(line).expect("JSON") {
                    Json::Object(row) => row.into_iter().map(|(name, value)| (name, plain_json(value))).collect(),
                    other => panic!("{other} is no row"),
                })
                .collect(),
        };
        let count = rows.len();
        let mut once = BTreeMap::new();
        for mut row in rows {
            assert!(row.remove("__inserted_at__").is_some(), "{row:?} does not say when it was inserted");
            let id = row["__observation_id__"].as_str().expect("an id").to_owned();
            if let Some(earlier) = once.insert(id, row.clone()) {
                assert_eq!(earlier, row, "two different rows of one id");
            }
        }
        let doubles = count - once.len();
        (once, doubles)
    }
}

/// Runs a test on each store of the registry, in a place of its own; whether repeats leave no trace there.
async fn on_every_store(test: impl AsyncFn(&Place, bool)) {
    for (store, takes) in OFFLINE.stores() {
        test(&Place::start(store), takes.absorbs_repeats).await;
    }
}

#[test]
fn what_takes_files_is_held_to_this_and_lands_each_load_once() {
    for (store, takes) in LOADS.stores() {
        assert!(OFFLINE.stores().any(|(other, _)| std::ptr::eq(store, other)), "{} has no history", store.name);
        assert!(takes.absorbs_repeats, "{}: a load that is announced again would land again", store.name);
    }
}

#[tokio::test]
async fn what_comes_again_in_another_cut_is_there_once_or_told_by_its_id() {
    on_every_store(async |place, absorbs_repeats| {
        let shape = shape("person", &[("score", None), ("name", None)]);
        let rows: Vec<_> = (0..20)
            .map(|n| row(&shape, n, NOON + n * DAY / 4, [Value::Double(n as f64 / 3.0), Value::text(format!("n{n}"))]))
            .collect();
        write(&place.open(), "first", &rows).await.expect("written");
        let (once, doubles) = place.rows("person");
        assert_eq!((once.len(), doubles), (20, 0));
        let (one, two) = rows.split_at(7);
        write(&place.open(), "second", two).await.expect("written");
        write(&place.open(), "third", one).await.expect("written");
        let expected = if absorbs_repeats { 0 } else { 20 };
        assert_eq!(place.rows("person"), (once, expected));
    })
    .await;
}

#[tokio::test]
async fn an_older_value_stands_beside_a_newer_one() {
    on_every_store(async |place, _| {
        let store = place.open();
        let shape = shape("person", &[("score", None)]);
        for (id, time) in [(2, NOON), (1, NOON - DAY)] {
            let outcome = write(&store, "w", &[row(&shape, id, time, [Value::Int(id)])]).await.expect("written");
            assert_eq!((outcome.stored, outcome.stale), (1, 0));
        }
        let (rows, _) = place.rows("person");
        let scores: Vec<&Json> = rows.values().map(|row| &row["score"]).collect();
        assert_eq!(scores, [&Json::from(1), &Json::from(2)], "history keeps both");
    })
    .await;
}

#[tokio::test]
async fn a_bad_row_fails_alone_and_names_its_column() {
    on_every_store(async |place, _| {
        let shape = shape("person", &[("n", Some("int64"))]);
        let values = [Value::Int(1), Value::text("one"), Value::Int(3)];
        let rows: Vec<_> = (0..).zip(values).map(|(id, value)| row(&shape, id, NOON, [value])).collect();
        let outcome = write(&place.open(), "w", &rows).await.expect("the others are written");
        assert_eq!(outcome.stored, 2);
        let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
        assert_eq!(refused, [(1, TypeMismatch)]);
        assert!(outcome.refused[0].1.message.contains("column `n`"), "{:?}", outcome.refused);
        assert_eq!(place.rows("person").0.into_keys().collect::<Vec<_>>(), ["obs-0", "obs-2"]);
    })
    .await;
}

#[tokio::test]
async fn values_come_back_and_no_name_or_value_is_taken_for_a_command() {
    on_every_store(async |place, _| {
        let name = "a\"'; DROP TABLE person; --";
        let shape = shape("person", &[("select", None), (name, None), ("never", None)]);
        let sent = [Value::Int(9_007_199_254_740_993), Value::text("é 😀 \\ \" ' \r\n; --"), Value::Null];
        write(&place.open(), "w", &[row(&shape, 1, NOON, sent)]).await.expect("written");
        let (rows, _) = place.rows("person");
        let row = &rows["obs-1"];
        assert_eq!(row["select"], Json::from(9_007_199_254_740_993_i64));
        assert_eq!(row[name], Json::from("é 😀 \\ \" ' \r\n; --"));
        assert_eq!((row.get("never"), &row["__id__"]), (None, &Json::from(1)));
        assert_eq!(row["__ts__"], Json::from("2026-11-22T18:32:00.123456Z"));
    })
    .await;
}
