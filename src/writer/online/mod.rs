//! `ONLINE_WRITER`: results → the newest value of each feature of each entity.

mod arrow;
mod decode;
mod features;
#[cfg(test)]
mod tests;

pub use decode::OnlineDecoder;

use super::catalog::Catalog;
use super::destinations::{Destinations, ONLINE};
use super::open::Gate;
use super::plan::Plan;
use super::plan_error::PlanError;
use super::time::{Believable, Clock, micros, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::WriterSettings;
use crate::row::feature::FeatureRow;
use features::OnlineEnvironment;

/// The descriptor.
pub struct OnlineWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::ONLINE,
    guarantee: "at least once, and the newest observed time wins per feature, atomically in the store: redelivery, \
                replay and disorder end in the same state",
    known_by: "its observed time, feature by feature",
    stands: Stands::Newest,
    judges_times: true,
    sheds: false,
};

impl Writer for OnlineWriter {
    type Row = FeatureRow;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<FeatureRow>, PlanError> {
        let destinations = Destinations::plan(&settings.environments, &ONLINE)?;
        let decoder = decoder(settings, &destinations, system_clock())?;
        Ok(Plan::new(settings, destinations, decoder))
    }
}

/// The decoder for these settings, which takes the time from `clock`.
pub fn decoder(
    settings: &WriterSettings,
    destinations: &Destinations<FeatureRow>,
    clock: Clock,
) -> Result<OnlineDecoder, PlanError> {
    let retention = micros(settings.tuning.tombstone_retention);
    let mut faults = Vec::new();
    let catalog = Catalog::new(&settings.environments, |id, environment| {
        OnlineEnvironment::new(environment, destinations.index(id), retention, &mut faults)
    });
    if !faults.is_empty() {
        return Err(PlanError::Settings(faults.join("; ")));
    }
    let believable = Believable::new(0, clock, micros(settings.tuning.max_future_skew));
    Ok(OnlineDecoder { gate: Gate::new(settings), catalog, believable })
}
