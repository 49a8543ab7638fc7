//! `METRICS_WRITER`'s decoder: from a result to what it adds to the series, and what is passed on of it.
//!
//! A result is counted whole or not at all: with a part that cannot be read it is buried, and counted once it is
//! mended and replayed. Counting its sound rows before would count them twice then.

use bytestring::ByteString;

use super::context::Context;
use super::features::Features;
use super::forward::{Around, forward};
use super::layout::Layout;
use super::partials::Partials;
use super::tables::Tables;
use super::{queries, resolvers};
use crate::config::settings::{Environment, Environments, WriterSettings};
use crate::decode::{Decoded, Decoder};
use crate::message::Message;
use crate::result::Wanted;
use crate::result::arrow::Budget;
use crate::row::contribution::{Contribution, Measure, Series};
use crate::writer::catalog::{Catalog, Prepared};
use crate::writer::digest::{digest, identity};
use crate::writer::layouts::Layouts;
use crate::writer::open::{Gate, Opened};
use crate::writer::time::{Believable, Clock, micros, observed_at};
use crate::writer::{entity, skip};

/// Counts results.
pub struct MetricsDecoder {
    gate: Gate,
    catalog: Catalog<Known>,
    believable: Believable,
    /// `results_writer_skip_producing_feature_metrics`
    skip_features: bool,
    layouts: Layouts<Layout>,
}

/// An environment that results may be of. All are published to the one topic.
struct Known;

impl Prepared for Known {
    fn destination(&self) -> Option<usize> {
        Some(0)
    }
}

impl MetricsDecoder {
    /// The decoder for these settings, which takes the time from `clock`. Where no environments are listed, any
    /// is taken.
    pub fn new(settings: &WriterSettings, clock: Clock) -> Self {
        let mut environments = Environments::clone(&settings.environments);
        if environments.entries.is_empty() {
            environments.entries.insert("*".to_owned(), Environment::default());
        }
        Self {
            gate: Gate::new(settings),
            catalog: Catalog::new(&environments, |_, _| Known),
            believable: Believable::new(0, clock, micros(settings.tuning.max_future_skew)),
            skip_features: settings.of_type.skip_feature_metrics,
            layouts: Layouts::default(),
        }
    }

    fn counted(&self, mut opened: Opened<'_>, decoded: &mut Decoded<Contribution>) {
        let Some((known, destination)) = self.catalog.place_result(&opened, decoded) else { return };
        let environment = known.id.clone();
        // `created_at` is an integer typed TIMESTAMP, which BigQuery reads as microseconds.
        let query = opened.result.query.as_deref();
        let created_at = query.map(|query| query.created_at).filter(|time| *time != 0);
        let time = observed_at(created_at, opened.times()).and_then(|time| self.believable.check(time));
        let event_time = match time {
            Ok(time) => time,
            Err(refusal) => return decoded.refuse(refusal),
        };
        let refused = decoded.refused.len();
        let mut budget = Budget::new(opened.admitted.limit);
        let partials = self.partials(&mut opened, event_time, &mut budget, decoded);
        let event = digest(&identity(&opened.admitted.envelope));
        let operation = match opened.operation() {
            "" => ByteString::from(&*opened.id()),
            operation => operation.into(),
        };
        let deployment = ByteString::from(opened.deployment());
        let around = Around { environment: &environment, deployment: &deployment, operation: &operation, event_time };
        let forward = match forward(&mut opened.result, &around, &mut budget) {
            Ok(forward) => forward,
            Err(refusal) => return decoded.refuse(refusal),
        };
        if decoded.refused.len() > refused || (partials.is_empty() && forward.is_empty()) {
            return;
        }
        let event = event.into();
        decoded.rows.push(Contribution {
            destination,
            environment,
            deployment,
            operation,
            event,
            event_time,
            partials,
            forward,
        });
    }

    /// What an opened message adds to the series. Its tables are gone afterwards.
    fn partials(
        &self,
        opened: &mut Opened<'_>,
        event_time: i64,
        budget: &mut Budget,
        decoded: &mut Decoded<Contribution>,
    ) -> Vec<(Series, Measure)> {
        let tables = std::mem::take(&mut opened.result.tables);
        let result = &opened.result;
        let context = Context::new(result);
        let mut partials = Partials::default();
        if self.skip_features {
            decoded.skip(skip::METRICS_OFF, entity::values_of(&tables));
        } else {
            let features = Features::default();
            let mut counted = Tables { layouts: &self.layouts, event_time, budget: *budget, features };
            for table in tables {
                counted.table(table, decoded);
            }
            *budget = counted.budget;
            counted.features.series(&context, result.persistence, &mut partials, decoded);
        }
        resolvers::series(&result.resolver_runs, result.operation_kind, &context, &mut partials, decoded);
        if let Some(query) = result.query.as_deref() {
            queries::series(query, &context, &mut partials, decoded);
        }
        let partials = partials.finish();
        // Each metric will have a copy of the names that all share.
        let names = opened.environment().len() + opened.deployment().len() + context.shared_names();
        if let Err(refusal) = budget.take_rows(partials.len(), names) {
            decoded.refuse(refusal);
        }
        partials
    }
}

impl Decoder<Contribution> for MetricsDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<Contribution>) {
        match self.gate.open(message, Wanted::ALL) {
            Ok(opened) => self.counted(opened, decoded),
            Err(unopened) => self.catalog.unopened(unopened, decoded),
        }
    }
}
