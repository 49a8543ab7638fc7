//! Settings as the rest of the program uses them: checked, complete, with every default filled in.
//!
//! Nothing here reads a file or knows how a setting is spelled there; [`super::load()`] makes these.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use super::metrics_stores::MetricsStores;
pub use super::mirror::{MirrorBody, MirrorSettings};
pub use super::of_type::{LoadSettings, MetricsModes, OfflineMode, OnError, Sides, TypeSettings};
pub use super::own::OwnSettings;
use crate::config::secret::SecretRef;
use crate::google;
use crate::value::Metric;
use crate::value::dtype::DataType;
use crate::writer_type::WriterType;

/// Everything that one writer process runs by.
#[derive(Clone, Debug)]
pub struct WriterSettings {
    /// The writer's name; its type in lower case with `-` where the file gives none.
    pub name: String,
    /// Which of the nine jobs.
    pub writer_type: WriterType,
    /// The bus.
    pub bus: BusSettings,
    /// Topic or subscription that it reads.
    pub subscription: String,
    /// Where it publishes, if it does.
    pub publishes: Option<Publishes>,
    /// Consumer group: `chalk-<writer name>`, or the override.
    pub group: String,
    /// Topic of dead letters; without one a bad row stops the writer.
    pub dlq_topic: Option<String>,
    /// The environments that it writes for.
    pub environments: Arc<Environments>,
    /// Batches, memory, retries and the like.
    pub tuning: Tuning,
    /// What its type alone has.
    pub of_type: TypeSettings,
    /// `query_table_write_drop_ratio`: share of rows of `query_log` that are not written, 0 to 1.
    pub query_table_write_drop_ratio: f64,
    /// `skip_offline_writes_for_online_cached_features`
    pub skip_offline_writes_for_online_cached_features: bool,
    /// Address of probes and metrics; `None` opens no port.
    pub listen: Option<String>,
    /// Who describes the environments; `None` where the file does.
    pub metadata: Option<MetadataSettings>,
}

/// How environments are asked for that are described elsewhere than in the file.
#[derive(Clone, Debug)]
pub struct MetadataSettings {
    /// Who describes them.
    pub source: MetadataSource,
    /// How often it is asked whether something has changed (`metadata_refresh`).
    pub refresh: Duration,
    /// How long one that is not described is asked for (`unknown_environment_wait`).
    pub wait: Duration,
}

impl MetadataSource {
    /// What it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Grpc { url } => format!("GRPC_SERVER {url}"),
            Self::Sql { uri, .. } => format!("SQL {}", uri.describe()),
        }
    }
}

/// Who describes environments.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
pub enum MetadataSource {
    /// A server with the published `MetadataService` (`GRPC_SERVER`).
    Grpc {
        /// Its URL; with TLS where that begins with `https`.
        url: String,
    },
    /// A table of Postgres (`SQL`).
    Sql {
        /// Where.
        uri: SecretRef,
        /// Certificate authorities in PEM; without them, those of the system.
        authorities: Option<SecretRef>,
        /// The client's certificate in PEM.
        certificate: Option<SecretRef>,
        /// Its key in PEM.
        key: Option<SecretRef>,
    },
}

/// The topic that a writer publishes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publishes {
    /// Its name.
    pub topic: String,
    /// The field of the configuration that names it, for people.
    pub named_by: &'static str,
}

/// Which bus, and how to reach it.
#[derive(Clone, Debug)]
pub enum BusSettings {
    /// The embedded bus.
    Local(LocalSettings),
    /// Kafka.
    Kafka(KafkaSettings),
    /// Google Pub/Sub.
    Pubsub(PubsubSettings),
}

impl BusSettings {
    /// The bus as `bus_backend` names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "LOCAL",
            Self::Kafka(_) => "KAFKA",
            Self::Pubsub(_) => "PUBSUB",
        }
    }

    /// Where it is and how it is signed in to, for people; no credentials.
    pub fn place(&self) -> String {
        match self {
            Self::Local(local) => local.path.display().to_string(),
            Self::Pubsub(pubsub) => match &pubsub.emulator {
                Some(emulator) => format!("project {} on the emulator {emulator}", pubsub.project),
                None => format!("project {}{}", pubsub.project, pubsub.elsewhere()),
            },
            Self::Kafka(kafka) => {
                let servers = match &*kafka.bootstrap_servers {
                    [] => "brokers of the secret".to_owned(),
                    servers => servers.join(", "),
                };
                let mechanism = kafka.sasl_mechanism.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
                let secret =
                    kafka.sasl_secret.as_ref().map(|name| format!(", {}", name.describe())).unwrap_or_default();
                format!("{servers} by {}{mechanism}{secret}", kafka.security_protocol)
            }
        }
    }

    /// Whether it is a file beside the program, whose topics nobody makes beforehand.
    pub const fn is_embedded(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Whether writers read subscriptions, which have names of their own beside their topics'.
    pub const fn has_subscriptions(&self) -> bool {
        matches!(self, Self::Pubsub(_))
    }

    /// The project of names that do not say it, where names have one.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Pubsub(pubsub) => Some(&pubsub.project),
            Self::Local(_) | Self::Kafka(_) => None,
        }
    }

    /// What a thing is called there that a writer reads.
    pub const fn readable(&self) -> &'static str {
        if self.has_subscriptions() { "subscription" } else { "topic" }
    }
}

/// The embedded bus.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Its SQLite file.
    pub path: PathBuf,
}

/// Kafka, as librdkafka takes it.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port` of one broker or more.
    pub bootstrap_servers: Vec<String>,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: String,
    /// `PLAIN`, `SCRAM-SHA-256`, …; `None` without SASL.
    pub sasl_mechanism: Option<String>,
    /// Secret with user name and password, as `{"username", "password"}` or
    /// `{"sasl_username", "sasl_password"}`; it may hold `bootstrap_servers` too.
    pub sasl_secret: Option<SecretRef>,
    /// Any other librdkafka property (`kafka: {…}`), applied last.
    pub properties: BTreeMap<String, String>,
}

/// Google Pub/Sub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubsubSettings {
    /// The project of topics and subscriptions whose names do not say it.
    pub project: String,
    /// `host:port` of an emulator (`PUBSUB_EMULATOR_HOST`); `None` is Google's own service.
    pub emulator: Option<String>,
    /// URL of the service where it is not at Google's usual place (`pubsub.endpoint`).
    pub endpoint: Option<String>,
    /// Streams that a writer reads by (`pubsub.streams`); one carries about 10 MB a second.
    pub streams: usize,
    /// So long nothing comes before `--drain` takes a subscription for empty (`pubsub.drain_idle`).
    pub drain_idle: Duration,
    /// So long nothing comes before a reading beside subscriptions is over (`pubsub.browse_idle`).
    pub browse_idle: Duration,
    /// A stream that has brought nothing for so long is opened anew, over another connection (`pubsub.stale_after`); `None`: never.
    pub stale_after: Option<Duration>,
    /// Who we are to Google.
    pub identity: google::Identity,
}

impl PubsubSettings {
    /// ` at URL`, for people, where the service is not at Google's usual place.
    pub fn elsewhere(&self) -> String {
        self.endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default()
    }
}

/// The environments of a deployment, by id; `*` stands for any without an entry of its own.
#[derive(Clone, Debug, Default)]
pub struct Environments {
    /// Entries as the configuration names them.
    pub entries: BTreeMap<String, Environment>,
}

impl Environments {
    /// The entry for an environment's id: its own, else `*`.
    pub fn get(&self, id: &str) -> Option<&Environment> {
        self.entries.get(id).or_else(|| self.entries.get("*"))
    }
}

/// One environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Where its newest values live.
    pub online_store: Option<StoreSettings>,
    /// Where its history lives.
    pub offline_store: Option<StoreSettings>,
    /// Where its metrics, query rows and errors go.
    pub metrics_store: Option<MetricsStores>,
    /// Where its usage events go.
    pub usage_store: Option<StoreSettings>,
    /// Where its vectors live.
    pub vector_store: Option<StoreSettings>,
    /// How its vectors are compared, where nothing else says it for a feature.
    pub vector_metric: Option<Metric>,
    /// For features without a staleness of their own; `None` where it is not given.
    pub default_max_staleness: Option<MaxStaleness>,
    /// Declared features by FQN; `None` where there is no list at all, and so every feature is stored.
    pub features: Option<BTreeMap<String, Feature>>,
}

/// A store by its URI. Two of the same settings are one store, which is opened once.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// The URI, or where to find it. May hold credentials.
    pub uri: SecretRef,
    /// Put before every key (`cache_prefix`, or the writer's `storage_cache_prefix`).
    pub cache_prefix: String,
    /// What it has of settings of its own.
    pub own: OwnSettings,
}

impl StoreSettings {
    /// That of a URI, or of the secret that has it, with nothing beside it.
    pub fn of(uri: SecretRef) -> Self {
        Self { uri, cache_prefix: String::new(), own: OwnSettings::default() }
    }
}

/// How long a value counts as fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxStaleness {
    /// It never goes stale.
    Infinity,
    /// From the observed time on. Zero means that it is not stored unless asked for explicitly.
    For(Duration),
}

/// What is declared of a feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Fully qualified name.
    pub fqn: String,
    /// Declared type.
    pub dtype: Option<DataType>,
    /// `None` takes the environment's default.
    pub max_staleness: Option<MaxStaleness>,
    /// Whether it goes online; `None` where it is not said explicitly.
    pub store_online: Option<bool>,
    /// Whether it goes offline; default true.
    pub store_offline: bool,
    /// What an update does with nulls and defaults.
    pub cache_strategy: CacheStrategy,
    /// Changes when the feature is dropped or migrated; part of its persistence key when above 0.
    pub internal_version: u32,
    /// The feature's default value, for the strategies, as JSON; `None` where it has none.
    pub default: Option<serde_json::Value>,
    /// How its vectors are compared; `None` takes the environment's.
    pub metric: Option<Metric>,
}

/// Columns that every table of the offline store has, in order, which no feature can be named like.
pub const SYSTEM_COLUMNS: [&str; 8] = [
    "__observation_id__",
    "__environment__",
    "__operation_id__",
    "__operation_kind__",
    "__deployment_id__",
    "__id__",
    "__ts__",
    "__inserted_at__",
];

/// The public `CacheStrategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheStrategy {
    /// Every value is stored.
    #[default]
    All,
    /// A null changes nothing.
    NoNulls,
    /// A null removes what is stored.
    EvictNulls,
    /// A default changes nothing.
    NoDefaults,
    /// A default removes what is stored.
    EvictDefaults,
    /// Neither changes anything.
    NoNullsOrDefaults,
    /// Either removes what is stored.
    EvictNullsAndDefaults,
}

/// Batches, memory, retries, dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Rows in a batch at the most (`batch.max_rows`, or `max_batch_size`).
    pub batch_max_rows: usize,
    /// Decoded bytes in a batch at the most.
    pub batch_max_bytes: usize,
    /// Age at which a batch is written though it is not full.
    pub batch_max_age: Duration,
    /// Requests to one store at a time (`message_processing_concurrency`).
    pub concurrency: usize,
    /// Memory that fetch buffers and batches may take together, in bytes.
    pub memory_limit: usize,
    /// Longest pause between two attempts.
    pub retry_max_pause: Duration,
    /// First pause.
    pub retry_first_pause: Duration,
    /// Share of messages that may be buried.
    pub dlq_max_ratio: f64,
    /// Messages in a row that may be buried.
    pub dlq_max_consecutive: u64,
    /// Time for writing what is at hand on SIGTERM and on a revocation.
    pub drain_timeout: Duration,
    /// How far ahead of the clock an observed time may be.
    pub max_future_skew: Duration,
    /// How long a tombstone is kept.
    pub tombstone_retention: Duration,
    /// A larger message, decoded, is refused.
    pub max_message_bytes: usize,
    /// What to do when messages expired before they were read.
    pub on_gap: OnGap,
    /// After so long, messages for a destination that is away are parked; `None` is never.
    pub park_after: Option<Duration>,
    /// Where.
    pub parking_topic: Option<String>,
}

/// What to do when a log's retention has passed the group's position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Go on at the earliest message left, log an error, count the gap.
    #[default]
    Continue,
    /// End the writer with an error.
    Stop,
}
