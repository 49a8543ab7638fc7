//! `METRICS_BUS_WRITER`: metrics, queries and errors from their bus → the metrics store, or two of them.
//!
//! A message is done when every store that takes its kind has its rows. Rows are a function of the message alone and
//! are keyed, so what comes again, in part or whole, leaves nothing twice on either side.

mod decode;
mod errors;
mod event;
mod metrics;
mod metrics_v4;
mod partial;
mod queries;
mod routes;
#[cfg(test)]
mod tests;

pub use decode::MetricsBusDecoder;

use super::catalog::Catalog;
use super::destinations::Destinations;
use super::open::Gate;
use super::plan::Plan;
use super::plan_error::PlanError;
use super::time::{Believable, Clock, EARLIEST, micros, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::WriterSettings;
use crate::row::table::TableRows;
use routes::Routes;

/// The descriptor.
pub struct MetricsBusWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::METRICS_BUS,
    guarantee: "at least once, and every row once: rows are keyed by what they are of, so what comes again changes \
                nothing; where two stores take a kind, a message is done when both have it",
    known_by: "what it is of: series, window and emitter, or the operation",
    stands: Stands::First,
    judges_times: true,
    sheds: false,
};

impl Writer for MetricsBusWriter {
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

/// The stores that the modes ask for.
pub fn destinations(settings: &WriterSettings) -> Result<Destinations<TableRows>, PlanError> {
    Destinations::plan_all(&settings.environments, &routes::kinds(&settings.of_type.metrics))
}

/// The decoder for these settings, which takes the time from `clock`.
pub fn decoder(settings: &WriterSettings, destinations: &Destinations<TableRows>, clock: Clock) -> MetricsBusDecoder {
    MetricsBusDecoder {
        gate: Gate::new(settings),
        catalog: Catalog::new(&settings.environments, |id, _| Routes::new(id, destinations, &settings.of_type.metrics)),
        believable: Believable::new(EARLIEST, clock, micros(settings.tuning.max_future_skew)),
        query_drop_ratio: settings.query_table_write_drop_ratio,
    }
}
