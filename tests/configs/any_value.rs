//! Whatever a file holds, it is answered and never crashes; what passes the checks can be read.

use chalk_writer::config::Overrides;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::checked_text;

/// Keys that mean something, in several spellings, and some that do not.
const KEYS: &[&str] = &[
    "common_persistence_specs",
    "commonSpecs",
    "bus_backend",
    "kafka_dlq_topic",
    "dlq_topic",
    "bq_upload_bucket",
    "bigqueryUploadBucket",
    "writers",
    "name",
    "bus_subscriber_type",
    "busSubscriberType",
    "batch",
    "max_rows",
    "max_bytes",
    "max_age",
    "memory_limit",
    "retry",
    "first_pause",
    "dlq",
    "max_ratio",
    "http",
    "listen",
    "kafka",
    "group.id",
    "environments",
    "prod",
    "*",
    "online_store",
    "offline_store",
    "uri",
    "cache_prefix",
    "features",
    "fqn",
    "dtype",
    "max_staleness",
    "cache_strategy",
    "cache_nulls",
    "metadata_provider",
    "redis_is_clustered",
    "hpa_specs",
    "hpa_min_replicas",
    "node_selector",
    "request",
    "cpu",
    "kafka_bootstrap_servers",
    "metrics_emission_mode",
    "query_table_write_drop_ratio",
    "max_batch_size",
    "default",
    "",
    "x",
    "a.b",
    "[0]",
    "\u{0}",
];

const TEXTS: &[&str] = &[
    "",
    "KAFKA",
    "LOCAL",
    "PUBSUB",
    "ONLINE_WRITER",
    "GO_METRICS_BUS_WRITER",
    "CLUSTER_MANAGER",
    "1",
    "true",
    "0.5",
    "250ms",
    "infinity",
    "64MiB",
    "99999999999GiB",
    "secret:x#y",
    "secret:",
    "redis://u:p@h",
    "sqlite:",
    "file:x",
    ":",
    "é://",
    "list<",
    "int64",
    "u.a",
    ".",
    "a:1,b:2",
    "s3://b",
    "auto",
    "off",
    "\u{0}",
    "EVICT_NULLS",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_i64..4).prop_map(Value::from),
        proptest::sample::select(TEXTS).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let key = prop_oneof![9 => proptest::sample::select(KEYS).prop_map(str::to_owned), 1 => ".{0,8}"];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn survives(text: &str) -> Result<(), TestCaseError> {
    let report = checked_text(text, &Overrides::default());
    prop_assert!(!report.to_string().contains("this is a bug"), "{text}\n{report}");
    prop_assert!(json!(report).is_object());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_json_is_answered(value in any_json()) {
        survives(&value.to_string())?;
    }

    #[test]
    fn any_json_in_a_place_of_its_own_is_answered(
        path in proptest::sample::select(vec!["common_persistence_specs", "environments", "writers", "kafka", "batch"]),
        value in any_json(),
    ) {
        let value = if path == "writers" { json!([value, {"bus_subscriber_type": "ONLINE_WRITER"}]) } else { value };
        survives(&json!({path: value}).to_string())?;
    }

    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        survives(&text)?;
    }

    #[test]
    fn any_variable_and_any_flag_are_answered(
        name in "[A-Z0-9_]{0,30}",
        path in r#"[a-z_.\[\]"0-9]{0,30}"#,
        value in any_json(),
    ) {
        let mut overrides = Overrides::default().flag("--set", path, value.clone());
        overrides.environment.insert(format!("CHALK_WRITER__{name}"), value.to_string());
        for known in ["WRITERS__0__BATCH", "ENVIRONMENTS", "KAFKA__A_B", "COMMON_SPECS__BUS_BACKEND"] {
            overrides.environment.insert(format!("CHALK_WRITER__{known}"), value.to_string());
        }
        let file = Value::Object(Map::from_iter([("writers".to_owned(), json!([{}]))]));
        let report = checked_text(&file.to_string(), &overrides);
        prop_assert!(!report.to_string().contains("this is a bug"), "{report}");
    }
}
