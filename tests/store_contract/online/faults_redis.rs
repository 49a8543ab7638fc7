//! A Redis that fails: each failure has the right class, and what was written stands when it is over.

use std::time::{Duration, Instant};

use chalk_writer::config::secret::{SecretClient, SecretRef};
use chalk_writer::sink::SinkError;
use chalk_writer::store::StoreOptions;

use super::place::{Place, cell, entity, int, open, options, row, store, stored, stored_at_last, value, write};
use crate::redis::{RedisServer, Reply};

fn started(arguments: &[&str]) -> RedisServer {
    RedisServer::start(arguments)
}

fn user(time: i64) -> [chalk_writer::row::feature::FeatureRow; 1] {
    [row(entity("42"), vec![cell("a", time, int(time))])]
}

fn transient<T: std::fmt::Debug>(result: Result<T, SinkError>, what: &str) {
    match result {
        Err(SinkError::Transient { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("expected a passing failure with `{what}`, found {other:?}"),
    }
}

#[tokio::test]
async fn a_killed_connection_is_made_again() {
    let server = started(&[]);
    let store = store(&server.uri());
    for time in 0..5 {
        stored_at_last(&*store, &user(time)).await;
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_under_load_lose_nothing() {
    let place = Place::Redis(Box::new(started(&[])));
    let Place::Redis(server) = &place else { unreachable!() };
    let store = place.store();
    let writing = tokio::spawn(async move {
        for time in 0..60_i64 {
            let rows: Vec<_> = (0..400)
                .map(|key| {
                    row(entity(&key.to_string()), vec![cell("a", time, int(time)), cell("b", 100 - time, int(time))])
                })
                .collect();
            stored_at_last(&*store, &rows).await;
        }
        store
    });
    while !writing.is_finished() {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = writing.await.expect("a writer that ends");
    for key in 0..400 {
        assert_eq!(value(&*store, &entity(&key.to_string()), "a").await, Some(int(59)));
        assert_eq!(value(&*store, &entity(&key.to_string()), "b").await, Some(int(0)));
    }
}

#[tokio::test]
async fn a_restarted_server_is_written_to_again_and_gets_its_layout_back() {
    let mut server = started(&[]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.stop();
    transient(write(&*store, &user(2)).await, "redis://127.0.0.1");
    server.start_again();
    stored_at_last(&*store, &user(2)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
    assert_eq!(server.command(&["GET", "test/__chalk_layout__"]), Reply::Bytes(b"1".to_vec()));
}

#[tokio::test]
async fn a_server_that_was_away_at_first_is_found() {
    let mut server = started(&[]);
    server.stop();
    let store = store(&server.uri());
    transient(write(&*store, &user(1)).await, "redis://127.0.0.1");
    server.start_again();
    stored_at_last(&*store, &user(1)).await;
}

#[tokio::test]
async fn a_server_that_stands_still_ends_a_write_in_time_and_nothing_older_wins_later() {
    let server = started(&[]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.pause();
    let began = Instant::now();
    transient(write(&*store, &user(2)).await, "imeout");
    transient(write(&*store, &user(2)).await, "no connection");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    server.resume();
    stored_at_last(&*store, &user(3)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(3)));
}

#[tokio::test]
async fn a_full_server_is_waited_for_and_no_row_is_blamed() {
    let server = started(&["--maxmemory-policy", "noeviction"]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.command(&["CONFIG", "SET", "maxmemory", "100kb"]);
    transient(write(&*store, &user(2)).await, "OOM");
    let fresh: Vec<_> = (0..120).map(|key| row(entity(&format!("n{key}")), vec![cell("a", 1, int(1))])).collect();
    transient(write(&*store, &fresh).await, "OOM");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    stored(&*store, &user(2)).await;
    assert_eq!(stored(&*store, &fresh).await.stored, 120);
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_a_right_one_found_later() {
    let server = started(&["--requirepass", "right"]);
    let denied = |result: Result<_, SinkError>| match result {
        Err(SinkError::Denied { reason }) => {
            assert!(!reason.contains("right") && !reason.contains("wrong"), "{reason}");
        }
        other => panic!("expected a denial, found {other:?}"),
    };
    denied(write(&*store(&server.uri()), &user(1)).await);
    let wrong = store(&format!("redis://:wrong@127.0.0.1:{}", server.port()));
    denied(write(&*wrong, &user(1)).await);
    denied(write(&*wrong, &user(1)).await);
    let right = store(&format!("redis://:right@127.0.0.1:{}", server.port()));
    stored(&*right, &user(1)).await;
    let by_parameter = store(&format!("redis://127.0.0.1:{}?password=right", server.port()));
    stored(&*by_parameter, &user(1)).await;
}

#[tokio::test]
async fn missing_rights_are_denied_and_granted_ones_found_without_a_restart() {
    let server = started(&[]);
    server.command(&["ACL", "SETUSER", "writer", "on", ">pass", "~*", "+@all", "-evalsha"]);
    let store = store(&format!("redis://writer:pass@127.0.0.1:{}/2", server.port()));
    match write(&*store, &user(1)).await {
        Err(SinkError::Denied { reason }) => assert!(reason.contains("NOPERM"), "{reason}"),
        other => panic!("expected a denial, found {other:?}"),
    }
    server.command(&["ACL", "SETUSER", "writer", "+evalsha", "resetkeys", "~test/__*", "~test/prod/user/{1}"]);
    let rows = ["1", "42"].map(|key| row(entity(key), vec![cell("a", 1, int(1))]));
    assert!(matches!(write(&*store, &rows).await, Err(SinkError::Denied { .. })), "a key without rights is no bad row");
    server.command(&["ACL", "SETUSER", "writer", "~*"]);
    stored(&*store, &rows).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(1)));
    assert_eq!(server.command(&["EXISTS", "test/prod/user/{42}"]), Reply::Number(0), "database 2 was named");
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_waited_for() {
    let server = started(&[]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    transient(write(&*store, &user(2)).await, "redis://127.0.0.1");
    server.command(&["REPLICAOF", "NO", "ONE"]);
    stored_at_last(&*store, &user(2)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
}

#[tokio::test]
async fn a_primary_that_was_demoted_is_left_for_the_one_that_the_uri_names_now() {
    let (old, new) = (started(&[]), started(&[]));
    let folder = tempfile::tempdir().expect("a folder");
    let uri = |server: &RedisServer| std::fs::write(folder.path().join("redis"), server.uri()).expect("written");
    uri(&old);
    let client = SecretClient::File { folder: folder.path().to_owned() };
    let options = StoreOptions { uri: SecretRef::named("redis", client), ..options(&old.uri()) };
    let store = open(&options).expect("a store that can be opened");
    stored(&*store, &user(1)).await;
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    uri(&new);
    transient(write(&*store, &user(2)).await, "READONLY");
    stored(&*store, &user(2)).await;
    assert_eq!(new.command(&["EXISTS", "test/prod/user/{42}"]), Reply::Number(1));

    // And back, to a server that answers nothing while it has no primary.
    new.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    new.command(&["REPLICAOF", "127.0.0.1", "1"]);
    old.command(&["REPLICAOF", "NO", "ONE"]);
    uri(&old);
    transient(write(&*store, &user(3)).await, &new.uri());
    stored(&*store, &user(3)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(3)));
}
