//! What whoever is on call is told: in the logs nothing of a message, and everything that is amiss.

use crate::setup::{self, Deployment};

/// A value and a key that nobody has but the message.
const BAD: &str = "{\"environment_id\": \"prod\", \"observed_at\": \"2026-11-22T18:32:00Z\", \"tables\": [{\"namespace\": \
                   \"user\", \"rows\": {\"rows\": [{\"id\": \"ada-lovelace\", \"features\": {\"user.balance\": \
                   \"iban-4711\"}}]}}]}\n";

fn declared(budget: &str, messages: usize) -> Deployment {
    let folder = Deployment::new();
    let stores = "\"prod\": {\"default_max_staleness\": \"7d\", \"features\": [{\"fqn\": \"user.balance\", \"dtype\": \"decimal(18,2)\"}],";
    folder.configure("\"prod\": {", stores);
    folder.configure("\"name\": \"online-writer\"", &format!("\"name\": \"online-writer\"{budget}"));
    folder.topics();
    folder.publish(&BAD.repeat(messages));
    folder
}

#[test]
fn neither_a_burial_nor_the_budget_puts_a_value_or_a_key_into_the_log() {
    let buries = declared(", \"dlq\": {\"max_consecutive\": 100}", 1);
    let ended = buries.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let stops = declared(", \"dlq\": {\"max_consecutive\": 1}", 2);
    let stopped = stops.drain("ONLINE_WRITER");
    assert_eq!(stopped.code, Some(65), "{stopped:?}");
    for said in [&ended.stderr, &stopped.stderr] {
        assert!(said.contains("TYPE_MISMATCH: feature `"), "{said}");
        assert!(said.contains("balance`: expected decimal(18,2) (table user)"), "{said}");
        assert!(!said.contains("4711") && !said.contains("lovelace"), "{said}");
    }
    // The letter keeps all of it.
    let letter = buries.letters().remove(0).to_string();
    assert!(letter.contains("iban-4711") && letter.contains("user/ada-lovelace"), "{letter}");
}

#[test]
fn a_message_that_says_nothing_is_named_in_the_log_and_peek_names_the_field_that_nobody_knows() {
    let folder = Deployment::new();
    folder.topics();
    folder.publish("{\"environment_id\":\"prod\",\"operation_id\":\"1\",\"tabels\":[]}\n");
    let ended = folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let named: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("nothing to write was in")).collect();
    assert_eq!(named.len(), 1, "{ended:?}");
    assert!(named[0].contains("\"topic\":\"results\"") && named[0].contains("WARN"), "{named:?}");
    let peeked = folder.run(&["peek", "--config", "chalk.json", "--type", "ONLINE_WRITER", "--from-start"]).ok();
    assert!(peeked.contains("does not know the field `tabels`") && peeked.contains("no rows in it"), "{peeked}");
}

#[test]
fn a_writer_with_nothing_to_write_is_not_ready_while_nobody_has_reached_its_store() {
    let folder = Deployment::new();
    folder.topics();
    folder.configure("sqlite:online.sqlite", "redis://127.0.0.1:1");
    let writer = folder.start(&["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"]);
    let address = writer.listening();
    let patience = std::time::Duration::from_secs(30);
    setup::eventually(patience, "the reason", || {
        let (code, why) = setup::ask(&address, "/readyz");
        code == 503 && why.contains("online store of prod: ") && why.contains("127.0.0.1:1")
    });
    assert_eq!(setup::ask(&address, "/livez").0, 200);
    let metrics = setup::ask(&address, "/metrics").1;
    assert!(metrics.contains("part=\"online store of prod\"}"), "{metrics}");
    assert!(metrics.contains("class=\"DECODE\"} 0"), "every class is there before anything is buried: {metrics}");
    assert!(metrics.contains("kind=\"denied\"} 0") && metrics.contains("reason=\"nothing_in_it\"} 0"), "{metrics}");
    writer.terminate();
    assert_eq!(writer.wait(patience).code, Some(0));
}
