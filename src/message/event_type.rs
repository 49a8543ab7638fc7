//! The types of messages (`ce_type`).

use serde::{Serialize, Serializer};

/// A published type of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// One finished query.
    Result,
    /// Metrics, first form.
    MetricsV1,
    /// Metrics, newer form.
    MetricsV4,
    /// The row of a query.
    Query,
    /// Errors of queries.
    QueryError,
    /// Errors of resolvers.
    ResolverError,
    /// Parquet to be inserted.
    StreamingInsert,
    /// Notification of files to be loaded.
    BulkInsert,
    /// What was used.
    Usage,
    /// The state of a node.
    NodeStatus,
    /// The state of a pod.
    PodStatus,
    /// A query that was logged to be asked again.
    QueryLog,
    /// What came of asking it again; for people.
    QueryMirror,
    /// Vectors for a vector database.
    VectorBatch,
}

impl EventType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Result,
        Self::MetricsV1,
        Self::MetricsV4,
        Self::Query,
        Self::QueryError,
        Self::ResolverError,
        Self::StreamingInsert,
        Self::BulkInsert,
        Self::Usage,
        Self::NodeStatus,
        Self::PodStatus,
        Self::QueryLog,
        Self::QueryMirror,
        Self::VectorBatch,
    ];

    /// Its name in the envelope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Result => "chalk.result.v1",
            Self::MetricsV1 => "chalk.metrics.v1",
            Self::MetricsV4 => "chalk.metrics.v4",
            Self::Query => "chalk.query.v1",
            Self::QueryError => "chalk.query_error.v1",
            Self::ResolverError => "chalk.resolver_error.v1",
            Self::StreamingInsert => "chalk.streaming_insert.v1",
            Self::BulkInsert => "chalk.bulk_insert.v1",
            Self::Usage => "chalk.usage.v1",
            Self::NodeStatus => "chalk.node_status.v1",
            Self::PodStatus => "chalk.pod_status.v1",
            Self::QueryLog => "chalk.query_log.v1",
            Self::QueryMirror => "chalk.query_mirror.v1",
            Self::VectorBatch => "chalk.vector_batch.v1",
        }
    }

    /// The type of a name; `None` for one that this version does not know.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_no_other() {
        for event_type in EventType::ALL {
            assert_eq!(EventType::parse(event_type.as_str()), Some(event_type));
        }
        assert_eq!(EventType::parse("chalk.result.v2"), None);
    }
}
