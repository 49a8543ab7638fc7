//! The nine writer types: their names and aliases, and what each reads, publishes and stores.

use std::fmt::{self, Write};

use serde::Serialize;

use super::nearest::hint;
use crate::writer::WriterType;

/// What the configuration knows of a writer type.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TypeInfo {
    /// Which one.
    #[serde(rename = "type", serialize_with = "as_name")]
    pub writer_type: WriterType,
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
    /// Whether this version runs it.
    pub works: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn as_name<S: serde::Serializer>(writer_type: &WriterType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(writer_type.as_str())
}

/// Prefixes of Chalk's names for the same jobs in one language or another.
const PREFIXES: [&str; 3] = ["GO_", "PYTHON_", "RUST_"];

/// In Chalk's list of writers, but no writer.
const CLUSTER_MANAGER: &str = "CLUSTER_MANAGER";

/// In the order of the type's variants; a test walks them.
static TYPES: [TypeInfo; 9] = [
    TypeInfo {
        writer_type: WriterType::Online,
        aliases: &[],
        summary: "query results to the newest value per entity and feature",
        reads: "result_bus_online_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        store: Some("online_store"),
        works: true,
    },
    TypeInfo {
        writer_type: WriterType::Metrics,
        aliases: &["RESULT_BUS_METRICS_WRITER"],
        summary: "query results to metrics messages",
        reads: "result_bus_metrics_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: Some("metrics_bus_topic_id"),
        store: None,
        works: false,
    },
    TypeInfo {
        writer_type: WriterType::MetricsBus,
        aliases: &[],
        summary: "metrics, queries and errors to the metrics store",
        reads: "metrics_bus_subscription_id",
        reads_topic: Some("metrics_bus_topic_id"),
        publishes: None,
        store: Some("metrics_store"),
        works: false,
    },
    TypeInfo {
        writer_type: WriterType::Offline,
        aliases: &[],
        summary: "query results to history",
        reads: "result_bus_offline_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        store: Some("offline_store"),
        works: true,
    },
    TypeInfo {
        writer_type: WriterType::OfflineStoreBulkInsert,
        aliases: &[],
        summary: "notifications of parquet files to the offline store",
        reads: "bigquery_parquet_upload_subscription_id",
        reads_topic: Some("bq_upload_topic"),
        publishes: None,
        store: Some("offline_store"),
        works: false,
    },
    TypeInfo {
        writer_type: WriterType::OfflineStoreStreamingInsert,
        aliases: &[],
        summary: "parquet in messages to the offline store",
        reads: "bigquery_streaming_write_subscription_id",
        reads_topic: Some("bigquery_streaming_write_topic"),
        publishes: None,
        store: Some("offline_store"),
        works: false,
    },
    TypeInfo {
        writer_type: WriterType::UsageBus,
        aliases: &[],
        summary: "usage events to the usage store",
        reads: "usage_events_subscription_id",
        reads_topic: Some("usage_bus_topic_id"),
        publishes: None,
        store: Some("usage_store"),
        works: false,
    },
    TypeInfo {
        writer_type: WriterType::QueryMirror,
        aliases: &[],
        summary: "logged queries to the API server again",
        reads: "query_log_subscription_id",
        reads_topic: None,
        publishes: Some("query_log_result_topic"),
        store: None,
        works: false,
    },
    TypeInfo {
        writer_type: WriterType::OnlineVectorStore,
        aliases: &[],
        summary: "vectors to a vector database",
        reads: "vector_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        store: Some("vector_store"),
        works: false,
    },
];

impl TypeInfo {
    /// `works`, or `not in this version`.
    pub const fn state(&self) -> &'static str {
        if self.works { "works" } else { "not in this version" }
    }
}

/// Every type, in the order of the documentation.
pub fn types() -> &'static [TypeInfo] {
    &TYPES
}

/// What is known of a type.
pub fn info(writer_type: WriterType) -> &'static TypeInfo {
    &TYPES[writer_type as usize]
}

/// Why a text is not a writer type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAType {
    /// Chalk's cluster manager, which is deployed through the same list.
    ClusterManager,
    /// A word that nobody knows.
    Unknown(String),
}

impl fmt::Display for NotAType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterManager => f.write_str(
                "CLUSTER_MANAGER is Chalk's cluster manager, which watches nodes and pods; it is not a writer and is \
                 not run from here",
            ),
            Self::Unknown(given) => {
                let known: Vec<&str> = WriterType::ALL.iter().map(|known| known.as_str()).collect();
                write!(f, "unknown writer type `{given}`; {}", hint(&plain(given), &known))
            }
        }
    }
}

/// The type of a name in the configuration or on the command line, in any letter case.
pub fn resolve(given: &str) -> Result<&'static TypeInfo, NotAType> {
    let name = plain(given);
    let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
    if bare == CLUSTER_MANAGER {
        return Err(NotAType::ClusterManager);
    }
    TYPES
        .iter()
        .find(|info| info.writer_type.as_str() == bare || info.aliases.contains(&bare))
        .ok_or_else(|| NotAType::Unknown(given.to_owned()))
}

fn plain(given: &str) -> String {
    given.trim().to_ascii_uppercase().replace('-', "_")
}

/// The types for a terminal, one paragraph each.
pub fn types_text() -> String {
    let mut text = String::new();
    for info in types() {
        let parts = [
            ("reads", Some(info.reads)),
            ("publishes to", info.publishes),
            ("store", info.store),
            ("also named", info.aliases.first().copied()),
        ];
        let _ = write!(text, "{} ({})\n  {}\n", info.writer_type.as_str(), info.state(), info.summary);
        for (title, part) in parts {
            if let Some(part) = part {
                let _ = write!(text, "  {title:<13} {part}\n");
            }
        }
        text.push('\n');
    }
    text.push_str("A prefix GO_, PYTHON_ or RUST_ before a name changes nothing.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    #[test]
    fn every_type_is_in_the_table_with_fields_that_exist() {
        let common = schema()["properties"]["common_persistence_specs"]["properties"].clone();
        let environment = schema()["properties"]["environments"]["additionalProperties"]["properties"].clone();
        for writer_type in WriterType::ALL {
            let known = info(writer_type);
            assert_eq!(known.writer_type, writer_type);
            for field in [Some(known.reads), known.reads_topic, known.publishes].into_iter().flatten() {
                assert!(common[field].is_object(), "{field}");
            }
            assert!(known.store.is_none_or(|store| environment[store].is_object()));
        }
    }

    #[test]
    fn aliases_and_prefixes_name_the_same_job() {
        for (given, writer_type) in [
            ("ONLINE_WRITER", WriterType::Online),
            ("online-writer", WriterType::Online),
            ("GO_METRICS_BUS_WRITER", WriterType::MetricsBus),
            ("GO_RESULT_BUS_METRICS_WRITER", WriterType::Metrics),
            ("RUST_OFFLINE_WRITER", WriterType::Offline),
            ("PYTHON_QUERY_MIRROR_CONSUMER", WriterType::QueryMirror),
        ] {
            assert_eq!(resolve(given).expect(given).writer_type, writer_type);
        }
    }

    #[test]
    fn what_is_not_a_type_is_said_in_a_sentence() {
        assert_eq!(
            resolve("ONLIN_WRITER").expect_err("misspelt").to_string(),
            "unknown writer type `ONLIN_WRITER`; did you mean `ONLINE_WRITER`? known are ONLINE_WRITER, METRICS_WRITER, \
             METRICS_BUS_WRITER, OFFLINE_WRITER, OFFLINE_STORE_BULK_INSERT_WRITER, \
             OFFLINE_STORE_STREAMING_INSERT_WRITER, USAGE_BUS_WRITER, QUERY_MIRROR_CONSUMER, \
             ONLINE_VECTOR_STORE_WRITER"
        );
        assert_eq!(resolve("cluster_manager").expect_err("no writer"), NotAType::ClusterManager);
        assert!(NotAType::ClusterManager.to_string().contains("is not a writer"));
    }

    #[test]
    fn the_table_shows_every_type() {
        let text = types_text();
        for writer_type in WriterType::ALL {
            assert!(text.contains(writer_type.as_str()));
        }
    }
}
