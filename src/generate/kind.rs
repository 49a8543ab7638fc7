//! What can be made up: the types of messages that some writer reads.

use crate::message::EventType;

/// A type of made-up messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Results of queries.
    Result,
    /// Metrics, first form.
    Metrics,
    /// Metrics, newer form.
    MetricsV4,
    /// Rows of queries.
    Query,
    /// Errors of whole queries.
    QueryError,
    /// Errors of resolvers.
    ResolverError,
    /// Parquet to be inserted.
    StreamingInsert,
    /// Notifications of parquet files, with the files.
    BulkInsert,
    /// Events of usage.
    Usage,
    /// The state of nodes.
    NodeStatus,
    /// The state of pods.
    PodStatus,
    /// Logged queries.
    QueryLog,
    /// Batches of vectors.
    Vectors,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Result,
        Self::Metrics,
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
        Self::Vectors,
    ];

    /// What it is called on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Metrics => "metrics",
            Self::MetricsV4 => "metrics-v4",
            Self::Query => "query",
            Self::QueryError => "query-error",
            Self::ResolverError => "resolver-error",
            Self::StreamingInsert => "streaming-insert",
            Self::BulkInsert => "bulk-insert",
            Self::Usage => "usage",
            Self::NodeStatus => "node-status",
            Self::PodStatus => "pod-status",
            Self::QueryLog => "query-log",
            Self::Vectors => "vectors",
        }
    }

    /// The type of its messages.
    pub const fn event_type(self) -> EventType {
        match self {
            Self::Result => EventType::Result,
            Self::Metrics => EventType::MetricsV1,
            Self::MetricsV4 => EventType::MetricsV4,
            Self::Query => EventType::Query,
            Self::QueryError => EventType::QueryError,
            Self::ResolverError => EventType::ResolverError,
            Self::StreamingInsert => EventType::StreamingInsert,
            Self::BulkInsert => EventType::BulkInsert,
            Self::Usage => EventType::Usage,
            Self::NodeStatus => EventType::NodeStatus,
            Self::PodStatus => EventType::PodStatus,
            Self::QueryLog => EventType::QueryLog,
            Self::Vectors => EventType::VectorBatch,
        }
    }

    /// The kind that is called so on the command line.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of a type of messages; `None` for one that no writer reads.
    pub fn of(event_type: EventType) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.event_type() == event_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_type_but_what_is_for_people_has_a_kind_of_its_own_name() {
        let without: Vec<_> = EventType::ALL.into_iter().filter(|known| Kind::of(*known).is_none()).collect();
        assert_eq!(without, [EventType::QueryMirror]);
        let names: BTreeSet<&str> = Kind::ALL.map(Kind::as_str).into();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
