//! Where rows and messages go: modes of the metrics store and topics that are published to, judged as soon
//! as the writer that has them is in the registry, and listed as unused until then.

use chalk_writer::config::settings::{LoadSettings, MetricsModes, OfflineMode, OnError, Sides};
use chalk_writer::config::{CheckReport, Overrides, Registry, Selection, StoreKind, check, load};
use chalk_writer::writer::{WriterType, registry};
use serde_json::{Value, json};

use crate::{checked, text_of};

/// A version that has every writer.
fn whole() -> Registry {
    Registry { writers: WriterType::ALL.to_vec(), ..registry() }
}

/// The two writers of metrics, with a main store.
fn metrics() -> Value {
    json!({
        "common_persistence_specs": {
            "bus_backend": "LOCAL",
            "result_bus_topic_id": "results",
            "metrics_bus_topic_id": "metrics",
            "kafka_dlq_topic": "dead-letters",
        },
        "environments": {"prod": {"metrics_store": {"uri": "postgres://u@h/main"}}},
        "writers": [{"bus_subscriber_type": "METRICS_WRITER"}, {"bus_subscriber_type": "METRICS_BUS_WRITER"}],
    })
}

fn changed(changes: &[(&str, Value)]) -> Value {
    let mut file = metrics();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        file.pointer_mut(parent).expect(pointer)[key] = value.clone();
    }
    file
}

fn report(file: &Value) -> CheckReport {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chalk.json");
    std::fs::write(&path, text_of(file)).expect("written");
    check(&path, &Overrides::default(), &whole())
}

fn errors(file: &Value) -> Vec<String> {
    report(file).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn every_way_that_leads_nowhere_has_its_words() {
    let table = [
        (
            changed(&[("/writers/1/chalk_queries_clickhouse_write_mode", json!("DUAL"))]),
            "writers[1].chalk_queries_clickhouse_write_mode: sends query rows to `clickhouse_uri`, which \
             `environments.prod.metrics_store` does not have; add it there, or use TIMESCALE_ONLY",
        ),
        (
            changed(&[("/writers/1/chalk_errors_clickhouse_write_mode", json!(3))]),
            "writers[1].chalk_errors_clickhouse_write_mode: sends errors to `clickhouse_uri`, which \
             `environments.prod.metrics_store` does not have; add it there, or use TIMESCALE_ONLY",
        ),
        (
            changed(&[("/writers/1/metrics_emission_mode", json!("victoria_metrics_only"))]),
            "writers[1].metrics_emission_mode: sends metrics to `victoria_metrics_uri`, which \
             `environments.prod.metrics_store` does not have; add it there, or use TIMESCALE_ONLY",
        ),
        (
            changed(&[
                ("/writers/1/metrics_emission_mode", json!("VICTORIA_METRICS_ONLY")),
                ("/environments/prod/metrics_store", json!({"victoria_metrics_uri": "postgres://u@h/other"})),
            ]),
            "environments.prod.metrics_store.uri: is missing, and `metrics-bus-writer` writes there: query rows, errors",
        ),
        (
            changed(&[("/common_persistence_specs/metrics_bus_topic_id", json!("results"))]),
            "common_persistence_specs.metrics_bus_topic_id: `metrics-writer` reads `results` too, so it would be given \
             what it publishes; give it another topic",
        ),
        (
            changed(&[("/common_persistence_specs/kafka_dlq_topic", json!("results"))]),
            "common_persistence_specs.kafka_dlq_topic: `metrics-writer` reads `results` too, so it would be given its own \
             dead letters again; give it another topic",
        ),
        (
            changed(&[(
                "/environments/prod/online_store",
                json!({"uri": "sqlite:a", "clickhouse_uri": "postgres://u@h"}),
            )]),
            "environments.prod.online_store.clickhouse_uri: unknown key; it belongs under \
             `environments.<id>.metrics_store`",
        ),
    ];
    assert_eq!(errors(&metrics()), Vec::<String>::new());
    for (file, expected) in table {
        assert_eq!(errors(&file), [expected]);
    }
}

#[test]
fn a_writer_that_publishes_needs_its_topic() {
    let mut file = metrics();
    file["common_persistence_specs"]["metrics_bus_topic_id"] = Value::Null;
    file["writers"].as_array_mut().expect("a list").truncate(1);
    assert_eq!(
        errors(&file),
        ["common_persistence_specs.metrics_bus_topic_id: writer `metrics-writer` (METRICS_WRITER) needs \
          `metrics_bus_topic_id`, which is missing; add it under `common_persistence_specs`"]
    );
    file["common_persistence_specs"]["query_log_subscription_id"] = json!("log");
    file["common_persistence_specs"]["query_log_result_topic"] = json!("log");
    file["api_server_host"] = json!("api.example.com");
    file["writers"] = json!([{"bus_subscriber_type": "QUERY_MIRROR_CONSUMER"}]);
    assert_eq!(errors(&file), Vec::<String>::new(), "it passes over what it publishes");
}

#[test]
fn a_mirror_needs_its_topics_and_a_server_and_says_what_of_its_settings_cannot_be() {
    let mirror = |settings: Value| {
        json!({
            "common_persistence_specs": {"bus_backend": "LOCAL", "query_log_subscription_id": "log",
                                         "query_log_result_topic": "outcomes"},
            "api_server_host": "api.example.com",
            "writers": [{"name": "m", "bus_subscriber_type": "QUERY_MIRROR_CONSUMER", "mirror": settings}],
        })
    };
    let mut bare = mirror(json!({}));
    assert_eq!(errors(&bare), Vec::<String>::new());
    bare["common_persistence_specs"] = json!({"bus_backend": "LOCAL"});
    bare["api_server_host"] = Value::Null;
    let needs = |field: &str, add: &str| {
        format!(
            "{field}: writer `m` (QUERY_MIRROR_CONSUMER) needs `{}`, which is missing; {add}",
            field.rsplit('.').next().unwrap_or(field)
        )
    };
    let mut found = errors(&bare);
    found.sort();
    assert_eq!(
        found,
        [
            needs("api_server_host", "add the host name or URL of the API server at the top level"),
            needs("common_persistence_specs.query_log_result_topic", "add it under `common_persistence_specs`"),
            needs("common_persistence_specs.query_log_subscription_id", "add it under `common_persistence_specs`"),
        ]
    );
    for (settings, expected) in [
        (json!({"sample_ratio": 2}), "writers[0].mirror.sample_ratio: expected a number from 0 to 1, found 2"),
        (json!({"max_per_second": -1}), "writers[0].mirror.max_per_second: expected a number from 0 on, found -1"),
        (
            json!({"max_per_second": 0}),
            "writers[0].mirror.max_per_second: is 0, so that no query would be asked; leave the writer out instead",
        ),
        (json!({"deadline": "0s"}), "writers[0].mirror.deadline: is 0, so that no query could be answered in time"),
        (
            json!({"client_id": "id"}),
            "writers[0].mirror.client_secret: is missing; `client_id` is of no use without it",
        ),
        (
            json!({"client_id": "id", "client_secret": "secret:x"}),
            "common_persistence_specs.secret_client: is missing, and writers[0].mirror.client_secret asks for it; use AWS, GCP, \
             ENV or FILE",
        ),
    ] {
        assert_eq!(errors(&mirror(settings)), [expected]);
    }
}

#[test]
fn modes_stores_and_topics_reach_the_writer() {
    let stores = json!({
        "uri": "postgres://u@h/main",
        "clickhouse_uri": "postgres://u:hunter2@h/rows",
        "victoria_metrics_uri": "postgres://u@h/metrics",
    });
    let file = changed(&[
        ("/environments/prod/metrics_store", stores),
        ("/writers/0/results_writer_skip_producing_feature_metrics", json!("1")),
        ("/writers/1/chalk_queries_clickhouse_write_mode", json!("DUAL")),
        ("/writers/1/chalk_errors_clickhouse_write_mode", json!("CLICK_HOUSE_ONLY")),
        ("/writers/1/chalk_queries_clickhouse_table", json!("db.queries")),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chalk.json");
    std::fs::write(&path, text_of(&file)).expect("written");
    let loaded = load(&path, &Overrides::default(), &whole()).expect("sound");
    let of = |name: &str| loaded.writer(&Selection::Type(name.to_owned())).expect("settings");

    let source = of("METRICS_WRITER");
    let publishes = source.publishes.as_ref().expect("a topic");
    assert_eq!((publishes.topic.as_str(), publishes.named_by), ("metrics", "metrics_bus_topic_id"));
    assert!(source.of_type.skip_feature_metrics);

    let writer = of("METRICS_BUS_WRITER");
    assert_eq!(writer.publishes, None);
    assert_eq!(
        writer.of_type.metrics,
        MetricsModes {
            queries: Sides::Both,
            errors: Sides::Other,
            queries_table: Some("db.queries".to_owned()),
            ..MetricsModes::default()
        }
    );
    let sides = |sides: Sides| (sides.main(), sides.other());
    assert_eq!([Sides::Main, Sides::Both, Sides::Other].map(sides), [(true, false), (true, true), (false, true)]);
    let prod = writer.environments.get("prod").expect("prod");
    let fields: Vec<_> = prod.stores(StoreKind::Metrics).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["uri", "clickhouse_uri", "victoria_metrics_uri"]);

    let shown = report(&file);
    assert_eq!(shown.unused, Vec::<String>::new());
    assert_eq!(
        shown.writers[1].environments[0].store.as_deref(),
        Some("postgres://…@h/main, clickhouse_uri postgres://…@h/rows, victoria_metrics_uri postgres://…@h/metrics")
    );
}

#[test]
fn history_is_published_only_where_the_mode_says_so_and_then_needs_its_topic() {
    let file = |mode: Value, topic: Value| {
        json!({
            "common_persistence_specs": {"bus_backend": "LOCAL", "result_bus_topic_id": "results",
                                         "bigquery_streaming_write_topic": topic, "kafka_dlq_topic": "dead-letters"},
            "environments": {"prod": {"offline_store": {"uri": "file:./lake"}}},
            "writers": [{"bus_subscriber_type": "OFFLINE_WRITER", "offline_mode": mode}],
        })
    };
    let settings = |file: &Value| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chalk.json");
        std::fs::write(&path, text_of(file)).expect("written");
        let loaded = load(&path, &Overrides::default(), &whole()).expect("sound");
        loaded.writer(&Selection::Type("OFFLINE_WRITER".to_owned())).expect("settings")
    };
    for direct in [Value::Null, json!("direct"), json!("DIRECT")] {
        let found = settings(&file(direct, json!("inserts")));
        assert_eq!((found.of_type.offline_mode, found.publishes), (OfflineMode::Direct, None));
    }
    let both = file(json!("republish"), json!("inserts"));
    let found = settings(&both);
    let publishes = found.publishes.as_ref().map(|publishes| (publishes.topic.as_str(), publishes.named_by));
    assert_eq!(found.of_type.offline_mode, OfflineMode::Republish);
    assert_eq!(publishes, Some(("inserts", "bigquery_streaming_write_topic")));
    assert_eq!(report(&both).writers[0].publishes_to.as_deref(), Some("inserts"));
    for (file, expected) in [
        (
            file(json!("republish"), Value::Null),
            "common_persistence_specs.bigquery_streaming_write_topic: writer `offline-writer` (OFFLINE_WRITER) needs \
             `bigquery_streaming_write_topic`, which is missing; add it under `common_persistence_specs`",
        ),
        (
            file(json!("republish"), json!("results")),
            "common_persistence_specs.bigquery_streaming_write_topic: `offline-writer` reads `results` too, so it would \
             be given what it publishes; give it another topic",
        ),
        (
            file(json!("publish"), json!("inserts")),
            "writers[0].offline_mode: unknown value \"publish\"; did you mean `republish`? known are direct, republish",
        ),
    ] {
        assert_eq!(errors(&file), [expected]);
    }
    let mut elsewhere = metrics();
    elsewhere["writers"][0]["offline_mode"] = json!("republish");
    assert_eq!(report(&elsewhere).unused, ["writers[0].offline_mode"]);
}

#[test]
fn what_no_writer_of_this_version_reads_is_listed_and_so_is_what_stands_with_another_writer() {
    let file = changed(&[
        ("/writers/0/metricsEmissionMode", json!("TIMESCALE_ONLY")),
        ("/writers/1/metrics_emission_mode", json!("TIMESCALE_ONLY")),
    ]);
    assert_eq!(report(&file).unused, ["writers[0].metricsEmissionMode"]);
    let unread =
        ["environments.prod.metrics_store", "writers[0].metricsEmissionMode", "writers[1].metrics_emission_mode"];
    let of_this_version: Vec<String> = registry().writers.iter().map(ToString::to_string).collect();
    let expected =
        if of_this_version.iter().any(|known| known == "METRICS_BUS_WRITER") { &unread[1..2] } else { &unread };
    assert_eq!(checked(&file).unused, expected);
}

#[test]
fn a_folder_of_uploads_is_a_path_however_it_is_written_and_on_error_has_its_words() {
    let loads = |entry: Value, bucket: Value| {
        let mut file = json!({
            "common_persistence_specs": {
                "bus_backend": "LOCAL", "bq_upload_topic": "uploads", "kafka_dlq_topic": "dead-letters",
                "bq_upload_bucket": bucket,
            },
            "environments": {"prod": {"offline_store": {"uri": "file:./lake"}}},
            "writers": [entry],
        });
        file["writers"][0]["bus_subscriber_type"] = json!("OFFLINE_STORE_BULK_INSERT_WRITER");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chalk.json");
        std::fs::write(&path, text_of(&file)).expect("written");
        let loaded = load(&path, &Overrides::default(), &whole()).map_err(|errors| errors.to_string())?;
        let writer = loaded.writer(&Selection::Type("OFFLINE_STORE_BULK_INSERT_WRITER".to_owned()));
        Ok::<_, String>(writer.expect("settings").of_type.loads)
    };
    let prefix = |entry: Value, bucket: Value| loads(entry, bucket).expect("sound").prefix;
    assert_eq!(loads(json!({}), Value::Null), Ok(LoadSettings::default()));
    assert_eq!(prefix(json!({}), json!("s3://bucket/a/b/")), "a/b");
    assert_eq!(prefix(json!({}), json!("gcs://bucket")), "");
    assert_eq!(prefix(json!({"upload_prefix": "/x/"}), json!("s3://bucket/a/b/")), "x");
    assert_eq!(prefix(json!({"uploadPrefix": "gs://bucket/x/y"}), json!("s3://bucket/a")), "x/y");
    for (word, expected) in [
        ("abort", OnError::Abort),
        ("ABORT_STATEMENT", OnError::Abort),
        ("SKIP_FILE", OnError::SkipFile),
        ("skip-file", OnError::SkipFile),
    ] {
        assert_eq!(loads(json!({"on_error": word}), Value::Null).expect(word).on_error, expected);
    }
    let wrong = loads(json!({"on_error": "skip"}), Value::Null).expect_err("no word");
    assert!(wrong.contains("writers[0].on_error") && wrong.contains("skip_file"), "{wrong}");
}
