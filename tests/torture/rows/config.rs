//! The configuration of a run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::api::Api;
use super::{ROLES, Type};
use crate::bus::TestBus;

/// `stores` are the URIs by the fields of the environment.
pub fn write(folder: &Path, bus: &dyn TestBus, stores: &[(&str, String)], api: &Api, rate: u64) -> PathBuf {
    let topic = |name: &str| ROLES.iter().find(|role| role.name == name).expect("a role").topic.0;
    let mut config = json!({
        "common_persistence_specs": {
            "result_bus_topic_id": topic("republished"),
            "result_bus_offline_store_subscription_id": topic("republished"),
            "result_bus_metrics_subscription_id": topic("metrics"),
            "metrics_bus_topic_id": topic("metrics bus"),
            "usage_bus_topic_id": topic("usage"),
            "bigquery_streaming_write_topic": "inserts",
            "bq_upload_topic": topic("loads"),
            "vector_store_subscription_id": topic("vectors"),
            "query_log_subscription_id": topic("mirror"),
            "query_log_result_topic": "outcomes",
            "kafka_dlq_topic": "dlq",
        },
        "metadata_provider": "CONFIG",
        "api_server_host": api.url(),
        "environments": {"prod": {}},
        // As in the other runs: small batches (of a second where there are many messages in one), short pauses, a drain that is shorter than stores are away.
        "batch": {"max_age": "300ms", "max_rows": rate.max(200)},
        "retry": {"first_pause": "20ms", "max_pause": "200ms"},
        "drain_timeout": "2s",
        "dlq": {"max_ratio": 0.5},
        // What is deleted at a time long ago is to stay so.
        "tombstone_retention": "36500d",
        "writers": Type::all().iter().map(|of| writer(*of)).collect::<Vec<_>>(),
    });
    for (field, uri) in stores {
        config["environments"]["prod"][field] = json!({"uri": uri});
    }
    bus.configure(&mut config);
    if config["kafka"].is_object() {
        // What a killed writer leaves open is ended soon.
        config["kafka"]["transaction.timeout.ms"] = "6000".into();
        config["kafka"]["message.timeout.ms"] = "6000".into();
    }
    let path = folder.join("config.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    path
}

fn writer(of: Type) -> Value {
    let mut entry = json!({"bus_subscriber_type": of.0});
    match of.0 {
        "OFFLINE_WRITER" => entry["offline_mode"] = "republish".into(),
        // Longer than any clock jumps.
        "QUERY_MIRROR_CONSUMER" => entry["mirror"] = json!({"max_age": "1000d", "deadline": "10s"}),
        _ => {}
    }
    entry
}
