//! The top level of the file: Chalk's deployment specification, and what is added to it.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Maybe, RawCommon, RawEnvironment, RawPubsub, RawTuning, RawWriter};
use crate::config::choice::{MetadataProvider, SaslMechanism, SecurityProtocol};
use crate::config::leaf::{Brokers, Scalar};

/// Background persistence writers of one deployment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[expect(dead_code, reason = "fields that nothing uses are still known and judged")]
#[schemars(rename = "Configuration")]
pub(in crate::config) struct RawDeployment {
    /// What all writers share: the bus, topics and subscriptions.
    #[schemars(extend("x-aliases" = ["common_specs"]))]
    pub(in crate::config) common_persistence_specs: RawCommon,
    /// Host name of the API server, for metadata and mirrored queries.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) api_server_host: Maybe<String>,
    /// Name of the secret with Kafka's user name and password.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) kafka_sasl_secret: Maybe<String>,
    /// Where environments are described: `CONFIG` is `environments` in this file.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) metadata_provider: Maybe<MetadataProvider>,
    /// Kafka brokers, `host:port`, separated by commas.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) kafka_bootstrap_servers: Maybe<Brokers>,
    /// Kafka's security protocol.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) kafka_security_protocol: Maybe<SecurityProtocol>,
    /// Kafka's SASL mechanism.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) kafka_sasl_mechanism: Maybe<SaslMechanism>,
    /// Whether Redis online stores are clusters.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) redis_is_clustered: Maybe<bool>,
    /// Name of Snowflake's storage integration.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    snowflake_storage_integration_name: Maybe<String>,
    /// Whether Chalk's own Redis layout holds has-many features.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    redis_lightning_supports_has_many: Maybe<bool>,
    /// Whether the API server is reached without TLS.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) insecure: Maybe<bool>,
    /// The writers; a process runs one of them.
    pub(in crate::config) writers: Vec<RawWriter>,
    /// Whether Chalk makes the cloud resources.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    bootstrap_cloud_resources: Maybe<bool>,
    /// Whether Chalk has suspended the deployment.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    suspended: Maybe<bool>,
    /// Chalk's daemons for profiles and core dumps.
    #[schemars(extend("x-unused" = true))]
    observability_daemons: Option<Value>,
    /// Settings of Chalk's cluster manager, which is not a writer.
    #[schemars(extend("x-unused" = true))]
    cluster_manager_config: Option<Value>,
    /// Key by which Chalk discovers the deployment.
    #[schemars(extend("x-unused" = true, "x-plain-env" = true))]
    autodiscover_key: Maybe<String>,
    /// Where Chalk's daemons are scheduled.
    #[schemars(extend("x-unused" = true))]
    observability_daemon_scheduling: Option<Value>,

    /// Environments by id; `*` is any environment without an entry of its own.
    pub(in crate::config) environments: Option<BTreeMap<String, RawEnvironment>>,
    /// File of the embedded bus; a relative path starts at the folder of the configuration file.
    pub(in crate::config) local_bus_path: Maybe<String>,
    /// Any librdkafka property; the writer's own ones and credentials are refused.
    #[schemars(extend("x-secret" = true, "x-dotted" = true))]
    pub(in crate::config) kafka: BTreeMap<String, super::Given<Scalar>>,
    /// `host:port` of an emulator of Pub/Sub, by the variable that Google's own clients read.
    #[schemars(extend("x-plain-env" = true))]
    pub(in crate::config) pubsub_emulator_host: Maybe<String>,
    /// Settings of Pub/Sub.
    pub(in crate::config) pubsub: RawPubsub,
    /// How long an unknown environment is asked for again before a message of it is buried (60 s), where
    /// `metadata_provider` is `GRPC_SERVER` or SQL.
    pub(in crate::config) unknown_environment_wait: Maybe<Duration>,
    /// How often `GRPC_SERVER` or SQL is asked whether environments have changed (30 s).
    pub(in crate::config) metadata_refresh: Maybe<Duration>,
    /// Tuning of every writer that does not say otherwise.
    #[serde(flatten)]
    tuning: RawTuning,
}
