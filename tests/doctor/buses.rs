//! Buses: reached, topics, who is in the group, where dead letters go.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Found, Ward};

fn servers() -> String {
    std::env::var("CHALK_WRITER_TEST_KAFKA").unwrap_or_else(|_| {
        panic!(
            "CHALK_WRITER_TEST_KAFKA is not set: this test needs a real Kafka; `./dev test` installs and starts one \
             and sets it"
        )
    })
}

fn sqlite() -> Value {
    json!({"online_store": {"uri": "sqlite:online.sqlite"}})
}

/// A ward on Kafka with topics and a group that no other run has.
fn kafka() -> (Ward, String) {
    let run = uuid::Uuid::new_v4().simple().to_string();
    let ward = Ward::new("ONLINE_WRITER", &sqlite());
    ward.change("/kafka_bootstrap_servers", json!(servers()));
    ward.change("/common_persistence_specs/bus_backend", json!("KAFKA"));
    ward.change("/common_persistence_specs/result_bus_topic_id", json!(format!("results-{run}")));
    ward.change("/common_persistence_specs/kafka_dlq_topic", json!(format!("dlq-{run}")));
    ward.change("/writers/0/name", json!(format!("doctor-{run}")));
    (ward, run)
}

/// A writer that runs; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(ward: &Ward) -> Running {
    let mut command = ward.command(&["--type", "ONLINE_WRITER", "--listen", "off"]);
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"))
}

/// Asks until somebody is in the group.
fn with_a_member(ward: &Ward, group: &str) -> Found {
    let begun = Instant::now();
    loop {
        let found = ward.doctor();
        if found.check(group, "members").1.starts_with('1') {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody joins: {found:#?}");
    }
}

#[test]
fn the_embedded_bus_is_examined_while_a_writer_runs() {
    let ward = Ward::new("ONLINE_WRITER", &sqlite());
    ward.doctor().fails("topic results", "there", &["no such topic", "publish --topic results"]);
    ward.run(&["publish", "--topic", "results", "--generate", "5"]);
    let found = ward.doctor();
    found.is_sound();
    assert!(found.check("dead letters dlq", "there").1.contains("when it starts"), "{found:?}");
    assert!(found.check("group chalk-online-writer", "position").1.contains("5 messages"), "{found:?}");
    assert!(found.check("group chalk-online-writer", "members").1.starts_with("none"), "{found:?}");
    let writer = start(&ward);
    let found = with_a_member(&ward, "group chalk-online-writer");
    found.is_sound();
    assert_eq!(found.check("dead letters dlq", "writable").0, "ok", "{found:?}");
    drop(writer);
}

#[test]
fn the_parking_topic_of_the_embedded_bus_is_examined_too() {
    let ward = Ward::new("ONLINE_WRITER", &sqlite());
    for topic in ["results", "dlq"] {
        ward.run(&["publish", "--topic", topic, "--generate", "0"]);
    }
    ward.change("/park_after", json!("10m"));
    ward.change("/parking_topic", json!("parked"));
    let found = ward.doctor();
    found.is_sound();
    assert!(found.check("parking topic parked", "there").1.contains("when it starts"), "{found:?}");
    ward.run(&["publish", "--topic", "parked", "--generate", "3"]);
    let found = ward.doctor();
    found.is_sound();
    assert_eq!(found.check("parking topic parked", "writable").0, "ok", "{found:?}");
    assert!(found.check("group chalk-online-writer-parked", "position").1.contains("3 messages"), "{found:?}");
}

#[test]
fn a_cluster_is_examined_while_a_writer_runs_and_no_message_comes_of_it() {
    let (ward, run) = kafka();
    let (results, dlq) = (format!("results-{run}"), format!("dlq-{run}"));
    let group = format!("group chalk-doctor-{run}");
    ward.doctor().fails(&format!("topic {results}"), "there", &["no such topic", "makes no topics"]);
    ward.run(&["publish", "--topic", &results, "--partitions", "2", "--generate", "5"]);
    ward.doctor().fails(&format!("dead letters {dlq}"), "there", &["make it"]);
    ward.run(&["publish", "--topic", &dlq, "--partitions", "1", "--generate", "0"]);
    let found = ward.doctor();
    found.is_sound();
    assert!(found.check(&format!("topic {results}"), "there").1.starts_with("2 partitions, 5 messages"), "{found:?}");
    let (result, how, _) = found.check(&format!("dead letters {dlq}"), "writable");
    assert!(result == "ok" && how.contains("refused for its size alone"), "{found:?}");
    let _writer = start(&ward);
    let found = with_a_member(&ward, &group);
    found.is_sound();
    let (_, members, _) = found.check(&group, "members");
    assert!(members.contains("chalk-writer") && members.contains(" at 127.0.0.1"), "id and host: {members}");
    // What it asked has left nothing behind.
    let shown = ward.run(&["dlq", "list", "--json"]);
    assert!(shown.contains("\"letters\": []"), "{shown}");
    assert!(found.check(&format!("dead letters {dlq}"), "there").1.starts_with("1 partition"), "{found:?}");

    // Where messages wait whose store is away.
    let parked = format!("parked-{run}");
    ward.change("/park_after", json!("10m"));
    ward.change("/parking_topic", json!(parked));
    let of = format!("parking topic {parked}");
    ward.doctor().fails(&of, "there", &["no such topic", "make it"]);
    ward.run(&["publish", "--topic", &parked, "--partitions", "1", "--generate", "0"]);
    let found = ward.doctor();
    found.is_sound();
    assert_eq!((found.check(&of, "writable").0, found.check(&of, "keeping").0), ("ok", "ok"), "{found:?}");
    let (result, words, fix) = found.check(&of, "sizes");
    assert!(
        result == "warn" && words.contains("waits, and all others") && fix.contains("`max.message.bytes` to 1049612"),
        "{found:?}"
    );
    assert!(found.check(&format!("{group}-parked"), "members").1.starts_with("none now"), "{found:?}");

    // Somebody else in the same group, who reads another topic.
    let other = format!("other-{run}");
    ward.run(&["publish", "--topic", &other, "--partitions", "1", "--generate", "0"]);
    ward.change("/common_persistence_specs/result_bus_topic_id", json!(other));
    let found = ward.doctor();
    let (result, words, fix) = found.check(&group, "shared");
    assert!(result == "warn" && words.contains(&results) && fix.contains("kafka_consumer_group_override"), "{found:?}");

    // The same one, taken for another program: we would be called otherwise.
    ward.change("/common_persistence_specs/result_bus_topic_id", json!(results));
    ward.change("/kafka", json!({"client.id": "somebody"}));
    let found = ward.doctor();
    let (result, words, _) = found.check(&group, "shared");
    assert!(result == "warn" && words.contains("another program (`client.id` chalk-writer)"), "{found:?}");
}

#[test]
fn a_cluster_that_is_not_there_fails_and_so_does_one_that_lets_nobody_in() {
    let (ward, _) = kafka();
    ward.change("/kafka_bootstrap_servers", json!("127.0.0.1:1"));
    ward.doctor().fails("bus KAFKA", "reached", &["127.0.0.1:1", "start it"]);
    // A password that cannot be read is no outage.
    ward.change("/kafka_bootstrap_servers", json!(servers()));
    ward.change("/common_persistence_specs/secret_client", json!("FILE"));
    ward.change("/kafka_sasl_secret", json!("no-such-file"));
    ward.change("/kafka_security_protocol", json!("SASL_PLAINTEXT"));
    ward.doctor().fails("bus KAFKA", "let in", &["no-such-file", "password"]);
}
