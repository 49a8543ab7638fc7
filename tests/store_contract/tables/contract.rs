//! The points that every store must show (page "stores" of the documentation), for tables with keys.
//!
//! Seen to fail, in the statement of SQLite: a repeated row replaces the first; the last to arrive stands in place of
//! the newest.

use std::sync::Arc;

use chalk_writer::row::table::{Repeats, TableRow};
use chalk_writer::sink::ErrorClass::{TypeMismatch, ValueRefused};
use chalk_writer::store::METRICS;
use chalk_writer::store::metrics::shapes::{self, Place as Named};
use chalk_writer::value::{Value, Vector};
use serde_json::{Value as Json, json};

use super::place::{NOON, Place, of, open_uri, places, postgres, row, shape, sqlite, write, written};
use crate::postgres::Version;

#[test]
fn what_is_no_metrics_store_is_refused_without_showing_the_rest_of_the_uri() {
    assert!(
        METRICS.stores().all(|(_, takes)| takes.absorbs_repeats),
        "partials that come again would be added up twice"
    );
    let Err(error) = open_uri("clickhouse://key:hunter2@host") else { panic!("it was opened") };
    assert!(error.0.contains("scheme `clickhouse` is not in this version") && !error.0.contains("hunter2"), "{error}");
}

/// Rows of every table of metrics.
fn rows() -> Vec<TableRow> {
    let (metrics, queries) = (shapes::metrics(&Named::usual("metrics")), shapes::queries(&Named::usual("queries")));
    let errors = shapes::errors(&Named::usual("query_errors"));
    let text = |text: &str| Value::text(text.to_owned());
    let metric = |n: i64, part: i64| {
        let buckets = Value::List(vec![Value::List(vec![Value::Int(1), Value::Int(n), Value::Int(3)])]);
        let cells = [
            ("version", Value::Int(1)),
            ("environment_id", text("prod")),
            ("observed_at", Value::Timestamp(NOON + n)),
            ("series", text(&format!("series-{}", n % 7))),
            ("emitter", text("me")),
            ("part", Value::Int(part)),
            ("value", Value::Double(n as f64 / 3.0)),
            ("buckets", buckets),
        ];
        of(&metrics, &cells)
    };
    let query = |n: i64| {
        let cells = [
            ("environment_id", text("prod")),
            ("operation_id", text(&format!("q{n}"))),
            ("created_at", Value::Timestamp(NOON + n)),
            ("input_features", Value::List(vec![text("user.id")])),
            ("query_meta", Value::Struct(vec![("a".into(), text("b"))])),
            ("has_errors", Value::Bool(n % 2 == 0)),
        ];
        of(&queries, &cells)
    };
    let error = |n: i64| {
        let cells =
            [("error_id", text(&format!("e{n}"))), ("created_at", Value::Timestamp(NOON)), ("message", text("it"))];
        of(&errors, &cells)
    };
    let metrics = (0..40).flat_map(|n| [metric(n, 0), metric(n, 1)]);
    metrics.chain((0..20).map(query)).chain((0..20).map(error)).collect()
}

#[tokio::test]
async fn of_a_query_the_last_report_stands_in_whatever_order_they_come() {
    let queries = shapes::queries(&Named::usual("queries"));
    let report = |query: &str, progress: i64, at: i64, status: &'static str| {
        let cells = [
            ("environment_id", Value::text("prod")),
            ("operation_id", Value::text(query.to_owned())),
            ("created_at", Value::Timestamp(NOON)),
            ("status", Value::text(status)),
            ("progress", Value::Int(progress)),
            ("reported_at", Value::Timestamp(NOON + at)),
        ];
        of(&queries, &cells)
    };
    // What says that it ended was stamped before what says that it runs.
    let reports = |query: &str| {
        let reports = [(3, 1, "Z"), (3, 9, "RUNNING"), (4, 2, "ERROR"), (4, 5, "CANCELLED")];
        reports.map(|(progress, at, status)| report(query, progress, at, status))
    };
    for place in places() {
        let store = place.open();
        for (number, order) in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]].into_iter().enumerate() {
            let reports = reports(&format!("q{number}"));
            for at in order {
                write(&store, std::slice::from_ref(&reports[at])).await.expect("written");
            }
        }
        write(&store, &reports("all at once")).await.expect("written");
        let rows = place.rows("queries");
        assert_eq!(rows.len(), 5, "{}", place.uri());
        assert!(rows.iter().all(|row| row["status"] == "CANCELLED"), "{}: {rows:?}", place.uri());
    }
}

fn state(place: &Place) -> Vec<Vec<serde_json::Map<String, Json>>> {
    ["metrics", "queries", "query_errors"].iter().map(|table| place.rows(table)).collect()
}

#[tokio::test]
async fn a_replay_changes_nothing_in_whatever_cut_it_comes() {
    for place in places() {
        let (store, rows) = (place.open(), rows());
        let outcome = write(&store, &rows).await.expect("written");
        assert_eq!((outcome.stored, outcome.stale, outcome.refused.len()), (120, 0, 0));
        let once = state(&place);
        assert_eq!(once.iter().map(Vec::len).collect::<Vec<_>>(), [80, 20, 20]);
        assert_eq!(once[0][0]["buckets"], json!([[1, 0, 3]]), "lists come back as they are");
        assert_eq!((&once[1][0]["has_errors"], &once[1][0]["query_meta"]), (&json!(1), &json!({"a": "b"})));
        let outcome = write(&store, &rows).await.expect("written");
        assert_eq!((outcome.stored, outcome.stale), (0, 120));
        // After a crash: another process, another cut, backwards.
        let other = place.open();
        for part in rows.chunks(17).rev() {
            let outcome = write(&other, part).await.expect("written");
            assert_eq!(outcome.stored, 0);
        }
        assert_eq!(state(&place), once);
    }
}

#[tokio::test]
async fn the_first_of_a_key_stands_where_rows_never_change() {
    for place in places() {
        let shape = shape("usage", &[("id*", None), ("at", Some("timestamp")), ("n", None)], Repeats::First);
        let event = |n: i64, at: i64| row(&shape, [Value::text("e"), Value::Timestamp(at), Value::Int(n)]);
        let store = place.open();
        let outcome = write(&store, &[event(1, NOON), event(2, NOON + 1)]).await.expect("written");
        assert_eq!((outcome.stored, outcome.stale), (1, 1));
        let outcome = write(&place.open(), &[event(3, NOON + 2)]).await.expect("written");
        assert_eq!((outcome.stored, outcome.stale), (0, 1));
        assert_eq!(place.rows("usage")[0]["n"], 1);
    }
}

/// Rows of one key, some of one time, some with a null, in every cut and order of two batches.
#[tokio::test]
async fn batches_of_one_key_end_in_one_state_in_whatever_order_they_come() {
    for place in places() {
        let columns = [("id*", None), ("at", Some("timestamp")), ("name", Some("string")), ("n", Some("float64"))];
        let shape = shape("newest", &columns, Repeats::Newest);
        let text = |name: Option<&'static str>| name.map_or(Value::Null, Value::text);
        let told = |at: i64, name, n: f64| {
            row(&shape, [Value::text("q"), Value::Timestamp(NOON + at), text(name), Value::Double(n)])
        };
        let mut timeless = told(0, Some("zzz"), 9.0);
        timeless.values[1] = Value::Null;
        let rows = [
            told(1, Some("x"), 1.0),
            told(1, None, 5.0),
            told(1, Some("\"q'"), 2.0),
            told(0, Some("zz"), 3.0),
            timeless,
        ];
        let (store, mut ends) = (place.open(), std::collections::BTreeSet::new());
        for first in 1..31_u32 {
            let part = |of: bool| -> Vec<TableRow> {
                let part = rows.iter().enumerate().filter(|(at, _)| (first >> at & 1 == 1) == of);
                part.map(|(_, row)| row.clone()).collect()
            };
            let mut second = part(false);
            second.reverse();
            write(&store, &part(true)).await.expect("written");
            write(&store, &second).await.expect("written");
            ends.insert(place.rows("newest").into_iter().map(Json::Object).collect::<Json>().to_string());
            place.run("DELETE FROM newest");
        }
        assert_eq!(ends.len(), 1, "{ends:?}");
        assert!(ends.iter().all(|end| end.contains(r#""name":"x""#)), "{ends:?}");
    }
}

#[tokio::test]
async fn bad_rows_of_a_batch_fail_alone_and_say_why() {
    for place in places() {
        let columns = [
            ("id*", Some("string")),
            ("at", Some("timestamp")),
            ("n", Some("int64")),
            ("x", Some("float64")),
            ("day", Some("date")),
        ];
        let shape = shape("t", &columns, Repeats::First);
        let ok = |id: &'static str| {
            [Value::text(id), Value::Timestamp(NOON), Value::Int(1), Value::Double(0.5), Value::Date(1)]
        };
        let with = |id, at: usize, value: Value| {
            let mut values = ok(id);
            values[at] = value;
            row(&shape, values)
        };
        let extra = super::place::shape("t", &[("id*", None), ("late", None), ("bad", Some("int64"))], Repeats::First);
        let rows = [
            row(&shape, ok("a")),
            with("b", 2, Value::text("one")),
            with("d", 3, Value::Int((1 << 53) + 1)),
            with("e", 1, Value::Timestamp(i64::MAX)),
            with("f", 4, Value::Date(i32::MAX)),
            with("g", 0, Value::Null),
            row(&extra, [Value::text("h"), Value::Int(1), Value::text("no")]),
            row(&shape, ok("z")),
        ];
        let outcome = write(&place.open(), &rows).await.expect("the others are written");
        assert_eq!(outcome.stored, 2);
        let classes = [TypeMismatch, TypeMismatch, ValueRefused, ValueRefused, ValueRefused, TypeMismatch];
        let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
        assert_eq!(refused, (1..).zip(classes).collect::<Vec<_>>());
        let (_, first) = &outcome.refused[0];
        assert_eq!((first.row.as_deref(), first.table.as_deref()), (Some("t/b"), Some("t")));
        assert!(first.message.starts_with("column `n`: expected ") && first.message.ends_with("found string \"one\""));
        let found = place.rows("t");
        assert_eq!(found.iter().map(|row| row["id"].clone()).collect::<Vec<_>>(), ["a", "z"]);
        place.run("ALTER TABLE t ADD COLUMN late text; ALTER TABLE t ADD COLUMN bad text");
        let nameless = [row(&super::place::shape("", &[("id*", None)], Repeats::First), [Value::text("x")])];
        assert_eq!(write(&place.open(), &nameless).await.expect("an answer").refused[0].1.class, ValueRefused);
    }
}

#[tokio::test]
async fn what_only_the_server_can_say_is_a_verdict_on_its_row_alone() {
    for place in places() {
        let shape = shape("t", &[("id*", None), ("n", None)], Repeats::First);
        let one = |id: &'static str, n: i64| row(&shape, [Value::text(id), Value::Int(n)]);
        let make = match &place {
            Place::Sqlite(_) => "CREATE TABLE t (id TEXT PRIMARY KEY, n BIGINT CHECK (n < 10))",
            Place::Postgres(_) => {
                "CREATE SCHEMA chalk; CREATE TABLE chalk.t (id text PRIMARY KEY, n bigint CHECK (n < 10)); \
                 GRANT ALL ON SCHEMA chalk TO writer; ALTER TABLE chalk.t OWNER TO writer"
            }
        };
        place.run(make);
        let store = place.open();
        let refusal = match write(&store, &[one("bad", 10)]).await {
            Ok(outcome) => outcome.refused[0].1.clone(),
            Err(chalk_writer::sink::SinkError::Poisoned(refusal)) => refusal,
            Err(error) => panic!("{error}"),
        };
        assert!(refusal.code.is_some() && refusal.row.as_deref() == Some("t/bad"), "{refusal:?}");
        assert_eq!(write(&store, &[one("good", 9)]).await.expect("written").stored, 1);
    }
}

#[tokio::test]
async fn types_and_names_survive_and_tables_and_columns_grow() {
    for place in places() {
        let store = place.open();
        let table = "odd\"; DROP TABLE x; -- é";
        let structure = Value::Struct(vec![("z".into(), Value::Int(i64::MAX)), ("a\"'".into(), Value::List(vec![]))]);
        let nested = Value::List(vec![Value::List(vec![Value::Null, Value::Double(0.5)]), Value::text("😀")]);
        let late = json!("9999-12-31T23:59:59.999999Z");
        let cells: Vec<(&str, Option<&str>, Value, Json)> = vec![
            ("select", None, Value::Int(i64::MAX), json!(i64::MAX)),
            ("a\"b'; --", None, Value::Bool(true), json!(1)),
            ("$1", None, Value::Double(0.1), json!(0.1)),
            ("?1", None, Value::Double(-1.5e300), json!(-1.5e300)),
            ("é 😀", None, Value::text("Ünï\u{10ffff}\u{1}\n\\ '"), json!("Ünï\u{10ffff}\u{1}\n\\ '")),
            ("number", Some("string"), Value::text("007"), json!("007")),
            ("time", None, Value::Timestamp(253_402_300_799_999_999), late),
            ("day", None, Value::Date(-719_162), json!("0001-01-01")),
            ("price", Some("decimal(38,9)"), Value::Decimal("0.5".into()), Json::Null),
            ("empty", None, Value::List(vec![]), json!([])),
            ("nested", None, nested, json!([[null, 0.5], "😀"])),
            ("struct", None, structure, json!({"z": i64::MAX, "a\"'": []})),
            ("single", None, Value::Vector(Arc::new(Vector::Fp32(vec![0.5, -2.5]))), json!([0.5, -2.5])),
            ("order", None, Value::text(""), json!("")),
            ("only_nulls", None, Value::Null, Json::Null),
        ];
        let quoted = "\"odd\"\"; DROP TABLE x; -- é\"";
        for known in 1..=cells.len() {
            let names = std::iter::once(("group*", None));
            let names: Vec<_> =
                names.chain(cells[..known].iter().map(|(name, declared, ..)| (*name, *declared))).collect();
            let shape = shape(table, &names, Repeats::First);
            let values = cells[..known].iter().map(|(_, _, value, _)| value.clone());
            let row = row(&shape, std::iter::once(Value::text(format!("{known:02}"))).chain(values));
            assert_eq!(write(&store, &[row]).await.expect("written").stored, 1, "with {known} columns");
        }
        let found = place.rows(quoted);
        let last = found.iter().find(|row| row["group"] == format!("{:02}", cells.len())).expect("the last row");
        for (name, _, _, expected) in &cells {
            match (*name, &place) {
                ("price", Place::Sqlite(_)) => assert_eq!(last["price"], "0.5"),
                ("price", Place::Postgres(_)) => assert_eq!(last["price"], 0.5),
                ("only_nulls", _) => assert!(!last.contains_key("only_nulls")),
                _ => assert_eq!(&last[*name], expected, "{name}"),
            }
        }
    }
}

#[tokio::test]
async fn numbers_that_json_has_not_are_kept_and_bytes_are() {
    let columns = [("id*", None), ("x", Some("float64")), ("raw", None)];
    let shape = shape("t", &columns, Repeats::First);
    let rows: Vec<_> = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE / 4.0]
        .into_iter()
        .enumerate()
        .map(|(at, x)| row(&shape, [Value::text(format!("{at}")), Value::Double(x), Value::Bytes(vec![0, 255].into())]))
        .collect();
    for place in places() {
        assert_eq!(write(&place.open(), &rows).await.expect("written").stored, 5);
        match &place {
            Place::Postgres(server) => {
                let all = server.sql("SELECT x, raw FROM chalk.t ORDER BY id");
                let found: Vec<f64> =
                    all.lines().map(|line| line.split('|').next().expect("x").parse().expect("a number")).collect();
                assert!(found[0].is_nan() && all.lines().all(|line| line.ends_with(r"|\x00ff")), "{all}");
                assert_eq!(found[1..], [f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE / 4.0]);
            }
            Place::Sqlite(_) => {
                let file = place.file();
                let read = |sql: &str| file.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a row");
                let shown = "SELECT group_concat(CASE typeof(x) WHEN 'text' THEN x ELSE printf('%!.17g', x) END, ' ') \
                             || hex(max(raw)) FROM (SELECT * FROM t ORDER BY id)";
                assert_eq!(read(shown), "NaN Inf -Inf 0.0 5.5626846462680035e-30900FF");
            }
        }
    }
}

#[tokio::test]
async fn a_table_that_was_made_by_hand_gets_its_key_and_columns_and_loses_nothing() {
    let place = sqlite();
    place.run("CREATE TABLE t (ID text, extra int); INSERT INTO t VALUES ('b', 1)");
    let shape = shape("t", &[("id*", None), ("n", None)], Repeats::First);
    let rows: Vec<_> = ["a", "b", "c"].map(|id| row(&shape, [Value::text(id), Value::Int(7)])).to_vec();
    let outcome = write(&place.open(), &rows).await.expect("written");
    assert_eq!((outcome.stored, outcome.stale), (2, 1));
    let found = place.rows("t");
    assert_eq!(found.iter().map(|row| row["ID"].clone()).collect::<Vec<_>>(), ["a", "b", "c"]);
    // With doubles in it no key can be made: that is for somebody to put right, and no row's fault.
    place.run("CREATE TABLE u (id text); INSERT INTO u VALUES ('x'), ('x')");
    let one = [row(&super::place::shape("u", &[("id*", None)], Repeats::First), [Value::text("y")])];
    let error = write(&place.open(), &one).await.expect_err("doubles");
    assert!(error.to_string().contains("UNIQUE"), "{error}");
    place.run("DELETE FROM u");
    assert_eq!(write(&place.open(), &one).await.expect("written").stored, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_add_tables_and_columns_at_once_lose_no_row_and_no_column() {
    for place in [sqlite(), postgres(Version::Newest)] {
        let writers: Vec<_> = (0..4_i64)
            .map(|number| {
                let store = place.open();
                tokio::spawn(async move {
                    for unit in 0..10_i64 {
                        let own = format!("own_{number}_{unit}");
                        let shape = shape("t", &[("id*", None), (&own, None)], Repeats::First);
                        let rows: Vec<_> = (0..20)
                            .map(|n| row(&shape, [Value::text(format!("{number}-{unit}-{n}")), Value::Int(n)]))
                            .collect();
                        let outcome = written(&store, &rows).await;
                        assert_eq!((outcome.stored + outcome.stale, outcome.refused.len()), (20, 0), "{outcome:?}");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("a writer that ends");
        }
        let found = place.rows("t");
        assert_eq!(found.len(), 4 * 10 * 20);
        for row in found {
            let id = row["id"].as_str().expect("an id").to_owned();
            let (unit, n) = id.rsplit_once('-').expect("three parts");
            assert_eq!(row[&format!("own_{}", unit.replace('-', "_"))].to_string(), n);
        }
    }
}

#[tokio::test]
async fn tables_of_postgres_are_where_the_shape_or_the_uri_says() {
    let place = postgres(Version::Newest);
    let Place::Postgres(server) = &place else { unreachable!() };
    let one = |named: &Named| {
        [of(&shapes::errors(named), &[("error_id", Value::text("e")), ("created_at", Value::Timestamp(NOON))])]
    };
    write(&place.open(), &one(&Named::usual("query_errors"))).await.expect("written");
    write(&place.open(), &one(&Named::named("Other.failures"))).await.expect("written");
    let elsewhere = open_uri(&format!("{}?schema=here", server.uri())).expect("it opens");
    write(&elsewhere, &one(&Named::usual("query_errors"))).await.expect("written");
    write(&elsewhere, &one(&Named::named("Other.failures"))).await.expect("written");
    let tables = "SELECT string_agg(schemaname || '.' || tablename, ' ' ORDER BY schemaname COLLATE \"C\") \
                  FROM pg_tables WHERE schemaname NOT LIKE 'pg_%' AND schemaname <> 'information_schema'";
    assert_eq!(server.sql(tables), "Other.failures chalk.query_errors here.query_errors");
}
