//! Environment variables and flags over the file, and which writer is picked.

use chalk_writer::config::settings::BusSettings;
use chalk_writer::config::{ConfigErrors, Loaded, Overrides, Selection};
use serde_json::{Value, json};

use crate::{loaded, loaded_with, sound, with, with_all};

fn variables(variables: &[(&str, &str)]) -> Overrides {
    let mut overrides = Overrides::default();
    overrides.environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    overrides
}

fn said(result: Result<Loaded, ConfigErrors>) -> Vec<String> {
    result.expect_err("wrong").0.iter().map(ToString::to_string).collect()
}

fn online() -> Selection {
    Selection::Type("ONLINE_WRITER".to_owned())
}

#[test]
fn a_flag_is_stronger_than_a_variable_and_a_variable_than_the_file() {
    let file = with_all(&[("/http", json!({"listen": "file:1"})), ("/batch", json!({"max_rows": 7}))]);
    let listen = |overrides: &Overrides| {
        let settings = loaded_with(&file, overrides).expect("sound").writer(&online()).expect("settings");
        assert_eq!(settings.tuning.batch_max_rows, 7, "its neighbours stay");
        settings.listen
    };
    assert_eq!(listen(&Overrides::default()).as_deref(), Some("file:1"));
    let variable = variables(&[("CHALK_WRITER__HTTP__LISTEN", "variable:2")]);
    assert_eq!(listen(&variable).as_deref(), Some("variable:2"));
    assert_eq!(listen(&variable.flag("--listen", "http.listen", "off")), None);
}

#[test]
fn chalks_plain_names_are_read_and_ours_are_stronger() {
    let topic = |given: &[(&str, &str)]| loaded_with(&sound(), &variables(given)).expect("sound").dlq_topic();
    assert_eq!(topic(&[("KAFKA_DLQ_TOPIC", "plain")]).as_deref(), Some("plain"));
    assert_eq!(topic(&[("DLQ_TOPIC", "alias")]).as_deref(), Some("alias"));
    assert_eq!(topic(&[("KAFKA_DLQ_TOPIC", "")]).as_deref(), Some("dead-letters"), "empty is not given");
    let ours = ("CHALK_WRITER__COMMON_SPECS__KAFKA_DLQ_TOPIC", "ours");
    assert_eq!(topic(&[("KAFKA_DLQ_TOPIC", "plain"), ours]).as_deref(), Some("ours"));
    assert_eq!(
        topic(&[("MEMORY_LIMIT", "nonsense"), ("BATCH", "x"), ("PATH", "/bin")]).as_deref(),
        Some("dead-letters")
    );
}

#[test]
fn a_variable_reaches_into_lists_maps_and_librdkafkas_names() {
    let overrides = variables(&[
        ("CHALK_WRITER__WRITERS__0__MAX_BATCH_SIZE", "11"),
        ("CHALK_WRITER__WRITERS__1__BATCH__MAX_ROWS", "12"),
        ("CHALK_WRITER__ENVIRONMENTS__PROD__ONLINE_STORE__CACHE_PREFIX", "x/"),
        ("CHALK_WRITER__COMMON_PERSISTENCE_SPECS__BUS_BACKEND", "kafka"),
        ("CHALK_WRITER__KAFKA_BOOTSTRAP_SERVERS", "a:1"),
        ("CHALK_WRITER__KAFKA__SESSION_TIMEOUT_MS", "6000"),
        ("CHALK_WRITER__DLQ", r#"{"max_ratio": "0.5"}"#),
    ]);
    let loaded = loaded_with(&sound(), &overrides).expect("sound");
    let first = loaded.writer(&online()).expect("settings");
    assert_eq!((first.tuning.batch_max_rows, first.tuning.dlq_max_ratio.to_string()), (11, "0.5".to_owned()));
    let prod = first.environments.get("prod").and_then(|prod| prod.online_store.as_ref()).expect("a store");
    assert_eq!(prod.cache_prefix, "x/");
    let BusSettings::Kafka(kafka) = &first.bus else { panic!("{:?}", first.bus) };
    assert_eq!(kafka.properties["session.timeout.ms"], "6000");
    let second = loaded.writer(&Selection::Writer("offline-writer".to_owned())).expect("settings");
    assert_eq!(second.tuning.batch_max_rows, 12);
}

#[test]
fn a_flag_is_above_the_environment_and_that_above_the_file() {
    let mut file = with("/common_persistence_specs/bus_backend", json!("PUBSUB"));
    file["common_persistence_specs"]["google_cloud_project"] = json!("p");
    file["common_persistence_specs"]["result_bus_online_store_subscription_id"] = json!("s");
    file["common_persistence_specs"]["result_bus_offline_store_subscription_id"] = json!("o");
    file["pubsub"] = json!({"drain_idle": "30s", "browse_idle": "7s"});
    let variable = variables(&[("CHALK_WRITER__PUBSUB__DRAIN_IDLE", "20s")]);
    let idle = |overrides: &Overrides| {
        let settings = loaded_with(&file, overrides).expect("sound").writer(&online()).expect("settings");
        let BusSettings::Pubsub(pubsub) = settings.bus else { panic!("{:?}", settings.bus) };
        (pubsub.drain_idle.as_millis(), pubsub.browse_idle.as_millis())
    };
    assert_eq!(idle(&Overrides::default()), (30_000, 7_000));
    assert_eq!(idle(&variable), (20_000, 7_000));
    assert_eq!(idle(&variable.flag("--drain-idle", "pubsub.drain_idle", "250ms")), (250, 7_000));
}

#[test]
fn a_mistake_above_the_file_names_the_variable_or_the_flag() {
    let overrides = variables(&[
        ("BUS_BACKEND", "KAFAK"),
        ("CHALK_WRITER__BATCHS__MAX_ROWS", "1"),
        ("CHALK_WRITER__WRITERS__7__NAME", "x"),
        ("CHALK_WRITER__MEMORY_LIMIT__X", "1"),
    ])
    .flag("--listen", "http.listen", "nine")
    .flag("--set", "a..b", 1);
    assert_eq!(
        said(loaded_with(&sound(), &overrides)),
        [
            "common_persistence_specs.bus_backend (environment variable BUS_BACKEND): unknown value \"KAFAK\"; did you \
             mean `KAFKA`? known are KAFKA, PUBSUB, LOCAL",
            "batchs (environment variable CHALK_WRITER__BATCHS__MAX_ROWS): unknown key; did you mean `batch`?",
            "memory_limit (environment variable CHALK_WRITER__MEMORY_LIMIT__X): is a single value and has no `x`",
            "writers (environment variable CHALK_WRITER__WRITERS__7__NAME): has 2 entries, counted from 0; `7` is none \
             of them",
            "http.listen (flag --listen): expected `address:port` such as `0.0.0.0:9090`, or `off`, found \"nine\"",
            "a..b (flag --set): is not a path such as `writers[0].batch.max_rows`",
        ]
    );
    let both = variables(&[("BQ_UPLOAD_BUCKET", "s3://a"), ("BIGQUERY_UPLOAD_BUCKET", "s3://b")]);
    assert_eq!(
        said(loaded_with(&sound(), &both)),
        ["common_persistence_specs.bq_upload_bucket (environment variables): `BQ_UPLOAD_BUCKET` is \"s3://a\" and \
          `BIGQUERY_UPLOAD_BUCKET`, which means the same, is \"s3://b\"; keep one of them"]
    );
}

#[test]
fn two_spellings_that_agree_are_fine() {
    let file = with_all(&[
        ("/common_persistence_specs/bq_upload_bucket", json!("gs://b")),
        ("/common_persistence_specs/bigqueryUploadBucket", json!("gcs://b")),
        ("/common_specs", json!({"dlq_topic": "dead-letters", "result_bus_metrics_subscription_id": "results"})),
        ("/redis_is_clustered", json!("1")),
        ("/redisIsClustered", json!(true)),
        ("/writers/0/max_batch_size", json!(5)),
        ("/writers/0/batch", json!({"max_rows": "5"})),
    ]);
    let settings = loaded(&file).writer(&online()).expect("settings");
    assert_eq!(settings.tuning.batch_max_rows, 5);
    let file = with_all(&[("/writers/0/max_batch_size", json!(5)), ("/writers/0/batch", json!({"max_rows": 6}))]);
    assert_eq!(
        said(loaded_with(&file, &Overrides::default())),
        [
            "writers[0].max_batch_size: `max_batch_size` is 5 and `batch.max_rows`, which means the same, is 6; keep one \
          of them"
        ]
    );
}

#[test]
fn a_writer_that_is_not_there_is_a_mistake_of_usage() {
    let loaded = loaded(&with("/writers/-", json!({"name": "second", "bus_subscriber_type": "RUST_ONLINE_WRITER"})));
    let said = |selection: Selection| {
        let error = loaded.writer(&selection).expect_err("not there");
        assert!(error.is_usage());
        error.to_string()
    };
    assert_eq!(said(online()), "several writers are meant: `online-writer`, `second`; choose one with `--writer`");
    assert_eq!(
        said(Selection::Only),
        "several writers are meant: `online-writer`, `offline-writer`, `second`; choose one with `--writer`"
    );
    assert_eq!(
        said(Selection::Writer("secnd".to_owned())),
        "no writer is named `secnd`; did you mean `second`? known are online-writer, offline-writer, second"
    );
    assert_eq!(
        said(Selection::Type("USAGE_BUS_WRITER".to_owned())),
        "`writers` has no USAGE_BUS_WRITER; it has `online-writer`, `offline-writer`, `second`; add an entry of that type"
    );
    assert!(said(Selection::Type("CLUSTER_MANAGER".to_owned())).contains("is not a writer"));
    assert!(said(Selection::Type("ONLIN".to_owned())).starts_with("unknown writer type `ONLIN`"));
    let second = loaded.writer(&Selection::Writer("second".to_owned())).expect("settings");
    assert_eq!(second.group, "chalk-second");
}

#[test]
fn a_file_without_writers_runs_any_type_under_its_default_name() {
    let mut file = sound();
    file["writers"] = Value::Null;
    let loaded = loaded(&file);
    let settings = loaded.writer(&Selection::Type("RUST_OFFLINE_WRITER".to_owned())).expect("settings");
    assert_eq!((settings.name.as_str(), settings.group.as_str()), ("rust-offline-writer", "chalk-rust-offline-writer"));
    assert_eq!(settings.subscription, "results");
    file["environments"] = Value::Null;
    let error = loaded_with(&file, &Overrides::default()).expect("nothing wrong by itself").writer(&online());
    let error = error.expect_err("nowhere to write");
    assert!(!error.is_usage());
    assert_eq!(
        error.to_string(),
        "environments: writer `online-writer` (ONLINE_WRITER) needs `online_store`, which is missing; add it under \
         `environments.prod`, with its `uri`"
    );
}

#[test]
fn on_kafka_and_local_a_topic_and_its_subscriptions_are_one_name() {
    let mut file = sound();
    let common = &mut file["common_persistence_specs"];
    common["result_bus_topic_id"] = Value::Null;
    common["result_bus_offline_store_subscription_id"] = json!("only-one");
    let loaded_file = loaded(&file);
    assert_eq!(loaded_file.result_topic().as_deref(), Some("only-one"));
    assert_eq!(loaded_file.writer(&online()).expect("settings").subscription, "only-one");
    file["common_persistence_specs"]["result_bus_metrics_subscription_id"] = json!("another");
    assert!(
        said(loaded_with(&file, &Overrides::default()))[0].contains("needs `result_bus_online_store_subscription_id`")
    );
}

#[test]
fn the_writers_cache_prefix_serves_where_the_environment_has_none() {
    let file = with_all(&[
        ("/writers/0/storage_cache_prefix", json!("w/")),
        ("/environments/b", json!({"online_store": {"uri": "sqlite:b.db", "cache_prefix": "b/"}})),
    ]);
    let settings = loaded(&file).writer(&online()).expect("settings");
    let prefix = |id: &str| settings.environments.get(id).and_then(|e| e.online_store.clone()).map(|s| s.cache_prefix);
    assert_eq!((prefix("prod").as_deref(), prefix("b").as_deref()), (Some("w/"), Some("b/")));
}
