//! `explain`: what is said of a configuration holds together, and depends on the store, the bus and the settings.

use std::path::Path;
use std::process::Command;

use chalk_writer::config::{self, Overrides, Selection};
use chalk_writer::writer::guarantee::{self, Effect, Explained, Fault, May};
use chalk_writer::writer::{WRITERS, registry};
use serde_json::{Value, json};

use Effect::{Delayed, Duplicated, Lost, OlderOnTop};

/// Every writer, with stores that can be changed.
fn plant() -> Value {
    let types = WRITERS.iter().map(|writer| writer.facts().writer_type.as_str());
    let writers: Vec<Value> = types.map(|name| json!({"bus_subscriber_type": name})).collect();
    json!({
        "common_persistence_specs": {
            "bus_backend": "LOCAL",
            "kafka_dlq_topic": "dlq",
            "result_bus_topic_id": "results",
            "metrics_bus_topic_id": "metrics",
            "bigquery_streaming_write_topic": "inserts",
            "bq_upload_topic": "loads",
            "usage_bus_topic_id": "usage",
            "query_log_subscription_id": "queries",
            "query_log_result_topic": "mirrored",
        },
        "api_server_host": "http://127.0.0.1:9",
        "environments": {"prod": {
            "online_store": {"uri": "sqlite:online.sqlite"},
            "offline_store": {"uri": "file:./lake"},
            "metrics_store": {"uri": "sqlite:metrics.sqlite"},
            "usage_store": {"uri": "sqlite:usage.sqlite"},
            "vector_store": {"uri": "sqlite:vectors.sqlite"},
        }},
        "writers": writers,
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut file = plant();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        file.pointer_mut(parent).expect(pointer)[key] = value.clone();
    }
    file
}

/// What is said of the writer of a type.
fn explained(file: &Value, writer_type: &str) -> Explained {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chalk.json");
    std::fs::write(&path, file.to_string()).expect("written");
    std::fs::write(folder.path().join("uri"), "postgres://u:hunter2@h/db").expect("written");
    let loaded = config::load(&path, &Overrides::default(), &registry()).expect("sound");
    let settings = loaded.writer(&Selection::Type(writer_type.to_owned())).expect("one of them");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(guarantee::explain(&settings)).expect("a plan")
}

/// The same where one store has another URI.
fn with_store(writer_type: &str, store: &str, uri: &str) -> Explained {
    explained(&with(&[(&format!("/environments/prod/{store}"), json!({ "uri": uri }))]), writer_type)
}

/// Faults after which messages come again.
const AGAIN: [Fault; 5] =
    [Fault::WriterKilled, Fault::WriterPaused, Fault::DrainOverLimit, Fault::Redelivered, Fault::BusRestarted];

#[test]
fn each_fault_is_told_of_every_writer_with_its_reason() {
    for writer in WRITERS {
        let name = writer.facts().writer_type.as_str();
        let told = explained(&plant(), name);
        assert!(told.faults.iter().map(|one| one.fault).eq(Fault::ALL), "{name}: each once, in order");
        for one in &told.faults {
            assert!(one.because.len() > 10, "{name}: {:?}", one.fault);
            assert_eq!(one.destinations.len(), told.destinations.len(), "{name}: {:?}", one.fault);
            let union = one.destinations.iter().fold(May::NOTHING, |may, there| may.or(there.may));
            assert_eq!(one.may, union, "{name}: {:?}", one.fault);
        }
    }
}

#[test]
fn what_is_read_again_is_doubled_only_where_nothing_knows_it() {
    let doubled = |told: &Explained, fault| told.may(fault).has(Duplicated);
    for (writer_type, store, keyed, keyless) in [
        ("OFFLINE_WRITER", "offline_store", "postgres://u@h/db", "file:./lake"),
        ("USAGE_BUS_WRITER", "usage_store", "sqlite:usage.sqlite", "file:./usage"),
    ] {
        let (keyed, keyless) = (with_store(writer_type, store, keyed), with_store(writer_type, store, keyless));
        for fault in AGAIN.into_iter().chain([Fault::PositionLost, Fault::ReadAgain, Fault::DeadLettersReplayed]) {
            assert!(!doubled(&keyed, fault) && doubled(&keyless, fault), "{writer_type}: {fault:?}");
        }
        // A repetition of the very write replaces what it left; a handover in time repeats nothing.
        for fault in [Fault::StoreUnsure, Fault::StoreAway, Fault::Rebalance, Fault::TwoWritersOfOneGroup] {
            assert!(!doubled(&keyed, fault) && !doubled(&keyless, fault), "{writer_type}: {fault:?}");
        }
    }
    // Anybody may send inserts, also of rows without a key.
    let inserts = with_store("OFFLINE_STORE_STREAMING_INSERT_WRITER", "offline_store", "postgres://u@h/db");
    assert!(doubled(&inserts, Fault::WriterKilled) && doubled(&inserts, Fault::StoreUnsure));
    // Positions in the transaction of what is published: only who passes them by doubles.
    let metrics = explained(&plant(), "METRICS_WRITER");
    assert!(AGAIN.iter().all(|fault| !doubled(&metrics, *fault)));
    assert!(doubled(&metrics, Fault::ReadAgain) && !doubled(&metrics, Fault::DeadLettersReplayed));
    // A topic has no keys at all.
    let republish = with(&[("/writers/1/offline_mode", json!("republish"))]);
    let republish = explained(&republish, "OFFLINE_WRITER");
    assert!(doubled(&republish, Fault::StoreUnsure) && doubled(&republish, Fault::WriterKilled));
}

#[test]
fn an_older_value_comes_back_only_where_something_is_evicted() {
    let older = |told: &Explained| Fault::ALL.into_iter().filter(|fault| told.may(*fault).has(OlderOnTop)).collect();
    let keeps: Vec<Fault> = older(&explained(&plant(), "ONLINE_WRITER"));
    assert_eq!(keeps, []);
    let feature = json!([{"fqn": "user.score", "max_staleness": "infinity", "cache_strategy": "EVICT_NULLS"}]);
    let evicts: Vec<Fault> = older(&explained(&with(&[("/environments/prod/features", feature)]), "ONLINE_WRITER"));
    assert_eq!(evicts, [Fault::PositionLost, Fault::OlderThanTombstone, Fault::ReadAgain]);
    let vectors: Vec<Fault> = older(&explained(&plant(), "ONLINE_VECTOR_STORE_WRITER"));
    assert_eq!(vectors, evicts, "vectors are deleted");
    let history: Vec<Fault> = older(&explained(&plant(), "OFFLINE_WRITER"));
    assert_eq!(history, []);
}

#[test]
fn what_is_lost_depends_on_who_keeps_it() {
    let lost = |told: &Explained, fault| told.may(fault).has(Lost);
    let online = |uri: &str| with_store("ONLINE_WRITER", "online_store", uri);
    let redis = online("redis://h");
    assert!(
        lost(&redis, Fault::StoreRestarted) && lost(&redis, Fault::StoreFailover) && lost(&redis, Fault::StoreFull)
    );
    for waits in [
        online("redis://h?wait_replicas=2"),
        explained(
            &with(&[("/environments/prod/online_store", json!({"uri": "redis://h", "wait_replicas": 2}))]),
            "ONLINE_WRITER",
        ),
    ] {
        assert!(lost(&waits, Fault::StoreRestarted) && !lost(&waits, Fault::StoreFailover));
    }
    let postgres = online("postgres://u@h/db");
    assert!(!lost(&postgres, Fault::StoreRestarted) && lost(&postgres, Fault::StoreFailover));
    let sqlite = online("sqlite:x.sqlite");
    assert!(!lost(&sqlite, Fault::StoreRestarted) && !lost(&sqlite, Fault::StoreFailover));
    let nothing = online("blackhole:");
    assert!(Fault::ALL.into_iter().all(|fault| lost(&nothing, fault)), "it keeps nothing whatever happens");
    // Only what must never wait gives anything up when its server is away.
    let mirror = explained(&plant(), "QUERY_MIRROR_CONSUMER");
    assert!(lost(&mirror, Fault::StoreAway) && !lost(&mirror, Fault::WriterKilled));
}

#[test]
fn settings_make_it_weaker_and_stronger() {
    let online = |changes: &[(&str, Value)]| explained(&with(changes), "ONLINE_WRITER");
    let (usual, without) = (online(&[]), online(&[("/common_persistence_specs/kafka_dlq_topic", Value::Null)]));
    assert_eq!((usual.may(Fault::BadRow), without.may(Fault::BadRow)), (May::NOTHING, May::only(Delayed)));
    let two = online(&[("/environments/dev", json!({"online_store": {"uri": "sqlite:b"}}))]);
    assert_eq!((usual.may(Fault::OneStoreAway), two.may(Fault::OneStoreAway)), (May::NOTHING, May::only(Delayed)));
    let stops = online(&[("/on_gap", json!("stop"))]);
    assert!(!usual.may(Fault::MessagesExpired).has(Delayed) && stops.may(Fault::MessagesExpired).has(Delayed));
    let expires = online(&[("/environments/prod/default_max_staleness", json!("1h"))]);
    assert!(!usual.may(Fault::ClockWrong).has(Lost) && expires.may(Fault::ClockWrong).has(Lost));
    // The values are those that the writer runs by.
    let drain = online(&[("/drain_timeout", json!("7s"))]);
    let of = |fault| drain.faults.iter().find(|one| one.fault == fault).expect("told");
    assert!(of(Fault::DrainOverLimit).because.contains("after 7s"), "{:?}", of(Fault::DrainOverLimit));
    let change = of(Fault::DrainOverLimit).changes.iter().find(|change| change.setting == "drain_timeout");
    assert_eq!(change.and_then(|change| change.now.as_deref()), Some("7s"));
}

#[test]
fn a_secret_is_asked_for_the_kind_of_store_and_never_shown() {
    let secret = [
        ("/common_persistence_specs/secret_client", json!("FILE")),
        ("/environments/prod/offline_store", json!({"uri": "secret:uri"})),
    ];
    let told = explained(&with(&secret), "OFFLINE_WRITER");
    assert_eq!(told.destinations[0].scheme.as_deref(), Some("postgres"));
    assert!(!told.may(Fault::WriterKilled).has(Duplicated));
    assert!(!serde_json::to_string(&told).expect("JSON").contains("hunter2"));
    // Where it is not there, nothing is excluded that depends on it.
    let missing = explained(
        &with(&[secret[0].clone(), ("/environments/prod/offline_store", json!({"uri": "secret:no"}))]),
        "OFFLINE_WRITER",
    );
    assert!(missing.may(Fault::WriterKilled).has(Duplicated) && missing.may(Fault::StoreRestarted).has(Lost));
    assert!(missing.faults[0].destinations[0].because.contains("secret `no`"), "{:?}", missing.faults[0]);
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
    let done = command.args(arguments).current_dir(folder).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[test]
fn the_command_prints_a_line_a_failure_and_json() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("chalk.json"), plant().to_string()).expect("written");
    let (code, table, _) = run(folder.path(), &["explain", "--config", "chalk.json", "--type", "OFFLINE_WRITER"]);
    assert_eq!(code, Some(0));
    for fault in Fault::ALL {
        let lines = table.lines().filter(|line| line.trim_start().starts_with(fault.title())).count();
        assert_eq!(lines, 1, "{}:\n{table}", fault.title());
    }
    assert!(table.contains("__observation_id__") && table.contains("drain_timeout=25s"), "{table}");

    let (code, json, _) = run(folder.path(), &["explain", "--config", "chalk.json", "--json"]);
    let all: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, all.as_array().map(Vec::len)), (Some(0), Some(WRITERS.len())), "every writer of the file");
    let killed = &all[1]["faults"][0];
    assert_eq!((&all[1]["type"], &killed["fault"]), (&json!("OFFLINE_WRITER"), &json!("writer_killed")), "{killed}");
    assert_eq!(killed["may"], json!(["duplicated", "delayed"]), "{killed}");

    let one = ["explain", "--config", "chalk.json", "--writer", "usage-bus-writer", "--fault", "store_failover"];
    let (code, text, _) = run(folder.path(), &one);
    assert!(code == Some(0) && text.contains("usage store of prod: nothing; it has no replica"), "{text}");
    let (code, _, error) = run(folder.path(), &["explain", "--config", "chalk.json", "--fault", "flood"]);
    assert!(code == Some(64) && error.contains("writer_killed"), "{error}");
}

#[test]
fn a_configuration_that_contradicts_itself_is_not_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = with(&[("/common_persistence_specs/kafka_dlq_topic", json!("results"))]);
    std::fs::write(folder.path().join("chalk.json"), file.to_string()).expect("written");
    for arguments in [&["explain", "--config", "chalk.json"][..], &["doctor", "--config", "chalk.json"]] {
        let (code, _, error) = run(folder.path(), arguments);
        assert!(code == Some(78) && error.contains("its own dead letters"), "{error}");
    }
}
