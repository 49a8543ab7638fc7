//! What a writer guarantees in one configuration, fault by fault: what may come of each, why, and which setting would
//! weaken or strengthen it.
//!
//! Nothing here is known a second time. What a row that comes again leaves behind is [`Doubles`], by which readings
//! that would double are refused; limits and times are the [`Policy`](crate::runtime::Policy) that the pipeline runs
//! by; what a writer is, its descriptor says ([`Facts`](super::Facts)). [`mod@judge`] puts these together. The torture
//! checker holds what it finds against [`Explained::may`]: a double that is excluded here fails its run.

mod circumstances;
mod fault;
mod judge;
mod judged;
mod kept;
mod may;
mod of_bad_messages;
mod of_pub_sub;
mod of_stores;
mod of_the_bus;
mod of_the_process;
mod of_times;

use serde::{Serialize, Serializer};

pub use fault::Fault;
pub use kept::Kept;
pub use may::{Effect, May};

use super::{PlanError, find, plan};
use crate::bus;
use crate::config::settings::WriterSettings;
use crate::writer::doubles::Doubles;
use circumstances::Circumstances;

/// What a writer guarantees in a configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Its name.
    pub writer: String,
    /// Its type.
    #[serde(rename = "type")]
    pub writer_type: &'static str,
    /// The bus.
    pub bus: &'static str,
    /// What it reads.
    pub reads: String,
    /// Its consumer group.
    pub group: String,
    /// Where bad messages go.
    pub dead_letters: Option<String>,
    /// What it guarantees whatever the configuration, in a sentence or two.
    pub guarantee: &'static str,
    /// Where its rows go.
    pub destinations: Vec<Kept>,
    /// Fault by fault.
    pub faults: Vec<Guarantee>,
}

/// What may come of one fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guarantee {
    /// The fault.
    pub fault: Fault,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What may come of it in any destination; everything else is excluded.
    pub may: May,
    /// By what.
    pub because: String,
    /// What may come of it in each destination, and why there.
    pub destinations: Vec<There>,
    /// What would change it.
    pub changes: Vec<Change>,
}

/// What may come of a fault in one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct There {
    /// Its name.
    pub destination: String,
    /// What may come of it.
    pub may: May,
    /// Why, where that is of this destination alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub because: String,
}

/// A setting that a guarantee depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name in the configuration, or of what else is to be set.
    pub setting: String,
    /// What it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Whether the change strengthens the guarantee; else it weakens it.
    #[serde(rename = "effect", serialize_with = "effect")]
    pub strengthens: bool,
    /// The change, and what comes of it.
    pub change: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn effect<S: Serializer>(strengthens: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *strengthens { "strengthens" } else { "weakens" })
}

impl Explained {
    /// What may come of a fault, in any of the destinations.
    pub fn may(&self, fault: Fault) -> May {
        self.faults.iter().find(|known| known.fault == fault).map_or(May::NOTHING, |known| known.may)
    }
}

/// What the writer of these settings guarantees. Secrets are fetched; nothing else is contacted.
pub async fn explain(settings: &WriterSettings) -> Result<Explained, PlanError> {
    let planned = plan(settings)?;
    let facts = find(settings.writer_type).ok_or(PlanError::NotInThisVersion(settings.writer_type))?.facts();
    let mut kept = planned.kept().await;
    if !bus::has_transactions(&settings.bus) {
        // What would be published with its positions is published, and then what it was made of is acknowledged.
        for kept in kept.iter_mut().filter(|kept| kept.doubles == Ok(Doubles::OutOfPosition)) {
            kept.doubles = Ok(Doubles::CountedAgain);
        }
    }
    let around = Circumstances::new(settings, facts, &*planned, &kept);
    Ok(Explained {
        writer: settings.name.clone(),
        writer_type: settings.writer_type.as_str(),
        bus: settings.bus.name(),
        reads: settings.subscription.clone(),
        group: settings.group.clone(),
        dead_letters: settings.dlq_topic.clone(),
        guarantee: facts.guarantee,
        faults: Fault::ALL.map(|fault| judge::judge(fault, &around)).to_vec(),
        destinations: kept,
    })
}
