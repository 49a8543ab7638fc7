//! `METRICS_WRITER`: results → what they say of features, resolvers and queries, as series of the metrics bus.
//!
//! A result is counted where it is decoded ([`MetricsDecoder`]); the results of one partition in a batch are added
//! up by the minute ([`Windows`]) and published as partial results with what is passed on as it is, the query's row
//! and those of its errors ([`Emitter`]).
//!
//! | series | of what | value |
//! | --- | --- | --- |
//! | `FEATURE`/`REQUEST` | every value | count, by status (`FAILURE` where an error names the feature), cache (`CACHE_HIT` from the online store; none where the caller gave it), nullness, form (`HAS_MANY` for a list of structs; none for null) |
//! | `FEATURE`/`COMPUTED`, `LOOKED_UP` | values of a resolver or of no known source; of a store | count, by nullness |
//! | `FEATURE`/`USED`, `REFERENCED` | values that the query asked for, or needed on the way | count, by nullness |
//! | `FEATURE`/`WRITE` | values that go into the online store | count, by kind of resolver |
//! | `FEATURE`/`FEATURE_VALUE` | numbers and nulls | distribution |
//! | `FEATURE`/`STALENESS` | values of a store whose row has a time of its own | distribution of the seconds from that time to the query |
//! | `FEATURE`/`LATENCY` | features that a resolver of the query computed | distribution of that resolver's seconds |
//! | `RESOLVER`/`REQUEST`, `LATENCY`, `RESOLVER_ROWS_RETURNED` | resolvers that ran | count, distribution of seconds, sum; by status and kind |
//! | `QUERY`/`REQUEST`, `LATENCY` | the query | count, distribution of seconds; by status |
//! | `BATCH` and `STREAM`/`REQUEST`, `LATENCY` | resolvers of scheduled runs, and of streams | as those of resolvers |
//!
//! All are by environment, deployment, resource group and what the query was for. Not in a result, and so not made
//! here: the latency of planning, and how far behind a stream is.

mod arrow;
mod cells;
mod context;
mod decode;
mod durations;
mod emit;
mod features;
mod forward;
mod layout;
mod partials;
mod preview;
mod queries;
mod resolvers;
mod tables;
#[cfg(test)]
mod tests;
mod windows;

use std::sync::Arc;

pub use decode::MetricsDecoder;
pub use emit::Emitter;
pub use windows::{Batch, Windows};

use super::destinations::{PlannedDestination, To};
use super::outlet::{Outlet, Publishes};
use super::plan::{Plan, Reads, policy};
use super::plan_error::PlanError;
use super::time::system_clock;
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::WriterSettings;
use crate::row::contribution::Contribution;
use crate::runtime::Emit;
use crate::store::StoreLimits;

/// The descriptor.
pub struct MetricsWriter;

static FACTS: Facts = Facts {
    writer_type: WriterType::METRICS,
    guarantee: "each result counts once for readers of what is committed, on LOCAL and on Kafka: metrics and the \
                positions that were read up to land in one transaction",
    known_by: "its position on the bus",
    stands: Stands::Both,
    judges_times: true,
    sheds: false,
};

impl Writer for MetricsWriter {
    type Row = Contribution;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<Contribution>, PlanError> {
        let source = format!("chalk-writer/{}", settings.group);
        let open = move |outlet: &Outlet| -> Arc<dyn Emit<Contribution>> {
            let (topic, limit) = (outlet.topic().to_owned(), outlet.limit());
            Arc::new(Emitter { topic, source: source.clone(), limit })
        };
        let topic = settings.publishes.as_ref().map_or("", |publishes| &publishes.topic);
        let (name, to) = (format!("metrics topic {topic}"), To::Transactions(Box::new(open)));
        Ok(Plan {
            reads: Reads::new(settings),
            dead_letter_topic: settings.dlq_topic.clone(),
            publishes: Publishes::of(settings),
            decoder: Arc::new(MetricsDecoder::new(settings, system_clock())),
            destinations: vec![PlannedDestination { name, to }],
            store_limits: StoreLimits::new(&settings.tuning, 1),
            parking: None,
            policy: policy(settings),
        })
    }
}
