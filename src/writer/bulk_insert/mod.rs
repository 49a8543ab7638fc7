//! `OFFLINE_STORE_BULK_INSERT_WRITER`: files that messages name → tables of the offline store.
//!
//! A message is a `BulkInsert`, an event notification of S3 or one of Cloud Storage. What is in it is a load: files
//! that go into one table together, under an id that lands once. A file of a notification is a load by itself, named
//! by bucket, key and version (or generation, or tag).
//!
//! The decoder looks at no file: the store does, and what it finds wrong with one is told by its uri.

mod decode;
mod gcs;
mod object;
mod s3;
mod target;
#[cfg(test)]
mod tests;

pub use decode::BulkInsertDecoder;

use serde_json::Value as Json;

use super::catalog::Catalog;
use super::destinations::{Destinations, LOADS};
use super::open::Gate;
use super::plan::Plan;
use super::plan_error::PlanError;
use super::preview::{Shown, ShownRow};
use super::time::{Clock, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::{OnError, WriterSettings};
use crate::row::load::{FileLoad, LoadFile, Mode, Target, Which};
use crate::value::time::format_timestamp;
use decode::Place;
use object::Uploads;

/// The descriptor.
pub struct BulkInsertWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::OFFLINE_STORE_BULK_INSERT,
    guarantee: "a load lands once by its id in Postgres, where its ledger is in the transaction of its COPY; in the \
                lake it lands at least once, file by file, and a repetition replaces the files that it made before",
    known_by: "the id of its load",
    stands: Stands::Both,
    judges_times: false,
    sheds: false,
};

impl Writer for BulkInsertWriter {
    type Row = FileLoad;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<FileLoad>, PlanError> {
        let destinations = Destinations::plan(&settings.environments, &LOADS)?;
        let decoder = decoder(settings, &destinations, system_clock());
        Ok(Plan::new(settings, destinations, decoder))
    }
}

/// The decoder for these settings, which takes the time from `clock` where a message has none at all.
pub fn decoder(settings: &WriterSettings, destinations: &Destinations<FileLoad>, clock: Clock) -> BulkInsertDecoder {
    let loads = &settings.of_type.loads;
    BulkInsertDecoder {
        gate: Gate::new(settings),
        catalog: Catalog::new(&settings.environments, |id, _| Place { destination: destinations.index(id) }),
        uploads: Uploads { prefix: loads.prefix.clone(), skips_bad_files: loads.on_error == OnError::SkipFile },
        clock,
    }
}

impl Shown for FileLoad {
    fn shown(&self) -> Vec<ShownRow> {
        let load = &self.load;
        let Target { database, schema, table } = &load.target;
        let target: Vec<&str> =
            [database.as_deref(), schema.as_deref(), Some(&**table)].into_iter().flatten().collect();
        let mut all = vec![("load_id", Json::from(&*load.id)), ("table", Json::from(target.join(".")))];
        match &load.mode {
            Mode::Append => all.push(("write_mode", Json::from("append"))),
            Mode::Upsert { keys, order } => {
                let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
                all.extend([("write_mode", Json::from("upsert")), ("key_columns", Json::from(keys))]);
                all.extend(order.iter().map(|order| ("order_column", Json::from(&**order))));
            }
        }
        all.push(("create_table", Json::from(load.create)));
        all.push(("created_at", Json::from(format_timestamp(load.time))));
        all.push(("on_error", Json::from(if load.skips_bad_files { "skip_file" } else { "abort" })));
        let shown = |file: &LoadFile| {
            let mut fields = vec![("uri", Json::from(file.shown()))];
            fields.extend(file.rows.map(|rows| ("row_count", Json::from(rows))));
            fields.extend(file.bytes.map(|bytes| ("size_bytes", Json::from(bytes))));
            match &file.which {
                Which::Newest => {}
                Which::Version(version) => fields.push(("version", Json::from(&**version))),
                Which::Tag(tag) => fields.push(("etag", Json::from(&**tag))),
            }
            let fields = all.iter().cloned().chain(fields);
            ShownRow::Other { what: "file", fields: fields.map(|(name, value)| (name.to_owned(), value)).collect() }
        };
        load.files.iter().map(shown).collect()
    }
}
