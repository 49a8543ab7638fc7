//! What goes into one statement, and what rows become.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use serde_json::json;

use crate::files::{NOON, batch, parquet, put, rows};
use crate::plant::{Plant, insert};
use crate::postgres::{PostgresServer, Version};

#[tokio::test(flavor = "multi_thread")]
async fn files_of_several_notifications_of_one_table_go_into_one_statement() {
    let server = PostgresServer::start(Version::Debian, &["log_statement=all"]);
    let plant = Plant::new(&[("prod", &server.uri())], json!({"batch": {"max_age": "2s"}})).await;
    let mut loads = Vec::new();
    for number in 0..5 {
        let name = format!("{number}.parquet");
        let uri = put(plant.path(), &name, &parquet(&rows(number * 10, number * 10 + 10), 4));
        loads.push(insert(&format!("load-{number}"), "user", &[&uri]));
    }
    let other = put(plant.path(), "card.parquet", &parquet(&rows(0, 3), 4));
    loads.push(insert("load-card", "finance.card", &[&other]));
    plant.load(&loads).await;
    plant.drain();
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT id) FROM \"user\""), "50|50");
    assert_eq!(server.sql("SELECT count(*) FROM finance.card"), "3");
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT loaded_at) FROM chalk.loads"), "6|1", "one transaction");
    let log = std::fs::read_to_string(server.data().parent().expect("a folder").join("log")).expect("a log");
    let copies = |table: &str| {
        let statement = format!("COPY {table}");
        log.lines().filter(|line| line.contains(&statement) && line.contains("execute")).count()
    };
    assert_eq!((copies("\"public\".\"user\""), copies("\"finance\".\"card\"")), (1, 1), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_keeps_the_newest_row_of_a_key() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = Plant::new(&[("prod", &server.uri())], json!({})).await;
    let file = |name: &str, of: &[(i64, &str, i64)]| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(of.iter().map(|(id, ..)| *id)));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(of.iter().map(|(_, name, _)| *name)));
        let times = TimestampMicrosecondArray::from_iter_values(of.iter().map(|(.., time)| NOON + time));
        let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
        put(plant.path(), name, &parquet(&batch(&[("id", ids), ("name", names), ("changed", times)]), 2))
    };
    let upsert = |id: &str, uri: &str, order: &str| {
        let mut load = insert(id, "user", &[uri]);
        load["write_mode"] = json!("WRITE_MODE_UPSERT");
        load["key_columns"] = json!(["id"]);
        load["order_column"] = json!(order);
        load
    };
    let newer = file("newer.parquet", &[(1, "new", 5), (2, "b", 1), (1, "older in the file", 2)]);
    let older = file("older.parquet", &[(1, "old", 1), (2, "c", 9), (3, "d", 1)]);
    plant.load(&[upsert("1", &newer, "changed"), upsert("2", &older, "changed")]).await;
    plant.drain();
    assert_eq!(server.sql("SELECT id, name FROM \"user\" ORDER BY id"), "1|new\n2|c\n3|d");
    // A file that has no time to tell the newest by, or not the key.
    plant.load(&[upsert("3", &newer, ""), upsert("4", &newer, "name")]).await;
    plant.drain();
    let letters = plant.letters();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert!(letters.iter().all(|[class, row, _]| class == "FILE_INVALID" && *row == newer), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_to_be_made_is_waited_for_and_one_of_another_database_refused() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let plant = Plant::new(&[("prod", &server.uri())], json!({})).await;
    let uri = put(plant.path(), "1.parquet", &parquet(&rows(0, 3), 4));
    let mut later = insert("later", "made_later", &[&uri]);
    later["create_table"] = json!(false);
    plant
        .load(&[insert("elsewhere", "other.public.user", &[&uri]), insert("ours", "features.public.user", &[&uri])])
        .await;
    plant.drain();
    let letters = plant.letters();
    let [[class, row, message]] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((class.as_str(), row.as_str()), ("VALUE_REFUSED", "load elsewhere"));
    assert!(message.contains("in database `other`, and the store is database `features`"), "{message}");
    plant.load(&[later]).await;
    let writer = plant.start();
    let waits = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chalk-writer'";
        server.sql(sql) != "0"
    };
    crate::plant::until("the writer is there", waits);
    server.sql("CREATE TABLE made_later (id bigint, name text, observed_at timestamptz); ALTER TABLE made_later OWNER TO writer");
    crate::plant::until("the table is filled", || server.sql("SELECT count(*) FROM made_later") == "3");
    drop(writer);
    assert_eq!(server.sql("SELECT count(*) FROM \"user\""), "3");
}

/// A file of many days and types, larger than what may be in memory at once by its groups.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_a_group_at_a_time_and_one_that_is_too_large_named() {
    let plant = Plant::new(&[("prod", Plant::lake())], json!({"memory_limit": "16MiB"})).await;
    let whole = rows(0, 400_000);
    let (groups, one) = (parquet(&whole, 20_000), parquet(&whole, 400_000));
    // A quarter of the memory is for files.
    assert!(groups.len() > 4 << 20, "{}", groups.len());
    let groups = put(plant.path(), "groups.parquet", &groups);
    let one = put(plant.path(), "one.parquet", &one);
    plant.load(&[insert("groups", "user", &[&groups]), insert("one", "user", &[&one])]).await;
    plant.drain();
    assert_eq!(crate::files::ids(&plant.path().join("lake"), "user"), (0..400_000).collect::<Vec<_>>());
    let letters = plant.letters();
    let [[class, row, message]] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((class.as_str(), row), ("FILE_INVALID", &one));
    assert!(message.contains("`memory_limit`"), "{message}");
    let days = std::fs::read_dir(plant.path().join("lake/user")).expect("a table").count();
    assert_eq!(days, 6, "400,000 seconds from 18:32 on");
}
