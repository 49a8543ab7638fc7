//! What this version has: the one thing that a configuration is judged by and does not know itself.

use std::collections::BTreeMap;

use super::settings::StoreSettings;
use super::store_kind::StoreKind;
use crate::writer_type::WriterType;

/// Says why a store can never be opened as it is configured; contacts nothing.
pub type StoreCheck = fn(&StoreSettings) -> Result<(), String>;

/// The stores of one kind.
#[derive(Clone, Debug)]
pub struct KindOfStore {
    /// Their schemes.
    pub schemes: Vec<&'static str>,
    /// Judges the URI of one of them, credentials in it not quoted.
    pub check: StoreCheck,
}

/// The writers, stores and buses of this version, as their registries list them; `writer::registry` makes it.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Types of writers that run.
    pub writers: Vec<WriterType>,
    /// What those guarantee, for people.
    pub guarantees: BTreeMap<WriterType, &'static str>,
    /// Stores by their kind; without an entry a kind has none.
    pub stores: BTreeMap<StoreKind, KindOfStore>,
    /// Schemes of stores that keep nothing of what is written to them.
    pub keeps_nothing: &'static [&'static str],
    /// Buses, as `bus_backend` names them.
    pub buses: Vec<&'static str>,
}

impl Registry {
    /// Schemes of the stores of a kind.
    pub(super) fn schemes(&self, kind: StoreKind) -> &[&'static str] {
        self.stores.get(&kind).map_or(&[], |stores| &stores.schemes)
    }

    /// What judges the stores of a kind.
    pub(super) fn check(&self, kind: StoreKind) -> Option<StoreCheck> {
        self.stores.get(&kind).map(|stores| stores.check)
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
