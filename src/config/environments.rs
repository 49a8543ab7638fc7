//! Makes the environments of a writer: stores, and what is declared of features.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::choice::Choice;
use super::errors::Problem;
use super::leaf::{self, Caching};
use super::own::OwnSettings;
use super::path;
use super::raw::{RawDeployment, RawEnvironment, RawFeature, get};
use super::registry::{Registry, StoreDescription};
use super::schema;
use super::schemes::{Support, support};
use super::secret::{SecretClient, SecretRef};
use super::settings::{
    CacheStrategy, Environment, Environments, Feature, MetricsStores, SYSTEM_COLUMNS, StoreSettings,
};
use super::store_kind::StoreKind;

/// What is wrong with environments, by path under the schema's names.
#[derive(Debug, Default)]
pub(super) struct EnvironmentFindings {
    pub(super) errors: Vec<(String, Problem)>,
    /// Stores that are known and cannot be opened: path, kind, why.
    pub(super) unopenable: Vec<(String, StoreKind, String)>,
}

/// Where URIs and secrets are looked up.
#[derive(Clone, Debug)]
pub(super) struct Surroundings<'a> {
    /// Folder of the configuration file, absolute.
    pub(super) folder: &'a Path,
    /// The secret client, where one is named.
    pub(super) secrets: Option<SecretClient>,
    /// What this version has.
    pub(super) registry: &'a Registry,
    /// All of the file, for what stores have of settings of their own.
    pub(super) file: &'a Value,
}

/// What an entry of `writers` says of stores.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    /// `storage_cache_prefix`
    pub(super) cache_prefix: Option<String>,
    /// The one usage store of all environments: where it stands, and its URI.
    pub(super) usage_store: Option<(String, String)>,
}

/// The environments of the file for a writer whose entry says this.
pub(super) fn environments(
    raw: &RawDeployment,
    own: &Own,
    surroundings: &Surroundings<'_>,
) -> (Environments, EnvironmentFindings) {
    let cache_prefix = own.cache_prefix.as_deref();
    let mut findings = EnvironmentFindings::default();
    let mut entries = BTreeMap::new();
    for (id, environment) in raw.environments.iter().flatten() {
        let at = path::key("environments", id);
        let stores = environment.uris().filter_map(|(kind, field, uri)| {
            let place = format!("{at}.{}", kind.field());
            let uri_at = format!("{place}.{field}");
            let Some(uri) = uri else {
                if needs_uri(kind, environment) && field == "uri" {
                    let text = "is missing; a store is named by its URI, such as `sqlite:online.db` or `secret:NAME`";
                    findings.errors.push((uri_at, Problem::Rule(text.to_owned())));
                }
                return None;
            };
            let entry = match kind {
                StoreKind::Online => environment.online_store.as_ref(),
                StoreKind::Offline => environment.offline_store.as_ref(),
                StoreKind::Metrics | StoreKind::Usage | StoreKind::Vector => None,
            };
            let beside = Beside {
                cache_prefix: entry
                    .and_then(|entry| get(entry.cache_prefix.as_ref()))
                    .or_else(|| cache_prefix.filter(|_| kind == StoreKind::Online).map(str::to_owned))
                    .unwrap_or_default(),
                own: surroundings.own(id, kind),
            };
            Some(((kind, field), store(&uri, kind, beside, uri_at, surroundings, &mut findings)?))
        });
        let mut stores: BTreeMap<(StoreKind, &str), StoreSettings> = stores.collect();
        let mut one = |kind| stores.remove(&(kind, "uri"));
        let entry = Environment {
            online_store: one(StoreKind::Online),
            offline_store: one(StoreKind::Offline),
            usage_store: one(StoreKind::Usage),
            vector_store: one(StoreKind::Vector),
            vector_metric: environment.vector_store.as_ref().and_then(|store| get(store.metric.as_ref())),
            metrics_store: environment.metrics_store.as_ref().map(|_| MetricsStores {
                main: stores.remove(&(StoreKind::Metrics, "uri")),
                clickhouse: stores.remove(&(StoreKind::Metrics, "clickhouse_uri")),
                victoria_metrics: stores.remove(&(StoreKind::Metrics, "victoria_metrics_uri")),
            }),
            default_max_staleness: get(environment.default_max_staleness.as_ref()),
            features: features(environment, &at, &mut findings),
        };
        entries.insert(id.clone(), entry);
    }
    if let Some((at, uri)) = &own.usage_store
        && let Some(one) = store(uri, StoreKind::Usage, Beside::default(), at.clone(), surroundings, &mut findings)
    {
        entries.entry("*".to_owned()).or_default();
        for entry in entries.values_mut() {
            entry.usage_store = Some(one.clone());
        }
    }
    (Environments { entries }, findings)
}

/// Whether a store without a `uri` is none: one of metrics may have one of the others instead.
fn needs_uri(kind: StoreKind, environment: &RawEnvironment) -> bool {
    kind != StoreKind::Metrics || environment.uris().all(|(other, _, uri)| other != kind || uri.is_none())
}

/// What a store has of settings beside its URI.
#[derive(Default)]
struct Beside {
    cache_prefix: String,
    own: OwnSettings,
}

impl Surroundings<'_> {
    /// What the file says that single stores of a kind have of settings of their own: beside the URI, and at the top
    /// level. Which of them the URI is of may be known to a secret alone.
    fn own(&self, environment: &str, kind: StoreKind) -> OwnSettings {
        let entry = self.file.get("environments").and_then(|all| all.get(environment)?.get(kind.field()));
        let mut own = OwnSettings::default();
        for fields in self.registry.stores(kind).map(StoreDescription::own) {
            for (name, schema) in fields.properties() {
                if let Some(value) = entry.and_then(|entry| entry.get(&name)) {
                    own = own.with(&name, plain(&schema, value));
                }
            }
            for (name, field) in fields.inherited() {
                if let Some(value) = self.file.get(*field) {
                    let schema = &schema::root()["properties"][*field];
                    own = own.with(name, plain(schema, value));
                }
            }
        }
        own
    }
}

/// A value as all that mean the same are written.
fn plain(schema: &Value, value: &Value) -> Value {
    let kind = schema.get("x-kind").and_then(Value::as_str).and_then(leaf::kind);
    kind.and_then(|kind| (kind.plain)(value)).unwrap_or_else(|| value.clone())
}

/// A store by its URI, which stands at `at`.
fn store(
    text: &str,
    kind: StoreKind,
    Beside { cache_prefix, own }: Beside,
    at: String,
    surroundings: &Surroundings<'_>,
    findings: &mut EnvironmentFindings,
) -> Option<StoreSettings> {
    let mut works = None;
    let uri = if SecretRef::is_name(text) {
        SecretRef::named(text, surroundings.secrets.clone()?)
    } else {
        let Some((scheme, rest)) = text.split_once(':') else {
            let text = "has no scheme; it begins with one, such as `sqlite:` or `redis://`";
            findings.errors.push((at, Problem::Rule(text.to_owned())));
            return None;
        };
        match support(kind, scheme, surroundings.registry) {
            Ok(Support::Works(store)) => works = Some(store),
            Ok(Support::NotYet) => {
                let text = format!("scheme `{}` is not in this version", scheme.to_ascii_lowercase());
                findings.unopenable.push((at.clone(), kind, text));
            }
            Err(reason) => {
                findings.errors.push((at, Problem::Rule(reason)));
                return None;
            }
        }
        let before_path = works.and_then(StoreDescription::before_path);
        let full = before_path.and_then(|before| beside(scheme, before, rest, surroundings.folder));
        SecretRef::plain(full.unwrap_or_else(|| text.to_owned()))
    };
    let store = StoreSettings { uri, cache_prefix, own };
    // What a store would not open when the writer starts is wrong already.
    if let Some(description) = works
        && let Err(text) = description.check(kind, &store)
    {
        findings.unopenable.push((at, kind, text));
    }
    Some(store)
}

/// A URI of a relative path, taken from the folder of the configuration file.
fn beside(scheme: &str, before_path: &str, rest: &str, folder: &Path) -> Option<String> {
    if rest.starts_with('/') || rest.starts_with(':') {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let (file, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
    let full = folder.join(file.strip_prefix("./").unwrap_or(file));
    Some(format!("{scheme}:{before_path}{}{query}", full.to_str()?))
}

fn features(
    environment: &RawEnvironment,
    at: &str,
    findings: &mut EnvironmentFindings,
) -> Option<BTreeMap<String, Feature>> {
    let list = environment.features.as_ref()?;
    let mut features = BTreeMap::new();
    for (number, raw) in list.iter().enumerate() {
        let at = path::index(&format!("{at}.features"), number);
        let Some(feature) = feature(raw, &at, findings) else { continue };
        if let Some(before) = features.insert(feature.fqn.clone(), feature) {
            let text = format!("`{}` is already declared in this environment", before.fqn);
            findings.errors.push((format!("{at}.fqn"), Problem::Rule(text)));
        }
    }
    Some(features)
}

fn feature(raw: &RawFeature, at: &str, findings: &mut EnvironmentFindings) -> Option<Feature> {
    let mut wrong = |field: &str, text: String| findings.errors.push((format!("{at}.{field}"), Problem::Rule(text)));
    let cache_strategy = match strategy(
        get(raw.cache_strategy.as_ref()),
        get(raw.cache_nulls.as_ref()),
        get(raw.cache_defaults.as_ref()),
    ) {
        Ok(strategy) => strategy,
        Err(text) => {
            wrong("cache_strategy", text);
            CacheStrategy::default()
        }
    };
    let internal_version = get(raw.internal_version.as_ref()).unwrap_or(0);
    let internal_version = u32::try_from(internal_version).unwrap_or_else(|_| {
        wrong("internal_version", format!("expected at most {}, found {internal_version}", u32::MAX));
        0
    });
    let Some(fqn) = get(raw.fqn.as_ref()) else {
        wrong("fqn", "is missing; a feature is named `namespace.feature`".to_owned());
        return None;
    };
    let name = match fqn.split_once('.') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => name,
        _ => {
            wrong("fqn", format!("`{fqn}` has no namespace; a feature is named `namespace.feature`"));
            return None;
        }
    };
    if SYSTEM_COLUMNS.contains(&name) {
        wrong("fqn", format!("`{name}` is a column that every table has; no feature can be named like it"));
    }
    Some(Feature {
        fqn,
        dtype: get(raw.dtype.as_ref()),
        max_staleness: get(raw.max_staleness.as_ref()),
        store_online: get(raw.store_online.as_ref()),
        store_offline: get(raw.store_offline.as_ref()).unwrap_or(true),
        cache_strategy,
        internal_version,
        default: raw.default.clone(),
        metric: get(raw.metric.as_ref()),
    })
}

/// The strategy of its one name, or of its two halves.
fn strategy(
    name: Option<CacheStrategy>,
    nulls: Option<Caching>,
    defaults: Option<Caching>,
) -> Result<CacheStrategy, String> {
    use Caching::{Evict, Ignore, Keep};
    let from_halves = match (nulls.unwrap_or(Keep), defaults.unwrap_or(Keep)) {
        (Keep, Keep) => CacheStrategy::All,
        (Ignore, Keep) => CacheStrategy::NoNulls,
        (Evict, Keep) => CacheStrategy::EvictNulls,
        (Keep, Ignore) => CacheStrategy::NoDefaults,
        (Keep, Evict) => CacheStrategy::EvictDefaults,
        (Ignore, Ignore) => CacheStrategy::NoNullsOrDefaults,
        (Evict, Evict) => CacheStrategy::EvictNullsAndDefaults,
        (Evict, Ignore) | (Ignore, Evict) => {
            return Err(
                "one of nulls and defaults is evicted and the other ignored; evict both, ignore both, or keep \
                        one of them"
                    .to_owned(),
            );
        }
    };
    match (name, (nulls, defaults)) {
        (None, _) => Ok(from_halves),
        (Some(strategy), (None, None)) => Ok(strategy),
        (Some(strategy), _) if strategy == from_halves => Ok(strategy),
        (Some(strategy), _) => Err(format!(
            "is {}, but `cache_nulls` and `cache_defaults` say {}; keep one of them",
            strategy.word(),
            from_halves.word()
        )),
    }
}
