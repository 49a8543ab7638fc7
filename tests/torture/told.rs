//! What `explain` says of the configuration of a run, to hold the findings against: what it excludes after all that has
//! happened fails the run.

use std::collections::BTreeSet;
use std::path::Path;

use chalk_writer::config::{self, Overrides, Selection};
use chalk_writer::writer::guarantee::{self, Effect, Explained, Fault, May};
use chalk_writer::writer::registry;

use super::writers::{Job as _, Kind};

/// What a note of [`Chaos`](super::chaos::Chaos) stands for. A note that is not here allows nothing beyond what others do.
const FAULTS: &[(&str, &[Fault])] = &[
    ("SIGKILL", &[Fault::WriterKilled]),
    ("SIGTERM", &[Fault::Rebalance, Fault::DrainOverLimit]),
    ("SIGSTOP", &[Fault::WriterPaused]),
    ("one more member", &[Fault::Rebalance, Fault::DrainOverLimit, Fault::TwoWritersOfOneGroup]),
    ("one member less", &[Fault::Rebalance, Fault::DrainOverLimit]),
    ("store restart", &[Fault::StoreRestarted, Fault::StoreAway, Fault::StoreUnsure]),
    ("SIGKILL over a paused store", &[Fault::WriterKilled, Fault::StoreSlow, Fault::StoreUnsure]),
    ("clock jump", &[Fault::ClockWrong]),
    ("broker restart", &[Fault::BusRestarted, Fault::BusAway]),
    ("power cut", &[Fault::WriterKilled, Fault::StoreRestarted, Fault::StoreUnsure]),
    ("handover over stalled stores", &[Fault::DrainOverLimit]),
    ("handover in peace", &[Fault::Rebalance]),
    ("stores stand still", &[Fault::StoreSlow, Fault::StoreAway]),
    ("dead letters are sent again", &[Fault::DeadLettersReplayed]),
    ("a replay was killed", &[Fault::DeadLettersReplayed]),
    ("a message is passed over", &[Fault::MessageSkipped]),
    ("writers that ended by themselves", &[Fault::WriterKilled]),
];

/// What is said of both writers, and what has happened so far.
pub struct Told {
    of: [Explained; 2],
    happened: BTreeSet<Fault>,
}

impl Told {
    /// Reads the configuration as the writers do.
    pub fn of(config: &Path) -> Self {
        let loaded = config::load(config, &Overrides::default(), &registry()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let of = Kind::ALL.map(|kind| {
            let settings = loaded.writer(&Selection::Type(kind.type_name().to_owned())).unwrap();
            runtime.block_on(guarantee::explain(&settings)).unwrap()
        });
        Self { of, happened: BTreeSet::new() }
    }

    /// Something happened.
    pub fn note(&mut self, what: &str) {
        let known = FAULTS.iter().filter(|(note, _)| *note == what);
        self.happened.extend(known.flat_map(|(_, faults)| *faults));
    }

    /// What may have come of a fault.
    pub fn may(&self, kind: Kind, fault: Fault) -> May {
        let [online, offline] = &self.of;
        match kind {
            Kind::Online => online.may(fault),
            Kind::Offline => offline.may(fault),
        }
    }

    /// Whether an effect is excluded after all that happened.
    pub fn excludes(&self, kind: Kind, effect: Effect) -> bool {
        !self.happened.iter().any(|fault| self.may(kind, *fault).has(effect))
    }

    /// Whether it is excluded whatever may happen.
    pub fn never(&self, kind: Kind, effect: Effect) -> bool {
        !Fault::ALL.into_iter().any(|fault| self.may(kind, fault).has(effect))
    }
}
