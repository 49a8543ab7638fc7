//! What this version has: the one thing that a configuration is judged by and does not know itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::{BusSettings, StoreSettings};
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

/// What a configuration is to know of the bus that it names.
#[derive(Clone, Copy, Debug)]
pub struct OfBuses {
    /// Says why the bus can never be used as it is configured; contacts nothing.
    pub check: fn(&BusSettings) -> Result<(), String>,
    /// How long it waits for what is in hand of partitions that move, and what sets that.
    pub handover: fn(&BusSettings) -> (Duration, &'static str),
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
    /// What is known of them by their settings.
    pub of_buses: Option<OfBuses>,
    /// Whether what two groups of a type write to the same place is there twice; by a store's URI, where it has one.
    pub doubles: Option<fn(WriterType, Option<&str>) -> bool>,
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
