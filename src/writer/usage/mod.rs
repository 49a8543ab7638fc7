//! `USAGE_BUS_WRITER`: events of usage, and the state of nodes and pods → the usage store.
//!
//! Money is counted from what is stored here. A row is a function of its message alone and is keyed by what it is of,
//! and the first of a key stands.

mod decode;
mod events;
mod statuses;
#[cfg(test)]
mod tests;
mod times;

pub use decode::UsageDecoder;

use super::catalog::Catalog;
use super::destinations::{self, Destinations};
use super::open::Gate;
use super::plan::Plan;
use super::plan_error::PlanError;
use super::time::{Believable, Clock, EARLIEST, micros, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::WriterSettings;
use crate::row::table::TableRows;
use crate::store::usage::shapes;
use decode::Store;

/// The descriptor.
pub struct UsageBusWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::USAGE_BUS,
    guarantee: "each event once, by its `event_id`, and each status once, by cluster, uid and time, in stores with keys \
                (SQLite, Postgres): the first stands, and what comes again changes nothing; a lake has no keys, so there \
                it is at least once, and readers take one row of each `event_id`",
    known_by: "`event_id`, or cluster, uid and time of a status",
    stands: Stands::First,
    judges_times: true,
    sheds: false,
};

impl Writer for UsageBusWriter {
    type Row = TableRows;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<TableRows>, PlanError> {
        let destinations = destinations(settings)?;
        let decoder = decoder(settings, &destinations, system_clock());
        Ok(Plan::new(settings, destinations, decoder))
    }
}

/// The usage stores.
pub fn destinations(settings: &WriterSettings) -> Result<Destinations<TableRows>, PlanError> {
    Destinations::plan(&settings.environments, &destinations::USAGE)
}

/// The decoder for these settings, which takes the time from `clock`.
pub fn decoder(settings: &WriterSettings, destinations: &Destinations<TableRows>, clock: Clock) -> UsageDecoder {
    UsageDecoder {
        gate: Gate::new(settings),
        catalog: Catalog::new(&settings.environments, |id, _| Store(destinations.index(id))),
        believable: Believable::new(EARLIEST, clock, micros(settings.tuning.max_future_skew)),
        events: shapes::usage_events(),
        nodes: shapes::node_status(),
        pods: shapes::pod_status(),
    }
}
