//! The six points that every store must show (page "stores" of the documentation), for the lake.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use chalk_writer::row::table::{Column, Of, Repeats, Shape, When};
use chalk_writer::sink::ErrorClass::{DimensionMismatch, TypeMismatch, ValueRefused};
use chalk_writer::store::offline::lake;
use chalk_writer::value::{Value, Vector};

use super::support::{DAY, NOON, open, open_uri, read, read_once, row, shape, write};

#[test]
fn another_scheme_is_refused_without_showing_the_rest_of_the_uri() {
    for (uri, expected) in [
        ("s3://key:hunter2@bucket", "not in this version"),
        ("ftp://user:hunter2@host", "scheme `ftp` is not in this version"),
        ("hunter2", "a URI without a scheme"),
    ] {
        let Err(error) = open_uri(uri) else { panic!("{uri} was opened") };
        assert!(error.0.contains(expected) && error.0.contains("known are postgres, postgresql, file"), "{error}");
        assert!(!error.0.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn the_same_message_twice_gives_the_same_rows() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let shape = shape("user", &[("score", None), ("name", None)]);
    let rows: Vec<_> = (0..100)
        .map(|n| row(&shape, n, NOON + n * DAY / 10, [Value::Double(n as f64 / 3.0), Value::text(format!("n{n}"))]))
        .collect();
    write(&store, "first", &rows).await.expect("written");
    let once = read_once(root.path(), "user");
    assert_eq!(once.len(), 100);

    // An attempt of unknown outcome is repeated under its id: the same files, byte for byte as many rows.
    write(&store, "first", &rows).await.expect("written");
    assert_eq!(read(root.path(), "user").len(), 100);

    // After a crash the same rows come in another cut.
    let (one, two) = rows.split_at(37);
    write(&open(root.path()), "second", one).await.expect("written");
    write(&store, "third", two).await.expect("written");
    assert_eq!(read(root.path(), "user").len(), 200);
    assert_eq!(read_once(root.path(), "user"), once);
}

#[tokio::test]
async fn a_lake_is_counted_and_sampled_from_its_newest_rows() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    assert_eq!(lake::read::tables(root.path()).expect("an empty lake"), Vec::<String>::new());
    let shape = shape("user", &[("n", None)]);
    let rows: Vec<_> = (0..30).map(|n| row(&shape, n, NOON + n / 10 * DAY, [Value::Int(n)])).collect();
    write(&store, "w", &rows).await.expect("written");
    assert_eq!(lake::read::count(root.path(), "user").expect("counted"), 30);
    let sample = lake::read::sample(root.path(), "user", 15).expect("read").expect("there are rows");
    assert_eq!(sample.num_rows(), 15);
    let newest = sample.column_by_name("__id__").expect("ids").as_primitive::<Int64Type>().value(0);
    assert_eq!(newest, 20);
    assert!(lake::read::sample(&root.path().join("none"), "user", 1).is_err());
}

#[tokio::test]
async fn an_older_value_stands_beside_a_newer_one() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let shape = shape("user", &[("score", None)]);
    write(&store, "new", &[row(&shape, 1, NOON, [Value::Int(2)])]).await.expect("written");
    let mut older = row(&shape, 1, NOON - DAY, [Value::Int(1)]);
    older.values[0] = Value::text("obs-older");
    let outcome = write(&store, "old", &[older]).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (1, 0));
    let scores: Vec<Value> = read(root.path(), "user").into_iter().map(|row| row["score"].clone()).collect();
    assert_eq!(scores, [Value::Int(1), Value::Int(2)], "history keeps both, each under its own date");
}

#[tokio::test]
async fn bad_rows_of_a_batch_fail_alone_and_say_why() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let shape = shape("user", &[("n", None), ("v", None), ("d", Some("decimal(4,2)")), ("x", None)]);
    let vector = |n: usize| Value::Vector(Arc::new(Vector::Fp32(vec![0.5; n])));
    let ok = || [Value::Int(1), vector(2), Value::Decimal("1.50".into()), Value::Null];
    let with = |at: usize, value: Value| {
        let mut values = ok();
        values[at] = value;
        values
    };
    let deep = (0..70).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
    let rows = [
        row(&shape, 0, NOON, ok()),
        row(&shape, 1, NOON, with(0, Value::text("one"))),
        row(&shape, 2, NOON, with(1, vector(3))),
        row(&shape, 3, NOON, with(2, Value::Decimal("1.555".into()))),
        row(&shape, 4, i64::MAX, ok()),
        row(&shape, 5, NOON, with(3, deep)),
        row(&shape, 6, NOON, with(3, Value::Struct(vec![]))),
        row(&shape, 7, NOON, with(3, Value::List(vec![Value::Int(1), Value::Bool(true)]))),
        row(&shape, 8, NOON, with(3, Value::Date(i32::MAX))),
        row(&shape, 9, NOON, ok()),
    ];
    let outcome = write(&store, "w", &rows).await.expect("the others are written");
    assert_eq!(outcome.stored, 2);
    let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
    let classes = [TypeMismatch, DimensionMismatch, TypeMismatch, ValueRefused, ValueRefused, ValueRefused];
    assert_eq!(refused, (1..).zip(classes).chain([(7, TypeMismatch), (8, ValueRefused)]).collect::<Vec<_>>());
    let (_, first) = &outcome.refused[0];
    assert_eq!(first.row.as_deref(), Some("user/1"));
    assert_eq!(first.table.as_deref(), Some("user"));
    assert_eq!(first.message, "column `n`: expected int64, found string \"one\"");
    assert_eq!(read_once(root.path(), "user").len(), 2);
    assert!(!read(root.path(), "user").iter().any(|row| row.contains_key("x")), "a refused row leaves no column");
}

#[tokio::test]
async fn an_id_keeps_the_type_of_its_first_row() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let shape = shape("user", &[]);
    let mut named = row(&shape, 2, NOON, []);
    named.values[1] = Value::text("two");
    let outcome = write(&store, "w", &[row(&shape, 1, NOON, []), named.clone()]).await.expect("written");
    assert_eq!(outcome.refused.len(), 1);
    named.values[1] = Value::Double(2.0);
    let outcome = write(&open(root.path()), "x", &[named]).await.expect("written");
    assert_eq!(outcome.refused[0].1.message, "column `__id__`: expected int64, found float64 2");
}

#[tokio::test]
async fn a_type_widens_from_integer_to_double_and_never_rounds() {
    let root = tempfile::tempdir().expect("folder");
    let shape = shape("user", &[("n", None), ("l", None)]);
    let list = |items: &[Value]| Value::List(items.to_vec());
    let exact = 1_i64 << 53;
    let first = [row(&shape, 1, NOON, [Value::Int(exact + 1), list(&[])])];
    let outcome = write(&open(root.path()), "a", &first).await.expect("written");
    assert_eq!(outcome.stored, 1);
    let rows = [
        row(&shape, 2, NOON, [Value::Double(0.5), list(&[Value::Int(1)])]),
        row(&shape, 3, NOON, [Value::Int(exact), list(&[Value::Double(1.5), Value::Null])]),
        row(&shape, 4, NOON, [Value::Int(exact + 1), Value::Null]),
    ];
    let outcome = write(&open(root.path()), "b", &rows).await.expect("written");
    assert_eq!(outcome.refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2]);
    let found = read_once(root.path(), "user");
    assert_eq!(found["obs-1"]["n"], Value::Int(exact + 1));
    assert_eq!(found["obs-1"]["l"], list(&[]), "an empty list is not a null");
    assert_eq!(found["obs-3"]["n"], Value::Double(exact as f64));
    assert_eq!(found["obs-3"]["l"], list(&[Value::Double(1.5), Value::Null]));
    assert_eq!(found["obs-2"]["l"], list(&[Value::Double(1.0)]));
}

#[tokio::test]
async fn types_and_names_survive() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let text = |text: &str| Value::text(text.to_owned());
    let cells: Vec<(&str, Value)> = vec![
        ("select", Value::Int(i64::MAX)),
        ("SELECT", Value::Int(i64::MIN)),
        ("drop table \"x\"; --", Value::Bool(true)),
        ("a.b", Value::Double(f64::MIN_POSITIVE)),
        ("date", Value::Date(-719_162)),
        ("date_", Value::Date(2_932_896)),
        ("日本 🦀\u{0}", text("e\u{301} 🦀 \u{0} \u{fffe} ' \" \\ \n")),
        ("bytes", Value::Bytes(vec![0, 255, 10].into())),
        ("time", Value::Timestamp(-1)),
        ("decimal", Value::Decimal("-12345678901234567890.123456789012345678".into())),
        ("infinite", Value::Double(f64::NEG_INFINITY)),
        ("lists", Value::List(vec![Value::List(vec![]), Value::Null, Value::List(vec![Value::Null, Value::Int(7)])])),
        (
            "struct",
            Value::Struct(vec![
                ("".into(), text("no name")),
                ("a b".into(), Value::List(vec![Value::Struct(vec![("c".into(), Value::Date(0))])])),
            ]),
        ),
        ("vector", Value::Vector(Arc::new(Vector::Fp64(vec![0.1, -0.0])))),
    ];
    let names: Vec<(&str, Option<&str>)> = cells.iter().map(|(name, _)| (*name, None)).collect();
    let table = "../tricky/%2e name";
    let shape = shape(table, &names);
    let nulls = row(&shape, 1, NOON, cells.iter().map(|_| Value::Null));
    let full = row(&shape, 2, NOON, cells.iter().map(|(_, value)| value.clone()));
    let outcome = write(&store, "w", &[nulls, full]).await.expect("written");
    assert_eq!(outcome.refused, []);
    let found = read_once(root.path(), table);
    for (name, value) in &cells {
        let column = if name.starts_with("date") { format!("{name}_") } else { (*name).to_owned() };
        assert_eq!(found["obs-2"].get(&column), Some(value), "{name}");
        assert_eq!(found["obs-1"].get(&column), None, "{name}");
    }
    let tables = lake::read::tables(root.path()).expect("readable");
    assert_eq!(tables, [table]);
    assert_eq!(std::fs::read_dir(root.path()).expect("readable").count(), 3, "a table, the schemas, the staging");
}

#[tokio::test]
async fn half_precision_is_kept_exactly_and_a_declared_vector_takes_a_list() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let shape = shape("user", &[("h", None), ("declared", Some("vector<fp32, 2>"))]);
    let half = Value::Vector(Arc::new(Vector::Fp16(vec![0x3c00, 0x0001])));
    let list = Value::List(vec![Value::Double(0.5), Value::Int(3)]);
    let narrow = Value::Vector(Arc::new(Vector::Fp64(vec![0.1, 0.2])));
    let rows = [row(&shape, 1, NOON, [half, list]), row(&shape, 2, NOON, [Value::Null, narrow])];
    let outcome = write(&store, "w", &rows).await.expect("written");
    assert_eq!(outcome.refused[0].1.class, TypeMismatch, "a double is not squeezed into a single");
    let found = read_once(root.path(), "user");
    let vector = |elements: &[f64]| Value::Vector(Arc::new(Vector::Fp64(elements.to_vec())));
    assert_eq!(found["obs-1"]["h"], vector(&[1.0, 2.0_f64.powi(-24)]));
    assert_eq!(found["obs-1"]["declared"], vector(&[0.5, 3.0]));
}

#[tokio::test]
async fn query_log_is_cut_by_its_own_time_and_gets_no_column_of_ours() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let columns = ["operation_id", "query_timestamp"];
    let columns = columns.map(|name| Column { name: name.into(), data_type: None });
    let shape = Arc::new(Shape {
        schema: None,
        table: "query_log".into(),
        columns: columns.into(),
        time: When::Column(1),
        name: 0,
        key: vec![0],
        repeats: Repeats::Newest,
        create: true,
        of: Of::Anything,
    });
    let mut query = row(&super::support::shape("query_log", &[]), 0, NOON, []);
    query.shape = shape;
    query.values = vec![Value::text("op"), Value::Timestamp(-1)];
    write(&store, "w", &[query]).await.expect("written");
    assert!(root.path().join("query_log/date=1969-12-31/w.parquet").exists());
    let rows = read(root.path(), "query_log");
    assert_eq!(rows[0].keys().collect::<Vec<_>>(), ["operation_id", "query_timestamp"]);
}

#[tokio::test]
async fn shapes_that_no_file_can_have_are_refused_whole() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    for names in [&["a", "a"][..], &[""], &["__inserted_at__"]] {
        let features: Vec<_> = names.iter().map(|name| (*name, None)).collect();
        let shape = shape("user", &features);
        let rows = [row(&shape, 1, NOON, names.iter().map(|_| Value::Int(1)))];
        let outcome = write(&store, "w", &rows).await.expect("an answer");
        assert_eq!(outcome.refused[0].1.class, ValueRefused, "{names:?}");
    }
    for table in ["", &"x".repeat(300)] {
        let outcome = write(&store, "w", &[row(&shape(table, &[]), 1, NOON, [])]).await.expect("an answer");
        assert_eq!(outcome.refused[0].1.class, ValueRefused, "{table:?}");
    }
    assert!(read(root.path(), "user").is_empty());
}
