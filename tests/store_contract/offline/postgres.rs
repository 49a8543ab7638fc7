//! What every offline store must show, shown for Postgres; read back with `psql`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chalk_writer::row::table::{Column, Of, Repeats, Shape, TableRow, When};
use chalk_writer::sink::ErrorClass::{TypeMismatch, ValueRefused};
use chalk_writer::sink::SinkError;
use chalk_writer::value::{Value, Vector};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};

use super::columns::in_columns;
use super::support::{DAY, NOON, Store, open_uri, row, shape, write, write_all};
use crate::postgres::{PostgresServer, Version};

pub(crate) fn server() -> PostgresServer {
    PostgresServer::start(Version::Newest, &[])
}

pub(crate) fn open(server: &PostgresServer) -> Store {
    open_uri(&server.uri()).expect("the store opens")
}

/// The rows of a table by their id, each as the server makes JSON of it, without nulls and `__inserted_at__`.
pub(crate) fn read(server: &PostgresServer, table: &str) -> BTreeMap<String, Json> {
    let lines = server.texts(
        "jsonb_strip_nulls(to_jsonb(whole) - '__inserted_at__')",
        &format!("{table} whole WHERE __inserted_at__ <= now()"),
    );
    let rows = lines.iter().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    rows.map(|row| (row["__observation_id__"].as_str().expect("an id").to_owned(), row)).collect()
}

/// Columns and types of a table, in order.
fn columns(server: &PostgresServer, table: &str) -> String {
    server.sql(&format!(
        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    ))
}

#[tokio::test]
async fn the_same_message_twice_is_one_row_in_whatever_cut_it_comes() {
    let server = server();
    let store = open(&server);
    let shape = shape("user", &[("score", None), ("name", None)]);
    let rows: Vec<_> = (0..100)
        .map(|n| row(&shape, n, NOON + n * DAY / 10, [Value::Double(n as f64 / 3.0), Value::text(format!("n{n}"))]))
        .collect();
    let outcome = write(&store, "first", &rows).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (100, 0));
    let once = read(&server, "\"user\"");
    assert_eq!(once.len(), 100);
    let outcome = write(&store, "first", &rows).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (0, 100));
    let mut more = rows[37..].to_vec();
    more.extend([row(&shape, 100, NOON, [Value::Null, Value::Null]), rows[99].clone()]);
    let outcome = write(&open(&server), "second", &more).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (1, 64));
    let mut found = read(&server, "\"user\"");
    found.remove("obs-100").expect("the new one");
    assert_eq!(found, once);
    assert_eq!(
        columns(&server, "\"user\""),
        "__observation_id__ text, __id__ bigint, __ts__ timestamp with time zone, \
         __inserted_at__ timestamp with time zone, score double precision, name text"
    );
}

#[tokio::test]
async fn bad_rows_of_a_batch_fail_alone_and_say_why() {
    let server = server();
    let store = open(&server);
    let shape = shape("user", &[("n", None), ("d", Some("decimal(4,2)")), ("x", None), ("t", None)]);
    let ok = || [Value::Int(1), Value::Decimal("1.50".into()), Value::Null, Value::text("fine")];
    let with = |at: usize, value: Value| {
        let mut values = ok();
        values[at] = value;
        values
    };
    let nul = Value::Struct(vec![("a".into(), Value::List(vec![Value::text("a\0b")]))]);
    let mut keyless = row(&shape, 9, NOON, ok());
    keyless.values[0] = Value::Null;
    let mut long = row(&shape, 10, NOON, ok());
    long.values[0] = Value::text("k".repeat(3_000));
    let rows = [
        row(&shape, 0, NOON, ok()),
        row(&shape, 1, NOON, with(0, Value::text("one"))),
        row(&shape, 2, NOON, with(1, Value::Decimal("100.00".into()))),
        row(&shape, 3, NOON, with(1, Value::Decimal("1.555".into()))),
        row(&shape, 4, i64::MAX, ok()),
        row(&shape, 5, NOON, with(2, nul)),
        row(&shape, 6, NOON, with(3, Value::text("\0"))),
        row(&shape, 7, NOON, with(2, Value::Date(i32::MAX))),
        row(&shape, 8, NOON, with(3, Value::List(vec![]))),
        keyless,
        long,
        row(&shape, 11, NOON, ok()),
    ];
    let outcome = write(&store, "w", &rows).await.expect("the others are written");
    assert_eq!(outcome.stored, 2);
    let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
    let classes = [
        TypeMismatch,
        TypeMismatch,
        TypeMismatch,
        ValueRefused,
        ValueRefused,
        ValueRefused,
        ValueRefused,
        TypeMismatch,
        ValueRefused,
        ValueRefused,
    ];
    assert_eq!(refused, (1..).zip(classes).collect::<Vec<_>>());
    let (_, first) = &outcome.refused[0];
    assert_eq!(first.row.as_deref(), Some("user/1"));
    assert_eq!(first.table.as_deref(), Some("user"));
    assert_eq!(first.message, "column `n`: expected bigint, found string \"one\"");
    assert_eq!(
        outcome.refused[1].1.message,
        "column `d`: expected numeric(4,2), which cannot hold decimal 100.00 exactly"
    );
    assert_eq!(read(&server, "\"user\"").len(), 2);
    assert!(!columns(&server, "\"user\"").contains("x "), "a refused row leaves no column");
    let nowhere =
        [row(&super::support::shape("", &[]), 1, NOON, []), row(&super::support::shape("a\0", &[]), 1, NOON, [])];
    assert_eq!(write(&store, "x", &nowhere).await.expect("an answer").refused.len(), 2);
}

#[tokio::test]
async fn what_only_the_server_can_say_is_found_by_halving() {
    let server = server();
    let store = open(&server);
    let shape = shape("user", &[("name", None), ("n", None)]);
    let row = |id: i64, text: &str, n: i64| row(&shape, id, NOON, [Value::text(text.to_owned()), Value::Int(n)]);
    write(&store, "w", &[row(0, "a", 1)]).await.expect("written");
    server.sql("ALTER TABLE \"user\" ADD CONSTRAINT whole CHECK (60 / n > 0), ADD CONSTRAINT small CHECK (n < 10)");
    let poisoned = async |rows: &[TableRow], code: &str| match write(&store, "x", rows).await {
        Err(SinkError::Poisoned(refusal)) => {
            assert_eq!(refusal.code.as_deref(), Some(code), "{refusal}");
            assert_eq!(refusal.row.is_some(), rows.len() == 1, "one that stands alone is named");
            refusal.message
        }
        other => panic!("{other:?}"),
    };
    let message = poisoned(&[row(1, "ab", 1), row(2, "zero", 0)], "22012").await;
    assert!(message.contains("division by zero"), "{message}");
    let message = poisoned(&[row(3, "ab", 10)], "23514").await;
    assert!(message.contains("small"), "{message}");
    assert_eq!(write(&store, "y", &[row(1, "ab", 1)]).await.expect("the sound half").stored, 1);
    assert_eq!(read(&server, "\"user\"").len(), 2);
}

#[tokio::test]
async fn a_type_widens_from_integer_to_double_and_never_rounds() {
    let server = server();
    let exact = 1_i64 << 53;
    let shape = shape("user", &[("n", None), ("l", Some("list<int64>"))]);
    let double = super::support::shape("user", &[("l", Some("list<float64>"))]);
    let ints = Value::List(vec![Value::Int(1), Value::Null]);
    write(&open(&server), "a", &[row(&shape, 1, NOON, [Value::Int(exact), ints])]).await.expect("written");
    let store = open(&server);
    let rows = [
        row(&shape, 2, NOON, [Value::Int(exact + 1), Value::Null]),
        row(&shape, 3, NOON, [Value::Double(0.5), Value::Null]),
        row(&double, 4, NOON, [Value::List(vec![Value::Double(1.5)])]),
    ];
    let outcome = write(&store, "b", &rows).await.expect("written");
    assert_eq!(outcome.refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0]);
    let found = read(&server, "\"user\"");
    assert_eq!(found["obs-1"]["n"], json!(9_007_199_254_740_992_i64));
    assert_eq!(found["obs-1"]["l"], json!([1, null]));
    assert_eq!((&found["obs-3"]["n"], &found["obs-4"]["l"]), (&json!(0.5), &json!([1.5])));
    assert!(columns(&server, "\"user\"").ends_with("n double precision, l double precision[]"));

    // A column that holds what a double would round stays as it is.
    let shape = super::support::shape("card", &[("n", None)]);
    write(&store, "c", &[row(&shape, 1, NOON, [Value::Int(exact + 1)])]).await.expect("written");
    let rows = [row(&shape, 2, NOON, [Value::Double(0.5)]), row(&shape, 3, NOON, [Value::Int(7)])];
    let outcome = write(&store, "d", &rows).await.expect("written");
    assert_eq!(outcome.refused.len(), 1);
    assert!(outcome.refused[0].1.message.contains("holds integers that a double would round"), "{outcome:?}");
    assert_eq!(read(&server, "card")["obs-1"]["n"], json!(9_007_199_254_740_993_i64));
    assert!(columns(&server, "card").ends_with("n bigint"));
}

#[tokio::test]
async fn an_id_keeps_the_type_of_its_first_row_and_a_verdict_knows_the_table_as_it_is_now() {
    let server = server();
    let (store, other) = (open(&server), open(&server));
    let shape = shape("user", &[("n", None)]);
    let mut named = row(&shape, 2, NOON, [Value::Null]);
    named.values[1] = Value::text("two");
    write(&store, "w", &[row(&shape, 1, NOON, [Value::Int(1)])]).await.expect("written");
    let outcome = write(&store, "x", std::slice::from_ref(&named)).await.expect("an answer");
    assert_eq!(outcome.refused[0].1.message, "column `__id__`: expected bigint, found string \"two\"");
    write(&other, "y", &[row(&shape, 3, NOON, [Value::Int(3)])]).await.expect("written");
    server.sql("ALTER TABLE \"user\" ALTER __id__ TYPE text");
    assert_eq!(write(&store, "x", &[named]).await.expect("written").stored, 1, "the type is asked for again");
    // A column that becomes another type behind a store that knows it: the next attempt knows.
    server.sql("ALTER TABLE \"user\" DROP COLUMN n, ADD COLUMN n uuid");
    let mut third = row(&shape, 4, NOON, [Value::Int(4)]);
    third.values[1] = Value::text("four");
    let error = write(&other, "z", std::slice::from_ref(&third)).await;
    assert!(matches!(&error, Ok(outcome) if outcome.refused[0].1.message.contains("has type uuid")), "{error:?}");
    // One that is made by hand in a type of its own is written to where nothing is lost.
    server.sql("ALTER TABLE \"user\" DROP COLUMN n, ADD COLUMN n integer");
    third.values[3] = Value::Int(1 << 40);
    let wide = write(&other, "z", std::slice::from_ref(&third)).await;
    let wide = match wide {
        Err(SinkError::Transient { .. }) => write(&other, "z", std::slice::from_ref(&third)).await,
        answer => answer,
    };
    assert_eq!(wide.expect("an answer").refused[0].1.class, TypeMismatch);
    third.values[3] = Value::Int(5);
    assert_eq!(write(&other, "z", &[third]).await.expect("written").stored, 1);
}

#[tokio::test]
async fn types_and_names_survive() {
    let server = server();
    let store = open(&server);
    let long = "a_window_of_a_feature_whose_name_is_longer_than_any_name_of_postgres__86400__";
    let table = "../tricky\"; DROP TABLE x; -- é";
    let structure = Value::Struct(vec![("z".into(), Value::Int(i64::MAX)), ("a\"'".into(), Value::List(vec![]))]);
    let nested = Value::List(vec![Value::List(vec![Value::Null, Value::Double(0.5)]), Value::text("😀")]);
    let vector = |of| Value::Vector(Arc::new(of));
    let cells: Vec<(&str, Option<&str>, Value, Json)> = vec![
        ("select", None, Value::Int(i64::MAX), json!(i64::MAX)),
        ("Select", None, Value::Int(i64::MIN), json!(i64::MIN)),
        ("a\"b'; --", None, Value::Bool(true), json!(true)),
        ("$1", None, Value::Double(0.1), json!(0.1)),
        ("ctid", None, Value::Double(-1.5e300), json!(-1.5e300)),
        ("é 😀", None, Value::text("Ünï\u{10ffff}\u{1}\n\\ '"), json!("Ünï\u{10ffff}\u{1}\n\\ '")),
        ("bytes", None, Value::Bytes(vec![0, 255].into()), json!("\\x00ff")),
        ("time", None, Value::Timestamp(-62_135_596_800_000_000), json!("0001-01-01T00:00:00+00:00")),
        ("late", None, Value::Timestamp(253_402_300_799_999_999), json!("9999-12-31T23:59:59.999999+00:00")),
        ("day", None, Value::Date(-719_162), json!("0001-01-01")),
        ("price", Some("decimal(38,9)"), Value::Decimal("-12345678901234567890123456789.123456789".into()), Json::Null),
        ("exact", None, Value::Decimal("0.000000000000000000000000000001".into()), Json::Null),
        ("empty", None, Value::List(vec![]), json!([])),
        (
            "texts",
            Some("list<string>"),
            Value::List(vec![Value::text("a,\"b\""), Value::Null]),
            json!(["a,\"b\"", null]),
        ),
        ("none", Some("list<decimal(4,2)>"), Value::List(vec![]), json!([])),
        ("nested", None, nested, json!([[null, 0.5], "😀"])),
        ("struct", None, structure, json!({"z": i64::MAX, "a\"'": []})),
        ("half", None, vector(Vector::Fp16(vec![0x3c00, 0x0001])), json!([1.0, 5.960_464_5e-8])),
        ("single", Some("vector<fp32, 2>"), vector(Vector::Fp32(vec![0.1, -2.5])), json!([0.1, -2.5])),
        ("double", None, vector(Vector::Fp64(vec![0.1])), json!([0.1])),
        (long, None, Value::text(""), json!("")),
    ];
    let shape = shape(table, &cells.iter().map(|(name, declared, ..)| (*name, *declared)).collect::<Vec<_>>());
    let nulls = row(&shape, 1, NOON, cells.iter().map(|_| Value::Null));
    let full = row(&shape, 2, NOON, cells.iter().map(|(_, _, value, _)| value.clone()));
    let outcome = write(&store, "w", &[nulls, full]).await.expect("written");
    assert_eq!(outcome.refused, []);
    let quoted = "\"../tricky\"\"; DROP TABLE x; -- é\"";
    let found = read(&server, quoted);
    for (name, _, _, expected) in &cells {
        let column = match *name {
            "ctid" => "ctid_",
            name if name == long => found["obs-2"]
                .as_object()
                .and_then(|row| row.keys().find(|key| key.starts_with("a_window")))
                .expect("a shortened name"),
            name => name,
        };
        // Decimals have more digits than a number of this program's JSON: they are compared as text below.
        if *expected != Json::Null {
            let found = &found["obs-2"][column];
            let same = match (found.as_f64(), expected.as_f64()) {
                (Some(one), Some(other)) if expected.is_f64() => one.total_cmp(&other).is_eq(),
                _ => found == expected || *name == "half",
            };
            assert!(same, "{name}: {found} for {expected}");
        }
        assert_eq!(found["obs-1"].get(column), None, "{name}");
    }
    let digits = server.sql(&format!("SELECT price::text, exact::text, __ts__ FROM {quoted} WHERE price IS NOT NULL"));
    assert!(digits.starts_with(
        "-12345678901234567890123456789.123456789|0.000000000000000000000000000001|2026-11-22 18:32:00.123456+00"
    ));
    assert_eq!(server.sql(&format!("SELECT half[2] = 2::float4 ^ -24 FROM {quoted} WHERE half IS NOT NULL")), "t");
}

#[tokio::test]
async fn rows_that_come_in_columns_are_taken_apart_and_bad_ones_among_them_fail_alone() {
    let server = server();
    let store = open(&server);
    let shape = shape("user", &[("n", None), ("name", None)]);
    let name = |id: i64| match id {
        3 => "a\0".to_owned(),
        _ => format!("n{id}"),
    };
    let mut rows: Vec<_> =
        (0..9_000).map(|id| row(&shape, id, NOON, [Value::Int(id), Value::text(name(id))])).collect();
    let outcome = write_all(&store, "w", &[in_columns(&rows)]).await.expect("written");
    assert_eq!(outcome.stored, 8_999);
    assert_eq!(outcome.refused[0].1.row.as_deref(), Some("user/3"));
    // Found by halving, inside of what came as one.
    server.sql("ALTER TABLE \"user\" ADD CONSTRAINT small CHECK (n <> 7) NOT VALID");
    server.sql("DELETE FROM \"user\"");
    rows.remove(3);
    let outcome = write_all(&store, "x", &[in_columns(&rows)]).await.expect("written");
    assert_eq!((outcome.stored, outcome.refused[0].1.code.as_deref()), (8_998, Some("23514")));
    assert_eq!(server.sql("SELECT count(*), max(n) FROM \"user\""), "8998|8999");
}

fn query(operation: &str, time: i64, name: Option<&str>) -> TableRow {
    let text = |name: &'static str| Column { name: name.into(), data_type: Some("string".parse().expect("a type")) };
    let time_column = Column { name: "query_timestamp".into(), data_type: Some("timestamp".parse().expect("a type")) };
    let columns = vec![text("operation_id"), text("environment_id"), time_column, text("query_name")];
    let shape = Arc::new(Shape {
        schema: None,
        table: "query_log".into(),
        columns,
        time: When::Column(2),
        name: 0,
        key: vec![1, 0],
        repeats: Repeats::Newest,
        create: true,
        of: Of::Anything,
    });
    let values = vec![
        Value::text(operation.to_owned()),
        Value::text("prod"),
        Value::Timestamp(NOON + time),
        name.map_or(Value::Null, |name| Value::text(name.to_owned())),
    ];
    TableRow { destination: 0, shape, values }
}

#[tokio::test]
async fn a_row_of_query_log_is_replaced_by_a_newer_one_of_its_query() {
    let server = server();
    let store = open(&server);
    let rows = [query("b", 2, Some("newest")), query("a", 5, Some("two")), query("b", 1, Some("older"))];
    let outcome = write(&store, "w", &rows).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (2, 1));
    let all = || server.sql("SELECT operation_id, query_name FROM query_log ORDER BY 1");
    assert_eq!(all(), "a|two\nb|newest");
    let rows = [query("a", 6, None), query("c", 0, Some("four")), query("b", 1, Some("z"))];
    let outcome = write(&store, "x", &rows).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (2, 1));
    assert_eq!(all(), "a|\nb|newest\nc|four");
    let outcome = write(&store, "x", &rows).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (0, 3), "what comes again changes nothing");
    assert!(!columns(&server, "query_log").contains("__"), "no column of ours");
}

/// Rows of one query, some of one time, in every cut and order of two batches.
#[tokio::test]
async fn batches_of_query_log_end_in_one_state_in_whatever_order_they_come() {
    let server = server();
    let store = open(&server);
    let rows = [
        query("a", 1, Some("x")),
        query("a", 1, None),
        query("a", 1, Some("\"q,")),
        query("a", 0, Some("zz")),
        query("a", -1, None),
    ];
    let mut ends = std::collections::BTreeSet::new();
    for first in 1..31_u32 {
        let part = |of: bool| -> Vec<TableRow> {
            let part = rows.iter().enumerate().filter(|(at, _)| (first >> at & 1 == 1) == of);
            part.map(|(_, row)| row.clone()).collect()
        };
        let mut second = part(false);
        second.reverse();
        write(&store, "one", &part(true)).await.expect("written");
        write(&store, "two", &second).await.expect("written");
        ends.insert(server.sql("SELECT * FROM query_log"));
        server.sql("TRUNCATE query_log");
    }
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert!(ends.iter().all(|end| end.ends_with("|x")), "{ends:?}");
}

#[tokio::test]
async fn a_table_that_was_made_by_hand_gets_its_key_and_columns_and_loses_nothing() {
    let server = server();
    server.sql("CREATE TABLE \"user\" (__observation_id__ text, extra int); ALTER TABLE \"user\" OWNER TO writer");
    server.sql("INSERT INTO \"user\" VALUES ('obs-7', 1)");
    let store = open(&server);
    let shape = shape("user", &[("n", None)]);
    let rows: Vec<_> = (6..9).map(|n| row(&shape, n, NOON, [Value::Int(n)])).collect();
    let outcome = write(&store, "w", &rows).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (2, 1));
    assert_eq!(server.sql("SELECT extra, n FROM \"user\" WHERE __observation_id__ = 'obs-7'"), "1|");
    // With doubles in it no key can be made: that is for somebody to put right, and no row's fault.
    server.sql("CREATE TABLE card (__observation_id__ text); ALTER TABLE card OWNER TO writer");
    server.sql("INSERT INTO card VALUES ('x'), ('x')");
    let card = [row(&super::support::shape("card", &[]), 1, NOON, [])];
    let error = write(&store, "x", &card).await.expect_err("doubles");
    assert!(matches!(&error, SinkError::Transient { reason } if reason.contains("unique")), "{error}");
    server.sql("TRUNCATE card");
    assert_eq!(write(&store, "x", &card).await.expect("written").stored, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_add_and_widen_columns_at_once_lose_no_row_and_no_column() {
    let server = server();
    let writers: Vec<_> = (0..4_i64)
        .map(|number| {
            let store = open(&server);
            tokio::spawn(async move {
                for unit in 0..10_i64 {
                    let own = format!("own_{number}_{unit}");
                    let shape = shape("user", &[(&own, None), (&format!("shared_{unit}"), None)]);
                    let rows: Vec<_> = (0..20)
                        .map(|n| {
                            let id = (number * 10 + unit) * 20 + n;
                            let shared = if number % 2 == 0 { Value::Int(id) } else { Value::Double(id as f64 + 0.5) };
                            row(&shape, id, NOON, [Value::Int(id), shared])
                        })
                        .collect();
                    let outcome = stored_at_last(&store, &rows).await;
                    assert_eq!((outcome.stored + outcome.stale, outcome.refused.len()), (20, 0), "{outcome:?}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer that ends");
    }
    let found = read(&server, "\"user\"");
    assert_eq!(found.len(), 4 * 10 * 20);
    let described = columns(&server, "\"user\"");
    for unit in 0..10_i64 {
        assert!(described.contains(&format!("shared_{unit} double precision")));
        for number in 0..4_i64 {
            let id = (number * 10 + unit) * 20 + 7;
            let row = &found[&format!("obs-{id}")];
            assert_eq!(row[&format!("own_{number}_{unit}")], json!(id));
            let expected = id as f64 + if number % 2 == 0 { 0.0 } else { 0.5 };
            assert_eq!(row[&format!("shared_{unit}")].as_f64(), Some(expected));
        }
    }
}

/// Writes rows again and again until they are taken, as the runtime does.
pub(crate) async fn stored_at_last(store: &Store, rows: &[TableRow]) -> chalk_writer::sink::Outcome {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        match write(store, "again", rows).await {
            Ok(outcome) if outcome.again.is_empty() => return outcome,
            Ok(outcome) => assert!(tokio::time::Instant::now() < deadline, "still {:?}", outcome.reason),
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "still {error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        3 => any::<i64>().prop_map(Value::Int),
        2 => (-9_i64..9).prop_map(Value::Int),
        3 => any::<f64>().prop_filter("JSON has only finite ones", |n| n.is_finite()).prop_map(Value::Double),
        3 => "[^\0]{0,8}".prop_map(Value::text),
        1 => any::<bool>().prop_map(Value::Bool),
    ]
}

/// Whatever comes, in columns whose types come with it: a row is there as it was sent, or was refused.
#[test]
fn every_row_is_there_as_it_was_sent_or_was_refused() {
    let server = server();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let store = runtime.block_on(async { open(&server) });
    let config = ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() };
    let mut round = 0;
    let units =
        prop::collection::vec(prop::collection::vec(prop::collection::vec((0..4_u8, leaf()), 0..4), 1..20), 1..4);
    let round = std::cell::RefCell::new(&mut round);
    TestRunner::new(config)
        .run(&units, |units| {
            **round.borrow_mut() += 1;
            let table = format!("t{}", round.borrow());
            let mut sent: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
            let mut id = 0;
            for unit in &units {
                let rows: Vec<TableRow> = unit
                    .iter()
                    .map(|cells| {
                        let cells: BTreeMap<String, Value> =
                            cells.iter().map(|(n, value)| (format!("c{n}"), value.clone())).collect();
                        let names: Vec<(&str, Option<&str>)> = cells.keys().map(|name| (name.as_str(), None)).collect();
                        id += 1;
                        let row = row(&shape(&table, &names), id, NOON, cells.values().cloned());
                        sent.insert(format!("obs-{id}"), cells);
                        row
                    })
                    .collect();
                let outcome = runtime.block_on(write(&store, "w", &rows)).expect("written");
                prop_assert_eq!(outcome.stored as usize + outcome.refused.len(), rows.len());
                for (at, _) in outcome.refused {
                    let Value::Text(id) = &rows[at].values[0] else { unreachable!("an id") };
                    sent.remove(&**id);
                }
            }
            let exists = server.sql(&format!("SELECT to_regclass('{table}') IS NOT NULL")) == "t";
            let found = if exists { read(&server, &table) } else { BTreeMap::new() };
            prop_assert_eq!(found.keys().collect::<Vec<_>>(), sent.keys().collect::<Vec<_>>());
            for (id, cells) in &sent {
                for (column, value) in cells {
                    let found = found[id].get(column).unwrap_or(&Json::Null);
                    let same = match value {
                        Value::Null => found.is_null(),
                        Value::Int(number) => found.as_i64() == Some(*number) || found.as_f64() == Some(*number as f64),
                        Value::Double(number) => found.as_f64() == Some(*number),
                        Value::Text(text) => found.as_str() == Some(text),
                        Value::Bool(flag) => found.as_bool() == Some(*flag),
                        other => panic!("{other:?} is not generated"),
                    };
                    prop_assert!(same, "{}: {:?} came back as {}", column, value, found);
                }
            }
            Ok(())
        })
        .expect("every row");
}

/// A row of table `upserted` with these columns, the first of which is the key and the second the time.
fn upserted(columns: &[(&'static str, Value)], repeats: Repeats) -> TableRow {
    let named = columns.iter().map(|(name, _)| Column { name: (*name).into(), data_type: None });
    let key = if repeats == Repeats::First { vec![] } else { vec![0] };
    let shape = Arc::new(Shape {
        schema: None,
        table: "upserted".into(),
        columns: named.collect(),
        time: When::Column(1),
        name: 0,
        key,
        repeats,
        create: true,
        of: Of::Anything,
    });
    TableRow { destination: 0, shape, values: columns.iter().map(|(_, value)| value.clone()).collect() }
}

#[tokio::test]
async fn what_a_row_does_not_have_is_not_replaced_by_nothing_whatever_else_is_in_its_write() {
    let server = PostgresServer::start(Version::Newest, &[]);
    let store = open(&server);
    let row = |key: &'static str, time: i64, more: (&'static str, Value)| {
        let columns = [("k", Value::text(key)), ("t", Value::Timestamp(NOON + time)), more];
        upserted(&columns, Repeats::Newest)
    };
    write(&store, "a", &[row("k1", 0, ("x", Value::Int(5)))]).await.expect("written");
    let both = [row("k1", 2, ("y", Value::Int(7))), row("k2", 2, ("x", Value::Int(9)))];
    let outcome = write(&store, "b", &both).await.expect("written");
    assert_eq!((outcome.stored, outcome.refused.len()), (2, 0));
    let found = server.sql("SELECT k, x, y FROM upserted ORDER BY k");
    assert_eq!(found, "k1|5|7\nk2|9|", "{found}");
}

#[tokio::test]
async fn rows_of_one_table_that_are_told_apart_in_different_ways_are_written_side_by_side() {
    let server = PostgresServer::start(Version::Newest, &[]);
    let store = open(&server);
    let columns = |time: i64| [("k", Value::text("k")), ("t", Value::Timestamp(NOON + time)), ("x", Value::Int(time))];
    let rows = [
        upserted(&columns(1), Repeats::First),
        upserted(&columns(3), Repeats::Newest),
        upserted(&columns(2), Repeats::Newest),
    ];
    let outcome = write(&store, "w", &rows[1..]).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale, outcome.refused.len()), (1, 1, 0));
    // Added without a key, it meets the one that the table has by now: that is its fault, and not the program's.
    let added = write(&store, "x", &rows).await;
    assert!(!matches!(added, Err(SinkError::Bug { .. })), "{added:?}");
}
