//! `ONLINE_VECTOR_STORE_WRITER`: vectors in results, and batches of vectors → the newest vector of each entity by
//! feature, to be searched by nearness.
//!
//! What is a vector: a value that its message says is one, or a list of numbers whose feature is declared to be
//! `vector<…>`. Anything else in a result is passed over and counted. A vector feature goes where its environment has
//! a `vector_store`; `store_online` and staleness are about the online store and are not asked.

mod batches;
mod decode;
mod features;
mod results;
#[cfg(test)]
mod tests;

pub use decode::VectorDecoder;

use serde_json::Value as Json;

use super::catalog::Catalog;
use super::destinations::{Destinations, VECTOR};
use super::open::Gate;
use super::plan::Plan;
use super::plan_error::PlanError;
use super::preview::{Shown, ShownRow, json};
use super::time::{Believable, Clock, micros, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::WriterSettings;
use crate::row::vector::VectorRow;
use crate::value::Value;
use crate::value::time::format_timestamp;
use features::VectorEnvironment;

/// The descriptor.
pub struct VectorWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::ONLINE_VECTOR_STORE,
    guarantee: "at least once, and the newest observed time wins per vector, atomically in the store: redelivery, \
                replay and disorder end in the same state",
    known_by: "its observed time",
    stands: Stands::Newest,
    judges_times: true,
    sheds: false,
};

impl Writer for VectorWriter {
    type Row = VectorRow;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<VectorRow>, PlanError> {
        let destinations = Destinations::plan(&settings.environments, &VECTOR)?;
        let decoder = decoder(settings, &destinations, system_clock())?;
        Ok(Plan::new(settings, destinations, decoder))
    }
}

/// The decoder for these settings, which takes the time from `clock`.
pub fn decoder(
    settings: &WriterSettings,
    destinations: &Destinations<VectorRow>,
    clock: Clock,
) -> Result<VectorDecoder, PlanError> {
    let mut faults = Vec::new();
    let catalog = Catalog::new(&settings.environments, |id, environment| {
        VectorEnvironment::new(environment, destinations.index(id), &mut faults)
    });
    if !faults.is_empty() {
        return Err(PlanError::Settings(faults.join("; ")));
    }
    let believable = Believable::new(0, clock, micros(settings.tuning.max_future_skew));
    Ok(VectorDecoder { gate: Gate::new(settings), catalog, believable })
}

impl Shown for VectorRow {
    fn shown(&self) -> Vec<ShownRow> {
        let mut fields = vec![
            ("feature", Json::from(self.key.feature.to_string())),
            ("id", Json::from(&*self.key.id)),
            ("observed_at", Json::from(format_timestamp(self.observed_at))),
            ("deleted", Json::from(self.point.is_none())),
        ];
        if let Some(point) = &self.point {
            let vector = &point.vector;
            fields.extend([
                ("type", Json::from(format!("vector<{}, {}>", vector.precision().as_str(), vector.dimension()))),
                ("metric", Json::from(self.metric.as_str())),
                ("vector", json(&Value::Vector(vector.clone()))),
                ("payload", json(&point.payload)),
            ]);
        }
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        vec![ShownRow::Other { what: "vector", fields }]
    }
}
