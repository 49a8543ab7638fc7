//! Where a writer's rows go: one client per distinct store, whichever environments share it, or a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::doubles::Doubles;
use super::outlet::Outlet;
use super::plan_error::PlanError;
use crate::config::secret::SecretRef;
use crate::config::settings::{Environments, StoreSettings};
use crate::config::{StoreKind, Twice};
use crate::row::feature::FeatureRow;
use crate::row::load::FileLoad;
use crate::row::table::TableRows;
use crate::row::vector::VectorRow;
use crate::runtime::Emit;
use crate::sink::{Row, Sink};
use crate::store::{self, StoreError, StoreOptions};
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

/// Stores of one kind, as rows of one type are written to them.
pub struct Stores<R: Row> {
    /// `online store`, for names and messages.
    pub name: &'static str,
    /// The kind of store that an environment has them under.
    pub kind: StoreKind,
    /// The field of such a store that names it.
    pub uri: &'static str,
    /// Opens one.
    pub open: Opener<R>,
    /// Whether the store of a URI takes rows again without a trace, where it is one of this version.
    pub absorbs_repeats: fn(&str) -> Result<bool, StoreError>,
    /// Whether there are rows without anything by which a store could know them.
    pub has_keyless_rows: bool,
}

/// The stores of newest values.
pub const ONLINE: Stores<FeatureRow> = Stores {
    name: StoreKind::Online.name(),
    kind: StoreKind::Online,
    uri: "uri",
    open: Opener::Store(|options| store::ONLINE.open(options).map(|store| store as Arc<dyn Sink<FeatureRow>>)),
    absorbs_repeats: |uri| store::ONLINE.absorbs_repeats(uri),
    has_keyless_rows: false,
};

/// The stores of history.
pub const OFFLINE: Stores<TableRows> = Stores {
    name: StoreKind::Offline.name(),
    kind: StoreKind::Offline,
    uri: "uri",
    open: Opener::Store(|options| store::OFFLINE.open(options).map(|store| store as Arc<dyn Sink<TableRows>>)),
    absorbs_repeats: |uri| store::OFFLINE.absorbs_repeats(uri),
    has_keyless_rows: false,
};

/// The same for inserts that anybody may send: a row need not have a column that it is known by.
pub const INSERTS: Stores<TableRows> = Stores { has_keyless_rows: true, ..OFFLINE };

/// The stores of history, as files are loaded into them.
pub const LOADS: Stores<FileLoad> = Stores {
    name: StoreKind::Offline.name(),
    kind: StoreKind::Offline,
    uri: "uri",
    open: Opener::Store(|options| store::LOADS.open(options)),
    absorbs_repeats: |uri| store::LOADS.absorbs_repeats(uri),
    has_keyless_rows: false,
};

/// The stores of metrics, queries and errors.
pub const METRICS: Stores<TableRows> = Stores {
    name: StoreKind::Metrics.name(),
    kind: StoreKind::Metrics,
    uri: "uri",
    open: Opener::Store(|options| store::METRICS.open(options)),
    absorbs_repeats: |uri| store::METRICS.absorbs_repeats(uri),
    has_keyless_rows: false,
};

/// Those that queries and errors may go to beside or instead of it.
pub const METRICS_CLICKHOUSE: Stores<TableRows> =
    Stores { name: "metrics store (clickhouse_uri)", uri: "clickhouse_uri", ..METRICS };

/// Those that metrics may go to beside or instead of it.
pub const METRICS_VICTORIA: Stores<TableRows> =
    Stores { name: "metrics store (victoria_metrics_uri)", uri: "victoria_metrics_uri", ..METRICS };

/// The stores of usage.
pub const USAGE: Stores<TableRows> = Stores {
    name: StoreKind::Usage.name(),
    kind: StoreKind::Usage,
    uri: "uri",
    open: Opener::Store(|options| store::USAGE.open(options)),
    absorbs_repeats: |uri| store::USAGE.absorbs_repeats(uri),
    has_keyless_rows: false,
};

/// The stores of vectors.
pub const VECTOR: Stores<VectorRow> = Stores {
    name: StoreKind::Vector.name(),
    kind: StoreKind::Vector,
    uri: "uri",
    open: Opener::Store(|options| store::VECTOR.open(options).map(|store| store as Arc<dyn Sink<VectorRow>>)),
    absorbs_repeats: |uri| store::VECTOR.absorbs_repeats(uri),
    has_keyless_rows: false,
};

/// How much of what two groups of a type of writer make of the same messages is in the same place twice: on a topic, or
/// in the store of a URI. Nothing where nothing is known of it.
pub(super) fn doubles_between_groups(writer_type: WriterType, uri: Option<&str>) -> Twice {
    let (Some(uri), Some(kind)) = (uri, writer_type.info().store.and_then(StoreKind::of_field)) else {
        return Twice::All;
    };
    let is_of = |known: WriterType| writer_type == known;
    let (absorbs, has_keyless_rows) = match kind {
        StoreKind::Online => (ONLINE.absorbs_repeats, ONLINE.has_keyless_rows),
        StoreKind::Offline if is_of(WriterType::OFFLINE_STORE_BULK_INSERT) => {
            (LOADS.absorbs_repeats, LOADS.has_keyless_rows)
        }
        StoreKind::Offline if is_of(WriterType::OFFLINE_STORE_STREAMING_INSERT) => {
            (INSERTS.absorbs_repeats, INSERTS.has_keyless_rows)
        }
        StoreKind::Offline => (OFFLINE.absorbs_repeats, OFFLINE.has_keyless_rows),
        StoreKind::Metrics => (METRICS.absorbs_repeats, METRICS.has_keyless_rows),
        StoreKind::Usage => (USAGE.absorbs_repeats, USAGE.has_keyless_rows),
        StoreKind::Vector => (VECTOR.absorbs_repeats, VECTOR.has_keyless_rows),
    };
    match absorbs(uri) {
        Ok(false) => Twice::All,
        Ok(true) if has_keyless_rows => Twice::Keyless,
        Ok(true) | Err(_) => Twice::Nothing,
    }
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
    pub fn index_in(&self, stores: &Stores<R>, environment: &str) -> Option<usize> {
        self.indices.get(&(stores.uri, environment.to_owned())).copied()
    }

    /// Plans the stores of one kind. Environments with the same URI and prefix share one.
    pub fn plan(environments: &Environments, stores: &Stores<R>) -> Result<Self, PlanError> {
        Self::plan_all(environments, &[stores])
    }

    /// Plans the stores of several kinds, which share one where they name the same.
    pub fn plan_all(environments: &Environments, families: &[&Stores<R>]) -> Result<Self, PlanError> {
        let mut planned: Vec<(PlannedDestination<R>, Vec<&str>)> = Vec::new();
        let mut indices = BTreeMap::new();
        let all = environments.entries.iter();
        let all = all.flat_map(|(id, entry)| families.iter().map(move |stores| (id, entry, *stores)));
        for (id, environment, stores) in all {
            let Some(settings) = environment.store(stores.kind, stores.uri) else { continue };
            check_scheme(id, settings, stores)?;
            let index = planned.iter().position(|(known, _)| known.store() == Some(settings));
            let index = index.unwrap_or_else(|| {
                let &Stores { kind, open, absorbs_repeats, has_keyless_rows, .. } = stores;
                let (name, settings) = (stores.name.to_owned(), settings.clone());
                let has_tombstones = kind.has_tombstones();
                let to = To::Store(PlannedStore { settings, open, absorbs_repeats, has_keyless_rows, has_tombstones });
                let new = PlannedDestination { name, to };
                planned.push((new, Vec::new()));
                planned.len() - 1
            });
            if planned[index].1.last() != Some(&id.as_str()) {
                planned[index].1.push(id);
            }
            indices.insert((stores.uri, id.clone()), index);
        }
        if let (true, [stores, ..]) = (planned.is_empty(), families) {
            return Err(PlanError::Settings(none_has_one(environments, stores.kind)));
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

fn none_has_one(environments: &Environments, kind: StoreKind) -> String {
    let field = kind.field();
    if environments.entries.is_empty() {
        return format!("`environments` is empty: add one with `{field}`, or `*` for all");
    }
    let ids: Vec<_> = environments.entries.keys().map(|id| format!("`{id}`")).collect();
    format!("no environment has an `{field}` to write to; add one under `environments`: {}", ids.join(", "))
}

/// A URI that stands in the configuration is checked here; one in a secret when it is fetched.
fn check_scheme<R: Row>(environment: &str, settings: &StoreSettings, stores: &Stores<R>) -> Result<(), PlanError> {
    let SecretRef::Plain(uri) = &settings.uri else { return Ok(()) };
    let (field, named_by) = (stores.kind.field(), stores.uri);
    (stores.absorbs_repeats)(uri.expose_secret())
        .map(drop)
        .map_err(|error| PlanError::Settings(format!("`environments.{environment}.{field}.{named_by}`: {error}")))
}
