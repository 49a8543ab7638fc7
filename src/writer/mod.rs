//! The writers: each is a descriptor in one registry, all share the runtime.
//!
//! [`plan()`] is pure: it chooses and checks everything that can be without I/O. [`AnyPlan::start`]
//! fetches secrets, opens stores, checks topics and subscribes; what it returns is ready to run.
//!
//! A new writer is one folder here and one line in [`WRITERS`]. It names the one row type between
//! its decoder and its stores, so a store of another kind under it does not compile; the type is
//! erased once, at [`Run`](crate::runtime::Run).

mod any_plan;
pub mod apart;
pub mod body;
pub mod bulk_insert;
pub mod cache_strategy;
pub mod catalog;
pub mod column;
mod declared;
pub mod destinations;
mod digest;
pub mod doubles;
mod drop_ratio;
mod entity;
mod fields;
pub mod guarantee;
pub mod layouts;
pub mod metrics;
pub mod metrics_bus;
pub mod offline;
pub mod online;
pub mod open;
pub mod outlet;
pub mod plan;
mod plan_error;
pub mod preview;
pub mod query_mirror;
mod readable;
pub mod skip;
pub mod start;
pub mod streaming_insert;
#[cfg(test)]
mod testing;
pub mod time;
mod tried;
pub mod usage;
pub mod vector;
pub mod weight;

use crate::bus::{self, BUSES, BusError};
use crate::config::settings::WriterSettings;
use crate::config::{OfBuses, Registry, StoreDescription};
use crate::sink::Row;
use crate::store::STORES;

pub use any_plan::AnyPlan;
pub use plan::Plan;
pub use plan_error::PlanError;
pub use preview::{Preview, Shown};
pub use readable::readable_body;
pub use start::{Again, MayCome, Start, StartError};
pub use tried::Unfit;

pub use crate::writer_type::{TypeInfo, WriterType};

/// What is known of a writer without any settings: for `types` and `explain`.
#[derive(Debug)]
pub struct Facts {
    /// Its type.
    pub writer_type: WriterType,
    /// What it guarantees, in a sentence or two.
    pub guarantee: &'static str,
    /// By what a row that comes again is known, where a store can know it.
    pub known_by: &'static str,
    /// Which of two rows of one key stands.
    pub stands: Stands,
    /// Whether a time beyond `max_future_skew` buries its message.
    pub judges_times: bool,
    /// Whether it gives up what its destination has no room for, and counts it, instead of waiting.
    pub sheds: bool,
}

/// Which of two rows of one key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// The one that was observed later; of two of one time the larger.
    Newest,
    /// The one that came first.
    First,
    /// Both: no row takes the place of another.
    Both,
}

/// One kind of writer. Implement this, and add a line to [`WRITERS`].
pub trait Writer: Sync {
    /// What its decoder makes and its stores take.
    type Row: Row + Shown;

    /// What is known of it without settings.
    fn facts(&self) -> &'static Facts;

    /// Chooses and checks everything that can be without I/O.
    fn plan(&self, settings: &WriterSettings) -> Result<Plan<Self::Row>, PlanError>;
}

/// A [`Writer`] whose row type no longer shows.
pub trait AnyWriter: Sync {
    /// What is known of it without settings.
    fn facts(&self) -> &'static Facts;

    /// Chooses and checks everything that can be without I/O.
    fn plan(&self, settings: &WriterSettings) -> Result<Box<dyn AnyPlan>, PlanError>;
}

impl<W: Writer> AnyWriter for W {
    fn facts(&self) -> &'static Facts {
        Writer::facts(self)
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Box<dyn AnyPlan>, PlanError> {
        Ok(Box::new(Writer::plan(self, settings)?))
    }
}

/// Every writer of this version.
pub static WRITERS: &[&dyn AnyWriter] = &[
    &online::OnlineWriter,
    &offline::OfflineWriter,
    &bulk_insert::BulkInsertWriter,
    &metrics::MetricsWriter,
    &metrics_bus::MetricsBusWriter,
    &usage::UsageBusWriter,
    &query_mirror::QueryMirrorConsumer,
    &vector::VectorWriter,
    &streaming_insert::StreamingInsertWriter,
];

/// The writer of a type, where this version has it.
pub fn find(writer_type: WriterType) -> Option<&'static dyn AnyWriter> {
    WRITERS.iter().copied().find(|writer| writer.facts().writer_type == writer_type)
}

/// By what the rows of a writer are known that come again.
pub fn known_by(writer_type: WriterType) -> &'static str {
    find(writer_type).map_or("key", |writer| writer.facts().known_by)
}

/// What this version has, for the checks of a configuration: the writers here, and all stores and buses.
pub fn registry() -> Registry {
    Registry {
        writers: WRITERS.iter().map(|writer| writer.facts().writer_type).collect(),
        guarantees: WRITERS.iter().map(|writer| (writer.facts().writer_type, writer.facts().guarantee)).collect(),
        stores: STORES.iter().map(|store| *store as &'static dyn StoreDescription).collect(),
        buses: BUSES.iter().map(|kind| kind.name).collect(),
        of_buses: Some(OfBuses {
            check: |settings| match bus::open(settings) {
                Ok(_) => Ok(()),
                Err(BusError::Settings(text)) => Err(text),
                Err(error) => Err(error.to_string()),
            },
            handover: |settings| {
                let waits = bus::waits(settings);
                (waits.handover, waits.handover_by)
            },
        }),
        doubles: Some(destinations::doubles_between_groups),
    }
}

/// The plan of the writer that the settings name.
pub fn plan(settings: &WriterSettings) -> Result<Box<dyn AnyPlan>, PlanError> {
    find(settings.writer_type).ok_or(PlanError::NotInThisVersion(settings.writer_type))?.plan(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_writer_and_each_writer_is_there_once() {
        let registered: Vec<WriterType> = WRITERS.iter().map(|writer| writer.facts().writer_type).collect();
        for writer_type in WriterType::ALL {
            assert_eq!(registered.iter().filter(|known| **known == writer_type).count(), 1, "{writer_type}");
        }
        assert_eq!(registered.len(), WriterType::ALL.len());
    }
}
