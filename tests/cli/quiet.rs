//! What of messages is in the logs: nothing.

use crate::setup::Deployment;

/// A value and a key that nobody has but the message.
const BAD: &str = "{\"environment_id\": \"prod\", \"observed_at\": \"2026-11-22T18:32:00Z\", \"tables\": [{\"namespace\": \
                   \"user\", \"rows\": {\"rows\": [{\"id\": \"ada-lovelace\", \"features\": {\"user.balance\": \
                   \"iban-4711\"}}]}}]}\n";

fn declared(budget: &str, messages: usize) -> Deployment {
    let folder = Deployment::new();
    let stores = "\"prod\": {\"features\": [{\"fqn\": \"user.balance\", \"dtype\": \"decimal(18,2)\"}],";
    folder.configure("\"prod\": {", stores);
    folder.configure("\"name\": \"online-writer\"", &format!("\"name\": \"online-writer\"{budget}"));
    folder.topics();
    folder.publish(&BAD.repeat(messages));
    folder
}

#[test]
fn neither_a_burial_nor_the_budget_puts_a_value_or_a_key_into_the_log() {
    let buries = declared("", 1);
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
