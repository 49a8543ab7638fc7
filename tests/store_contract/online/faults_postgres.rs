//! A Postgres that fails: each failure has the right class, and what was written stands when it is over.

use std::time::{Duration, Instant};

use chalk_writer::config::secret::{SecretClient, SecretRef};
use chalk_writer::row::feature::FeatureRow;
use chalk_writer::sink::SinkError;
use chalk_writer::store::StoreOptions;
use chalk_writer::value::Value;

use super::place::{cell, entity, int, open, options, read, row, store, stored, stored_at_last, value, write};
use crate::certificates::Authority;
use crate::postgres::{PostgresServer, Version};
use crate::proxy::Proxy;

fn started(settings: &[&str]) -> PostgresServer {
    PostgresServer::start(Version::Debian, settings)
}

fn user(time: i64) -> [FeatureRow; 1] {
    [row(entity("42"), vec![cell("a", time, int(time))])]
}

fn transient<T: std::fmt::Debug>(result: Result<T, SinkError>, what: &str) {
    match result {
        Err(SinkError::Transient { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("expected a passing failure with `{what}`, found {other:?}"),
    }
}

fn denied<T: std::fmt::Debug>(result: Result<T, SinkError>, what: &str) {
    match result {
        Err(SinkError::Denied { reason }) => {
            assert!(reason.contains(what), "{reason}");
            assert!(!reason.contains("right") && !reason.contains("wrong"), "{reason}");
        }
        other => panic!("expected a denial with `{what}`, found {other:?}"),
    }
}

const KILL: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'chalk-writer'";

#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_under_load_lose_nothing() {
    let server = started(&[]);
    let store = store(&server.uri());
    let writing = tokio::spawn(async move {
        for time in 0..40_i64 {
            let cells = |time| vec![cell("a", time, int(time)), cell("b", 100 - time, int(time))];
            let rows: Vec<_> = (0..400).map(|key| row(entity(&key.to_string()), cells(time))).collect();
            stored_at_last(&*store, &rows).await;
        }
        store
    });
    while !writing.is_finished() {
        server.sql(KILL);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = writing.await.expect("a writer that ends");
    for key in 0..400 {
        assert_eq!(value(&*store, &entity(&key.to_string()), "a").await, Some(int(39)));
        assert_eq!(value(&*store, &entity(&key.to_string()), "b").await, Some(int(0)));
    }
}

/// Wherever in its bytes a write is cut, the next attempt ends in the same state.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_cut_anywhere_is_repeated_to_the_same_end() {
    let server = started(&[]);
    let proxy = Proxy::of(server.port());
    stored(&*store(&server.uri()), &user(1)).await;
    let mut cuts = 0;
    for at in 0.. {
        let store = store(&server.uri_through(proxy.port()));
        let rows = [row(entity(&format!("cut{at}")), (0..30).map(|f| cell(&format!("f{f:02}"), 5, int(f))).collect())];
        proxy.cut_after(at * 97);
        let first = write(&*store, &rows).await;
        if proxy.is_whole() {
            first.expect("nothing was cut");
            break;
        }
        cuts += 1;
        // The cut may come behind what was asked for.
        if let Err(error) = &first {
            assert!(matches!(error, SinkError::Transient { .. }), "{error}");
        }
        let outcome = stored(&*store, &rows).await;
        assert!(outcome.stored == 30 || outcome.stale == 30, "all or nothing: {outcome:?}");
        assert_eq!(read(&*store, &rows[0].entity).await.len(), 30);
    }
    proxy.mend();
    assert!(cuts > 20, "only {cuts} cuts");
}

#[tokio::test]
async fn a_server_that_is_stopped_or_killed_is_written_to_again() {
    let mut server = started(&[]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.stop();
    transient(write(&*store, &user(2)).await, "postgres://127.0.0.1");
    transient(write(&*store, &user(2)).await, "Connection refused");
    server.start_again();
    stored_at_last(&*store, &user(2)).await;
    server.kill();
    // A session outlives its server until it notices, and what it says it has stored it has.
    match write(&*store, &user(3)).await {
        Ok(outcome) => assert_eq!(outcome.stored, 1),
        lost => transient(lost, "postgres://127.0.0.1"),
    }
    server.start_again();
    stored_at_last(&*store, &user(3)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(3)));
}

#[tokio::test]
async fn a_server_that_stands_still_ends_a_write_in_time_and_nothing_older_wins_later() {
    let server = started(&[]);
    let store = store(&format!("{}?statement_timeout=1s", server.uri()));
    stored(&*store, &user(1)).await;
    let sessions = server.pause_sessions();
    let began = Instant::now();
    transient(write(&*store, &user(2)).await, "no answer within 6 s");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    stored_at_last(&*store, &user(3)).await;
    server.resume_sessions(&sessions);
    stored_at_last(&*store, &user(2)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let server = started(&[]);
    let store = store(&format!("{}?statement_timeout=300ms", server.uri()));
    stored(&*store, &user(1)).await;
    let held = std::thread::scope(|scope| {
        let holding = scope.spawn(|| server.sql("BEGIN; LOCK TABLE online_features; SELECT pg_sleep(3); COMMIT"));
        while server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'online_features'::regclass") == "0" {
            std::thread::sleep(Duration::from_millis(5));
        }
        let runtime = tokio::runtime::Handle::current();
        let waited = scope.spawn(move || runtime.block_on(async { write(&*store, &user(2)).await.map(|_| store) }));
        let waited = waited.join().expect("no panic");
        holding.join().expect("no panic");
        waited.map(drop)
    });
    transient(held, "57014");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_no_row_is_blamed() {
    let server = started(&[]);
    let disk = crate::offline::disk::Tmpfs::mount("size=12m");
    crate::postgres::belongs_to_the_server(disk.path());
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()));
    server.sql("GRANT CREATE ON TABLESPACE small TO writer; ALTER ROLE writer SET default_tablespace = 'small'");
    let store = store(&server.uri());
    let large = |key: usize| {
        let text: String = (0..2_000).map(|at| uuid::Uuid::new_v4().to_string().remove(at % 36)).collect();
        row(entity(&key.to_string()), vec![cell("a", 1, Some(Value::text(text)))])
    };
    let mut rows = Vec::new();
    let error = loop {
        let more: Vec<_> = (rows.len()..rows.len() + 200).map(large).collect();
        match write(&*store, &more).await {
            Ok(outcome) => assert!(outcome.refused.is_empty()),
            Err(error) => {
                rows.extend(more);
                break error;
            }
        }
        rows.extend(more);
        assert!(rows.len() < 100_000, "the disk is never full");
    };
    assert!(matches!(&error, SinkError::Transient { reason } if reason.contains("53100")), "{error}");
    disk.remount("size=200m");
    stored_at_last(&*store, &rows).await;
    assert_eq!(server.sql("SELECT count(*) FROM online_features"), rows.len().to_string());
    server.sql("DROP TABLE online_features");
    drop(server);
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_a_right_one_found_later() {
    let server = started(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let put = |uri: String| std::fs::write(folder.path().join("pg"), uri).expect("written");
    put(server.uri().replace(":right@", ":wrong@"));
    let client = SecretClient::File { folder: folder.path().to_owned() };
    let options = StoreOptions { uri: SecretRef::named("pg", client), ..options(&server.uri()) };
    let store = open(&options).expect("a store that can be opened");
    denied(write(&*store, &user(1)).await, "28P01");
    denied(store.read(&entity("42")).await, "28P01");
    put(server.uri().replace(":right@", "@"));
    denied(write(&*store, &user(1)).await, "password missing");
    put(server.uri().replace("/features", "/nowhere"));
    denied(write(&*store, &user(1)).await, "3D000");
    put(server.uri());
    stored(&*store, &user(1)).await;
    // A password that changes under a connection is asked for again once that is gone.
    server.sql("ALTER ROLE writer PASSWORD 'newer'");
    server.sql(KILL);
    put(server.uri().replace(":right@", ":newer@"));
    stored_at_last(&*store, &user(2)).await;
}

#[tokio::test]
async fn missing_rights_are_denied_and_granted_ones_found_without_a_restart() {
    let server = started(&[]);
    server.sql("CREATE ROLE narrow LOGIN PASSWORD 'right'; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let store = store(&server.uri().replace("writer", "narrow"));
    denied(write(&*store, &user(1)).await, "permission denied for schema public");
    server.sql("GRANT CREATE ON SCHEMA public TO narrow");
    stored(&*store, &user(1)).await;
    server.sql("ALTER TABLE online_features OWNER TO admin");
    denied(write(&*store, &user(2)).await, "permission denied for table online_features");
    server.sql("GRANT ALL ON online_features TO narrow");
    stored(&*store, &user(2)).await;
}

#[tokio::test]
async fn a_table_that_goes_comes_back_and_one_of_another_shape_is_named() {
    let server = started(&[]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.sql("DROP TABLE online_features");
    transient(write(&*store, &user(2)).await, "online_features");
    stored(&*store, &user(2)).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
    server.sql("ALTER TABLE online_features DROP COLUMN expires_at");
    transient(write(&*store, &user(3)).await, "expires_at");
    server.sql("ALTER TABLE online_features ADD COLUMN expires_at timestamptz");
    stored(&*store, &user(3)).await;
}

#[tokio::test]
async fn a_read_only_server_is_waited_for() {
    let server = started(&[]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.sql("ALTER ROLE writer SET default_transaction_read_only = on");
    server.sql(KILL);
    transient(write(&*store, &user(2)).await, "postgres://127.0.0.1");
    transient(write(&*store, &user(2)).await, "postgres://127.0.0.1");
    server.sql("ALTER ROLE writer RESET default_transaction_read_only");
    stored_at_last(&*store, &user(2)).await;
}

#[tokio::test]
async fn text_that_the_database_cannot_hold_is_a_verdict_that_halving_finds() {
    let server = started(&[]);
    server
        .sql("CREATE DATABASE narrow OWNER writer TEMPLATE template0 ENCODING LATIN1 LOCALE 'C' LOCALE_PROVIDER libc");
    let store = store(&server.uri().replace("/features", "/narrow"));
    let rows = ["plain é", "€ is not in Latin 1"].map(|text| row(entity(text), vec![cell("a", 1, int(1))]));
    match write(&*store, &rows).await {
        Err(SinkError::Poisoned(refusal)) => assert_eq!(refusal.code.as_deref(), Some("22P05"), "{refusal}"),
        other => panic!("{other:?}"),
    }
    stored(&*store, &rows[..1]).await;
    assert!(matches!(write(&*store, &rows[1..]).await, Err(SinkError::Poisoned(_))));
}

#[tokio::test]
async fn a_server_is_believed_as_sslmode_says() {
    let server = started(&[]);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let signed = theirs.sign("elsewhere", "DNS:elsewhere.example");
    let place = |server: &PostgresServer, signed: &crate::certificates::Signed| {
        server.put("server.crt", &std::fs::read(&signed.certificate).expect("a certificate"));
        server.put("server.key", &std::fs::read(&signed.key).expect("a key"));
    };
    place(&server, &signed);
    let write_as = async |query: &str| write(&*store(&format!("{}?{query}", server.uri())), &user(1)).await;
    let ca = |authority: &Authority| authority.certificate().display().to_string();

    // Without TLS in the server.
    assert!(write_as("sslmode=disable").await.is_ok() && write_as("sslmode=prefer").await.is_ok());
    transient(write_as("sslmode=require").await, "server does not support TLS");
    server.sql("ALTER SYSTEM SET ssl = on");
    server.reload();

    // With a certificate of another host, signed by an authority that the URI may name or not.
    assert!(write_as("sslmode=require").await.is_ok());
    assert!(write_as(&format!("sslmode=verify-ca&sslrootcert={}", ca(&theirs))).await.is_ok());
    denied(write_as(&format!("sslmode=verify-ca&sslrootcert={}", ca(&ours))).await, "UnknownIssuer");
    let full = format!("sslmode=verify-full&sslrootcert={}", ca(&theirs));
    denied(write_as(&full).await, "not valid for name \"127.0.0.1\"");
    denied(write_as("sslmode=verify-full").await, "UnknownIssuer");
    denied(
        write_as("sslmode=verify-full&sslrootcert=/nowhere/ca.pem").await,
        "CA file `/nowhere/ca.pem`: No such file",
    );

    // With one of its own.
    place(&server, &theirs.sign("here", "IP:127.0.0.1"));
    server.reload();
    let believed = store(&format!("{}?{full}", server.uri()));
    stored_at_last(&*believed, &user(2)).await;
    assert_eq!(server.sql("SELECT count(*) > 0 FROM pg_stat_ssl WHERE ssl"), "t");

    // And with clients that have to show one.
    let client = theirs.sign("writer", "DNS:writer");
    server.put("clients.crt", &std::fs::read(theirs.certificate()).expect("a certificate"));
    server.put("pg_hba.conf", b"local all all trust\nhostssl all all 127.0.0.1/32 cert\n");
    server.sql("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'");
    server.reload();
    let identity = format!("{full}&sslcert={}&sslkey={}", client.certificate.display(), client.key.display());
    stored_at_last(&*store(&format!("{}?{identity}", server.uri())), &user(3)).await;
    denied(write_as(&full).await, "28000");
}
