//! What is not wrong and still said; and that nothing said holds a secret.

use chalk_writer::config::{Overrides, Selection};
use serde_json::{Value, json};

use crate::{checked, checked_text, errors, loaded, sound, text_of, warnings, with, with_all};

#[test]
fn a_variable_that_seems_to_be_meant_and_is_not_read_is_warned_of_with_the_nearest_name() {
    let warned = |name: &str| {
        let mut overrides = Overrides::default();
        overrides.environment.insert(name.to_owned(), "x".to_owned());
        let report = checked_text(&text_of(&sound()), &overrides);
        report.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let rule = "this program's begin with `CHALK_WRITER__` and have `__` between levels";
    for (name, meant) in [
        ("CHALK_WRITER_BATCH__MAX_AGE", "CHALK_WRITER__BATCH__MAX_AGE"),
        ("CHALK_WRITER_BATCH_MAXAGE", "CHALK_WRITER__BATCH__MAX_AGE"),
        ("chalk_writer__memory_limit", "CHALK_WRITER__MEMORY_LIMIT"),
        ("CHALKWRITER__MEMORY_LIMT", "CHALK_WRITER__MEMORY_LIMIT"),
        ("CHALK_WRITER_KAFKA_DLQ_TOPIC", "KAFKA_DLQ_TOPIC"),
    ] {
        let said = format!("environment variable {name}: is not read; did you mean `{meant}`? {rule}");
        assert_eq!(warned(name), [said]);
    }
    assert_eq!(warned("CHALK_WRITER_X"), [format!("environment variable CHALK_WRITER_X: is not read; {rule}")]);
    for name in [
        "CHALK_WRITER_SERVICE_HOST",
        "CHALK_WRITER_ONLINE_SERVICE_PORT_HTTP",
        "CHALK_WRITER_PORT",
        "CHALK_WRITER_PORT_9090_TCP_ADDR",
        "CHALK_WRITER_TEST_KAFKA",
        "CHALK_WRITER_CACHE",
        "PATH",
    ] {
        assert_eq!(warned(name), [""; 0], "{name}");
    }
}

#[test]
fn every_warning_has_its_words() {
    let table: Vec<(Value, &str)> = vec![
        (
            with("/common_persistence_specs/kafka_dlq_topic", Value::Null),
            "common_persistence_specs.kafka_dlq_topic: is missing: without a topic of dead letters the first bad \
             message stops the writer",
        ),
        (
            with("/metadata_provider", json!("grpc_server")),
            "metadata_provider: GRPC_SERVER is not asked: `environments` of this file are used; take them out, and it is",
        ),
        (
            with("/environments/b", json!({"offline_store": {"uri": "file:b"}})),
            "environments.b: has no `online_store`, so `online-writer` writes nothing for it",
        ),
        (
            with(
                "/environments/prod/features",
                json!([{"fqn": "user.name"}, {"fqn": "user.age", "max_staleness": "0s"}]),
            ),
            "environments.prod: lists features and no staleness, so `online-writer` stores nothing for it; add \
             `default_max_staleness` (such as \"7d\" or \"infinity\"), or `max_staleness` or `store_online: true` to a \
             feature",
        ),
        (
            with("/environments/prod/online_store/uri", json!("blackhole:")),
            "environments.prod.online_store.uri: `blackhole:` keeps nothing: `online-writer` acknowledges its messages \
             and their values are gone",
        ),
        (
            with("/environments/prod/metrics_store", json!({"uri": "clickhouse://h/db"})),
            "environments.prod.metrics_store.uri: scheme `clickhouse` is not in this version",
        ),
        (
            with("/writers/-", json!({"bus_subscriber_type": "CLUSTER_MANAGER"})),
            "writers[2].bus_subscriber_type: CLUSTER_MANAGER is Chalk's cluster manager, which watches nodes and pods; \
             it is not a writer and is not run from here",
        ),
        (
            with_all(&[
                ("/writers/-", json!({"name": "b", "bus_subscriber_type": "ONLINE_WRITER"})),
                ("/writers/2/kafka_consumer_group_override", json!("chalk-online-writer")),
            ]),
            "writers[2]: `online-writer` and `b` both read topic `results` in group `chalk-online-writer`, so each gets \
             a part of the messages",
        ),
        (
            with("/writers/0/dlq", json!({"max_ratio": 1.0, "max_consecutive": 1_000_000})),
            "writers[0].dlq.max_ratio: no number of bad messages stops this writer (`max_ratio` 1, `max_consecutive` \
             1000000): where a producer or the configuration is wrong, every message becomes a dead letter",
        ),
        (
            with("/common_persistence_specs/usage_bus_topic_id", json!("u")),
            "common_persistence_specs.usage_bus_topic_id: is deprecated; Chalk no longer uses it",
        ),
        (
            with_all(&[
                ("/common_persistence_specs/bus_backend", json!("KAFKA")),
                ("/kafka_bootstrap_servers", json!("b:1")),
                ("/kafka_security_protocol", json!("PLAINTEXT")),
                ("/kafka_sasl_mechanism", json!("PLAIN")),
            ]),
            "kafka_sasl_mechanism: is not used with PLAINTEXT",
        ),
    ];
    for (file, expected) in table {
        assert_eq!(errors(&file), Vec::<String>::new());
        assert!(warnings(&file).iter().any(|warning| warning == expected), "{expected}\n{:#?}", warnings(&file));
    }
    assert_eq!(warnings(&sound()), Vec::<String>::new());
}

#[test]
fn features_of_which_one_is_cached_are_not_warned_of() {
    for (pointer, value) in [
        ("/environments/prod/default_max_staleness", json!("7d")),
        ("/environments/prod/features/0/max_staleness", json!("infinity")),
        ("/environments/prod/features/0/store_online", json!(true)),
    ] {
        let file = with_all(&[("/environments/prod/features", json!([{"fqn": "user.name"}])), (pointer, value)]);
        assert_eq!(warnings(&file), Vec::<String>::new(), "{pointer}");
    }
}

#[test]
fn what_chalk_defines_and_nothing_here_uses_is_listed() {
    let file = with_all(&[
        ("/suspended", json!(true)),
        ("/observability_daemons", json!([{"anything": {"goes": [1, null]}}])),
        ("/cluster_manager_config", json!({"nodePodMetricsFilters": []})),
        ("/writers/0/hpa_specs", json!({"hpaMinReplicas": 0})),
    ]);
    let report = checked(&file);
    assert!(report.ok, "{report}");
    assert_eq!(report.unused, ["cluster_manager_config", "observability_daemons", "suspended", "writers[0].hpa_specs"]);
}

#[test]
fn nothing_that_is_said_holds_a_secret() {
    let secret = "hunter2";
    let file = with_all(&[
        ("/environments/prod/online_store", json!({"uri": format!("redis://user:{secret}@h/0"), "cache_prefix": "p/"})),
        ("/environments/prod/offline_store", json!({"uri": "file:lake"})),
        ("/writers/0/additional_env_vars", json!({"PASSWORD": secret})),
        ("/writers/0/usage_store_uri", json!(format!("postgres://u:{secret}@h/db"))),
    ]);
    let report = checked(&file);
    assert!(report.ok, "{report}");
    let loaded = loaded(&file);
    let settings = loaded.writer(&Selection::Type("ONLINE_WRITER".to_owned())).expect("settings");
    for text in [report.to_string(), json!(report).to_string(), format!("{settings:?}"), format!("{report:?}")] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(report.to_string().contains("redis://…@h/0 (keys begin with `p/`)"), "{report}");

    let wrong = with_all(&[
        ("/environments/prod/online_store", json!({"uri": [secret], "uriii": secret})),
        ("/environments/prod/offline_store", json!({"uri": format!("file:lake?key={secret}")})),
        ("/environments/b", json!({"online_store": {"uri": format!("redis://u:{secret}@h/0?x={secret}")}})),
        ("/environments/c", json!({"online_store": {"uri": format!("sqlite://u:{secret}@h/a.db")}})),
        ("/writers/0/additional_env_vars", json!({"PASSWORD": [secret]})),
        ("/kafka", json!({"sasl.password": secret, "ssl.key.pem": {"x": secret}})),
    ]);
    let report = checked(&wrong);
    assert!(report.errors.len() >= 6, "{report}");
    assert!(!report.to_string().contains(secret), "{report}");
    assert!(!format!("{:?}", Overrides::default().flag("--x", "kafka", json!({"sasl.password": 1}))).contains(secret));
}

#[test]
fn the_report_reads_well() {
    let text = checked(&with("/memory_limit", json!("192MiB"))).to_string();
    let shown: Vec<&str> = text.lines().filter(|line| !line.contains("lake") && !line.contains("sqlite")).collect();
    assert_eq!(
        shown[..shown.len() - 1],
        [
            "",
            "",
            "online-writer  ONLINE_WRITER (works)",
            "  reads         results",
            "  group         chalk-online-writer",
            "  dead letters  dead-letters",
            "  batches       up to 10000 rows, 8MiB, 500ms; memory 192MiB",
            "",
            "offline-writer  OFFLINE_WRITER (works)",
            "  reads         results",
            "  group         chalk-offline-writer",
            "  dead letters  dead-letters",
            "  batches       up to 100000 rows, 48MiB, 10s; memory 192MiB",
            "",
        ]
    );
    assert!(text.ends_with("chalk.json: nothing wrong"));
}
