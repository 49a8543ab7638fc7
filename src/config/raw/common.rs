//! `common_persistence_specs`: what all writers share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Maybe;
use crate::config::choice::{BusBackend, SecretClientName};
use crate::config::leaf::Bucket;

/// What all writers share.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawCommon {
    /// Kubernetes namespace of the writers.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    namespace: Maybe<String>,
    /// Image of Chalk's Go writers.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    bus_writer_image_go: Maybe<String>,
    /// Image of Chalk's Python writers.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    bus_writer_image_python: Maybe<String>,
    /// Image of Chalk's `BigQuery` loader.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    bus_writer_image_bswl: Maybe<String>,
    /// Kubernetes service account of the writers.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    service_account_name: Maybe<String>,
    /// The bus: `KAFKA`, `PUBSUB` or the embedded `LOCAL`.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) bus_backend: Maybe<BusBackend>,
    /// Where `secret:NAME` is looked up.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) secret_client: Maybe<SecretClientName>,
    /// What `OFFLINE_STORE_BULK_INSERT_WRITER` reads.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) bigquery_parquet_upload_subscription_id: Maybe<String>,
    /// What `OFFLINE_STORE_STREAMING_INSERT_WRITER` reads.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) bigquery_streaming_write_subscription_id: Maybe<String>,
    /// Where parquet messages for the streaming insert writer are published.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) bigquery_streaming_write_topic: Maybe<String>,
    /// Google Cloud project of Pub/Sub.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) google_cloud_project: Maybe<String>,
    /// Topic of dead letters, on every bus.
    #[schemars(extend("x-plain-env" = true, "x-aliases" = ["dlq_topic"]))]
    pub(in crate::config) kafka_dlq_topic: Maybe<String>,
    /// What `METRICS_BUS_WRITER` reads.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) metrics_bus_subscription_id: Maybe<String>,
    /// Where metrics are published.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) metrics_bus_topic_id: Maybe<String>,
    /// Chalk's operation bus.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    operation_subscription_id: Maybe<String>,
    /// Where outcomes of mirrored queries are published.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) query_log_result_topic: Maybe<String>,
    /// What `QUERY_MIRROR_CONSUMER` reads.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) query_log_subscription_id: Maybe<String>,
    /// What `METRICS_WRITER` reads.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) result_bus_metrics_subscription_id: Maybe<String>,
    /// What `OFFLINE_WRITER` reads.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) result_bus_offline_store_subscription_id: Maybe<String>,
    /// What `ONLINE_WRITER` reads.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) result_bus_online_store_subscription_id: Maybe<String>,
    /// Where query results are published.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) result_bus_topic_id: Maybe<String>,
    /// Where usage events are published; deprecated by Chalk.
    #[schemars(extend("x-plain-env" = true, "deprecated" = true))]
    pub(in crate::config) usage_bus_topic_id: Maybe<String>,
    /// What `USAGE_BUS_WRITER` reads; deprecated by Chalk.
    #[schemars(extend("x-plain-env" = true, "deprecated" = true))]
    pub(in crate::config) usage_events_subscription_id: Maybe<String>,
    /// Bucket of uploads, with its scheme.
    #[schemars(extend("x-read-by" = ["OFFLINE_STORE_BULK_INSERT_WRITER"], "x-plain-env" = true, "x-aliases" = ["bigquery_upload_bucket"], "x-deprecated" = ["bigquery_upload_bucket"]))]
    pub(in crate::config) bq_upload_bucket: Maybe<Bucket>,
    /// Where notifications of uploaded files are published.
    #[schemars(extend("x-plain-env" = true, "x-aliases" = ["bigquery_upload_topic"], "x-deprecated" = ["bigquery_upload_topic"]))]
    pub(in crate::config) bq_upload_topic: Maybe<String>,
    /// Chalk's node selector; deprecated by Chalk.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true, "deprecated" = true))]
    include_chalk_node_selector: Maybe<bool>,
    /// Image of Chalk's Rust writers.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    bus_writer_image_rust: Maybe<String>,
    /// Whether AWS workloads sign in to Google services.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) use_aws_pool_for_google_adc: Maybe<bool>,
    /// What `ONLINE_VECTOR_STORE_WRITER` reads; the result bus where it is not given.
    pub(in crate::config) vector_store_subscription_id: Maybe<String>,
}
