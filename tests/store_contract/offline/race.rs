//! Several writers of one table that change its schema at the same time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use chalk_writer::sink::SinkError;
use chalk_writer::value::Value;
use proptest::prelude::*;

use super::support::{DAY, NOON, child, open, read, read_once, row, shape, write};

const ROOT: &str = "CHALK_WRITER_TEST_RACING_ROOT";
const NUMBER: &str = "CHALK_WRITER_TEST_RACING_NUMBER";
const UNITS: i64 = 25;
const ROWS: i64 = 40;

/// One of the processes that write one table.
#[tokio::test]
#[ignore = "run by the tests of this file"]
async fn a_writer_among_others() {
    let (Ok(root), Ok(number)) = (std::env::var(ROOT), std::env::var(NUMBER)) else { return };
    let number: i64 = number.parse().expect("a number");
    let store = open(Path::new(&root));
    for unit in 0..UNITS {
        let shape = shape("user", &[(&format!("own_{number}_{unit}"), None), (&format!("shared_{unit}"), None)]);
        let rows: Vec<_> = (0..ROWS)
            .map(|n| {
                let id = (number * UNITS + unit) * ROWS + n;
                // One process sends integers where the other sends doubles.
                let shared = if number % 2 == 0 { Value::Int(id) } else { Value::Double(id as f64 + 0.5) };
                row(&shape, id, NOON + n % 3 * DAY, [Value::Int(id), shared])
            })
            .collect();
        let outcome = write(&store, &format!("{number}-{unit}"), &rows).await.expect("written");
        assert_eq!(outcome.stored, ROWS as u64);
    }
}

#[test]
fn processes_that_add_and_widen_columns_at_once_lose_no_row_and_no_column() {
    let root = tempfile::tempdir().expect("folder");
    let path = root.path().to_str().expect("text");
    let writers: Vec<_> = (0..3)
        .map(|number| {
            let environment = [(ROOT, path), (NUMBER, &*number.to_string())];
            let mut command = child("offline::race::a_writer_among_others", &environment);
            command.stdout(Stdio::null()).spawn().expect("this test runs again")
        })
        .collect();
    for mut writer in writers {
        assert!(writer.wait().expect("it ends").success());
    }
    let found = read_once(root.path(), "user");
    assert_eq!(found.len() as i64, 3 * UNITS * ROWS);
    for number in 0..3 {
        for unit in 0..UNITS {
            let id = (number * UNITS + unit) * ROWS;
            let row = &found[&format!("obs-{id}")];
            assert_eq!(row[&format!("own_{number}_{unit}")], Value::Int(id));
            let shared = match &row[&format!("shared_{unit}")] {
                Value::Int(value) => *value as f64,
                Value::Double(value) => *value,
                other => panic!("{other:?}"),
            };
            // Halves are exact.
            let expected = id as f64 + if number % 2 == 0 { 0.0 } else { 0.5 };
            assert!((shared - expected).abs() < 0.25, "{shared} for {expected}");
        }
    }
    let newest = newest_schema(root.path(), "user");
    assert_eq!(newest.len() as i64, 4 + 3 * UNITS + UNITS);
    assert!((0..UNITS).all(|unit| newest[&format!("shared_{unit}")] == "float64"));
}

fn newest_schema(root: &Path, table: &str) -> BTreeMap<String, String> {
    let mut versions: Vec<_> =
        std::fs::read_dir(root.join("_schema").join(table)).expect("there").map(|e| e.expect("entry").path()).collect();
    versions.sort();
    let names: Vec<_> = versions.iter().map(|path| path.file_name().expect("named").to_str().expect("text")).collect();
    let expected: Vec<_> = (1..=versions.len()).map(|version| format!("v{version:06}.json")).collect();
    assert_eq!(names, expected, "versions are numbered without a gap, and nothing else lies there");
    let text = std::fs::read(versions.last().expect("at least one")).expect("readable");
    let schema: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let columns = schema["columns"].as_array().expect("columns").iter();
    columns
        .map(|c| (c["name"].as_str().expect("name").to_owned(), c["type"].as_str().unwrap_or("?").to_owned()))
        .collect()
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Int,
    Double,
    Text,
}

impl Kind {
    fn value(self) -> Value {
        match self {
            Self::Int => Value::Int(7),
            Self::Double => Value::Double(7.0),
            Self::Text => Value::text("7"),
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Int), Just(Kind::Double), Just(Kind::Text)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Threads, each with a lake of its own, write columns of random types: every column ends with one
    /// type, rows that it holds are there, and the others were refused to their writer.
    #[test]
    fn writers_that_disagree_about_types_agree_on_one(
        writers in prop::collection::vec(prop::collection::vec((0..3_usize, kind()), 1..8), 2..5)
    ) {
        let root = tempfile::tempdir().expect("folder");
        let start = std::sync::Barrier::new(writers.len());
        let landed: Vec<(i64, String, Value, bool)> = std::thread::scope(|scope| {
            let run = |number: usize, units: &[(usize, Kind)]| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let store = open(root.path());
                start.wait();
                let mut landed = Vec::new();
                for (at, (column, kind)) in units.iter().enumerate() {
                    let (name, id) = (format!("c{column}"), (number * 100 + at) as i64);
                    let rows = [row(&shape("user", &[(&name, None)]), id, NOON, [kind.value()])];
                    let outcome = runtime.block_on(write(&store, &id.to_string(), &rows)).expect("an answer");
                    landed.push((id, name, kind.value(), outcome.refused.is_empty()));
                }
                landed
            };
            let threads: Vec<_> =
                writers.iter().enumerate().map(|(number, units)| scope.spawn(move || run(number, units))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let found = read_once(root.path(), "user");
        prop_assert_eq!(found.len(), landed.iter().filter(|(.., stored)| *stored).count());
        prop_assert_eq!(read(root.path(), "user").len(), found.len());
        let types = newest_schema(root.path(), "user");
        for (id, column, sent, stored) in landed {
            let number = matches!(sent, Value::Int(_) | Value::Double(_));
            let holds = (types[&column] == "string") != number;
            prop_assert_eq!(stored, holds, "{:?} under {} of type {}", sent, &column, &types[&column]);
            if stored && types[&column] == "int64" {
                prop_assert_eq!(&found[&format!("obs-{id}")][&column], &Value::Int(7));
            }
        }
    }
}

#[tokio::test]
async fn a_lake_deleted_under_a_writer_begins_anew_with_what_others_made_of_it() {
    let root = tempfile::tempdir().expect("folder");
    let lake = root.path().join("lake");
    let (one, two) = (open(&lake), open(&lake));
    let shape = shape("user", &[("n", None)]);
    write(&one, "1", &[row(&shape, 1, NOON, [Value::Int(1)])]).await.expect("written");
    std::fs::remove_dir_all(&lake).expect("removed");
    write(&two, "2", &[row(&shape, 2, NOON, [Value::text("two")])]).await.expect("written");
    let rows = [row(&shape, 3, NOON, [Value::Int(3)]), row(&shape, 4, NOON, [Value::text("four")])];
    let outcome = write(&one, "3", &rows).await.expect("written");
    assert_eq!(outcome.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0]);
    assert_eq!(newest_schema(&lake, "user")["n"], "string");
    assert_eq!(read_once(&lake, "user").len(), 2);

    std::fs::remove_dir_all(&lake).expect("removed");
    let denied = write(&one, "4", &[row(&shape, 5, NOON, [Value::Int(5)])]).await.expect_err("it is not made again");
    assert!(matches!(&denied, SinkError::Denied { reason } if reason.contains("is gone")), "{denied}");
    assert!(!lake.exists());
    std::fs::create_dir(&lake).expect("made by hand");
    write(&one, "4", &[row(&shape, 5, NOON, [Value::Int(5)])]).await.expect("written");
    assert_eq!(newest_schema(&lake, "user")["n"], "int64", "a lake that is gone leaves no types behind");
    assert_eq!(read(&lake, "user").len(), 1);
}
