//! The writers: each is a descriptor in one registry, all share the runtime.

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
}
