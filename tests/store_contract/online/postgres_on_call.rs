//! What whoever is called at night reads: which errors are for a person, and what they say to do.

use std::time::{Duration, Instant};

use chalk_writer::row::feature::FeatureRow;
use chalk_writer::sink::SinkError;

use super::place::{cell, entity, int, now, row, store, stored, stored_at_last, until, write};
use crate::certificates::Authority;
use crate::logs::Logs;
use crate::postgres::{PostgresServer, Version};

fn user(time: i64) -> [FeatureRow; 1] {
    [row(entity("42"), vec![cell("a", time, int(time))])]
}

async fn denied(uri: &str) -> String {
    match write(&*store(uri), &user(1)).await {
        Err(SinkError::Denied { reason }) => reason,
        other => panic!("expected a denial, found {other:?}"),
    }
}

/// The same, once the server has read its settings again.
async fn denied_at_last(uri: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match write(&*store(uri), &user(1)).await {
            Err(SinkError::Denied { reason }) => return reason,
            other => assert!(Instant::now() < deadline, "expected a denial, found {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn settings_of_a_session_that_are_refused_are_no_verdict_on_a_row() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let reason = denied(&format!("{}?options=-c%20work_mem=abc", server.uri())).await;
    assert!(reason.starts_with("postgres://127.0.0.1:"), "{reason}");
    assert!(
        reason.contains("the session's settings are refused: invalid value for parameter \"work_mem\""),
        "{reason}"
    );
}

#[tokio::test]
async fn a_refused_credential_says_how_a_new_one_is_found_and_a_time_out_what_sets_it() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let reason = denied(&server.uri().replace(":right@", ":wrong@")).await;
    assert!(reason.contains("28P01") && reason.contains("is read again by itself"), "{reason}");
    let uri = format!("{}?statement_timeout=1s", server.uri());
    stored(&*store(&uri), &user(1)).await;
    server.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON online_features FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let error = write(&*store(&uri), &user(2)).await.expect_err("it takes too long").to_string();
    assert!(error.contains("57014") && error.contains("`statement_timeout`"), "{error}");
}

#[tokio::test]
async fn the_servers_hint_is_passed_on_and_nothing_that_somebody_wrote_in_the_database() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let store = store(&server.uri());
    stored(&*store, &user(1)).await;
    server.sql(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now, %', NEW.pkey USING \
         HINT = 'ask the owners', DETAIL = 'a value', ERRCODE = '55000'; END $$; \
         CREATE TRIGGER no BEFORE INSERT ON online_features FOR EACH ROW EXECUTE FUNCTION no()",
    );
    let error = write(&*store, &user(2)).await.expect_err("not now").to_string();
    let place = "an error of the database's own code: PL/pgSQL function no() line 1 at RAISE (SQLSTATE 55000)";
    assert!(error.ends_with(place), "{error}");
    server.sql("DROP TRIGGER no ON online_features; ALTER TABLE online_features ALTER value TYPE integer USING 0");
    let error = write(&*store, &user(2)).await.expect_err("another type").to_string();
    assert!(error.contains("SQLSTATE 42804") && error.contains("You will need to rewrite or cast"), "{error}");
}

#[tokio::test]
async fn certificates_that_expired_are_for_a_person_on_either_side() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let authority = Authority::new("ours");
    let place = |signed: &crate::certificates::Signed| {
        server.put("server.crt", &std::fs::read(&signed.certificate).expect("a certificate"));
        server.put("server.key", &std::fs::read(&signed.key).expect("a key"));
    };
    let full = format!("{}?sslmode=verify-full&sslrootcert={}", server.uri(), authority.certificate().display());
    place(&authority.sign_expired("old", "IP:127.0.0.1"));
    server.sql("ALTER SYSTEM SET ssl = on");
    server.reload();
    let reason = denied_at_last(&full).await;
    assert!(reason.contains("certificate expired"), "{reason}");

    place(&authority.sign("new", "IP:127.0.0.1"));
    server.put("clients.crt", &std::fs::read(authority.certificate()).expect("a certificate"));
    server.put("pg_hba.conf", b"local all all trust\nhostssl all all 127.0.0.1/32 cert\n");
    server.sql("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'");
    server.reload();
    let as_client = |client: &crate::certificates::Signed| {
        format!("{full}&sslcert={}&sslkey={}", client.certificate.display(), client.key.display())
    };
    stored_at_last(&*store(&as_client(&authority.sign("writer", "DNS:writer"))), &user(2)).await;
    let reason = denied_at_last(&as_client(&authority.sign_expired("writer", "DNS:writer"))).await;
    assert!(reason.contains("CertificateExpired"), "{reason}");
}

#[tokio::test]
async fn a_server_that_is_not_checked_is_said_once_a_store() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let authority = Authority::new("ours");
    let signed = authority.sign_expired("old", "IP:127.0.0.1");
    let said = |logs: &Logs| logs.lines("encrypted, but whose server this is was not checked").len();
    {
        let logs = Logs::listen();
        stored(&*store(&server.uri()), &user(1)).await;
        assert_eq!(said(&logs), 0, "the server has no TLS, so nothing is encrypted");
    }
    server.put("server.crt", &std::fs::read(&signed.certificate).expect("a certificate"));
    server.put("server.key", &std::fs::read(&signed.key).expect("a key"));
    server.sql("ALTER SYSTEM SET ssl = on");
    server.reload();
    let logs = Logs::listen();
    let store = store(&server.uri());
    let deadline = Instant::now() + Duration::from_secs(60);
    while said(&logs) == 0 {
        assert!(Instant::now() < deadline, "it is never said");
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chalk-writer'");
        stored_at_last(&*store, &user(2)).await;
    }
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chalk-writer'");
    stored_at_last(&*store, &user(3)).await;
    assert_eq!(said(&logs), 1);
    assert!(logs.lines("encrypted, but")[0].contains("`sslmode=verify-full` does"));
}

#[tokio::test]
async fn a_sweep_that_failed_is_not_tried_again_at_once() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let logs = Logs::listen();
    stored(&*store(&server.uri()), &user(1)).await;
    server.sql("CREATE ROLE narrow LOGIN PASSWORD 'right'; GRANT SELECT, INSERT, UPDATE ON online_features TO narrow");
    let store = store(&server.uri().replace("writer", "narrow"));
    let begun = Instant::now();
    let mut failed: Option<Instant> = None;
    // Three more turns of its clock.
    for time in 2.. {
        stored(&*store, &user(time)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        match failed {
            None if logs.lines("expired values could not be removed").is_empty() => {
                assert!(begun.elapsed() < Duration::from_secs(60), "none failed");
            }
            None => failed = Some(Instant::now()),
            Some(failed) if failed.elapsed() > Duration::from_secs(3) => break,
            Some(_) => {}
        }
    }
    let said = logs.lines("expired values could not be removed");
    assert_eq!(said.len(), 1, "{said:?}");
}

#[tokio::test]
async fn a_write_does_not_wait_for_a_sweep_which_gives_up_by_itself_and_ends_with_the_store() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let logs = Logs::listen();
    let writer = store(&format!("{}?statement_timeout=1h", server.uri()));
    stored(&*writer, &user(1)).await;
    server.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN OLD; END $$; \
         CREATE TRIGGER slow BEFORE DELETE ON online_features FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    stored(&*writer, &[row(entity("43"), vec![until(now() + 300_000, cell("a", 10, int(1)))])]).await;
    let ask = |what: &str| server.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {what}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut time = 2;
    while ask("wait_event = 'PgSleep'") == "0" {
        stored(&*writer, &user(time)).await;
        time += 1;
        assert!(Instant::now() < deadline, "a write never returned while values were being removed");
    }
    let said = || logs.lines("expired values could not be removed");
    while said().is_empty() {
        stored(&*writer, &user(time)).await;
        time += 1;
        assert!(Instant::now() < deadline, "it never gives up");
    }
    assert!(said()[0].contains("57014"), "{:?}", said());
    drop(writer);
    while ask("application_name = 'chalk-writer'") != "0" {
        assert!(Instant::now() < deadline, "something of the store goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
