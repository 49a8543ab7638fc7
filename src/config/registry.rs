//! What this version has: the one thing that a configuration is judged by and does not know itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::own::OwnFields;
use super::settings::{BusSettings, StoreSettings};
use super::store_kind::StoreKind;
use crate::writer_type::WriterType;

/// A store, as far as a configuration is judged by it. `store::Store` is what has all of it.
pub trait StoreDescription: Sync {
    /// What people call it (`Redis`).
    fn name(&self) -> &'static str;

    /// The schemes of its URIs, without `:`, in lower case.
    fn schemes(&self) -> &'static [&'static str];

    /// Whether it can be a store of a kind.
    fn takes(&self, kind: StoreKind) -> bool;

    /// What it has of settings beside its URI.
    fn own(&self) -> OwnFields;

    /// Where its URI is a path, which may be relative to the folder of the configuration file: what stands between
    /// the scheme and an absolute path.
    fn before_path(&self) -> Option<&'static str>;

    /// Whether it keeps nothing of what is written to it.
    fn keeps_nothing(&self) -> bool;

    /// Says why it can never be opened as it is configured; contacts nothing. Credentials are not quoted.
    fn check(&self, kind: StoreKind, settings: &StoreSettings) -> Result<(), String>;
}

impl fmt::Debug for dyn StoreDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a configuration is to know of the bus that it names.
#[derive(Clone, Copy, Debug)]
pub struct OfBuses {
    /// Says why the bus can never be used as it is configured; contacts nothing.
    pub check: fn(&BusSettings) -> Result<(), String>,
    /// How long it waits for what is in hand of partitions that move, and what sets that.
    pub handover: fn(&BusSettings) -> (Duration, &'static str),
}

/// How much of what is written twice to one place is there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Twice {
    /// Nothing, as far as it is known.
    Nothing,
    /// The rows without a key of their own.
    Keyless,
    /// All of it.
    All,
}

/// The writers, stores and buses of this version, as their registries list them; `writer::registry` makes it.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Types of writers that run.
    pub writers: Vec<WriterType>,
    /// What those guarantee, for people.
    pub guarantees: BTreeMap<WriterType, &'static str>,
    /// Stores.
    pub stores: Vec<&'static dyn StoreDescription>,
    /// Buses, as `bus_backend` names them.
    pub buses: Vec<&'static str>,
    /// What is known of them by their settings.
    pub of_buses: Option<OfBuses>,
    /// How much of what two groups of a type write to the same place is there twice; by a store's URI, where it has one.
    pub doubles: Option<fn(WriterType, Option<&str>) -> Twice>,
}

impl Registry {
    /// The stores of a kind.
    pub fn stores(&self, kind: StoreKind) -> impl Iterator<Item = &'static dyn StoreDescription> {
        self.stores.iter().copied().filter(move |store| store.takes(kind))
    }

    /// Schemes of the stores of a kind.
    pub fn schemes(&self, kind: StoreKind) -> Vec<&'static str> {
        self.stores(kind).flat_map(StoreDescription::schemes).copied().collect()
    }

    /// The store of a kind that has a scheme, which may be in capitals.
    pub fn store(&self, kind: StoreKind, scheme: &str) -> Option<&'static dyn StoreDescription> {
        self.stores(kind).find(|store| store.schemes().iter().any(|known| known.eq_ignore_ascii_case(scheme)))
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
