//! Streaming inserts of anybody: the second stage alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use chalk_writer::message::Outgoing;
use parquet::arrow::ArrowWriter;
use tokio_postgres::NoTls;

use crate::plant::{INSERTS, Plant, Stage, wait_for};
use crate::postgres::{PostgresServer, Version};

/// 2026-11-22T18:32:00Z
const NOON: i64 = 1_795_372_320_000_000;

fn parquet(columns: &[(&str, ArrayRef)]) -> Bytes {
    let batch = RecordBatch::try_from_iter(columns.iter().cloned()).expect("a batch");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a schema");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("finished").into()
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn times(values: &[i64]) -> ArrayRef {
    Arc::new(
        TimestampMicrosecondArray::from(values.iter().map(|at| NOON + at).collect::<Vec<_>>()).with_timezone("UTC"),
    )
}

fn insert(attributes: &[(&str, &str)], body: Bytes) -> Outgoing {
    let usual = [
        ("ce_type", "chalk.streaming_insert.v1"),
        ("ce_environmentid", "prod"),
        ("ce_time", "2026-11-22T18:32:00Z"),
        ("content-type", "application/vnd.apache.parquet"),
    ];
    Outgoing {
        topic: INSERTS.to_owned(),
        partition: Some(0),
        headers: usual.iter().chain(attributes).copied().collect(),
        payload: Some(body),
        ..Outgoing::default()
    }
}

/// Rows of observations, each with a number.
fn observations(rows: &[(&str, i64)]) -> Bytes {
    parquet(&[
        ("observation_id", texts(&rows.iter().map(|(id, _)| Some(*id)).collect::<Vec<_>>())),
        ("value", ints(&rows.iter().map(|(_, value)| *value).collect::<Vec<_>>())),
    ])
}

/// Versions of things, each of a moment.
fn versions(rows: &[(&str, i64, i64)]) -> Bytes {
    parquet(&[
        ("id", texts(&rows.iter().map(|(id, _, _)| Some(*id)).collect::<Vec<_>>())),
        ("value", ints(&rows.iter().map(|(_, value, _)| *value).collect::<Vec<_>>())),
        ("changed_at", times(&rows.iter().map(|(_, _, at)| *at).collect::<Vec<_>>())),
    ])
}

const UPSERT: [(&str, &str); 4] = [
    ("ce_table", "shop.things"),
    ("ce_writemode", "upsert"),
    ("ce_keycolumns", "id"),
    ("ce_ordercolumn", "changed_at"),
];

async fn into_postgres(server: &PostgresServer) -> Plant {
    Plant::new(&server.uri(), &format!("{}?schema=staged", server.uri())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_is_there_once_and_of_a_key_the_newest_row_in_whatever_order_they_came() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = into_postgres(&server).await;
    let append = [("ce_table", "observations")];
    plant
        .publish(&[
            insert(&append, observations(&[("a", 1), ("b", 2)])),
            insert(&append, observations(&[("b", 3), ("c", 4)])),
            insert(&UPSERT, versions(&[("x", 1, 10), ("y", 2, 10)])),
            insert(&UPSERT, versions(&[("x", 3, 20), ("y", 4, 5), ("x", 5, 15)])),
        ])
        .await;
    plant.drain(Stage::Second);
    // An older one of each, and a newer one, in a later write.
    plant
        .publish(&[
            insert(&append, observations(&[("a", 9)])),
            insert(&UPSERT, versions(&[("x", 6, 19), ("y", 7, 11)])),
        ])
        .await;
    plant.drain(Stage::Second);
    let rows = |from: &str| server.sql(&format!("SELECT string_agg(concat_ws(' ', {from}"));
    assert_eq!(rows("observation_id, value), ', ' ORDER BY observation_id) FROM staged.observations"), "a 1, b 2, c 4");
    assert_eq!(rows("id, value), ', ' ORDER BY id) FROM shop.things"), "x 3, y 7");
    let added = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'staged.observations'::regclass AND attname = '__inserted_at__'";
    assert_eq!(server.sql(added), "0", "such a table is not ours to add columns to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_keeps_every_row() {
    let plant = Plant::new("file:./direct", "file:./staged").await;
    let append = [("ce_table", "observations")];
    plant
        .publish(&[
            insert(&append, observations(&[("a", 1)])),
            insert(&append, observations(&[("a", 1)])),
            insert(&UPSERT, versions(&[("x", 1, 10), ("x", 2, 20)])),
        ])
        .await;
    plant.drain(Stage::Second);
    let tables = crate::look::lake(&plant.path().join("staged"));
    assert_eq!((tables["observations"].rows.len(), tables["things"].rows.len()), (2, 2));
    assert!(tables["observations"].rows[0].starts_with("date=2026-11-22 "), "by the message's time: {tables:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_to_be_made_is_waited_for() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = into_postgres(&server).await;
    server.sql("CREATE SCHEMA staged AUTHORIZATION writer");
    let headers = [("ce_table", "observations"), ("ce_createtable", "false")];
    plant.publish(&[insert(&headers, observations(&[("a", 1)]))]).await;
    let writer = plant.start(Stage::Second);
    // It has asked for the table, which shows by nothing but its tries; they do not make it.
    let tries = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'writer'";
    wait_for("it is connected", || server.sql(tries) != "0");
    assert_eq!(server.sql("SELECT to_regclass('staged.observations') IS NULL"), "t");
    assert_eq!(plant.committed().await, 0);
    server.sql("CREATE TABLE staged.observations (observation_id text, value bigint)");
    server.sql("ALTER TABLE staged.observations OWNER TO writer");
    wait_for("the row", || server.sql("SELECT count(*) FROM staged.observations") == "1");
    drop(writer);
    plant.drain(Stage::Second);
    assert_eq!(server.sql("SELECT string_agg(observation_id, ',') FROM staged.observations"), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_insert_is_buried_and_the_rest_is_written() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = into_postgres(&server).await;
    let good = observations(&[("a", 1)]);
    let append = [("ce_table", "observations")];
    let with = |more: &[(&'static str, &'static str)]| [&append[..], more].concat();
    plant
        .publish(&[
            insert(&append, good.clone()),
            insert(&append, good.slice(..good.len() - 9)),
            insert(&append, Bytes::from_static(b"observation_id,value\n")),
            insert(&[], good.clone()),
            insert(&with(&[("ce_writemode", "upsert")]), good.clone()),
            insert(&with(&[("ce_writemode", "upsert"), ("ce_keycolumns", "nobody")]), good.clone()),
            insert(&with(&[("ce_writemode", "replace")]), good.clone()),
            insert(&append, parquet(&[("observation_id", texts(&[Some("b"), None])), ("value", ints(&[2, 3]))])),
            // A type that the table has not: only the store can say.
            insert(&append, parquet(&[("observation_id", texts(&[Some("c")])), ("value", texts(&[Some("four")]))])),
            insert(&append, observations(&[("d", 5)])),
        ])
        .await;
    plant.drain(Stage::Second);
    let rows = server
        .sql("SELECT string_agg(concat_ws(' ', observation_id, value), ', ' ORDER BY observation_id) FROM staged.observations");
    assert_eq!(rows, "a 1, b 2, d 5");
    let buried: Vec<String> =
        plant.buried().await.into_iter().map(|(class, message)| format!("{class}: {message}")).collect();
    let expected = [
        "DECODE: `keycolumns` names column `nobody`, which the file has not",
        "DECODE: attribute `keycolumns` (header `ce_keycolumns`) is missing",
        "DECODE: attribute `table` (header `ce_table`) is missing",
        "DECODE: header `ce_writemode`: expected `append` or `upsert`, found `replace`",
        "DECODE: parquet: cut off",
        "DECODE: parquet: cut off",
        "TYPE_MISMATCH: column `value`: expected bigint, found string",
        "VALUE_REFUSED: row 1: column `observation_id` is a part of the key and is null",
    ];
    assert_eq!(buried.len(), expected.len(), "{buried:#?}");
    for (found, expected) in buried.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_write_and_its_acknowledgement_each_row_is_there_once() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = into_postgres(&server).await;
    let append = [("ce_table", "observations")];
    plant.publish(&[insert(&append, observations(&[("first", 0)]))]).await;
    plant.drain(Stage::Second);
    let before = plant.committed().await;
    let (client, connection) = tokio_postgres::connect(&server.uri(), NoTls).await.expect("connected");
    let connection = tokio::spawn(connection);
    // The write waits for this lock, its acknowledgement for that of the bus.
    client.batch_execute("BEGIN; LOCK TABLE staged.observations IN EXCLUSIVE MODE").await.expect("locked");
    let mut writer = plant.start(Stage::Second);
    plant
        .publish(&[insert(&append, observations(&[("a", 1), ("b", 2)])), insert(&UPSERT, versions(&[("x", 1, 10)]))])
        .await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'staged.observations'::regclass";
    wait_for("the write is held up", || server.sql(waits) == "1");
    let bus = rusqlite::Connection::open(plant.bus_file()).expect("the bus");
    bus.busy_timeout(std::time::Duration::from_secs(60)).expect("set");
    bus.execute_batch("BEGIN IMMEDIATE").expect("locked");
    client.batch_execute("COMMIT").await.expect("released");
    wait_for("the rows", || server.sql("SELECT count(*) FROM staged.observations") == "3");
    writer.0.kill().expect("it is ours");
    writer.0.wait().expect("it ends");
    bus.execute_batch("ROLLBACK").expect("released");
    assert_eq!(plant.committed().await, before, "it was killed before it acknowledged");
    plant.drain(Stage::Second);
    assert!(plant.committed().await > before);
    assert_eq!(
        server.sql("SELECT string_agg(observation_id, ',' ORDER BY observation_id) FROM staged.observations"),
        "a,b,first"
    );
    assert_eq!(server.sql("SELECT string_agg(id, ',') FROM shop.things"), "x");
    connection.abort();
}
