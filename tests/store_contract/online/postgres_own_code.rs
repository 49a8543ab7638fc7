//! Features that the database itself does not let in: the row is refused, and what is said of it stays out of logs.

use std::time::{Duration, Instant};

use chalk_writer::row::feature::FeatureRow;
use chalk_writer::sink::{Refusal, SinkError};
use chalk_writer::store::online::OnlineStore;
use chalk_writer::value::Value;

use super::place::{cell, entity, int, now, row, store, stored, until, value, write};
use crate::logs::Logs;
use crate::postgres::{PostgresServer, Version};

fn user(key: &str, time: i64) -> FeatureRow {
    row(entity(key), vec![cell("a", time, int(time))])
}

async fn poisoned(store: &dyn OnlineStore, rows: &[FeatureRow]) -> Refusal {
    match write(store, rows).await {
        Err(SinkError::Poisoned(refusal)) => refusal,
        other => panic!("expected a verdict, found {other:?}"),
    }
}

#[tokio::test]
async fn what_a_view_does_not_let_in_is_refused() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let store = store(&server.uri());
    stored(&*store, &[user("42", 1)]).await;
    server.sql(
        "ALTER TABLE online_features RENAME TO features; \
         CREATE VIEW online_features AS SELECT * FROM features WHERE pkey <> 'secret' WITH CHECK OPTION; \
         ALTER VIEW online_features OWNER TO writer",
    );
    poisoned(&*store, &[user("42", 2), user("secret", 2)]).await;
    let refusal = poisoned(&*store, &[user("secret", 2)]).await;
    assert_eq!(refusal.code.as_deref(), Some("44000"));
    assert!(!refusal.for_logs().to_string().contains("secret"), "{}", refusal.for_logs());
    stored(&*store, &[user("42", 2)]).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
}

#[tokio::test]
async fn what_a_policy_does_not_let_in_is_refused_and_a_missing_right_is_waited_for() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let store = store(&server.uri());
    stored(&*store, &[user("42", 1)]).await;
    // The writer owns the table, and a table's owner passes its policies unless they are forced.
    server.sql(
        "ALTER TABLE online_features ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; \
         CREATE POLICY keys ON online_features USING (pkey <> 'secret')",
    );
    poisoned(&*store, &[user("42", 2), user("secret", 2)]).await;
    let refusal = poisoned(&*store, &[user("secret", 2)]).await;
    assert_eq!(refusal.code.as_deref(), Some("42501"));
    assert!(!refusal.for_logs().to_string().contains("secret"), "{}", refusal.for_logs());
    stored(&*store, &[user("42", 2)]).await;
    assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(2)));
    server.sql("REVOKE INSERT ON online_features FROM writer");
    match write(&*store, &[user("secret", 3)]).await {
        Err(SinkError::Denied { reason }) => assert!(reason.contains("42501"), "{reason}"),
        other => panic!("expected it to be waited for, found {other:?}"),
    }
}

#[tokio::test]
async fn what_a_trigger_raises_an_error_for_is_refused() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let store = store(&server.uri());
    stored(&*store, &[user("42", 1)]).await;
    server.sql(
        "CREATE FUNCTION check_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.pkey = 'secret' THEN RAISE 'bad %', NEW.pkey; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER check_key BEFORE INSERT ON online_features FOR EACH ROW EXECUTE FUNCTION check_key()",
    );
    poisoned(&*store, &[user("42", 2), user("secret", 2)]).await;
    let refusal = poisoned(&*store, &[user("secret", 2)]).await;
    assert!(refusal.message.contains("bad secret"), "{refusal}");
    let logged = refusal.for_logs().to_string();
    assert!(logged.contains("PL/pgSQL function check_key() line 1 at RAISE"), "{logged}");
    assert!(logged.contains("P0001") && !logged.contains("secret"), "{logged}");
    stored(&*store, &[user("42", 2)]).await;
}

#[tokio::test]
async fn what_a_trigger_says_of_a_row_that_is_to_be_removed_is_not_logged() {
    let server = PostgresServer::start(Version::Debian, &[]);
    let logs = Logs::listen();
    let store = store(&server.uri());
    stored(&*store, &[row(entity("secret"), vec![until(now() + 300_000, cell("a", 10, Some(Value::Int(1))))])]).await;
    server.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept %', OLD.pkey; END $$; \
         CREATE TRIGGER keep BEFORE DELETE ON online_features FOR EACH ROW EXECUTE FUNCTION keep()",
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    let said = || logs.lines("expired values could not be removed");
    for time in 2.. {
        stored(&*store, &[user("42", time)]).await;
        if !said().is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "none failed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = said().join("\n");
    assert!(said.contains("PL/pgSQL function keep() line 1 at RAISE") && !said.contains("secret"), "{said}");
}
