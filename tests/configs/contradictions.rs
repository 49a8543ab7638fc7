//! Settings that cannot hold at the same time are refused, each with what and why.

use serde_json::{Value, json};

use crate::{errors, with, with_all};

/// The sound one on Kafka, with more changes.
fn kafka(changes: &[(&str, Value)]) -> Value {
    let bus = [("/common_persistence_specs/bus_backend", json!("KAFKA")), ("/kafka_bootstrap_servers", json!("b:1"))];
    with_all(&[&bus[..], changes].concat())
}

#[test]
fn every_contradiction_has_its_words() {
    let table: Vec<(Value, &str)> = vec![
        (
            with_all(&[("/batch", json!({"max_bytes": "1GiB"})), ("/memory_limit", json!("64MiB"))]),
            "batch.max_bytes: 3 batches of 1GiB may be held at once, more than the memory limit of 64MiB; lower \
             `batch.max_bytes` or raise `memory_limit`",
        ),
        (
            with("/common_persistence_specs/kafka_dlq_topic", json!("results")),
            "common_persistence_specs.kafka_dlq_topic: `online-writer` reads `results` too, so it would be given its own \
             dead letters again; give it another topic",
        ),
        (
            with("/drain_timeout", json!("2m")),
            "drain_timeout: 2m is longer than the bus waits for partitions that move (the LOCAL bus's wait for a handover: \
             1m), so what is in hand would go unwritten after that all the same; lower it, or raise the other",
        ),
        (
            kafka(&[("/kafka", json!({"max.poll.interval.ms": "45000"})), ("/writers/0/drain_timeout", json!("40s"))]),
            "writers[0].drain_timeout: 40s is longer than the bus waits for partitions that move (four fifths of \
             `kafka.max.poll.interval.ms`: 36s), so what is in hand would go unwritten after that all the same; lower it, \
             or raise the other",
        ),
        (
            kafka(&[("/kafka", json!({"session.timeout.ms": "400000"}))]),
            "kafka: kafka property `session.timeout.ms` is 400000 and `max.poll.interval.ms` is 300000: a member would be \
             given up before it is missed; make `session.timeout.ms` the smaller one",
        ),
        (
            kafka(&[("/kafka", json!({"group.protocol": "consumer", "heartbeat.interval.ms": "1000"}))]),
            "kafka: kafka property `heartbeat.interval.ms` contradicts `group.protocol` = `consumer`: the broker decides \
             it then (`group.consumer.…`); leave one of them out",
        ),
        (
            kafka(&[("/kafka", json!({"auto.offset.reset": "latest"}))]),
            "kafka: kafka property `auto.offset.reset` cannot be set: a new group starts at the earliest message, and \
             `on_gap` decides about lost ones",
        ),
        (
            kafka(&[("/kafka", json!({"queued.max.messages.kbytes": "1048576"})), ("/memory_limit", json!("256MiB"))]),
            "kafka.queued.max.messages.kbytes: 1GiB of it alone are more than `memory_limit` allows `online-writer` in \
             all (256MiB); lower it, or raise the limit",
        ),
        (
            kafka(&[("/kafka", json!({"group.instance.id": "one"})), ("/writers/0/default_replica_count", json!(3))]),
            "kafka.group.instance.id: is one name, and `online-writer` has 3 replicas (`default_replica_count`): each that \
             starts would throw out the one before it; make it of the pod's name (`${HOSTNAME}`), or leave it out",
        ),
        (
            with("/writers/-", json!({"bus_subscriber_type": "OFFLINE_WRITER", "name": "again"})),
            "writers[2]: `offline-writer` and `again` are two groups of one topic and write the same offline_store of \
             `prod`, so all of it would be there twice; give them one group, which shares the work, or leave one out",
        ),
        // The first environment's store knows its rows; the second one's does not.
        (
            with_all(&[
                ("/environments/prod/offline_store/uri", json!("POSTGRES://u@h/db")),
                ("/environments/staging", json!({"offline_store": {"uri": "file:///lake"}})),
                ("/writers/-", json!({"bus_subscriber_type": "OFFLINE_WRITER", "name": "again"})),
            ]),
            "writers[2]: `offline-writer` and `again` are two groups of one topic and write the same offline_store of \
             `staging`, so all of it would be there twice; give them one group, which shares the work, or leave one out",
        ),
        // Only what has a key is known by it.
        (
            with_all(&[
                ("/environments/prod/offline_store/uri", json!("postgres://u@h/db")),
                ("/common_persistence_specs/bigquery_streaming_write_subscription_id", json!("inserts")),
                ("/writers/-", json!({"bus_subscriber_type": "OFFLINE_STORE_STREAMING_INSERT_WRITER", "name": "one"})),
                ("/writers/-", json!({"bus_subscriber_type": "OFFLINE_STORE_STREAMING_INSERT_WRITER", "name": "two"})),
            ]),
            "writers[3]: `one` and `two` are two groups of one topic and write the same offline_store of `prod`, so every \
             row without a key of its own would be there twice; give them one group, which shares the work, or leave one out",
        ),
        (
            with_all(&[
                ("/common_persistence_specs/metrics_bus_topic_id", json!("metrics")),
                ("/writers/-", json!({"bus_subscriber_type": "METRICS_WRITER", "name": "one"})),
                ("/writers/-", json!({"bus_subscriber_type": "METRICS_WRITER", "name": "two"})),
            ]),
            "writers[3]: `one` and `two` are two groups of one topic and write the same topic `metrics`, so all of it \
             would be there twice; give them one group, which shares the work, or leave one out",
        ),
    ];
    for (file, expected) in table {
        let found = errors(&file);
        assert!(found.iter().any(|error| error == expected), "{expected}\nis not in\n{}", found.join("\n"));
    }
}

#[test]
fn what_only_looks_like_one_is_left_alone() {
    let twice = json!({"bus_subscriber_type": "ONLINE_WRITER", "name": "again"});
    let of_postgres = json!({"bus_subscriber_type": "OFFLINE_WRITER", "name": "again"});
    for file in [
        // Values of one time are one value, whoever writes them.
        with("/writers/-", twice),
        // It knows a row by its key.
        with_all(&[("/environments/prod/offline_store/uri", json!("postgres://u@h/db")), ("/writers/-", of_postgres)]),
        kafka(&[("/kafka", json!({"group.instance.id": "one"})), ("/writers/0/default_replica_count", json!(1))]),
        // Another name in each pod.
        kafka(&[
            ("/kafka", json!({"group.instance.id": "${HOSTNAME}"})),
            ("/writers/0/default_replica_count", json!(3)),
        ]),
        kafka(&[("/kafka", json!({"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}))]),
        with("/drain_timeout", json!("1m")),
    ] {
        assert_eq!(errors(&file), Vec::<String>::new(), "{file}");
    }
}
