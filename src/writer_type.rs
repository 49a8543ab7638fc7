//! The nine jobs, known by name whether or not this version has them, and what is fixed about each:
//! its names, and the fields of the configuration that it reads.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::nearest::hint;

/// The nine jobs (`bus_subscriber_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WriterType {
    /// Result → newest value per entity and feature.
    Online,
    /// Result → metrics messages.
    Metrics,
    /// Metrics, query rows and error rows → the metrics store.
    MetricsBus,
    /// Result → history.
    Offline,
    /// Notification of parquet files → the offline store.
    OfflineStoreBulkInsert,
    /// Parquet in the message → the offline store.
    OfflineStoreStreamingInsert,
    /// Usage events → the usage store.
    UsageBus,
    /// Logged query → the same query again.
    QueryMirror,
    /// Vectors → a vector database.
    OnlineVectorStore,
}

/// What is fixed about a type of writer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TypeInfo {
    /// Which one.
    #[serde(skip)]
    pub writer_type: WriterType,
    /// Its name in the configuration.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// Other names, besides the prefixes `GO_`, `PYTHON_` and `RUST_` before any name.
    pub aliases: &'static [&'static str],
    /// What it does, in one line.
    pub summary: &'static str,
    /// Field of `common_persistence_specs` with the subscription that it reads.
    pub reads: &'static str,
    /// Field with the topic of that subscription, where there is one: on Kafka and LOCAL the two are one name.
    pub reads_topic: Option<&'static str>,
    /// Field with the topic that it publishes to.
    pub publishes: Option<&'static str>,
    /// Field of an environment with the store that it writes to.
    pub store: Option<&'static str>,
}

/// Prefixes of Chalk's names for the same jobs in one language or another.
const PREFIXES: [&str; 3] = ["GO_", "PYTHON_", "RUST_"];

/// In Chalk's list of writers, but no writer.
const CLUSTER_MANAGER: &str = "CLUSTER_MANAGER";

/// In the order of the type's variants; a test walks them.
static TYPES: [TypeInfo; 9] = [
    TypeInfo {
        writer_type: WriterType::Online,
        name: "ONLINE_WRITER",
        aliases: &[],
        summary: "query results to the newest value per entity and feature",
        reads: "result_bus_online_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        store: Some("online_store"),
    },
    TypeInfo {
        writer_type: WriterType::Metrics,
        name: "METRICS_WRITER",
        aliases: &["RESULT_BUS_METRICS_WRITER"],
        summary: "query results to metrics messages",
        reads: "result_bus_metrics_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: Some("metrics_bus_topic_id"),
        store: None,
    },
    TypeInfo {
        writer_type: WriterType::MetricsBus,
        name: "METRICS_BUS_WRITER",
        aliases: &[],
        summary: "metrics, queries and errors to the metrics store",
        reads: "metrics_bus_subscription_id",
        reads_topic: Some("metrics_bus_topic_id"),
        publishes: None,
        store: Some("metrics_store"),
    },
    TypeInfo {
        writer_type: WriterType::Offline,
        name: "OFFLINE_WRITER",
        aliases: &[],
        summary: "query results to history",
        reads: "result_bus_offline_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        store: Some("offline_store"),
    },
    TypeInfo {
        writer_type: WriterType::OfflineStoreBulkInsert,
        name: "OFFLINE_STORE_BULK_INSERT_WRITER",
        aliases: &[],
        summary: "notifications of parquet files to the offline store",
        reads: "bigquery_parquet_upload_subscription_id",
        reads_topic: Some("bq_upload_topic"),
        publishes: None,
        store: Some("offline_store"),
    },
    TypeInfo {
        writer_type: WriterType::OfflineStoreStreamingInsert,
        name: "OFFLINE_STORE_STREAMING_INSERT_WRITER",
        aliases: &[],
        summary: "parquet in messages to the offline store",
        reads: "bigquery_streaming_write_subscription_id",
        reads_topic: Some("bigquery_streaming_write_topic"),
        publishes: None,
        store: Some("offline_store"),
    },
    TypeInfo {
        writer_type: WriterType::UsageBus,
        name: "USAGE_BUS_WRITER",
        aliases: &[],
        summary: "usage events to the usage store",
        reads: "usage_events_subscription_id",
        reads_topic: Some("usage_bus_topic_id"),
        publishes: None,
        store: Some("usage_store"),
    },
    TypeInfo {
        writer_type: WriterType::QueryMirror,
        name: "QUERY_MIRROR_CONSUMER",
        aliases: &[],
        summary: "logged queries to the API server again",
        reads: "query_log_subscription_id",
        reads_topic: None,
        publishes: Some("query_log_result_topic"),
        store: None,
    },
    TypeInfo {
        writer_type: WriterType::OnlineVectorStore,
        name: "ONLINE_VECTOR_STORE_WRITER",
        aliases: &[],
        summary: "vectors to a vector database",
        reads: "vector_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        store: Some("vector_store"),
    },
];

/// Why a text is not a type of writer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAType {
    /// Chalk's cluster manager, which is deployed through the same list.
    #[error(
        "CLUSTER_MANAGER is Chalk's cluster manager, which watches nodes and pods; it is not a writer and is not run \
         from here"
    )]
    ClusterManager,
    /// A word that nobody knows.
    #[error("unknown writer type `{0}`; {known}", known = hint(&plain(.0), &WriterType::ALL.map(WriterType::as_str)))]
    Unknown(String),
}

impl WriterType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Online,
        Self::Metrics,
        Self::MetricsBus,
        Self::Offline,
        Self::OfflineStoreBulkInsert,
        Self::OfflineStoreStreamingInsert,
        Self::UsageBus,
        Self::QueryMirror,
        Self::OnlineVectorStore,
    ];

    /// What is fixed about it.
    pub const fn info(self) -> &'static TypeInfo {
        &TYPES[self as usize]
    }

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        self.info().name
    }
}

impl fmt::Display for WriterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WriterType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for WriterType {
    type Err = NotAType;

    /// Reads a type's name or alias as the configuration or the command line has it, in any letter case.
    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let name = plain(given);
        let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
        if bare == CLUSTER_MANAGER {
            return Err(NotAType::ClusterManager);
        }
        TYPES
            .iter()
            .find(|info| info.name == bare || info.aliases.contains(&bare))
            .map(|info| info.writer_type)
            .ok_or_else(|| NotAType::Unknown(given.to_owned()))
    }
}

fn plain(given: &str) -> String {
    given.trim().to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_type_is_read() {
        for (number, known) in WriterType::ALL.into_iter().enumerate() {
            assert_eq!((known as usize, known.info().writer_type), (number, known));
            assert_eq!(known.as_str().parse(), Ok(known));
            assert_eq!(known.as_str().to_lowercase().replace('_', "-").parse(), Ok(known));
            assert_eq!(format!("GO_{known}").parse(), Ok(known));
        }
        assert_eq!("GO_RESULT_BUS_METRICS_WRITER".parse(), Ok(WriterType::Metrics));
        assert_eq!("RUST_OFFLINE_WRITER".parse(), Ok(WriterType::Offline));
        assert_eq!("PYTHON_QUERY_MIRROR_CONSUMER".parse(), Ok(WriterType::QueryMirror));
    }

    #[test]
    fn what_is_not_a_type_is_said_in_a_sentence() {
        let said = |given: &str| given.parse::<WriterType>().expect_err("no type").to_string();
        assert_eq!(
            said("ONLIN_WRITER"),
            "unknown writer type `ONLIN_WRITER`; did you mean `ONLINE_WRITER`? known are ONLINE_WRITER, METRICS_WRITER, \
             METRICS_BUS_WRITER, OFFLINE_WRITER, OFFLINE_STORE_BULK_INSERT_WRITER, \
             OFFLINE_STORE_STREAMING_INSERT_WRITER, USAGE_BUS_WRITER, QUERY_MIRROR_CONSUMER, \
             ONLINE_VECTOR_STORE_WRITER"
        );
        assert!(said("cluster_manager").contains("is not a writer"));
    }
}
