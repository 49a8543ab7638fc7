//! What this version has: the one thing that a configuration is judged by and does not know itself.

use super::settings::StoreSettings;
use super::store_kind::StoreKind;
use crate::writer_type::WriterType;

/// Says why a store can never be opened as it is configured; contacts nothing.
pub type StoreCheck = fn(&StoreSettings) -> Result<(), String>;

/// The writers, stores and buses of this version, as their registries list them; `writer::registry` makes it.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Types of writers that run.
    pub writers: Vec<WriterType>,
    /// Schemes of online stores.
    pub online_schemes: Vec<&'static str>,
    /// Schemes of offline stores.
    pub offline_schemes: Vec<&'static str>,
    /// Schemes of stores that keep nothing of what is written to them.
    pub keeps_nothing: &'static [&'static str],
    /// Judges the URI of an online store of this version, credentials in it not quoted.
    pub check_online: Option<StoreCheck>,
    /// Judges the URI of an offline store of this version, likewise.
    pub check_offline: Option<StoreCheck>,
    /// Buses, as `bus_backend` names them.
    pub buses: Vec<&'static str>,
}

impl Registry {
    /// What judges the stores of a kind.
    pub(super) fn check(&self, kind: StoreKind) -> Option<StoreCheck> {
        match kind {
            StoreKind::Online => self.check_online,
            StoreKind::Offline => self.check_offline,
            StoreKind::Metrics | StoreKind::Usage | StoreKind::Vector => None,
        }
    }

    /// Whether a writer of this type runs.
    pub fn runs(&self, writer_type: WriterType) -> bool {
        self.writers.contains(&writer_type)
    }

    /// `works`, or `not in this version`.
    pub fn state(&self, writer_type: WriterType) -> &'static str {
        if self.runs(writer_type) { "works" } else { "not in this version" }
    }

    /// The answer to who asks for a writer that does not run.
    pub fn refusal(&self, writer_type: WriterType) -> String {
        let known: Vec<&str> = self.writers.iter().map(|known| known.as_str()).collect();
        format!("{writer_type} is not in this version; it has {}", known.join(", "))
    }
}
