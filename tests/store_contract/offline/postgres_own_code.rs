//! Code of the database's own that looks at rows: what it refuses is the row, and what it says stays out of logs.

use chalk_writer::row::table::TableRow;
use chalk_writer::sink::{Refusal, SinkError};
use chalk_writer::value::Value;

use super::postgres::{open, server};
use super::support::{NOON, Store, row, shape, write};
use crate::postgres::PostgresServer;

/// Lets a function look at each row of table `user`.
fn looked_at(server: &PostgresServer, body: &str) {
    server.sql(&format!(
        "CREATE FUNCTION check_email() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$; \
         CREATE TRIGGER check_email BEFORE INSERT ON \"user\" FOR EACH ROW EXECUTE FUNCTION check_email()"
    ));
}

fn users(emails: &[&str]) -> Vec<TableRow> {
    let shape = shape("user", &[("email", Some("string"))]);
    (1..).zip(emails).map(|(id, email)| row(&shape, id, NOON, [Value::text((*email).to_owned())])).collect()
}

async fn poisoned(store: &Store, rows: &[TableRow]) -> Refusal {
    match write(store, "w", rows).await {
        Err(SinkError::Poisoned(refusal)) => refusal,
        other => panic!("expected a verdict, found {other:?}"),
    }
}

#[tokio::test]
async fn a_row_that_a_trigger_raises_an_error_for_is_refused_and_what_it_says_is_for_the_letter() {
    for (body, code, at) in [
        ("IF NEW.email NOT LIKE '%@%' THEN RAISE 'bad %', NEW.email USING HINT = NEW.email; END IF;", "P0001", "RAISE"),
        ("ASSERT NEW.email LIKE '%@%', 'bad ' || NEW.email;", "P0004", "ASSERT"),
    ] {
        let server = server();
        let store = open(&server);
        let made = row(&shape("user", &[("email", Some("string"))]), 0, NOON, [Value::text("a@b")]);
        write(&store, "made", &[made]).await.expect("written");
        looked_at(&server, body);
        poisoned(&store, &users(&["c@d", "secret", "e@f"])).await;
        let refusal = poisoned(&store, &users(&["secret"])).await;
        assert_eq!((refusal.code.as_deref(), refusal.row.as_deref()), (Some(code), Some("user/1")));
        assert!(refusal.message.contains("bad secret"), "{refusal}");
        let logged = refusal.for_logs().to_string();
        assert!(!logged.contains("secret"), "{logged}");
        let place = format!("PL/pgSQL function check_email() line 1 at {at}");
        assert!(logged.contains(&place) && logged.contains(code), "{logged}");
        assert_eq!(write(&store, "w", &users(&["c@d", "e@f"])).await.expect("the sound rows").stored, 2);
    }
}

/// The server has one code for a policy that does not let a row in and for a right that is missing.
#[tokio::test]
async fn a_row_that_a_policy_does_not_let_in_is_refused_and_a_missing_right_is_waited_for() {
    let server = server();
    let store = open(&server);
    let made = row(&shape("user", &[("email", Some("string"))]), 0, NOON, [Value::text("a@b")]);
    write(&store, "made", &[made]).await.expect("written");
    // The writer owns the table, and a table's owner passes its policies unless they are forced.
    server.sql(
        "ALTER TABLE \"user\" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; \
         CREATE POLICY emails ON \"user\" USING (email LIKE '%@%')",
    );
    poisoned(&store, &users(&["c@d", "secret", "e@f"])).await;
    let refusal = poisoned(&store, &users(&["secret"])).await;
    assert_eq!((refusal.code.as_deref(), refusal.row.as_deref()), (Some("42501"), Some("user/1")));
    assert!(refusal.message.contains("violates row-level security policy"), "{refusal}");
    assert_eq!(write(&store, "w", &users(&["c@d", "e@f"])).await.expect("the sound rows").stored, 2);
    server.sql("REVOKE INSERT ON \"user\" FROM writer");
    match write(&store, "w", &users(&["secret"])).await {
        Err(SinkError::Denied { reason }) => assert!(reason.contains("42501"), "{reason}"),
        other => panic!("expected it to be waited for, found {other:?}"),
    }
}

/// What it says with a code of something that passes is waited for; the reason goes to logs, and to whoever asks.
#[tokio::test]
async fn what_own_code_says_of_what_passes_is_waited_for_without_its_words() {
    let server = server();
    let store = open(&server);
    write(&store, "made", &users(&["a@b"])).await.expect("written");
    looked_at(
        &server,
        "RAISE 'closed for %', NEW.email USING ERRCODE = '55000', HINT = NEW.email, DETAIL = NEW.email;",
    );
    match write(&store, "w", &users(&["a@b", "secret"])).await {
        Err(SinkError::Transient { reason }) => {
            let place = "PL/pgSQL function check_email() line 1 at RAISE (SQLSTATE 55000)";
            assert!(reason.contains(place) && !reason.contains("secret") && !reason.contains("a@b"), "{reason}");
        }
        other => panic!("expected it to be waited for, found {other:?}"),
    }
}

/// A statement that such code runs meets an error of the server's, which says what is wrong as ever.
#[tokio::test]
async fn what_the_server_says_while_own_code_runs_is_said() {
    let server = server();
    let store = open(&server);
    write(&store, "made", &users(&["a@b"])).await.expect("written");
    looked_at(&server, "INSERT INTO gone VALUES (NEW.email);");
    match write(&store, "w", &users(&["a@b", "secret"])).await {
        Err(SinkError::Transient { reason }) => {
            assert!(reason.contains("relation \"gone\" does not exist (SQLSTATE 42P01)"), "{reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
        other => panic!("expected it to be waited for, found {other:?}"),
    }
}
