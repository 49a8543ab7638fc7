//! The buses of this version, and what is to be had of them by their settings.

use std::sync::Arc;
use std::time::Duration;

use super::inspect::Inspect;
use super::{Bus, BusError, Waits, kafka, local, pubsub};
use crate::config::settings::BusSettings;

/// A kind of bus, as `bus_backend` names it.
pub struct BusKind {
    /// The value of `bus_backend`.
    pub name: &'static str,
    /// Makes a connection from checked settings; `None` where they are another kind's.
    pub open: fn(&BusSettings) -> Option<Result<Arc<dyn Bus>, BusError>>,
    /// The same, to be asked about itself.
    pub inspect: fn(&BusSettings) -> Option<Arc<dyn Inspect>>,
    /// How long it waits for a member; `None` where the settings are another kind's.
    pub waits: fn(&BusSettings) -> Option<Waits>,
    /// Whether messages and positions can move in one transaction.
    pub has_transactions: bool,
}

/// Every bus of this version.
pub static BUSES: &[BusKind] = &[
    BusKind { name: "LOCAL", open: local::open, inspect: local::inspect, waits: local::waits, has_transactions: true },
    BusKind { name: "KAFKA", open: kafka::open, inspect: kafka::inspect, waits: kafka::waits, has_transactions: true },
    BusKind {
        name: "PUBSUB",
        open: pubsub::open,
        inspect: pubsub::inspect,
        waits: pubsub::waits,
        has_transactions: false,
    },
];

/// The bus that the settings name.
pub fn open(settings: &BusSettings) -> Result<Arc<dyn Bus>, BusError> {
    BUSES
        .iter()
        .find_map(|kind| (kind.open)(settings))
        .unwrap_or_else(|| Err(BusError::Settings(format!("{settings:?} is not a bus of this version"))))
}

/// Whether the bus that the settings name moves messages and positions in one transaction.
pub fn has_transactions(settings: &BusSettings) -> bool {
    BUSES.iter().any(|kind| kind.name == settings.name() && kind.has_transactions)
}

/// How long the bus that the settings name waits for a member of a group.
pub fn waits(settings: &BusSettings) -> Waits {
    let waits = BUSES.iter().find_map(|kind| (kind.waits)(settings));
    // A bus that is not in this version waits for nobody; no writer starts on it.
    waits.unwrap_or(Waits { session: None, session_by: None, handover: Duration::MAX, handover_by: "" })
}

/// The bus that the settings name, to be asked about itself.
pub fn inspect(settings: &BusSettings) -> Option<Arc<dyn Inspect>> {
    BUSES.iter().find_map(|kind| (kind.inspect)(settings))
}
