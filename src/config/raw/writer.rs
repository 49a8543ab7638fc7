//! One entry of `writers`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Given, Maybe, RawTuning};
use crate::config::choice::{ClickHouseWriteMode, MetricsEmissionMode, MirrorBodyName};
use crate::config::leaf::{Amount, Ratio, Scalar};
use crate::config::settings::{OfflineMode, OnError};

/// One writer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(dead_code, reason = "fields that nothing uses are still known and judged")]
pub(in crate::config) struct RawWriter {
    /// Its name; the default is its type in lower case with `-`.
    pub(in crate::config) name: Maybe<String>,
    /// Container image of this writer.
    #[schemars(extend("x-unused" = true))]
    image_override: Maybe<String>,
    /// Autoscaling.
    #[schemars(extend("x-unused" = true))]
    hpa_specs: RawHpa,
    /// Whether it runs on GKE spot nodes.
    #[schemars(extend("x-unused" = true))]
    gke_spot: Maybe<bool>,
    /// Whether Chalk's config map is loaded.
    #[schemars(extend("x-unused" = true))]
    load_writer_configmap: Maybe<bool>,
    /// Version label.
    #[schemars(extend("x-unused" = true))]
    version: Maybe<String>,
    /// Kubernetes resource requests.
    #[schemars(extend("x-unused" = true))]
    request: RawResources,
    /// Kubernetes resource limits.
    #[schemars(extend("x-unused" = true))]
    limit: RawResources,
    /// Which of the nine jobs; `chalk-writer types` lists them.
    pub(in crate::config) bus_subscriber_type: Maybe<String>,
    /// Number of replicas.
    #[schemars(extend("x-unused" = true))]
    default_replica_count: Maybe<u64>,
    /// Consumer group instead of `chalk-<name>`.
    pub(in crate::config) kafka_consumer_group_override: Maybe<String>,
    /// Rows in a batch at the most; the same as `batch.max_rows`.
    pub(in crate::config) max_batch_size: Maybe<NonZeroUsize>,
    /// Requests to one store at a time.
    pub(in crate::config) message_processing_concurrency: Maybe<NonZeroUsize>,
    /// Secret with the certificate authority of the SQL metadata provider.
    pub(in crate::config) metadata_sql_ssl_ca_cert_secret: Maybe<String>,
    /// Secret with the client certificate of the SQL metadata provider.
    pub(in crate::config) metadata_sql_ssl_client_cert_secret: Maybe<String>,
    /// Secret with the client key of the SQL metadata provider.
    pub(in crate::config) metadata_sql_ssl_client_key_secret: Maybe<String>,
    /// Secret with the URI of the SQL metadata provider.
    pub(in crate::config) metadata_sql_uri_secret: Maybe<String>,
    /// Kind of the offline store that an insert writer writes to; here its URI says it.
    #[schemars(extend("x-unused" = true))]
    offline_store_inserter_db_type: Maybe<String>,
    /// Put before every key of an online store that has no `cache_prefix`.
    pub(in crate::config) storage_cache_prefix: Maybe<String>,
    /// URI of the usage store of all environments, or `secret:NAME`, in place of the one that each has.
    #[schemars(extend("x-read-by" = ["USAGE_BUS_WRITER"], "x-secret" = true))]
    pub(in crate::config) usage_store_uri: Maybe<String>,
    /// Leaves features out of the metrics.
    #[schemars(extend("x-read-by" = ["METRICS_WRITER"]))]
    pub(in crate::config) results_writer_skip_producing_feature_metrics: Maybe<bool>,
    /// Whether history is written into the offline store (`direct`, the default), or published as parquet for the
    /// streaming insert writer once its tables are there (`republish`).
    #[schemars(extend("x-read-by" = ["OFFLINE_WRITER"]))]
    pub(in crate::config) offline_mode: Maybe<OfflineMode>,
    /// Share of rows of `query_log` that are not written.
    pub(in crate::config) query_table_write_drop_ratio: Maybe<Ratio>,
    /// Kubernetes instance type.
    #[schemars(extend("x-unused" = true))]
    instance_type: Maybe<String>,
    /// Kubernetes node pool.
    #[schemars(extend("x-unused" = true))]
    nodepool: Maybe<String>,
    /// Kubernetes node selector.
    #[schemars(extend("x-unused" = true))]
    node_selector: BTreeMap<String, Given<Scalar>>,
    /// Further environment variables of the container.
    #[schemars(extend("x-unused" = true, "x-secret" = true))]
    additional_env_vars: BTreeMap<String, Given<Scalar>>,
    /// Where query rows go.
    #[schemars(extend("x-read-by" = ["METRICS_BUS_WRITER"]))]
    pub(in crate::config) chalk_queries_clickhouse_write_mode: Maybe<ClickHouseWriteMode>,
    /// `ClickHouse` table of query rows.
    #[schemars(extend("x-read-by" = ["METRICS_BUS_WRITER"]))]
    pub(in crate::config) chalk_queries_clickhouse_table: Maybe<String>,
    /// Where query and resolver errors go.
    #[schemars(extend("x-read-by" = ["METRICS_BUS_WRITER"]))]
    pub(in crate::config) chalk_errors_clickhouse_write_mode: Maybe<ClickHouseWriteMode>,
    /// `ClickHouse` table of query errors.
    #[schemars(extend("x-read-by" = ["METRICS_BUS_WRITER"]))]
    pub(in crate::config) chalk_query_errors_clickhouse_table: Maybe<String>,
    /// `ClickHouse` table of resolver errors.
    #[schemars(extend("x-read-by" = ["METRICS_BUS_WRITER"]))]
    pub(in crate::config) chalk_resolver_errors_clickhouse_table: Maybe<String>,
    /// Where metrics go.
    #[schemars(extend("x-read-by" = ["METRICS_BUS_WRITER"]))]
    pub(in crate::config) metrics_emission_mode: Maybe<MetricsEmissionMode>,
    /// What becomes of a load of which a file is missing or cannot be loaded: `abort` (the default) leaves all of it
    /// out, `skip_file` loads the other files.
    #[schemars(extend("x-read-by" = ["OFFLINE_STORE_BULK_INSERT_WRITER"]))]
    pub(in crate::config) on_error: Maybe<OnError>,
    /// Folder of uploads under which the first folder of a file names its table; the path of `bq_upload_bucket` where
    /// it is not given.
    #[schemars(extend("x-read-by" = ["OFFLINE_STORE_BULK_INSERT_WRITER"]))]
    pub(in crate::config) upload_prefix: Maybe<String>,
    /// How logged queries are asked again.
    #[schemars(extend("x-read-by" = ["QUERY_MIRROR_CONSUMER"]))]
    pub(in crate::config) mirror: RawMirror,
    /// Pods that a disruption must leave: a number or a percentage.
    #[schemars(extend("x-unused" = true))]
    pub(in crate::config) pdb_min_available: Maybe<Scalar>,
    /// Pods that a disruption may take: a number or a percentage.
    #[schemars(extend("x-unused" = true))]
    pub(in crate::config) pdb_max_unavailable: Maybe<Scalar>,
    /// Tuning of this writer alone.
    #[serde(flatten)]
    tuning: RawTuning,
}

/// How logged queries are asked again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawMirror {
    /// Share of queries that are asked, by the hash of their id; default 1.
    pub(in crate::config) sample_ratio: Maybe<Ratio>,
    /// Queries a second at the most; without it only the server's own pace is a bound.
    pub(in crate::config) max_per_second: Maybe<Amount>,
    /// How long one query may take; default `5s`.
    pub(in crate::config) deadline: Maybe<Duration>,
    /// Queries that are older are not asked; default `5m`.
    pub(in crate::config) max_age: Maybe<Duration>,
    /// Numbers so far apart count as equal; default 0.
    pub(in crate::config) absolute_tolerance: Maybe<Amount>,
    /// Numbers so far apart, in parts of the larger of both, count as equal; default `1e-9`.
    pub(in crate::config) relative_tolerance: Maybe<Amount>,
    /// In which form queries are asked: `auto` is `feather` where every input is a list of as many values, else `json`.
    pub(in crate::config) body: Maybe<MirrorBodyName>,
    /// Branch that is asked, whatever branch a query was asked on.
    pub(in crate::config) branch: Maybe<String>,
    /// Client id for access tokens; without it no token is sent.
    pub(in crate::config) client_id: Maybe<String>,
    /// Client secret, or `secret:NAME`.
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) client_secret: Maybe<String>,
}

/// Autoscaling.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(clippy::struct_field_names, reason = "names as the file has them")]
struct RawHpa {
    /// Subscription whose backlog is measured.
    hpa_pubsub_subscription_id: Maybe<String>,
    /// Replicas at the least; 0 is allowed.
    hpa_min_replicas: Maybe<u64>,
    /// Replicas at the most.
    hpa_max_replicas: Maybe<u64>,
    /// Undelivered messages per replica.
    hpa_target_average_value: Maybe<u64>,
}

/// Kubernetes resources.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct RawResources {
    /// Processor.
    cpu: Maybe<Scalar>,
    /// Memory.
    memory: Maybe<Scalar>,
    /// Ephemeral storage.
    ephemeral_storage: Maybe<Scalar>,
    /// Storage.
    storage: Maybe<Scalar>,
}
