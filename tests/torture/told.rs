//! What `explain` says of the configuration of a run, to hold the findings against: what it excludes after all that has
//! happened fails the run.

use std::collections::BTreeSet;
use std::path::Path;

use chalk_writer::config::{self, Overrides, Selection};
use chalk_writer::writer::doubles::Doubles;
use chalk_writer::writer::guarantee::{self, Effect, Explained, Fault, May};
use chalk_writer::writer::registry;

use super::writers::{Job, Kind};

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
    ("the topic is read again", &[Fault::ReadAgain]),
    ("writers that ended by themselves", &[Fault::WriterKilled]),
];

/// What is said of the writers, and what has happened so far.
pub struct Told<J = Kind> {
    of: Vec<(J, Explained)>,
    happened: BTreeSet<Fault>,
}

impl<J: Job> Told<J> {
    /// Reads the configuration as the writers do.
    pub fn of(config: &Path, jobs: &[J]) -> Self {
        let loaded = config::load(config, &Overrides::default(), &registry()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let explained = |job: &J| {
            let settings = loaded.writer(&Selection::Type(job.type_name().to_owned())).unwrap();
            (*job, runtime.block_on(guarantee::explain(&settings)).unwrap())
        };
        Self { of: jobs.iter().map(explained).collect(), happened: BTreeSet::new() }
    }

    /// Something happened.
    pub fn note(&mut self, what: &str) {
        let known = FAULTS.iter().filter(|(note, _)| *note == what);
        self.happened.extend(known.flat_map(|(_, faults)| *faults));
    }

    fn explained(&self, job: J) -> &Explained {
        &self.of.iter().find(|(of, _)| *of == job).expect("a writer of the run").1
    }

    /// What may come of a fault.
    pub fn may(&self, job: J, fault: Fault) -> May {
        self.explained(job).may(fault)
    }

    /// Whether an effect is excluded after all that happened.
    pub fn excludes(&self, job: J, effect: Effect) -> bool {
        !self.happened.iter().any(|fault| self.may(job, *fault).has(effect))
    }

    /// Whether it is excluded whatever may happen.
    pub fn never(&self, job: J, effect: Effect) -> bool {
        !Fault::ALL.into_iter().any(|fault| self.may(job, fault).has(effect))
    }

    /// Whether what a writer publishes twice is another message each time, so that nobody behind it can tell.
    pub fn makes_others(&self, job: J) -> bool {
        self.explained(job).destinations.iter().any(|kept| kept.doubles == Ok(Doubles::CountedAgain))
    }

    /// Whether a row of an environment may be twice in what a writer writes, after a fault.
    ///
    /// Of a row that has what it is known by: a place that doubles rows without doubles none of these.
    pub fn doubles(&self, job: J, environment: &str, fault: Fault) -> bool {
        let explained = self.explained(job);
        let guarantee = explained.faults.iter().find(|known| known.fault == fault).expect("every fault is explained");
        guarantee.destinations.iter().any(|there| {
            let kept = explained.destinations.iter().find(|kept| kept.name == there.destination).expect("it is listed");
            let is_there = !kept.is_store || kept.name.contains(&format!(" of {environment}"));
            is_there && there.may.has(Effect::Duplicated) && kept.doubles != Ok(Doubles::Keyless)
        })
    }
}
