//! The configuration of a run, and what a person changes in it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bus::TestBus;

/// Bytes that a message may have at first.
pub const LARGEST: usize = 16 << 10;

/// Writes the configuration that every process of a run reads.
pub fn write(folder: &Path, bus: &dyn TestBus, online: &str, offline: &str) -> PathBuf {
    let mut config = json!({
        "common_persistence_specs": {
            "result_bus_topic_id": "results",
            "result_bus_online_store_subscription_id": "results",
            "result_bus_offline_store_subscription_id": "results",
            "kafka_dlq_topic": "dlq",
        },
        "metadata_provider": "CONFIG",
        "environments": {"prod": {
            "online_store": {"uri": online},
            "offline_store": {"uri": offline},
            "features": [
                {"fqn": "user.seq", "dtype": "int64", "max_staleness": "infinity"},
                {"fqn": "user.text", "dtype": "string", "max_staleness": "infinity"},
                {"fqn": "user.sometimes", "dtype": "float64", "max_staleness": "infinity"},
            ],
        }},
        // Batches are small, so that a kill often hits a write, and several wait where a store is slow.
        "batch": {"max_age": "300ms", "max_rows": 200},
        // Stores are away for seconds, and are to be found soon after.
        "retry": {"first_pause": "20ms", "max_pause": "200ms"},
        // Shorter than stores are away, so that partitions go before their rows are written.
        "drain_timeout": "2s",
        "max_message_bytes": LARGEST,
        // Five in a hundred messages are bad, and of some hundred in a row sometimes more than ten.
        "dlq": {"max_ratio": 0.5},
        "writers": [{"bus_subscriber_type": "ONLINE_WRITER"}, {"bus_subscriber_type": "OFFLINE_WRITER"}],
    });
    bus.configure(&mut config);
    let path = folder.join("config.json");
    save(&path, &config);
    path
}

/// Allows larger messages, as a person would once dead letters have told that there are some.
pub fn allow_large_messages(path: &Path) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    config["max_message_bytes"] = (16 * LARGEST).into();
    save(path, &config);
}

fn save(path: &Path, config: &Value) {
    std::fs::write(path, serde_json::to_vec_pretty(config).unwrap()).unwrap();
}
