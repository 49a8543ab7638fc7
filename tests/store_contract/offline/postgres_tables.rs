//! Tables of Postgres at their limits: many in one write, columns that cannot change, changes that take long, numbers
//! as long as there are.

use chalk_writer::row::table::TableRow;
use chalk_writer::sink::ErrorClass::{TypeMismatch, ValueRefused};
use chalk_writer::value::Value;

use super::postgres::{open, read, server};
use super::support::{NOON, open_uri, row, shape, write};
use crate::logs::Logs;

/// A row of each of many tables of one shape, which tells its table.
fn one_of_each(tables: std::ops::Range<i64>) -> Vec<TableRow> {
    tables.map(|n| row(&shape(&format!("t{n}"), &[("n", None)]), n, NOON, [Value::Int(n)])).collect()
}

/// A connection keeps 200 temporary tables; here a write has more tables, and the ones after it start over.
#[tokio::test]
async fn rows_of_more_tables_than_a_connection_keeps_are_each_in_their_own() {
    let server = server();
    let store = open(&server);
    // Made at once, which is quicker than one by one.
    server.sql(
        "DO $$ BEGIN FOR n IN 0..214 LOOP EXECUTE format('CREATE TABLE t%s (__observation_id__ text PRIMARY KEY, __id__ \
         bigint, __ts__ timestamptz, __inserted_at__ timestamptz, n bigint); ALTER TABLE t%1$s OWNER TO writer', n); \
         END LOOP; END $$",
    );
    let stages = || server.sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'chalk_stage%'");
    assert_eq!(write(&store, "a", &one_of_each(0..205)).await.expect("written").stored, 205);
    assert_eq!(stages(), "205");
    assert_eq!(write(&store, "b", &one_of_each(200..210)).await.expect("written").stored, 5);
    assert_eq!(stages(), "10", "it started over");
    assert_eq!(write(&store, "c", &one_of_each(205..215)).await.expect("written").stored, 5);
    let strange: Vec<String> = (0..215)
        .map(|n| format!("SELECT '{n}: ' || array_agg(n)::text FROM t{n} HAVING array_agg(n) <> '{{{n}}}'"))
        .collect();
    assert_eq!(server.sql(&strange.join(" UNION ALL ")), "");
}

#[tokio::test]
async fn a_column_that_a_view_uses_stays_as_it_is_and_the_verdict_names_the_view() {
    let server = server();
    let store = open(&server);
    let shape = shape("user", &[("free", None), ("held", None)]);
    let with = |id: i64, free: Value, held: Value| row(&shape, id, NOON, [free, held]);
    write(&store, "a", &[with(1, Value::Int(1), Value::Int(1))]).await.expect("written");
    server.sql("CREATE VIEW report AS SELECT held FROM \"user\"");
    let rows = [
        with(2, Value::Double(0.5), Value::Int(2)),
        with(3, Value::Int(3), Value::Double(0.5)),
        with(4, Value::Int(4), Value::Int(4)),
    ];
    let outcome = write(&store, "b", &rows).await.expect("the others are written");
    assert_eq!((outcome.stored, outcome.refused.len()), (2, 1), "{outcome:?}");
    let (at, refusal) = &outcome.refused[0];
    assert_eq!((*at, refusal.class), (1, TypeMismatch));
    for part in ["column `held`: expected bigint", "used by a view or rule", "view report depends on column \"held\""] {
        assert!(refusal.message.contains(part), "{refusal}");
    }
    assert_eq!(read(&server, "\"user\"")["obs-2"]["free"], 0.5);
    server.sql("DROP VIEW report");
    assert_eq!(write(&store, "c", &rows).await.expect("written").stored, 1);
    assert_eq!(read(&server, "\"user\"")["obs-3"]["held"], 0.5);
}

/// Slow by construction: the server sleeps in each change, for longer than the URI gives a statement.
#[tokio::test]
async fn a_change_of_a_table_may_take_longer_than_a_statement_and_is_said_before() {
    let server = server();
    server.sql(
        "CREATE TABLE \"user\" (__observation_id__ text, n bigint); ALTER TABLE \"user\" OWNER TO writer; \
         CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); END $$; \
         CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE') \
         EXECUTE FUNCTION slow()",
    );
    let logs = Logs::listen();
    let store = open_uri(&format!("{}?statement_timeout=1s", server.uri())).expect("it opens");
    let shape = shape("user", &[("n", None)]);
    let one = |id: i64, n: Value| [row(&shape, id, NOON, [n])];
    assert_eq!(write(&store, "a", &one(1, Value::Int(1))).await.expect("written").stored, 1);
    assert_eq!(write(&store, "b", &one(2, Value::Double(0.5))).await.expect("written").stored, 1);
    let said = logs.lines("changing a table of Postgres");
    assert_eq!(said.len(), 2, "{said:?}");
    for (line, change) in
        said.iter().zip(["a unique index on `__observation_id__`", "`n` from bigint to double precision"])
    {
        assert!(line.contains(change) && line.contains("user") && line.contains("written anew"), "{line}");
    }
}

#[tokio::test]
async fn the_longest_decimals_there_are_come_back_whole() {
    let server = server();
    let store = open(&server);
    let shape = shape("user", &[("free", None), ("narrow", Some("decimal(4,2)"))]);
    let (whole, fraction) = ("9".repeat(131_072), "9".repeat(16_383));
    let zeros = "0".repeat(20_000);
    let rows = [
        (format!("{whole}.{fraction}"), format!("1.5{zeros}")),
        (format!("-{whole}"), format!("-99.99{zeros}")),
        (format!("-0.{}1", "0".repeat(16_382)), "0".to_owned()),
        (format!("1{}", "0".repeat(131_071)), "7".to_owned()),
    ];
    let decimal = |text: &String| Value::Decimal(text.clone().into());
    let written: Vec<_> =
        (0..).zip(&rows).map(|(n, (free, narrow))| row(&shape, n, NOON, [decimal(free), decimal(narrow)])).collect();
    let outcome = write(&store, "a", &written).await.expect("written");
    assert_eq!((outcome.stored, outcome.refused.len()), (4, 0), "{outcome:?}");
    let found = server.sql("SELECT free, narrow FROM \"user\" ORDER BY __id__");
    for ((line, (free, _)), narrow) in found.lines().zip(&rows).zip(["1.50", "-99.99", "0.00", "7.00"]) {
        assert!(line == format!("{free}|{narrow}"), "{} characters, beginning with {}", line.len(), &line[..20]);
    }
    assert_eq!(found.lines().count(), 4);
}

#[tokio::test]
async fn the_online_stores_table_is_no_namespace() {
    let server = server();
    let store = open(&server);
    let rows = [row(&shape("online_features", &[]), 1, NOON, []), row(&shape("user", &[]), 2, NOON, [])];
    let outcome = write(&store, "a", &rows).await.expect("the other is written");
    assert_eq!((outcome.stored, outcome.refused.len()), (1, 1));
    let (at, refusal) = &outcome.refused[0];
    assert_eq!((*at, refusal.class), (0, ValueRefused));
    assert!(refusal.message.contains("`online_features` is the online store's table"), "{refusal}");
    assert_eq!(server.sql("SELECT to_regclass('online_features') IS NULL"), "t");
}
