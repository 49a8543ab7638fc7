//! The demo's configuration, for one machine: embedded bus, embedded stores, all nine writers.

use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::cli::exit::{Exit, Failure, OrExit};
use crate::writer::WriterType;

pub(super) const RESULTS: &str = "results";
pub(super) const METRICS: &str = "metrics";
pub(super) const INSERTS: &str = "inserts";
pub(super) const LOADS: &str = "loads";
pub(super) const USAGE: &str = "usage";
pub(super) const QUERY_LOG: &str = "query-log";
pub(super) const MIRRORED: &str = "query-mirror";
pub(super) const DEAD_LETTERS: &str = "dead-letters";
pub(super) const TOPICS: [&str; 8] = [RESULTS, METRICS, INSERTS, LOADS, USAGE, QUERY_LOG, MIRRORED, DEAD_LETTERS];
pub(super) const ENVIRONMENT: &str = "prod";

/// The writers, each after those whose messages it reads.
pub(super) const WRITERS: [WriterType; 9] = [
    WriterType::ONLINE,
    WriterType::OFFLINE,
    WriterType::OFFLINE_STORE_STREAMING_INSERT,
    WriterType::OFFLINE_STORE_BULK_INSERT,
    WriterType::METRICS,
    WriterType::METRICS_BUS,
    WriterType::ONLINE_VECTOR_STORE,
    WriterType::USAGE_BUS,
    WriterType::QUERY_MIRROR,
];

/// Writes it; the mirror asks `server`.
pub(super) fn write(folder: &Path, config: &Path, server: &str) -> Result<(), Failure> {
    let path = |name: &str| folder.join(name).display().to_string();
    let writers = WRITERS.map(|writer| {
        let mut entry = json!({ "bus_subscriber_type": writer.as_str() });
        if writer == WriterType::OFFLINE {
            // The streaming inserts then write what it publishes.
            entry["offline_mode"] = json!("republish");
        }
        entry
    });
    let json = json!({
        "common_persistence_specs": {
            "bus_backend": "LOCAL",
            "kafka_dlq_topic": DEAD_LETTERS,
            "result_bus_topic_id": RESULTS,
            "metrics_bus_topic_id": METRICS,
            "bigquery_streaming_write_topic": INSERTS,
            "bq_upload_topic": LOADS,
            "usage_bus_topic_id": USAGE,
            "query_log_subscription_id": QUERY_LOG,
            "query_log_result_topic": MIRRORED,
        },
        "metadata_provider": "CONFIG",
        "local_bus_path": path("bus.sqlite"),
        "api_server_host": server,
        "writers": writers,
        "environments": {
            ENVIRONMENT: {
                "default_max_staleness": "7d",
                "online_store": { "uri": format!("sqlite:{}", path("online.sqlite")) },
                "offline_store": { "uri": format!("file://{}", path("lake")) },
                "metrics_store": { "uri": format!("sqlite:{}", path("metrics.sqlite")) },
                "usage_store": { "uri": format!("sqlite:{}", path("usage.sqlite")) },
                "vector_store": { "uri": format!("sqlite:{}", path("vectors.sqlite")) },
            }
        }
    });
    let text = serde_json::to_string_pretty(&json).or_exit(Exit::Failed)? + "\n";
    std::fs::write(config, text).with_context(|| config.display().to_string()).or_exit(Exit::Failed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_of_writer_is_shown() {
        assert_eq!(BTreeSet::from(WRITERS), BTreeSet::from(WriterType::ALL));
    }
}
