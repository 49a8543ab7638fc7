//! `OFFLINE_WRITER`: results → history, one table per namespace, and one row per query.

mod arrow;
mod decode;
mod kind;
pub mod observation_id;
mod query_log;
mod republish;
mod shapes;
#[cfg(test)]
mod tests;
mod verdicts;

pub use decode::OfflineDecoder;

use super::catalog::Catalog;
use super::destinations::{Destinations, OFFLINE};
use super::open::Gate;
use super::outlet::Publishes;
use super::plan::Plan;
use super::plan_error::PlanError;
use super::time::{Believable, Clock, micros, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::{OfflineMode, WriterSettings};
use crate::row::table::TableRows;
use decode::EARLIEST;
use republish::REPUBLISHED;
use shapes::OfflineEnvironment;

/// The descriptor.
pub struct OfflineWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::OFFLINE,
    guarantee: "at least once: a row that comes twice carries the same `__observation_id__`, by which stores with keys \
                keep one of them and readers of a lake drop the others",
    known_by: "`__observation_id__`",
    stands: Stands::Both,
    judges_times: true,
    sheds: false,
};

impl Writer for OfflineWriter {
    type Row = TableRows;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<TableRows>, PlanError> {
        let kind = match settings.of_type.offline_mode {
            OfflineMode::Direct => &OFFLINE,
            OfflineMode::Republish => &REPUBLISHED,
        };
        let destinations = Destinations::plan(&settings.environments, kind)?;
        let decoder = decoder(settings, &destinations, system_clock());
        Ok(Plan { publishes: Publishes::of(settings), ..Plan::new(settings, destinations, decoder) })
    }
}

/// The decoder for these settings, which takes the time from `clock`.
pub fn decoder(settings: &WriterSettings, destinations: &Destinations<TableRows>, clock: Clock) -> OfflineDecoder {
    OfflineDecoder {
        gate: Gate::new(settings),
        catalog: Catalog::new(&settings.environments, |id, environment| {
            OfflineEnvironment::new(environment, destinations.index(id))
        }),
        believable: Believable::new(EARLIEST, clock, micros(settings.tuning.max_future_skew)),
        skip_cached: settings.skip_offline_writes_for_online_cached_features,
        query_drop_ratio: settings.query_table_write_drop_ratio,
        query_log: query_log::shape(),
    }
}
