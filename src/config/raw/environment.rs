//! `environments`: which stores an environment has, and what is declared of its features.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Maybe, get};
use crate::config::leaf::Caching;
use crate::config::settings::{CacheStrategy, MaxStaleness};
use crate::config::store_kind::StoreKind;
use crate::value::Metric;
use crate::value::dtype::DataType;

/// One environment. Settings that single stores have beside these come from their descriptions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawEnvironment {
    /// Where its newest values live.
    pub(in crate::config) online_store: Option<RawStore>,
    /// Where its history lives.
    pub(in crate::config) offline_store: Option<RawStore>,
    /// Where metrics, queries and errors go.
    #[schemars(extend("x-read-by" = ["METRICS_BUS_WRITER"]))]
    pub(in crate::config) metrics_store: Option<RawMetricsStore>,
    /// Where usage events go.
    #[schemars(extend("x-read-by" = ["USAGE_BUS_WRITER"]))]
    pub(in crate::config) usage_store: Option<RawPlainStore>,
    /// Where vectors go.
    #[schemars(extend("x-read-by" = ["ONLINE_VECTOR_STORE_WRITER"]))]
    pub(in crate::config) vector_store: Option<RawVectorStore>,
    /// How long a feature without a staleness of its own counts as fresh.
    pub(in crate::config) default_max_staleness: Maybe<MaxStaleness>,
    /// Declared features. Without a list every feature is stored; with one, others stay out of the online store.
    pub(in crate::config) features: Option<Vec<RawFeature>>,
}

/// A store of newest values or of history.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawStore {
    /// Its URI, or `secret:NAME`; the scheme picks the store.
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) uri: Maybe<String>,
    /// Put before every key.
    pub(in crate::config) cache_prefix: Maybe<String>,
}

/// A store of metrics, query rows and errors; which of them takes what is said by the writer's modes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(clippy::struct_field_names, reason = "names as the file has them")]
pub(in crate::config) struct RawMetricsStore {
    /// Its URI, or `secret:NAME`; the scheme picks the store.
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) uri: Maybe<String>,
    /// Another one beside it or instead, for query rows and errors.
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) clickhouse_uri: Maybe<String>,
    /// Another one beside it or instead, for metrics.
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) victoria_metrics_uri: Maybe<String>,
}

/// A store that has nothing but its URI.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawPlainStore {
    /// Its URI, or `secret:NAME`; the scheme picks the store.
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) uri: Maybe<String>,
}

/// A store of vectors.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawVectorStore {
    /// Its URI, or `secret:NAME`; the scheme picks the store.
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) uri: Maybe<String>,
    /// How vectors are compared, for features that have no metric of their own: `l2` (the default), `ip` or `cos`.
    pub(in crate::config) metric: Maybe<Metric>,
}

impl RawEnvironment {
    /// Every URI of a store: the store's kind, the field of the URI, and what it says where it says something.
    pub(in crate::config) fn uris(&self) -> impl Iterator<Item = (StoreKind, &'static str, Option<String>)> {
        let store = |kind, store: &Option<RawStore>| Some((kind, "uri", get(store.as_ref()?.uri.as_ref())));
        let plain = |kind, store: &Option<RawPlainStore>| Some((kind, "uri", get(store.as_ref()?.uri.as_ref())));
        let metrics = |field, of: fn(&RawMetricsStore) -> &Maybe<String>| {
            Some((StoreKind::Metrics, field, get(of(self.metrics_store.as_ref()?).as_ref())))
        };
        [
            store(StoreKind::Online, &self.online_store),
            store(StoreKind::Offline, &self.offline_store),
            metrics("uri", |store| &store.uri),
            metrics("clickhouse_uri", |store| &store.clickhouse_uri),
            metrics("victoria_metrics_uri", |store| &store.victoria_metrics_uri),
            plain(StoreKind::Usage, &self.usage_store),
            self.vector_store.as_ref().map(|store| (StoreKind::Vector, "uri", get(store.uri.as_ref()))),
        ]
        .into_iter()
        .flatten()
    }
}

/// What is declared of a feature.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct RawFeature {
    /// Fully qualified name: `namespace.feature`, with `@2` for a version.
    pub(in crate::config) fqn: Maybe<String>,
    /// Declared type; without one, the message's own.
    pub(in crate::config) dtype: Maybe<DataType>,
    /// How long a value counts as fresh.
    pub(in crate::config) max_staleness: Maybe<MaxStaleness>,
    /// Whether it goes into the online store.
    pub(in crate::config) store_online: Maybe<bool>,
    /// Whether it goes into the offline store.
    pub(in crate::config) store_offline: Maybe<bool>,
    /// What an update does with nulls and defaults.
    pub(in crate::config) cache_strategy: Maybe<CacheStrategy>,
    /// The nulls' part of `cache_strategy`, as Chalk's feature definitions spell it.
    pub(in crate::config) cache_nulls: Maybe<Caching>,
    /// The defaults' part of `cache_strategy`, as Chalk's feature definitions spell it.
    pub(in crate::config) cache_defaults: Maybe<Caching>,
    /// Changes when the feature is dropped or migrated.
    pub(in crate::config) internal_version: Maybe<u64>,
    /// The feature's default value.
    pub(in crate::config) default: Option<Value>,
    /// How its vectors are compared, in a vector store: `l2`, `ip` or `cos`.
    #[schemars(extend("x-read-by" = ["ONLINE_VECTOR_STORE_WRITER"]))]
    pub(in crate::config) metric: Maybe<Metric>,
}
