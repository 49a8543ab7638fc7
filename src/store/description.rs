//! What is to be known of a store, in one place: its file, and a line in the list of [`stores`](super::stores).

use std::sync::Arc;

use super::durability::Durability;
use super::examine::Findings;
use super::look::Look;
use super::online::OnlineStore;
use super::tables::prepare::TableStore;
use super::vector::VectorStore;
use super::{StoreError, StoreOptions};
use crate::config::StoreKind;
use crate::config::own::OwnFields;
use crate::row::load::FileLoad;
use crate::row::table::TableRows;
use crate::sink::Sink;

/// A store. What it can do is what is not `None`; everything else that the program does with stores follows from it.
pub struct Store {
    /// What people call it.
    pub name: &'static str,
    /// The schemes of its URIs without `:`, in lower case; the first is the usual one.
    pub schemes: &'static [&'static str],
    /// Where its URI is a path, which may be relative to the folder of the configuration file: what stands between
    /// the scheme and an absolute path.
    pub before_path: Option<&'static str>,
    /// The settings that it alone has, beside its URI.
    pub own: OwnFields,
    /// The database that a URI of it names; `None` where it has none.
    pub database: fn(&str) -> Option<String>,
    /// The newest values of features.
    pub online: Option<Takes<dyn OnlineStore>>,
    /// History.
    pub offline: Option<Takes<dyn TableStore>>,
    /// History that comes in files. Under the same URIs as history, so that whatever takes files takes history too.
    pub loads: Option<Takes<dyn Sink<FileLoad>>>,
    /// Metrics, queries and errors.
    pub metrics: Option<Takes<dyn Sink<TableRows>>>,
    /// Usage.
    pub usage: Option<Takes<dyn Sink<TableRows>>>,
    /// Vectors.
    pub vector: Option<Takes<dyn VectorStore>>,
    /// Shows its tables to a person; contacts nothing before it is asked.
    pub look: Option<OpenLook>,
    /// Where rows are once it has acknowledged them. Where that is nowhere, a configuration with it is warned of, and
    /// what is promised of stores is not promised of it.
    pub durability: Durability,
    /// Replicas that must have a write before it counts, where its settings say so.
    pub replicas: fn(&StoreOptions) -> Option<u32>,
    /// Examines it for `doctor`, and changes nothing that anybody else would notice.
    pub examine: Option<Examine>,
}

/// Examines the store of checked options, which is of a kind.
pub type Examine = for<'a> fn(StoreKind, &'a StoreOptions) -> Findings<'a>;

/// Makes a look of checked options for a store of a kind.
pub type OpenLook = fn(StoreKind, &StoreOptions) -> Result<Arc<dyn Look>, StoreError>;

/// How a store takes rows of one kind; `S` is what it opens.
pub struct Takes<S: ?Sized> {
    /// Whether rows that it has already leave no trace when they are written again: it knows them by
    /// a key or a time. Where not, reading a topic again doubles them.
    pub absorbs_repeats: bool,
    /// Checks URI and settings, and makes a client that has not connected yet.
    pub open: fn(&StoreOptions) -> Result<Arc<S>, StoreError>,
}

impl Store {
    /// One that takes nothing: what a description leaves unsaid.
    pub const NONE: Self = Self {
        name: "",
        schemes: &[],
        before_path: None,
        own: OwnFields::NONE,
        database: |_| None,
        online: None,
        offline: None,
        loads: None,
        metrics: None,
        usage: None,
        vector: None,
        look: None,
        durability: Durability::Nowhere,
        replicas: |_| None,
        examine: None,
    };

    /// Whether it keeps nothing of what is written to it.
    pub fn keeps_nothing(&self) -> bool {
        self.durability == Durability::Nowhere
    }

    /// Whether it can be a store of a kind.
    pub fn takes(&self, kind: StoreKind) -> bool {
        match kind {
            StoreKind::Online => self.online.is_some(),
            StoreKind::Offline => self.offline.is_some(),
            StoreKind::Metrics => self.metrics.is_some(),
            StoreKind::Usage => self.usage.is_some(),
            StoreKind::Vector => self.vector.is_some(),
        }
    }
}
