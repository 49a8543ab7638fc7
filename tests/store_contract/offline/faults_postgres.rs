//! A Postgres that fails under the history: nothing lost, nothing twice, no row blamed.

use std::time::Duration;

use chalk_writer::config::secret::{SecretClient, SecretRef};
use chalk_writer::config::settings::StoreSettings;
use chalk_writer::row::table::TableRow;
use chalk_writer::sink::SinkError;
use chalk_writer::store::{OFFLINE, StoreLimits, StoreOptions};
use chalk_writer::value::Value;

use super::disk::Tmpfs;
use super::postgres::{open, read, server, stored_at_last};
use super::support::{NOON, Store, open_uri, row, shape, write};
use crate::postgres::{PostgresServer, Version, belongs_to_the_server};
use crate::proxy::Proxy;

fn rows(ids: std::ops::Range<i64>) -> Vec<TableRow> {
    let shape = shape("user", &[("name", None)]);
    ids.map(|id| row(&shape, id, NOON, [Value::text(uuid::Uuid::new_v4().to_string())])).collect()
}

fn transient<T: std::fmt::Debug>(result: Result<T, SinkError>, what: &str) {
    match result {
        Err(SinkError::Transient { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("expected a passing failure with `{what}`, found {other:?}"),
    }
}

/// Wherever in its bytes a write is cut (before `COPY`, in the middle of it, before or after the commit), its
/// repetition ends with every row once.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_cut_anywhere_ends_with_every_row_once() {
    let server = server();
    let proxy = Proxy::of(server.port());
    write(&open(&server), "w", &rows(0..1)).await.expect("written");
    let (mut cuts, mut next, mut behind_the_commit) = (0, 1, 0);
    // In long steps to the end, and over the last of them again in short ones: the commit's answer is short.
    let (mut at, mut step) = (0, 173);
    loop {
        let store = open_uri(&server.uri_through(proxy.port())).expect("it opens");
        let batch = rows(next..next + 100);
        proxy.cut_after(at);
        let first = write(&store, "w", &batch).await;
        if proxy.is_whole() {
            first.expect("nothing was cut");
            next += 100;
            if step < 173 {
                break;
            }
            (at, step) = (at - step, 5);
            continue;
        }
        cuts += 1;
        transient(first, "postgres://127.0.0.1");
        let outcome = write(&store, "w", &batch).await.expect("the repetition");
        assert!(outcome.stored == 100 || outcome.stale == 100, "all or nothing: {outcome:?}");
        behind_the_commit += outcome.stale / 100;
        next += 100;
        at += step;
    }
    proxy.mend();
    assert!(cuts > 30 && behind_the_commit > 0, "{cuts} cuts, {behind_the_commit} of them behind the commit");
    assert_eq!(read(&server, "\"user\"").len() as i64, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_and_servers_stopped_under_load_lose_and_double_nothing() {
    let mut server = server();
    let store = open(&server);
    let writing = tokio::spawn(async move {
        for unit in 0..30 {
            let outcome = stored_at_last(&store, &rows(unit * 500..unit * 500 + 500)).await;
            assert!(outcome.refused.is_empty(), "{outcome:?}");
        }
    });
    for round in 0.. {
        if writing.is_finished() {
            break;
        }
        match round % 4 {
            0 => server.stop(),
            1 => server.kill(),
            _ => {
                server.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chalk-writer'",
                );
                tokio::time::sleep(Duration::from_millis(30)).await;
                continue;
            }
        }
        server.start_again();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    writing.await.expect("a writer that ends");
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT __observation_id__) FROM \"user\""), "15000|15000");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_no_row_is_blamed() {
    let server = server();
    let disk = Tmpfs::mount("size=3m");
    belongs_to_the_server(disk.path());
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()));
    server.sql("GRANT CREATE ON TABLESPACE small TO writer; ALTER ROLE writer SET default_tablespace = 'small'");
    let store = open(&server);
    write(&store, "first", &rows(0..10)).await.expect("there is room");
    let many = rows(10..40_010);
    transient(write(&store, "many", &many).await, "53100");
    transient(write(&store, "many", &many).await, "53100");
    assert_eq!(server.sql("SELECT count(*) FROM \"user\""), "10");
    disk.remount("size=200m");
    assert_eq!(write(&store, "many", &many).await.expect("there is room again").stored, 40_000);
    assert_eq!(server.sql("SELECT count(*) FROM \"user\""), "40010");
    server.sql("DROP TABLE \"user\"");
    drop(server);
}

#[tokio::test]
async fn a_column_or_a_table_that_is_dropped_comes_back() {
    let server = server();
    let store = open(&server);
    write(&store, "a", &rows(0..5)).await.expect("written");
    server.sql("ALTER TABLE \"user\" DROP COLUMN name");
    transient(write(&store, "b", &rows(5..10)).await, "name");
    assert_eq!(write(&store, "b", &rows(5..10)).await.expect("written").stored, 5);
    assert_eq!(server.sql("SELECT count(name) FROM \"user\""), "5");
    server.sql("DROP TABLE \"user\"");
    transient(write(&store, "c", &rows(10..15)).await, "user");
    assert_eq!(write(&store, "c", &rows(10..15)).await.expect("written").stored, 5);
    server.sql("ALTER TABLE \"user\" DROP CONSTRAINT user_pkey");
    transient(write(&store, "d", &rows(15..20)).await, "42P10");
    assert_eq!(write(&store, "d", &rows(15..20)).await.expect("written").stored, 5);
    assert_eq!(read(&server, "\"user\"").len(), 10);
}

#[tokio::test]
async fn wrong_credentials_and_missing_rights_are_denied_until_they_are_put_right() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let put = |uri: String| std::fs::write(folder.path().join("pg"), uri).expect("written");
    put(server.uri().replace(":right@", ":wrong@"));
    let settings = StoreSettings::of(SecretRef::named("pg", SecretClient::File { folder: folder.path().to_owned() }));
    let limits = StoreLimits { concurrency: 4, tombstone_retention: Duration::from_secs(60), memory_limit: 64 << 20 };
    let options = StoreOptions::new(&settings, server.uri().into(), limits);
    let store = OFFLINE.open(&options).expect("it opens") as Store;
    let denied = |result: Result<_, SinkError>, what: &str| match result {
        Err(SinkError::Denied { reason }) => assert!(reason.contains(what) && !reason.contains("wrong"), "{reason}"),
        other => panic!("expected a denial with `{what}`, found {other:?}"),
    };
    denied(write(&store, "w", &rows(0..1)).await, "28P01");
    put(format!("{}?schema=history", server.uri()));
    server.sql("REVOKE CREATE ON DATABASE features FROM writer; ALTER DATABASE features OWNER TO admin");
    denied(write(&store, "w", &rows(0..1)).await, "permission denied for database");
    server.sql("GRANT CREATE ON DATABASE features TO writer; REVOKE TEMP ON DATABASE features FROM PUBLIC");
    denied(write(&store, "w", &rows(0..1)).await, "temporary tables");
    server.sql("GRANT TEMP ON DATABASE features TO writer");
    assert_eq!(write(&store, "w", &rows(0..1)).await.expect("written").stored, 1);
    assert_eq!(read(&server, "history.\"user\"").len(), 1);
}

#[tokio::test]
async fn a_table_as_wide_as_there_can_be_refuses_the_row_that_asks_for_more() {
    let server = server();
    let store = open(&server);
    let names: Vec<String> = (0..1_500).map(|at| format!("c{at}")).collect();
    let wide: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("bool"))).collect();
    let full = [row(&shape("user", &wide), 1, NOON, names.iter().map(|_| Value::Bool(true)))];
    assert_eq!(write(&store, "a", &full).await.expect("written").stored, 1);
    let more: Vec<String> = (0..200).map(|at| format!("d{at}")).collect();
    let more: Vec<(&str, Option<&str>)> = more.iter().map(|name| (name.as_str(), Some("bool"))).collect();
    let beyond = row(&shape("user", &more), 2, NOON, more.iter().map(|_| Value::Null));
    match write(&store, "b", &[beyond]).await {
        Err(SinkError::Poisoned(refusal)) => assert_eq!(refusal.code.as_deref(), Some("54011"), "{refusal}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(write(&store, "c", &rows(3..5)).await.expect("written").stored, 2);
}
