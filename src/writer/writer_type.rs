//! The nine jobs, known by name whether or not this version has them.

use std::fmt;
use std::str::FromStr;

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

/// A name that is no writer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterTypeError {
    /// Chalk deploys it through the same list, but it writes nothing.
    #[error("`CLUSTER_MANAGER` is not a writer: it watches a cluster and has no place here")]
    ClusterManager,
    /// Nothing of this name.
    #[error("unknown writer type `{0}`; known are {known}", known = known())]
    Unknown(String),
}

/// What a job's name in another implementation may begin with.
const PREFIXES: [&str; 3] = ["GO_", "PYTHON_", "RUST_"];

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

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "ONLINE_WRITER",
            Self::Metrics => "METRICS_WRITER",
            Self::MetricsBus => "METRICS_BUS_WRITER",
            Self::Offline => "OFFLINE_WRITER",
            Self::OfflineStoreBulkInsert => "OFFLINE_STORE_BULK_INSERT_WRITER",
            Self::OfflineStoreStreamingInsert => "OFFLINE_STORE_STREAMING_INSERT_WRITER",
            Self::UsageBus => "USAGE_BUS_WRITER",
            Self::QueryMirror => "QUERY_MIRROR_CONSUMER",
            Self::OnlineVectorStore => "ONLINE_VECTOR_STORE_WRITER",
        }
    }

    /// Other names that Chalk's configurations give it, beside `GO_`, `PYTHON_` and `RUST_` before its own.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Metrics => &["GO_RESULT_BUS_METRICS_WRITER"],
            _ => &[],
        }
    }

    /// The field of `common_persistence_specs` that names what it reads.
    pub const fn subscription_field(self) -> &'static str {
        match self {
            Self::Online => "result_bus_online_store_subscription_id",
            Self::Metrics => "result_bus_metrics_subscription_id",
            Self::MetricsBus => "metrics_bus_subscription_id",
            Self::Offline => "result_bus_offline_store_subscription_id",
            Self::OfflineStoreBulkInsert => "bigquery_parquet_upload_subscription_id",
            Self::OfflineStoreStreamingInsert => "bigquery_streaming_write_subscription_id",
            Self::UsageBus => "usage_events_subscription_id",
            Self::QueryMirror => "query_log_subscription_id",
            Self::OnlineVectorStore => "vector_store_subscription_id",
        }
    }

    /// What it does, in one line.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Online => "results → the newest value of each feature of each entity, in the online store",
            Self::Metrics => "results → metrics messages on the metrics bus",
            Self::MetricsBus => "metrics, query rows and error rows → the metrics store",
            Self::Offline => "results → history and one row per query, in the offline store",
            Self::OfflineStoreBulkInsert => "notifications of parquet files → the offline store",
            Self::OfflineStoreStreamingInsert => "parquet messages → the offline store",
            Self::UsageBus => "usage events → the usage store",
            Self::QueryMirror => "logged queries → the same queries again, on another server",
            Self::OnlineVectorStore => "vectors → a vector database",
        }
    }
}

impl fmt::Display for WriterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WriterType {
    type Err = WriterTypeError;

    /// Reads a type's name or alias, in any letter case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.to_ascii_uppercase();
        let find =
            |name: &str| Self::ALL.into_iter().find(|known| known.as_str() == name || known.aliases().contains(&name));
        if name == "CLUSTER_MANAGER" {
            return Err(WriterTypeError::ClusterManager);
        }
        find(&name)
            .or_else(|| PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix).and_then(find)))
            .ok_or_else(|| WriterTypeError::Unknown(text.to_owned()))
    }
}

fn known() -> String {
    WriterType::ALL.map(WriterType::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_type_is_read() {
        for known in WriterType::ALL {
            assert_eq!(known.as_str().parse(), Ok(known));
            assert_eq!(known.as_str().to_lowercase().parse(), Ok(known));
            assert_eq!(format!("GO_{known}").parse(), Ok(known));
        }
        assert_eq!("GO_METRICS_BUS_WRITER".parse(), Ok(WriterType::MetricsBus));
        assert_eq!("GO_RESULT_BUS_METRICS_WRITER".parse(), Ok(WriterType::Metrics));
        assert_eq!("RUST_OFFLINE_WRITER".parse(), Ok(WriterType::Offline));
    }

    #[test]
    fn an_unknown_type_is_told_the_known_ones() {
        let error = "ONLIN_WRITER".parse::<WriterType>().expect_err("unknown").to_string();
        assert!(error.starts_with("unknown writer type `ONLIN_WRITER`; known are ONLINE_WRITER, "), "{error}");
        assert_eq!("cluster_manager".parse::<WriterType>(), Err(WriterTypeError::ClusterManager));
    }
}
