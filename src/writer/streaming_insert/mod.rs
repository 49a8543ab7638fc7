//! `OFFLINE_STORE_STREAMING_INSERT_WRITER`: parquet in messages → rows of the offline store.
//!
//! A message is the rows of one table; its attributes ([`InsertAttributes`](crate::message::insert)) name the table and
//! say how they are put there. Messages of one table are written together, and the table has the columns of all.

mod database;
mod decode;
#[cfg(test)]
mod tests;

pub use decode::InsertDecoder;

use super::catalog::Catalog;
use super::destinations::{Destinations, INSERTS};
use super::open::Gate;
use super::plan::Plan;
use super::plan_error::PlanError;
use super::time::{Believable, Clock, EARLIEST, micros, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::WriterSettings;
use crate::row::table::TableRows;
use decode::Place;

/// The descriptor.
pub struct StreamingInsertWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::OFFLINE_STORE_STREAMING_INSERT,
    guarantee: "at least once: in stores with keys a row that has a column `__observation_id__` or `observation_id` is \
                there once, and of the rows of a key that are upserted the newest stands; a lake keeps all of them, and \
                a row without either is there as often as it came",
    known_by: "`__observation_id__`, `observation_id` or the key columns of an upsert",
    stands: Stands::Both,
    judges_times: true,
    sheds: false,
};

impl Writer for StreamingInsertWriter {
    type Row = TableRows;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<TableRows>, PlanError> {
        let destinations = Destinations::plan(&settings.environments, &INSERTS)?;
        let decoder = decoder(settings, &destinations, system_clock());
        Ok(Plan::new(settings, destinations, decoder))
    }
}

/// The decoder for these settings, which takes the time from `clock`.
pub fn decoder(settings: &WriterSettings, destinations: &Destinations<TableRows>, clock: Clock) -> InsertDecoder {
    InsertDecoder {
        gate: Gate::new(settings),
        believable: Believable::new(EARLIEST, clock, micros(settings.tuning.max_future_skew)),
        catalog: Catalog::new(&settings.environments, |id, environment| Place {
            destination: destinations.index(id),
            database: environment.offline_store.as_ref().and_then(database::of),
        }),
    }
}
