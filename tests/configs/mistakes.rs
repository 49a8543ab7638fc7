//! Mistakes one by one, and all at once.

use serde_json::{Value, json};

use crate::{checked_text, errors, sound, with, with_all};

#[test]
fn every_mistake_has_its_words() {
    let prod = "/environments/prod";
    let feature = |feature: Value| with(&format!("{prod}/features"), json!([feature]));
    let common = |field: &str, value: Value| with(&format!("/common_persistence_specs/{field}"), value);
    let table: Vec<(Value, &str)> = vec![
        // Names.
        (with("/writrs", json!([])), "writrs: unknown key; did you mean `writers`?"),
        (with("/kafkaDlqTopic", json!("x")), "kafkaDlqTopic: unknown key; it belongs under `common_persistence_specs`"),
        (
            with("/writers/0/max_batch_sise", json!(1)),
            "writers[0].max_batch_sise: unknown key; did you mean `max_batch_size`?",
        ),
        (with("/batch", json!({"zzz": 1})), "batch.zzz: unknown key; known are max_age, max_bytes, max_rows"),
        (
            with("/writers/0/fqn", json!(1)),
            "writers[0].fqn: unknown key; it belongs under `environments.<id>.features[]`",
        ),
        // Types.
        (json!([]), "expected an object, found a list"),
        (json!("x"), "expected an object, found text (not shown)"),
        (with("/writers", json!({})), "writers: expected a list, found an object"),
        (with("/writers/-", json!(7)), "writers[2]: expected an object, found a number"),
        (common("namespace", json!(7)), "common_persistence_specs.namespace: expected text, found 7"),
        (with("/insecure", json!("yes")), "insecure: expected true or false (also \"1\" or \"0\"), found \"yes\""),
        (with("/batch", json!({"max_rows": 0})), "batch.max_rows: expected a whole number above 0, found 0"),
        (with("/batch", json!({"max_rows": 1.5})), "batch.max_rows: expected a whole number above 0, found 1.5"),
        (
            with("/batch", json!({"max_age": 5})),
            "batch.max_age: expected a duration such as `250ms`, `10s`, `1h` or `7d`, found 5",
        ),
        (
            with("/batch", json!({"max_bytes": "8 megs"})),
            "batch.max_bytes: expected a size above 0 such as `64MiB`, or a number of bytes, found \"8 megs\"",
        ),
        (
            with("/memory_limit", json!("much")),
            "memory_limit: expected `auto`, a size such as `256MiB`, or a number of bytes, found \"much\"",
        ),
        (with("/dlq", json!({"max_ratio": 1.5})), "dlq.max_ratio: expected a number from 0 to 1, found 1.5"),
        (
            with("/http", json!({"listen": "9090"})),
            "http.listen: expected `address:port` such as `0.0.0.0:9090`, or `off`, found \"9090\"",
        ),
        (
            with("/retry", json!({"max_elapsed": "1h"})),
            "retry.max_elapsed: expected `infinity` (a writer retries without end, because giving up would lose messages), found \"1h\"",
        ),
        (
            with("/retry", json!({"first_pause": "1m"})),
            "retry.first_pause: `first_pause` is above 0 and no longer than `max_pause`",
        ),
        (
            with("/writers/0/query_table_write_drop_ratio", json!("half")),
            "writers[0].query_table_write_drop_ratio: expected a number from 0 to 1, found \"half\"",
        ),
        (
            with("/kafka_bootstrap_servers", json!("kafka-1, b:9092")),
            "kafka_bootstrap_servers: expected `host:port` of one broker or more, separated by commas, found \"kafka-1\"",
        ),
        (
            common("bq_upload_bucket", json!("bucket")),
            "common_persistence_specs.bq_upload_bucket: expected a bucket with its scheme, such as `s3://…` or `gs://…`, found \"bucket\"",
        ),
        // Words.
        (
            common("bus_backend", json!("KAFAK")),
            "common_persistence_specs.bus_backend: unknown value \"KAFAK\"; did you mean `KAFKA`? known are KAFKA, PUBSUB, LOCAL",
        ),
        (
            common("secret_client", json!("VAULT")),
            "common_persistence_specs.secret_client: unknown value \"VAULT\"; known are AWS, GCP, ENV, FILE",
        ),
        (
            with("/metadata_provider", json!("GRPC")),
            "metadata_provider: unknown value \"GRPC\"; known are CONFIG, GRPC_SERVER, SQL",
        ),
        (
            with("/on_gap", json!("stopp")),
            "on_gap: unknown value \"stopp\"; did you mean `stop`? known are continue, stop",
        ),
        (
            with("/writers/0/metrics_emission_mode", json!("DUAL")),
            "writers[0].metrics_emission_mode: unknown value \"DUAL\"; known are TIMESCALE_ONLY, DUAL_WRITE, VICTORIA_METRICS_ONLY",
        ),
        // Two names of one thing.
        (
            with_all(&[
                ("/common_persistence_specs/bq_upload_topic", json!("a")),
                ("/common_persistence_specs/bigquery_upload_topic", json!("b")),
            ]),
            "`common_persistence_specs.bigquery_upload_topic` is \"b\" and `common_persistence_specs.bq_upload_topic`, which means the same, is \"a\"; keep one of them",
        ),
        (
            with("/common_specs", json!({"kafka_dlq_topic": "other"})),
            "`common_persistence_specs.kafka_dlq_topic` is \"dead-letters\" and `common_specs.kafka_dlq_topic`, which means the same, is \"other\"; keep one of them",
        ),
        // Writers.
        (
            with("/writers/-", json!({})),
            "writers[2].bus_subscriber_type: is missing; it says which of the nine jobs the writer does (`chalk-writer types` lists them)",
        ),
        (
            with("/writers/-", json!({"bus_subscriber_type": "ONLINE_WRITER"})),
            "writers[2].name: `online-writer` is also the name of writers[0]; give one of them another",
        ),
        (
            with(
                "/writers/-",
                json!({"bus_subscriber_type": "USAGE_BUS_WRITER", "usage_store_uri": "sqlite:usage.db"}),
            ),
            "common_persistence_specs.usage_events_subscription_id: writer `usage-bus-writer` (USAGE_BUS_WRITER) needs `usage_events_subscription_id`, which is missing; add it or `usage_bus_topic_id` under `common_persistence_specs`",
        ),
        // Stores.
        (
            with(&format!("{prod}/online_store"), json!({"uri": "reddis://h"})),
            "environments.prod.online_store.uri: unknown scheme `reddis`; did you mean `redis`? known are sqlite, redis, rediss, valkey, valkeys, postgres, postgresql, blackhole, dynamodb, bigtable",
        ),
        (
            with(&format!("{prod}/online_store"), json!({"uri": "online.db"})),
            "environments.prod.online_store.uri: has no scheme; it begins with one, such as `sqlite:` or `redis://`",
        ),
        (
            with(&format!("{prod}/online_store"), json!({})),
            "environments.prod.online_store.uri: is missing; a store is named by its URI, such as `sqlite:online.db` or `secret:NAME`",
        ),
        (
            with(&format!("{prod}/online_store"), json!({"uri": 6379})),
            "environments.prod.online_store.uri: expected text, found a number",
        ),
        (
            with(&format!("{prod}/online_store"), json!({"uri": "bigtable://p/i/t"})),
            "environments.prod.online_store.uri: scheme `bigtable` is not in this version, and `online-writer` writes there",
        ),
        (
            with(&format!("{prod}/online_store"), json!({"uri": "secret:x"})),
            "common_persistence_specs.secret_client: is missing, and environments.prod.online_store.uri asks for it; use AWS, GCP, ENV or FILE",
        ),
        (
            with(prod, json!({"offline_store": {"uri": "file:lake"}})),
            "environments: writer `online-writer` (ONLINE_WRITER) needs `online_store`, which is missing; add it under `environments.prod`, with its `uri`",
        ),
        // Features.
        (
            feature(json!({"fqn": "score"})),
            "environments.prod.features[0].fqn: `score` has no namespace; a feature is named `namespace.feature`",
        ),
        (
            feature(json!({"dtype": "bool"})),
            "environments.prod.features[0].fqn: is missing; a feature is named `namespace.feature`",
        ),
        (
            feature(json!({"fqn": "user.__ts__"})),
            "environments.prod.features[0].fqn: `__ts__` is a column that every table has; no feature can be named like it",
        ),
        (
            feature(json!({"fqn": "u.a", "dtype": "list<int>"})),
            "environments.prod.features[0].dtype: data type \"list<int>\": unknown type `int`; known are bool, int64, float64, string, bytes, timestamp, date, decimal(p,s), list<T>, struct<name: T, …>, vector<fp16|fp32|fp64, n>",
        ),
        (
            feature(json!({"fqn": "u.a", "max_staleness": "soon"})),
            "environments.prod.features[0].max_staleness: expected a duration such as `0s`, `1h` or `7d`, or `infinity`, found \"soon\"",
        ),
        (
            feature(json!({"fqn": "u.a", "cache_strategy": "NO_NULL"})),
            "environments.prod.features[0].cache_strategy: unknown value \"NO_NULL\"; did you mean `NO_NULLS`? known are ALL, NO_NULLS, EVICT_NULLS, NO_DEFAULTS, EVICT_DEFAULTS, NO_NULLS_OR_DEFAULTS, EVICT_NULLS_AND_DEFAULTS",
        ),
        (
            feature(json!({"fqn": "u.a", "cache_nulls": "evict_nulls", "cache_defaults": false})),
            "environments.prod.features[0].cache_strategy: one of nulls and defaults is evicted and the other ignored; evict both, ignore both, or keep one of them",
        ),
        (
            feature(json!({"fqn": "u.a", "cache_strategy": "ALL", "cache_nulls": false})),
            "environments.prod.features[0].cache_strategy: is ALL, but `cache_nulls` and `cache_defaults` say NO_NULLS; keep one of them",
        ),
        (
            feature(json!({"fqn": "u.a", "internal_version": 5_000_000_000_u64})),
            "environments.prod.features[0].internal_version: expected at most 4294967295, found 5000000000",
        ),
        (
            with(&format!("{prod}/features"), json!([{"fqn": "u.a"}, {"fqn": "u.a"}])),
            "environments.prod.features[1].fqn: `u.a` is already declared in this environment",
        ),
        // The bus.
        (
            common("bus_backend", Value::Null),
            "common_persistence_specs.bus_backend: is missing; it is KAFKA, LOCAL (a file, nothing to install) or PUBSUB",
        ),
        (
            common("bus_backend", json!("KAFKA")),
            "kafka_bootstrap_servers: is missing; it is `host:port` of one broker or more (a `bootstrap_servers` in the secret that `kafka_sasl_secret` names will do)",
        ),
    ];
    for (file, expected) in table {
        assert_eq!(errors(&file), [expected]);
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let mut file = sound();
    file["writrs"] = json!([]);
    file["memory_limit"] = json!("lots");
    file["common_persistence_specs"]["bus_backend"] = json!("KAFAK");
    file["writers"][1]["bus_subscriber_type"] = json!("OFLINE_WRITER");
    file["writers"][0]["batch"] = json!({"max_rows": "many", "max_agee": "1s"});
    file["environments"]["prod"]["features"] = json!([{"fqn": "score"}, {"fqn": "u.a", "dtype": "int"}]);
    let found = errors(&file);
    let places: Vec<&str> = found.iter().filter_map(|error| error.split(": ").next()).collect();
    assert_eq!(
        places,
        [
            "common_persistence_specs.bus_backend",
            "environments.prod.features[1].dtype",
            "memory_limit",
            "writers[0].batch.max_agee",
            "writers[0].batch.max_rows",
            "writrs",
            "writers[1].bus_subscriber_type",
            "environments.prod.features[0].fqn",
        ]
    );
    assert!(found[6].starts_with("writers[1].bus_subscriber_type: unknown writer type `OFLINE_WRITER`; did you mean"));
}

#[test]
fn what_is_not_json_has_a_line_a_column_or_a_path() {
    let said = |text: &str| {
        let report = checked_text(text, &chalk_writer::config::Overrides::default());
        report.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(said("{\n  \"writers\": [,]\n}"), ["line 2, column 15: expected value"]);
    let twice =
        r#"{"common_specs": {"bus_backend": "LOCAL", "bus_backend": "KAFKA"}, "kafka_bootstrap_servers": "a:1"}"#;
    assert_eq!(said(twice), ["common_specs.bus_backend: stands twice in one object"]);
    let report = chalk_writer::config::check(
        std::path::Path::new("/nowhere/chalk.json"),
        &chalk_writer::config::Overrides::default(),
        &crate::registry(),
    );
    assert_eq!(
        report.errors[0].to_string(),
        "the configuration cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn two_types_that_would_split_one_stream_are_refused() {
    let file = with_all(&[
        ("/writers/0/kafka_consumer_group_override", json!("g")),
        ("/writers/1/kafka_consumer_group_override", json!("g")),
    ]);
    assert_eq!(
        errors(&file),
        [
            "writers[1]: `online-writer` and `offline-writer` both read topic `results` in group `g`, so each gets a part \
          of the messages and loses the rest; give each its own"
        ]
    );
    let file = with_all(&[
        ("/common_persistence_specs/bus_backend", json!("PUBSUB")),
        ("/common_persistence_specs/google_cloud_project", json!("p")),
        ("/common_persistence_specs/result_bus_online_store_subscription_id", json!("s")),
        ("/common_persistence_specs/result_bus_offline_store_subscription_id", json!("s")),
    ]);
    assert_eq!(
        errors(&file),
        ["writers[1]: `online-writer` and `offline-writer` both read subscription `s`, so each gets a part of the \
          messages and loses the rest; give each its own"]
    );
}

#[test]
fn on_pubsub_a_topic_is_no_subscription() {
    let file = with_all(&[
        ("/common_persistence_specs/bus_backend", json!("PUBSUB")),
        ("/common_persistence_specs/google_cloud_project", json!("p")),
    ]);
    assert_eq!(
        errors(&file)[0],
        "common_persistence_specs.result_bus_online_store_subscription_id: writer `online-writer` (ONLINE_WRITER) needs \
         `result_bus_online_store_subscription_id`, which is missing; add it under `common_persistence_specs`"
    );
}

#[test]
fn pub_sub_has_a_project_and_its_emulator_an_address() {
    let file = with_all(&[
        ("/common_persistence_specs/bus_backend", json!("PUBSUB")),
        ("/common_persistence_specs/result_bus_online_store_subscription_id", json!("online")),
        ("/common_persistence_specs/result_bus_offline_store_subscription_id", json!("offline")),
        ("/pubsub_emulator_host", json!("http://localhost")),
    ]);
    assert_eq!(
        errors(&file),
        [
            "common_persistence_specs.google_cloud_project: is missing; it is the id of the Google Cloud project that topics \
             and subscriptions are in (the variable GOOGLE_CLOUD_PROJECT will do)",
            "pubsub_emulator_host: `http://localhost` is no `host:port`",
        ]
    );
}

#[test]
fn a_token_of_googles_goes_nowhere_in_the_open() {
    let endpoint = |endpoint: &str| {
        errors(&with_all(&[
            ("/common_persistence_specs/bus_backend", json!("PUBSUB")),
            ("/common_persistence_specs/google_cloud_project", json!("p")),
            ("/common_persistence_specs/result_bus_online_store_subscription_id", json!("online")),
            ("/common_persistence_specs/result_bus_offline_store_subscription_id", json!("offline")),
            ("/pubsub", json!({"endpoint": endpoint})),
        ]))
    };
    for sound in ["https://europe-west3-pubsub.googleapis.com", "https://10.0.0.7:8443", "http://127.0.0.1:8085"] {
        assert_eq!(endpoint(sound), Vec::<String>::new(), "{sound}");
    }
    for (wrong, word) in [
        ("http://pubsub.googleapis.com", "everybody on the way could read the token"),
        ("europe-west3-pubsub.googleapis.com", "is no URL"),
        ("ftp://pubsub.googleapis.com", "is no `https://HOST`"),
        ("https://pubsub.googleapis.com/v1", "and nothing more"),
    ] {
        let said = endpoint(wrong);
        assert!(
            said.len() == 1 && said[0].starts_with("pubsub.endpoint: ") && said[0].contains(word),
            "{wrong}: {said:?}"
        );
    }
}

#[test]
fn kafka_settings_that_cannot_work_are_said() {
    let kafka = |change: &[(&str, Value)]| {
        let mut all = vec![
            ("/common_persistence_specs/bus_backend", json!("KAFKA")),
            ("/kafka_bootstrap_servers", json!("localhost:9092")),
        ];
        all.extend(change.iter().cloned());
        errors(&with_all(&all))
    };
    assert_eq!(kafka(&[]), Vec::<String>::new());
    assert_eq!(
        kafka(&[("/kafka_security_protocol", json!("sasl_ssl"))]),
        ["kafka_sasl_secret: is missing; SASL_SSL signs in with the user name and password of that secret"]
    );
    assert_eq!(
        kafka(&[("/kafka", json!({"group.id": "x"}))]),
        ["kafka[\"group.id\"]: is set by the writer itself, because its guarantees rest on it"]
    );
    assert_eq!(
        kafka(&[("/kafka", json!({"sasl.password": "hunter2"}))]),
        ["kafka[\"sasl.password\"]: is a credential, which does not belong here; user name and password go into the \
          secret that `kafka_sasl_secret` names, keys into files (`ssl.key.location`)"]
    );
    assert_eq!(
        kafka(&[("/kafka", json!({"sasl.password": ["hunter2"]}))]),
        ["kafka[\"sasl.password\"]: expected text, a number or a boolean, found a list"]
    );
}

#[test]
fn a_path_is_shown_as_the_file_spells_it() {
    let file = json!({
        "commonSpecs": {"busBackend": "LOCAL", "resultBusTopicId": "r"},
        "environments": {"prod": {"onlineStore": {"uri": "reddis://h"}}},
        "writers": [{"busSubscriberType": "ONLIN_WRITER"}],
    });
    let found = errors(&file);
    assert!(found[0].starts_with("writers[0].busSubscriberType: unknown writer type `ONLIN_WRITER`;"), "{found:?}");
    assert!(found[1].starts_with("environments.prod.onlineStore.uri: unknown scheme `reddis`;"), "{found:?}");
}

#[test]
fn what_chalk_writes_for_nothing_is_nothing() {
    let file = with_all(&[
        ("/kafka_sasl_secret", json!("")),
        ("/metadata_provider", json!("")),
        ("/suspended", Value::Null),
        ("/writers/0/name", json!("")),
        ("/writers/0/hpa_specs", Value::Null),
        ("/writers/0/metrics_emission_mode", json!("BACKGROUND_PERSISTENCE_WRITER_METRICS_EMISSION_MODE_UNSPECIFIED")),
        ("/writers/1/chalk_queries_clickhouse_write_mode", json!(0)),
    ]);
    assert_eq!(errors(&file), Vec::<String>::new());
}
