//! The nine jobs, and what is fixed about each.

use super::{Pace, TypeInfo, WriterType};
use crate::message::EventType;

impl WriterType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::ONLINE,
        Self::METRICS,
        Self::METRICS_BUS,
        Self::OFFLINE,
        Self::OFFLINE_STORE_BULK_INSERT,
        Self::OFFLINE_STORE_STREAMING_INSERT,
        Self::USAGE_BUS,
        Self::QUERY_MIRROR,
        Self::ONLINE_VECTOR_STORE,
    ];

    /// Result → newest value per entity and feature.
    pub const ONLINE: Self = Self::new(&TypeInfo {
        name: "ONLINE_WRITER",
        aliases: &[],
        summary: "query results to the newest value per entity and feature",
        messages: &[EventType::Result],
        reads: "result_bus_online_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        republishes: None,
        passes_over_its_own: false,
        store: Some("online_store"),
        pace: Pace::Fresh,
        in_flight: 1,
        auto_memory_most: 64 << 20,
    });

    /// Result → metrics messages.
    pub const METRICS: Self = Self::new(&TypeInfo {
        name: "METRICS_WRITER",
        aliases: &["RESULT_BUS_METRICS_WRITER"],
        summary: "query results to metrics messages",
        messages: &[EventType::Result],
        reads: "result_bus_metrics_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: Some("metrics_bus_topic_id"),
        republishes: None,
        passes_over_its_own: false,
        store: None,
        pace: Pace::Bulk,
        in_flight: 1,
        auto_memory_most: 192 << 20,
    });

    /// Metrics, query rows and error rows → the metrics store.
    pub const METRICS_BUS: Self = Self::new(&TypeInfo {
        name: "METRICS_BUS_WRITER",
        aliases: &[],
        summary: "metrics, queries and errors to the metrics store",
        messages: &[
            EventType::MetricsV1,
            EventType::MetricsV4,
            EventType::Query,
            EventType::QueryError,
            EventType::ResolverError,
        ],
        reads: "metrics_bus_subscription_id",
        reads_topic: Some("metrics_bus_topic_id"),
        publishes: None,
        republishes: None,
        passes_over_its_own: false,
        store: Some("metrics_store"),
        pace: Pace::Bulk,
        in_flight: 2,
        auto_memory_most: 192 << 20,
    });

    /// Result → history.
    pub const OFFLINE: Self = Self::new(&TypeInfo {
        name: "OFFLINE_WRITER",
        aliases: &[],
        summary: "query results to history",
        messages: &[EventType::Result],
        reads: "result_bus_offline_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        republishes: Some("bigquery_streaming_write_topic"),
        passes_over_its_own: false,
        store: Some("offline_store"),
        pace: Pace::Bulk,
        in_flight: 2,
        auto_memory_most: 192 << 20,
    });

    /// Notification of parquet files → the offline store.
    pub const OFFLINE_STORE_BULK_INSERT: Self = Self::new(&TypeInfo {
        name: "OFFLINE_STORE_BULK_INSERT_WRITER",
        aliases: &[],
        summary: "notifications of parquet files to the offline store",
        messages: &[EventType::BulkInsert],
        reads: "bigquery_parquet_upload_subscription_id",
        reads_topic: Some("bq_upload_topic"),
        publishes: None,
        republishes: None,
        passes_over_its_own: false,
        store: Some("offline_store"),
        pace: Pace::Bulk,
        in_flight: 2,
        // A group of rows of a file is read whole.
        auto_memory_most: 1 << 30,
    });

    /// Parquet in the message → the offline store.
    pub const OFFLINE_STORE_STREAMING_INSERT: Self = Self::new(&TypeInfo {
        name: "OFFLINE_STORE_STREAMING_INSERT_WRITER",
        aliases: &[],
        summary: "parquet in messages to the offline store",
        messages: &[EventType::StreamingInsert],
        reads: "bigquery_streaming_write_subscription_id",
        reads_topic: Some("bigquery_streaming_write_topic"),
        publishes: None,
        republishes: None,
        passes_over_its_own: false,
        store: Some("offline_store"),
        pace: Pace::Bulk,
        in_flight: 2,
        auto_memory_most: 192 << 20,
    });

    /// Usage events → the usage store.
    pub const USAGE_BUS: Self = Self::new(&TypeInfo {
        name: "USAGE_BUS_WRITER",
        aliases: &[],
        summary: "usage events to the usage store",
        messages: &[EventType::Usage, EventType::NodeStatus, EventType::PodStatus],
        reads: "usage_events_subscription_id",
        reads_topic: Some("usage_bus_topic_id"),
        publishes: None,
        republishes: None,
        passes_over_its_own: false,
        store: Some("usage_store"),
        pace: Pace::Bulk,
        in_flight: 2,
        auto_memory_most: 192 << 20,
    });

    /// Logged query → the same query again.
    pub const QUERY_MIRROR: Self = Self::new(&TypeInfo {
        name: "QUERY_MIRROR_CONSUMER",
        aliases: &[],
        summary: "logged queries to the API server again",
        messages: &[EventType::QueryLog],
        reads: "query_log_subscription_id",
        reads_topic: None,
        publishes: Some("query_log_result_topic"),
        republishes: None,
        passes_over_its_own: true,
        store: None,
        pace: Pace::Fresh,
        in_flight: 1,
        auto_memory_most: 192 << 20,
    });

    /// Vectors → a vector database.
    pub const ONLINE_VECTOR_STORE: Self = Self::new(&TypeInfo {
        name: "ONLINE_VECTOR_STORE_WRITER",
        aliases: &[],
        summary: "vectors to a vector database",
        messages: &[EventType::Result, EventType::VectorBatch],
        reads: "vector_store_subscription_id",
        reads_topic: Some("result_bus_topic_id"),
        publishes: None,
        republishes: None,
        passes_over_its_own: false,
        store: Some("vector_store"),
        pace: Pace::Fresh,
        in_flight: 1,
        auto_memory_most: 192 << 20,
    });
}
