//! A table of Postgres that others change while a writer knows it as it was: nothing is rounded, and no row is blamed.

use chalk_writer::sink::ErrorClass::TypeMismatch;
use chalk_writer::sink::SinkError;
use chalk_writer::value::Value;

use super::postgres::{open, server};
use super::support::{NOON, Store, row, shape, write};

/// A time without a fraction: 2026-11-22T18:32:00Z.
const SECOND: i64 = NOON - 123_456;
/// Not a double: 2⁵³ + 1.
const ODD: i64 = 9_007_199_254_740_993;

/// Notices once that the table is another by now.
async fn notices(store: &Store, rows: &[chalk_writer::row::table::TableRow]) {
    match write(store, "first", rows).await {
        Err(SinkError::Transient { reason }) => assert!(reason.contains("was changed by others"), "{reason}"),
        other => panic!("expected a change to be noticed, found {other:?}"),
    }
}

#[tokio::test]
async fn an_integer_is_not_rounded_by_a_column_that_another_writer_made_a_double() {
    let server = server();
    let (one, other) = (open(&server), open(&server));
    let shape = shape("user", &[("n", None)]);
    let of = |id: i64, n: Value| row(&shape, id, NOON, [n]);
    write(&one, "a", &[of(1, Value::Int(7))]).await.expect("written");
    write(&other, "b", &[of(2, Value::Double(0.5))]).await.expect("written, and the column is a double");
    let rows = [of(3, Value::Int(ODD)), of(4, Value::Int(8))];
    notices(&one, &rows).await;
    assert_eq!(server.sql("SELECT count(*) FROM \"user\""), "2", "nothing of it is there");
    let outcome = write(&one, "first", &rows).await.expect("judged anew");
    let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
    assert_eq!((outcome.stored, refused), (1, vec![(0, TypeMismatch)]));
    assert_eq!(server.sql("SELECT n FROM \"user\" ORDER BY n"), "0.5\n7\n8");
}

#[tokio::test]
async fn a_type_that_a_person_changes_rounds_and_shortens_nothing() {
    let list = |item: Value| Value::List(vec![item]);
    let decimal = |text: &str| Value::Decimal(text.into());
    let time = |micros: i64| Value::Timestamp(SECOND + micros);
    // The declared type, what a person makes of the column, a value that it still holds as it is, and one that the server
    // would make another of.
    for (declared, to, sound, other) in [
        ("decimal(12,4)", "numeric(10,2)", decimal("1.5000"), decimal("1.5555")),
        ("float64", "real", Value::Double(0.5), Value::Double(0.1)),
        ("list<int64>", "double precision[]", list(Value::Int(1)), list(Value::Int(ODD))),
        ("int64", "double precision", Value::Int(1), Value::Int(ODD)),
        ("timestamp", "timestamptz(0)", time(0), time(600_001)),
        ("list<timestamp>", "timestamptz(3)[]", list(time(1_000)), list(time(1_001))),
        ("string", "varchar(3)", Value::text("abc"), Value::text("abc  ")),
        // SQLSTATE 22001 by itself.
        ("string", "varchar(3)", Value::text("éàü"), Value::text("abcd")),
        ("list<string>", "varchar(3)[]", list(Value::text("abc")), list(Value::text("abc  "))),
    ] {
        let server = server();
        let store = open(&server);
        let shape = shape("user", &[("v", Some(declared))]);
        write(&store, "a", &[row(&shape, 1, NOON, [sound.clone()])]).await.expect("written");
        server.sql(&format!("ALTER TABLE \"user\" ALTER v TYPE {to}"));
        let rows = [row(&shape, 2, NOON, [sound]), row(&shape, 3, NOON, [other])];
        notices(&store, &rows).await;
        let outcome = write(&store, "first", &rows).await.expect("judged anew");
        let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
        assert_eq!((outcome.stored, refused), (1, vec![(1, TypeMismatch)]), "{declared} as {to}");
        assert_eq!(server.sql("SELECT count(*), count(DISTINCT v) FROM \"user\""), "2|1", "{declared} as {to}");
    }
}

/// A value for it is an error of the statement (SQLSTATE 428C9), which would be repeated for ever.
#[tokio::test]
async fn a_column_that_the_server_alone_fills_refuses_values_and_takes_rows_without_one() {
    for (filled, with) in [("AS IDENTITY", "1\n2"), ("AS (__id__ * 2) STORED", "2\n4")] {
        let server = server();
        let store = open(&server);
        let shape = shape("user", &[("n", Some("int64"))]);
        let of = |id: i64, n: Value| row(&shape, id, NOON, [n]);
        write(&store, "a", &[of(1, Value::Null)]).await.expect("written");
        server.sql(&format!("ALTER TABLE \"user\" DROP n, ADD n bigint GENERATED ALWAYS {filled}"));
        let rows = [of(2, Value::Null), of(3, Value::Int(7))];
        // A store that knows nothing of the table, and one that knows it as it was.
        let outcome = write(&open(&server), "b", &rows).await.expect("the row without a value is written");
        assert_eq!((outcome.stored, outcome.refused.len()), (1, 1), "{filled}");
        let (at, refusal) = &outcome.refused[0];
        assert_eq!((*at, refusal.class), (1, TypeMismatch), "{filled}");
        assert!(refusal.message.contains("has type bigint GENERATED ALWAYS"), "{refusal}");
        match write(&store, "b", &rows).await {
            Err(SinkError::Transient { reason }) => assert!(reason.contains("428C9"), "{reason}"),
            other => panic!("expected a change to be noticed, found {other:?}"),
        }
        let outcome = write(&store, "b", &rows).await.expect("judged anew");
        assert_eq!((outcome.stored, outcome.stale, outcome.refused.len()), (0, 1, 1), "{filled}");
        assert_eq!(server.sql("SELECT n FROM \"user\" ORDER BY __id__"), with);
    }
}

/// What only the server refuses is a verdict on a row where the row was judged by the type that the column has.
#[tokio::test]
async fn a_row_is_not_blamed_for_a_type_that_was_changed_under_it() {
    let server = server();
    let store = open(&server);
    let shape = shape("user", &[("v", None)]);
    write(&store, "a", &[row(&shape, 1, NOON, [Value::Double(1.0)])]).await.expect("written");
    server.sql("ALTER TABLE \"user\" ALTER v TYPE bigint");
    let large = [row(&shape, 2, NOON, [Value::Double(1e300)])];
    // SQLSTATE 22003 by itself.
    notices(&store, &large).await;
    assert_eq!(write(&store, "first", &large).await.expect("the column becomes wider").stored, 1);
    assert_eq!(server.sql("SELECT v FROM \"user\" ORDER BY v"), "1\n1e+300");
}
