//! The files of `config/`: what they mean, and that they are right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chalk_writer::config::settings::{
    BusSettings, CacheStrategy, MaxStaleness, MirrorBody, OfflineMode, OnError, OwnSettings,
};
use chalk_writer::config::{Overrides, Selection, check, load};
use chalk_writer::value::Metric;
use chalk_writer::writer::{WriterType, registry};
use serde_json::{Value, json};

use crate::{checked, loaded};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

#[test]
fn every_example_is_read() {
    let mut seen = 0;
    for entry in std::fs::read_dir(examples()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let report = check(&path, &Overrides::default(), &registry());
        assert!(report.ok, "{report}");
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn the_local_example_makes_both_writers() {
    let loaded = load(&examples().join("local.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    assert_eq!(loaded.result_topic().as_deref(), Some("results"));
    let online = loaded.writer(&Selection::Type("ONLINE_WRITER".to_owned())).expect("online");
    assert_eq!((online.name.as_str(), online.group.as_str()), ("online-writer", "chalk-online-writer"));
    assert_eq!((online.writer_type, online.subscription.as_str()), (WriterType::ONLINE, "results"));
    assert_eq!(online.dlq_topic.as_deref(), Some("dead-letters"));
    assert_eq!(online.listen.as_deref(), Some("0.0.0.0:9090"));
    let BusSettings::Local(bus) = &online.bus else { panic!("{:?}", online.bus) };
    assert_eq!(bus.path, examples().join("chalk-bus.sqlite"));
    let prod = online.environments.get("prod").expect("prod");
    let store = prod.online_store.as_ref().expect("a store");
    assert_eq!(store.uri.describe(), format!("sqlite:{}", examples().join("online.sqlite").display()));
    assert_eq!(prod.default_max_staleness, Some(MaxStaleness::For(Duration::from_secs(7 * 86_400))));
    let features = prod.features.as_ref().expect("a list");
    assert_eq!(features["user.is_flagged"].cache_strategy, CacheStrategy::EvictDefaults);
    assert_eq!(features["user.is_flagged"].default, Some(json!(false)));
    assert_eq!(features["user.embedding"].dtype.as_ref().map(ToString::to_string).as_deref(), Some("vector<fp32, 8>"));
    let offline = loaded.writer(&Selection::Writer("offline-writer".to_owned())).expect("offline");
    assert_eq!((offline.writer_type, offline.listen.as_deref()), (WriterType::OFFLINE, Some("0.0.0.0:9091")));
}

#[test]
fn the_example_of_vectors_names_their_store_and_their_metrics() {
    let loaded = load(&examples().join("vectors.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let writer = loaded.writer(&Selection::Type("ONLINE_VECTOR_STORE_WRITER".to_owned())).expect("of vectors");
    assert_eq!(writer.subscription, "results");
    let prod = writer.environments.get("prod").expect("prod");
    let store = prod.vector_store.as_ref().expect("a store");
    assert_eq!(store.uri.describe(), format!("sqlite:{}", examples().join("vectors.sqlite").display()));
    assert_eq!(prod.vector_metric, Some(Metric::Cos));
    let features = prod.features.as_ref().expect("a list");
    assert_eq!((features["user.embedding"].metric, features["document.summary"].metric), (None, Some(Metric::Ip)));
}

#[test]
fn the_example_of_metrics_chains_its_two_writers() {
    let loaded = load(&examples().join("metrics.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let source = loaded.writer(&Selection::Type("METRICS_WRITER".to_owned())).expect("of results");
    let publishes = source.publishes.as_ref().map(|publishes| publishes.topic.as_str());
    assert_eq!((source.subscription.as_str(), publishes), ("results", Some("metrics")));
    let bus = loaded.writer(&Selection::Type("METRICS_BUS_WRITER".to_owned())).expect("of metrics");
    assert_eq!((bus.subscription.as_str(), bus.publishes.is_none()), ("metrics", true));
}

#[test]
fn the_example_of_two_stages_chains_its_two_writers() {
    let loaded = load(&examples().join("two-stage.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let first = loaded.writer(&Selection::Type("OFFLINE_WRITER".to_owned())).expect("the first");
    let publishes = first.publishes.as_ref().map(|publishes| publishes.topic.as_str());
    assert_eq!((first.subscription.as_str(), publishes), ("results", Some("inserts")));
    assert_eq!(first.of_type.offline_mode, OfflineMode::Republish);
    let second =
        loaded.writer(&Selection::Type("OFFLINE_STORE_STREAMING_INSERT_WRITER".to_owned())).expect("the second");
    assert_eq!((second.subscription.as_str(), second.publishes.is_none()), ("inserts", true));
}

#[test]
fn the_example_of_usage_names_its_store() {
    let loaded = load(&examples().join("usage.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let writer = loaded.writer(&Selection::Type("USAGE_BUS_WRITER".to_owned())).expect("of usage");
    assert_eq!((writer.subscription.as_str(), writer.dlq_topic.as_deref()), ("usage", Some("dead-letters")));
    let prod = writer.environments.get("prod").expect("prod");
    let store = prod.usage_store.as_ref().expect("a store");
    assert_eq!(store.uri.describe(), format!("sqlite:{}", examples().join("usage.sqlite").display()));
}

#[test]
fn the_kafka_example_makes_its_bus_and_its_tuning() {
    let loaded = load(&examples().join("kafka-redis.json"), &Overrides::default(), &registry()).expect("sound");
    let online = loaded.writer(&Selection::Type("online_writer".to_owned())).expect("online");
    let BusSettings::Kafka(kafka) = &online.bus else { panic!("{:?}", online.bus) };
    assert_eq!(kafka.bootstrap_servers, ["kafka-1.example.com:9096", "kafka-2.example.com:9096"]);
    assert_eq!(
        (kafka.security_protocol.as_str(), kafka.sasl_mechanism.as_deref()),
        ("SASL_SSL", Some("SCRAM-SHA-512"))
    );
    assert_eq!(kafka.properties["ssl.ca.location"], "/etc/ssl/certs/ca-certificates.crt");
    assert!(kafka.sasl_secret.is_some());
    assert_eq!((online.tuning.batch_max_rows, online.tuning.concurrency), (20_000, 8));
    assert_eq!(online.tuning.batch_max_age, Duration::from_millis(250));
    let store = online.environments.get("prod").and_then(|prod| prod.online_store.as_ref()).expect("a store");
    assert_eq!(
        (store.uri.describe().as_str(), store.cache_prefix.as_str()),
        ("secret:/run/secrets/redis-uri", "prod/")
    );
}

#[test]
fn the_postgres_example_shows_no_credential_and_both_ways_in() {
    let loaded = load(&examples().join("kafka-postgres.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let offline = loaded.writer(&Selection::Type("OFFLINE_WRITER".to_owned())).expect("offline");
    assert_eq!(offline.tuning.batch_max_rows, 50_000);
    let prod = offline.environments.get("prod").expect("prod");
    let store = |store: &Option<chalk_writer::config::settings::StoreSettings>| {
        store.as_ref().map(|store| store.uri.describe()).expect("a store")
    };
    assert_eq!(store(&prod.online_store), "secret:/run/secrets/postgres-uri");
    assert_eq!(store(&prod.offline_store), "postgres:…");
}

#[test]
fn the_example_of_loads_names_its_folder_and_what_becomes_of_bad_files() {
    let loaded = load(&examples().join("bulk.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let writer = loaded.writer(&Selection::Type("OFFLINE_STORE_BULK_INSERT_WRITER".to_owned())).expect("of loads");
    assert_eq!(writer.subscription, "parquet-uploads");
    let loads = &writer.of_type.loads;
    assert_eq!((loads.on_error, loads.prefix.as_str()), (OnError::SkipFile, "exports"));
}

#[test]
fn the_mirror_example_makes_a_mirror() {
    let loaded = load(&examples().join("kafka-mirror.json"), &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let mirror = loaded.writer(&Selection::Type("QUERY_MIRROR_CONSUMER".to_owned())).expect("a mirror");
    assert_eq!(mirror.subscription, "query-log");
    assert_eq!(mirror.publishes.as_ref().map(|publishes| publishes.topic.as_str()), Some("query-mirror"));
    assert_eq!(mirror.tuning.concurrency, 8);
    let settings = &mirror.of_type.mirror;
    assert_eq!(settings.server.as_deref(), Some("https://staging.example.com"));
    assert_eq!((settings.sample_ratio, settings.max_per_second), (0.05, Some(50.0)));
    assert_eq!((settings.deadline, settings.max_age), (Duration::from_secs(2), Duration::from_mins(5)));
    assert_eq!((settings.absolute_tolerance, settings.relative_tolerance), (0.0, 1e-6));
    assert_eq!((settings.body, settings.branch.as_deref()), (MirrorBody::Auto, Some("next-model")));
    let (id, secret) = settings.client.as_ref().expect("credentials");
    assert_eq!((id.as_str(), secret.describe().as_str()), ("client-mirror", "secret:/run/secrets/chalk-client-secret"));
}

#[test]
fn the_example_that_others_describe_says_who_and_by_which_secrets() {
    let path = examples().join("described-on-aws.json");
    let loaded = load(&path, &Overrides::default(), &registry()).expect("sound");
    assert!(loaded.warnings().is_empty(), "{:?}", loaded.warnings());
    let online = loaded.writer(&Selection::Type("ONLINE_WRITER".to_owned())).expect("online");
    let metadata = online.metadata.expect("described elsewhere");
    assert_eq!(metadata.source.describe(), "GRPC_SERVER https://metadata.chalk.svc.cluster.local:9191");
    assert_eq!((metadata.refresh, metadata.wait), (Duration::from_secs(30), Duration::from_secs(120)));
    assert!(online.environments.entries.is_empty(), "nobody was asked");
    let BusSettings::Kafka(kafka) = &online.bus else { panic!("{:?}", online.bus) };
    assert_eq!(kafka.sasl_secret.as_ref().expect("a secret").describe(), "secret:AmazonMSK_chalk");
    let report = check(&path, &Overrides::default(), &registry()).to_string();
    assert!(report.contains("described by GRPC_SERVER https://metadata.chalk"), "{report}");
}

#[test]
fn chalks_documented_example_passes() {
    let report = check(&examples().join("chalk-documented-example.json"), &Overrides::default(), &registry());
    let errors: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, [""; 0]);
    let warnings: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "common_persistence_specs.bigquery_upload_bucket: is deprecated; use `bq_upload_bucket`",
            "common_persistence_specs.bigquery_upload_topic: is deprecated; use `bq_upload_topic`",
        ]
    );
    let writers: Vec<_> = report.writers.iter().map(|writer| (&*writer.name, &*writer.group, writer.state)).collect();
    assert_eq!(
        writers,
        [
            ("go-metrics-bus-writer", "chalk-go-metrics-bus-writer", "works"),
            ("go-result-bus-metrics-writer", "chalk-go-result-bus-metrics-writer", "works"),
        ]
    );
    assert_eq!(report.writers[1].publishes_to.as_deref(), Some("metrics-bus-1"));
    assert!(report.unused.contains(&"writers[0].request".to_owned()));
    assert!(!report.unused.contains(&"api_server_host".to_owned()), "QUERY_MIRROR_CONSUMER reads it");
}

#[test]
fn the_documented_example_runs_once_it_has_what_it_lacks() {
    let text = std::fs::read_to_string(examples().join("chalk-documented-example.json")).expect("read");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    file["common_persistence_specs"]["secret_client"] = json!("FILE");
    file["environments"] = json!({
        "prod": {"online_store": {"uri": "redis://localhost"}, "metrics_store": {"uri": "sqlite:metrics.db"}},
    });
    file["writers"].as_array_mut().expect("a list").push(json!({"bus_subscriber_type": "ONLINE_WRITER"}));
    let loaded = loaded(&file);
    let online = loaded.writer(&Selection::Type("ONLINE_WRITER".to_owned())).expect("settings");
    assert_eq!(online.subscription, "result-bus-1");
    let store = online.environments.get("prod").and_then(|prod| prod.online_store.as_ref()).expect("a store");
    assert_eq!(store.own, OwnSettings::default().with("clustered", true), "as the example says");
    let metrics = loaded.writer(&Selection::Type("GO_METRICS_BUS_WRITER".to_owned())).expect("settings");
    assert_eq!(metrics.subscription, "metrics-bus-1");
    let source = loaded.writer(&Selection::Type("GO_RESULT_BUS_METRICS_WRITER".to_owned())).expect("settings");
    let publishes = source.publishes.as_ref().map(|publishes| publishes.topic.as_str());
    assert_eq!((source.subscription.as_str(), publishes), ("result-bus-1", Some("metrics-bus-1")));
}

/// Turns every key into lowerCamelCase, but for those that people choose.
fn camel(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(camel).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                let mut parts = key.split('_');
                let first = parts.next().unwrap_or_default().to_owned();
                let name = parts.fold(first, |name, part| {
                    let mut letters = part.chars();
                    let head = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
                    name + &head.chain(letters).collect::<String>()
                });
                (name, camel(value))
            })
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn every_example_means_the_same_in_camel_case() {
    for entry in std::fs::read_dir(examples()).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("read");
        let snake: Value = serde_json::from_str(&text).expect("JSON");
        let (snake, camel) = (checked(&snake), checked(&camel(&snake)));
        assert_eq!(snake.errors.len(), camel.errors.len(), "{camel}");
        assert_eq!(
            snake.writers.iter().map(|w| (&w.name, &w.subscription, &w.batches)).collect::<Vec<_>>(),
            camel.writers.iter().map(|w| (&w.name, &w.subscription, &w.batches)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn check_tells_where_the_bus_is_and_how_it_is_signed_in_to() {
    let told = |example: &str| {
        check(&examples().join(example), &Overrides::default(), &registry()).bus.expect("the bus is known")
    };
    assert_eq!(
        told("kafka-redis.json"),
        "KAFKA kafka-1.example.com:9096, kafka-2.example.com:9096 by SASL_SSL SCRAM-SHA-512, secret:/run/secrets/kafka"
    );
    assert_eq!(told("pubsub.json"), "PUBSUB project my-project");
    assert_eq!(told("local.json"), format!("LOCAL {}", examples().join("chalk-bus.sqlite").display()));
}

#[test]
fn check_says_that_a_policy_of_google_s_may_bury_what_is_retried_and_that_it_does_not_ask_for_one() {
    let report = |example: &str| check(&examples().join(example), &Overrides::default(), &registry());
    let text = report("pubsub.json").to_string();
    assert!(text.contains("dead letter policy") && text.contains("`doctor`"), "{text}");
    assert_eq!(report("kafka-redis.json").unasked, None);
}
