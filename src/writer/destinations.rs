//! Where a writer's rows go: one client per distinct store, whichever environments share it, or a topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::doubles::Doubles;
use super::outlet::Outlet;
use super::plan_error::PlanError;
use crate::config::StoreKind;
use crate::config::secret::SecretRef;
use crate::config::settings::{Environment, Environments, StoreSettings};
use crate::row::feature::FeatureRow;
use crate::row::load::FileLoad;
use crate::row::table::TableRows;
use crate::row::vector::VectorRow;
use crate::runtime::Emit;
use crate::sink::{Row, Sink};
use crate::store::{StoreError, StoreOptions, load, metrics, offline, online, usage, vector};
use crate::writer_type::WriterType;

/// What opening gives: the store as the runtime writes to it.
pub type Opened<R> = Result<Arc<dyn Sink<R>>, StoreError>;

/// Opens a store from checked options; contacts nothing.
pub enum Opener<R: Row> {
    /// One that keeps what is written to it.
    Store(fn(&StoreOptions) -> Opened<R>),
    /// One whose sink also publishes, to the topic of its writer.
    Publishing(fn(&StoreOptions, &Outlet) -> Opened<R>),
}

impl<R: Row> Clone for Opener<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Row> Copy for Opener<R> {}

/// A place that a writer will write to.
pub struct PlannedDestination<R: Row> {
    /// What people know it by (`online store of prod, dev`); never holds a credential.
    pub name: String,
    /// What it is.
    pub to: To<R>,
}

/// What a destination is.
pub enum To<R: Row> {
    /// A store.
    Store(PlannedStore<R>),
    /// Nothing but the topic that the writer publishes to.
    Topic(OpenTopic<R>),
    /// The same, with the positions that were read up to in one transaction where the bus has those: each message
    /// counts once for whoever reads what is committed. A plan has no other destination beside it.
    Transactions(OpenEmit<R>),
}

/// Makes what turns rows into messages for the topic that a writer publishes to; contacts nothing.
pub type OpenEmit<R> = Box<dyn Fn(&Outlet) -> Arc<dyn Emit<R>> + Send + Sync>;

/// Makes a sink of the topic that a writer publishes to; contacts nothing.
pub type OpenTopic<R> = Box<dyn Fn(&Outlet) -> Opened<R> + Send + Sync>;

/// A store that a writer will write to.
pub struct PlannedStore<R: Row> {
    /// How to reach it.
    pub settings: StoreSettings,
    /// Opens it.
    pub open: Opener<R>,
    /// Whether the store of a URI takes rows again without a trace.
    pub absorbs_repeats: fn(&str) -> Result<bool, StoreError>,
    /// Whether there are rows without anything by which a store could know them.
    pub has_keyless_rows: bool,
    /// Whether what is evicted in it can come back once its tombstone has expired.
    pub has_tombstones: bool,
}

impl<R: Row> PlannedDestination<R> {
    /// Its settings, where it is a store.
    pub fn store(&self) -> Option<&StoreSettings> {
        match &self.to {
            To::Store(store) => Some(&store.settings),
            To::Topic(_) | To::Transactions(_) => None,
        }
    }
}

impl<R: Row> PlannedStore<R> {
    /// What becomes of a row that is written to the store of a URI again.
    pub(super) fn doubles(&self, uri: &str) -> Result<Doubles, StoreError> {
        let absorbs = (self.absorbs_repeats)(uri)?;
        Ok(match (self.open, absorbs, self.has_keyless_rows) {
            (Opener::Publishing(_), ..) => Doubles::SentAgain,
            (Opener::Store(_), true, false) => Doubles::Never,
            (Opener::Store(_), true, true) => Doubles::Keyless,
            (Opener::Store(_), false, _) => Doubles::ReadAgain,
        })
    }
}

/// A kind of store, as far as a plan has to know it.
pub struct Kind<R: Row> {
    /// `online store`, for names and messages.
    pub name: &'static str,
    /// The field of an environment.
    pub field: &'static str,
    /// The field in it that names the store.
    pub uri: &'static str,
    /// Reads that field.
    pub of: fn(&Environment) -> Option<&StoreSettings>,
    /// Whether a URI is of a store of this version.
    pub check: fn(&str) -> Result<(), StoreError>,
    /// Opens one.
    pub open: Opener<R>,
    /// Whether the store of a URI takes rows again without a trace.
    pub absorbs_repeats: fn(&str) -> Result<bool, StoreError>,
    /// Whether there are rows without anything by which a store could know them.
    pub has_keyless_rows: bool,
    /// Whether an older value is kept away by a tombstone, which expires.
    pub has_tombstones: bool,
}

/// The stores of newest values.
pub const ONLINE: Kind<FeatureRow> = Kind {
    name: "online store",
    field: "online_store",
    uri: "uri",
    of: |environment| environment.online_store.as_ref(),
    check: online::check,
    open: Opener::Store(|options| online::open(options).map(|store| store as Arc<dyn Sink<FeatureRow>>)),
    absorbs_repeats: online::absorbs_repeats,
    has_keyless_rows: false,
    has_tombstones: true,
};

/// The stores of history.
pub const OFFLINE: Kind<TableRows> = Kind {
    name: "offline store",
    field: "offline_store",
    uri: "uri",
    of: |environment| environment.offline_store.as_ref(),
    check: offline::check,
    open: Opener::Store(offline::open),
    absorbs_repeats: offline::absorbs_repeats,
    has_keyless_rows: false,
    has_tombstones: false,
};

/// The same for inserts that anybody may send: a row need not have a column that it is known by.
pub const INSERTS: Kind<TableRows> = Kind { has_keyless_rows: true, ..OFFLINE };

/// The stores of history, as files are loaded into them.
pub const LOADS: Kind<FileLoad> = Kind {
    name: "offline store",
    field: "offline_store",
    uri: "uri",
    of: |environment| environment.offline_store.as_ref(),
    check: load::check,
    open: Opener::Store(load::open),
    absorbs_repeats: load::absorbs_repeats,
    has_keyless_rows: false,
    has_tombstones: false,
};

/// The stores of metrics, queries and errors.
pub const METRICS: Kind<TableRows> = Kind {
    name: "metrics store",
    field: "metrics_store",
    uri: "uri",
    of: |environment| environment.metrics_store.as_ref()?.main.as_ref(),
    check: metrics::check,
    open: Opener::Store(metrics::open),
    absorbs_repeats: metrics::absorbs_repeats,
    has_keyless_rows: false,
    has_tombstones: false,
};

/// Those that queries and errors may go to beside or instead of it.
pub const METRICS_CLICKHOUSE: Kind<TableRows> = Kind {
    name: "metrics store (clickhouse_uri)",
    uri: "clickhouse_uri",
    of: |environment| environment.metrics_store.as_ref()?.clickhouse.as_ref(),
    ..METRICS
};

/// Those that metrics may go to beside or instead of it.
pub const METRICS_VICTORIA: Kind<TableRows> = Kind {
    name: "metrics store (victoria_metrics_uri)",
    uri: "victoria_metrics_uri",
    of: |environment| environment.metrics_store.as_ref()?.victoria_metrics.as_ref(),
    ..METRICS
};

/// The stores of usage.
pub const USAGE: Kind<TableRows> = Kind {
    name: "usage store",
    field: "usage_store",
    uri: "uri",
    of: |environment| environment.usage_store.as_ref(),
    check: usage::check,
    open: Opener::Store(usage::open),
    absorbs_repeats: usage::absorbs_repeats,
    has_keyless_rows: false,
    has_tombstones: false,
};

/// The stores of vectors.
pub const VECTOR: Kind<VectorRow> = Kind {
    name: "vector store",
    field: "vector_store",
    uri: "uri",
    of: |environment| environment.vector_store.as_ref(),
    check: vector::check,
    open: Opener::Store(|options| vector::open(options).map(|store| store as Arc<dyn Sink<VectorRow>>)),
    absorbs_repeats: vector::absorbs_repeats,
    has_keyless_rows: false,
    has_tombstones: true,
};

/// Whether what two groups of a type of writer make of the same messages is in the same place twice: on a topic, or in
/// the store of a URI. `false` where nothing is known of it.
pub(super) fn doubles_between_groups(writer_type: WriterType, uri: Option<&str>) -> bool {
    let Some(uri) = uri else { return true };
    let absorbs = match writer_type.info().store.and_then(StoreKind::of_field) {
        Some(StoreKind::Online) => online::absorbs_repeats(uri),
        Some(StoreKind::Offline) if writer_type == WriterType::OFFLINE_STORE_BULK_INSERT => load::absorbs_repeats(uri),
        Some(StoreKind::Offline) => offline::absorbs_repeats(uri),
        Some(StoreKind::Metrics) => metrics::absorbs_repeats(uri),
        Some(StoreKind::Usage) => usage::absorbs_repeats(uri),
        Some(StoreKind::Vector) => vector::absorbs_repeats(uri),
        None => return true,
    };
    absorbs.is_ok_and(|absorbs| !absorbs)
}

/// The destinations of a writer, and how its environments find theirs.
pub struct Destinations<R: Row> {
    /// In the order of their indices.
    pub planned: Vec<PlannedDestination<R>>,
    /// By the field that names the store, and the environment.
    indices: BTreeMap<(&'static str, String), usize>,
}

impl<R: Row> Destinations<R> {
    /// The index of an environment's store, where there is one kind of them; `None` where it has none.
    pub fn index(&self, environment: &str) -> Option<usize> {
        self.indices.iter().find_map(|((_, id), index)| (id == environment).then_some(*index))
    }

    /// The index of an environment's store of a kind; `None` where it has none.
    pub fn index_in(&self, kind: &Kind<R>, environment: &str) -> Option<usize> {
        self.indices.get(&(kind.uri, environment.to_owned())).copied()
    }

    /// Plans the stores of one kind. Environments with the same URI and prefix share one.
    pub fn plan(environments: &Environments, kind: &Kind<R>) -> Result<Self, PlanError> {
        Self::plan_all(environments, &[kind])
    }

    /// Plans the stores of several kinds, which share one where they name the same.
    pub fn plan_all(environments: &Environments, kinds: &[&Kind<R>]) -> Result<Self, PlanError> {
        let mut planned: Vec<(PlannedDestination<R>, Vec<&str>)> = Vec::new();
        let mut indices = BTreeMap::new();
        let all = environments.entries.iter().flat_map(|(id, entry)| kinds.iter().map(move |kind| (id, entry, *kind)));
        for (id, environment, kind) in all {
            let Some(settings) = (kind.of)(environment) else { continue };
            check_scheme(id, settings, kind)?;
            let index =
                planned.iter().position(|(known, _)| known.store().is_some_and(|known| same_store(known, settings)));
            let index = index.unwrap_or_else(|| {
                let &Kind { open, absorbs_repeats, has_keyless_rows, has_tombstones, .. } = kind;
                let (name, settings) = (kind.name.to_owned(), settings.clone());
                let to = To::Store(PlannedStore { settings, open, absorbs_repeats, has_keyless_rows, has_tombstones });
                let new = PlannedDestination { name, to };
                planned.push((new, Vec::new()));
                planned.len() - 1
            });
            if planned[index].1.last() != Some(&id.as_str()) {
                planned[index].1.push(id);
            }
            indices.insert((kind.uri, id.clone()), index);
        }
        if let (true, [kind, ..]) = (planned.is_empty(), kinds) {
            return Err(PlanError::Settings(none_has_one(environments, kind)));
        }
        let planned = planned
            .into_iter()
            .map(|(planned, ids)| PlannedDestination {
                name: format!("{} of {}", planned.name, ids.join(", ")),
                ..planned
            })
            .collect();
        Ok(Self { planned, indices })
    }
}

/// Whether a store can be opened as it is configured, as far as that shows without contacting it.
///
/// A URI in a secret is judged when it is fetched. What is said never quotes a credential.
pub(super) fn openable<R: Row>(settings: &StoreSettings, kind: &Kind<R>) -> Result<(), String> {
    let SecretRef::Plain(fetched) = &settings.uri else { return Ok(()) };
    let refused = |error: StoreError| error.to_string().replace(fetched.expose_secret(), &settings.uri.describe());
    let Opener::Store(open) = kind.open else { return (kind.check)(fetched.expose_secret()).map_err(refused) };
    let options = StoreOptions {
        uri: settings.uri.clone(),
        fetched: fetched.clone(),
        cache_prefix: settings.cache_prefix.as_str().into(),
        clustered: settings.clustered,
        wait_replicas: settings.wait_replicas,
        concurrency: 1,
        tombstone_retention: Duration::ZERO,
        memory_limit: 0,
    };
    open(&options).map(drop).map_err(refused)
}

fn none_has_one<R: Row>(environments: &Environments, kind: &Kind<R>) -> String {
    let field = kind.field;
    if environments.entries.is_empty() {
        return format!("`environments` is empty: add one with `{field}`, or `*` for all");
    }
    let ids: Vec<_> = environments.entries.keys().map(|id| format!("`{id}`")).collect();
    format!("no environment has an `{field}` to write to; add one under `environments`: {}", ids.join(", "))
}

/// A URI that stands in the configuration is checked here; one in a secret when it is fetched.
fn check_scheme<R: Row>(environment: &str, settings: &StoreSettings, kind: &Kind<R>) -> Result<(), PlanError> {
    let SecretRef::Plain(uri) = &settings.uri else { return Ok(()) };
    let Kind { field, uri: named_by, .. } = kind;
    (kind.check)(uri.expose_secret())
        .map_err(|error| PlanError::Settings(format!("`environments.{environment}.{field}.{named_by}`: {error}")))
}

fn same_store(one: &StoreSettings, other: &StoreSettings) -> bool {
    let same_uri = match (&one.uri, &other.uri) {
        (SecretRef::Plain(one), SecretRef::Plain(other)) => one.expose_secret() == other.expose_secret(),
        (
            SecretRef::Named { client, name, field },
            SecretRef::Named { client: other_client, name: other_name, field: other_field },
        ) => client == other_client && name == other_name && field == other_field,
        _ => false,
    };
    same_uri
        && one.cache_prefix == other.cache_prefix
        && one.clustered == other.clustered
        && one.wait_replicas == other.wait_replicas
}
