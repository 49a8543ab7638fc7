//! A password changes under a running writer, and the new one comes by the secret's file: until then the writer waits and says
//! so, nothing is dropped, nothing is buried; then it goes on by itself. (`vectordotdev/vector#10870` asks for no less.)

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::kit::{On, PATIENCE, Plant, Writer, results};
use crate::postgres::{PostgresServer, Version};
use crate::redis::RedisServer;
use crate::setup::eventually;

const BAD: &str = "{\"environment_id\": \"prod\", \"tables\": 5}";

/// It waits, with these words, and the group stays where it is.
#[track_caller]
pub(super) fn waits(plant: &Plant, writer: &Writer, part: &str, words: &str, committed: i64) {
    let denied = |trouble: &Value| {
        let reason = trouble["reason"].as_str().expect("text");
        trouble["part"] == part && trouble["denied"] == true && reason.contains(words)
    };
    eventually(PATIENCE, "denied, and said", || {
        writer.status()["troubles"].as_array().is_some_and(|troubles| troubles.iter().any(denied))
    });
    assert!(!writer.is_ready() && writer.metric("chalk_writer_ready", "") == 0.0);
    eventually(PATIENCE, "counted", || writer.metric("chalk_writer_trouble_seconds", part) > 0.0);
    let said = writer.status().to_string();
    assert!(!said.contains("first-word") && !said.contains("second-word"), "{said}");
    assert_eq!(plant.committed(), committed);
}

#[track_caller]
pub(super) fn goes_on(plant: &Plant, writer: &Writer) {
    plant.is_done();
    eventually(PATIENCE, "ready again", || writer.is_ready());
    // What stands still is looked at every second.
    eventually(PATIENCE, "no trouble is left", || writer.status()["troubles"] == json!([]));
}

fn a_store_changes_its_password(
    writer_type: &'static str,
    store: &str,
    words: &str,
    uri: impl Fn(&str) -> String,
    change: impl FnOnce(),
    stored: impl Fn() -> u64,
) {
    let environments = json!({"prod": {store: {"uri": "secret:store-uri"}}});
    let plant = Plant::new(On::Local, 2, writer_type, &json!({"environments": environments}));
    plant.folder.write("store-uri", &uri("first-word"));
    let writer = plant.start();
    plant.publish(results(0..50));
    plant.is_done();
    change();
    plant.publish(results(50..200).chain([Some(BAD.to_owned())]));
    let part = format!("{} store of prod", store.trim_end_matches("_store"));
    waits(&plant, &writer, &part, words, 50);
    let refused = writer.metric("chalk_writer_store_errors_total", "denied");
    // A file that is half of the way there is no better, and no end.
    plant.folder.write("store-uri", "");
    eventually(PATIENCE, "asked again and again", || {
        writer.metric("chalk_writer_store_errors_total", "denied") >= refused + 5.0
    });
    assert_eq!((plant.committed(), plant.letters().len(), stored()), (50, 0, 50));
    plant.folder.write("store-uri", &uri("second-word"));
    goes_on(&plant, &writer);
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"acknowledged\":201") && ended.stderr.contains("\"buried\":1"), "{ended:?}");
    assert!(!ended.stderr.contains("first-word") && !ended.stderr.contains("second-word"), "{}", ended.stderr);
    assert_eq!((stored(), plant.letters().len()), (200, 1));
}

#[test]
fn a_redis_whose_password_changes_is_waited_for() {
    let server = RedisServer::start(&["--requirepass", "first-word"]);
    let uri = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port());
    let change = || {
        server.session("first-word", &["CONFIG SET requirepass second-word", "CLIENT KILL TYPE normal SKIPME yes"]);
    };
    let password = std::cell::Cell::new("first-word");
    let stored = || {
        let answer = [password.get(), "second-word"].map(|word| server.session(word, &["DBSIZE"]));
        let number = answer.iter().find_map(|answer| answer.lines().find_map(|line| line.strip_prefix(':')));
        // One key is the layout's.
        number.expect("a number").trim().parse::<u64>().expect("a number") - 1
    };
    a_store_changes_its_password("ONLINE_WRITER", "online_store", "WRONGPASS", uri, change, stored);
}

#[test]
fn a_redis_whose_user_gets_another_password_is_waited_for() {
    let server = RedisServer::start(&[]);
    server.command(&["ACL", "SETUSER", "writer", "on", ">first-word", "~*", "+@all"]);
    let uri = |password: &str| format!("redis://writer:{password}@127.0.0.1:{}", server.port());
    let change = || {
        server.command(&["ACL", "SETUSER", "writer", "resetpass", ">second-word"]);
        server.command(&["CLIENT", "KILL", "USER", "writer"]);
    };
    let stored = || match server.command(&["DBSIZE"]) {
        crate::redis::Reply::Number(keys) => keys as u64 - 1,
        other => panic!("{other:?}"),
    };
    a_store_changes_its_password("ONLINE_WRITER", "online_store", "WRONGPASS", uri, change, stored);
}

/// The server wants a password over TCP (`scram-sha-256` in its `pg_hba.conf`).
fn a_postgres_changes_its_password(writer_type: &'static str, store: &str, table: &str) {
    let server = PostgresServer::start(Version::Debian, &[]);
    server.sql("ALTER ROLE writer PASSWORD 'first-word'");
    let uri = |password: &str| server.uri().replace(":right@", &format!(":{password}@"));
    let change = || {
        server.sql("ALTER ROLE writer PASSWORD 'second-word'");
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'");
    };
    let stored = || server.sql(&format!("SELECT count(*) FROM {table}")).parse().expect("a number");
    a_store_changes_its_password(writer_type, store, "28P01", uri, change, stored);
}

#[test]
fn a_postgres_whose_password_changes_is_waited_for_by_the_online_writer() {
    a_postgres_changes_its_password("ONLINE_WRITER", "online_store", "online_features");
}

#[test]
fn a_postgres_whose_password_changes_is_waited_for_by_the_offline_writer() {
    a_postgres_changes_its_password("OFFLINE_WRITER", "offline_store", "\"user\"");
}

/// A broker of this test's own, whose sessions end after some seconds unless they sign in again.
pub(super) struct Broker(pub(super) tempfile::TempDir);

impl Broker {
    pub(super) fn script(&self, command: &str, more: &[&str]) -> String {
        let mut script = Command::new("tests/services/kafka/kafka.sh");
        let output = script.arg(command).arg(self.0.path()).args(more).env("KAFKA_SESSIONS_MS", "2000").output();
        let output = output.expect("the script runs");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    pub(super) fn sasl(&self) -> String {
        let port: PathBuf = self.0.path().join("sasl-port");
        format!("127.0.0.1:{}", std::fs::read_to_string(port).expect("the port").trim())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.script("kill", &[]);
    }
}

#[test]
fn a_kafka_whose_password_changes_is_waited_for() {
    let broker = Broker(tempfile::tempdir().expect("a folder"));
    let servers = broker.script("start", &[]);
    broker.script("password", &["first-word"]);
    let environments = json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}});
    // Dead letters all the time: what publishes them signs in too.
    let config = json!({"environments": environments, "dlq": {"max_ratio": 1.0, "max_consecutive": 1000}});
    let plant = Plant::on_kafka(&servers, 2, "ONLINE_WRITER", &config);
    let secret = |password: &str| {
        plant.folder.write("kafka", &json!({"username": "writer", "password": password}).to_string());
    };
    secret("first-word");
    plant.configure(&json!({
        "kafka_bootstrap_servers": broker.sasl(), "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_sasl_secret": "kafka",
        "common_persistence_specs": {"metrics_bus_topic_id": "metrics"},
        "writers": [
            {"bus_subscriber_type": "ONLINE_WRITER", "name": plant.group.trim_start_matches("chalk-")},
            {"bus_subscriber_type": "METRICS_WRITER", "name": "metrics"},
        ],
    }));
    plant.create_topic("metrics", 1);
    let writer = plant.start();
    // One that publishes what it makes in transactions, with the positions in them.
    let metrics = plant.start_as("METRICS_WRITER", "chalk.json");
    let publish = |numbers: std::ops::Range<u64>| plant.publish(results(numbers).chain([Some(BAD.to_owned())]));
    publish(0..50);
    plant.is_done();
    broker.script("password", &["second-word"]);
    writer.is_in_trouble("uthenticat");
    // The client gives up its partitions and is made anew, in vain: that is no sign that anything works.
    eventually(PATIENCE, "given up", || writer.assigned() == 0.0 && metrics.assigned() == 0.0);
    publish(50..200);
    waits(&plant, &writer, "bus", "uthenticat", 51);
    metrics.is_in_trouble("uthenticat");
    assert!(!metrics.is_ready());
    secret("second-word");
    goes_on(&plant, &writer);
    // And once more, now that another password is the old one.
    broker.script("password", &["first-word"]);
    writer.is_in_trouble("uthenticat");
    publish(200..300);
    secret("first-word");
    goes_on(&plant, &writer);
    eventually(PATIENCE, "all of it is counted", || metrics.status()["acknowledged"] == json!(303));
    eventually(PATIENCE, "ready again", || metrics.is_ready());
    metrics.stop();
    let ended = writer.stop();
    assert!(ended.stderr.contains("\"buried\":3") && ended.stderr.contains("\"stored\":300"), "{ended:?}");
    assert!(!ended.stderr.contains("first-word") && !ended.stderr.contains("second-word"), "{}", ended.stderr);
    // Asked for without a password, of another port.
    plant.configure(&json!({
        "kafka_bootstrap_servers": servers, "kafka_security_protocol": "PLAINTEXT", "kafka_sasl_mechanism": null,
        "kafka_sasl_secret": null,
    }));
    // Three of each writer; one that was under way when its partition was given up is buried again by whoever reads it next.
    let letters = plant.letters();
    let of: std::collections::BTreeSet<_> = letters.iter().collect();
    assert!(letters.len() >= 6 && of.len() == 3, "{letters:?}");
}
