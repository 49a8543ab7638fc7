//! What many results add to their series, by the minute in which they happened, and the messages that say so.
//!
//! A window is a minute *within one batch*: nothing is kept from one batch to the next. What two batches say of
//! one minute are two partial results, merged when they are read.

use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::HashMap;
use prost::Message as _;

use crate::proto::metrics::v1::metric::Value;
use crate::proto::metrics::v1::{Metric, MetricBatch, MetricStatistics, NumericMetric, SketchMetric};
use crate::result::encode::timestamp;
use crate::row::contribution::{Contribution, Measure, Series};
use crate::sketch::Distribution;

/// Microseconds of a window.
const WINDOW: i64 = 60_000_000;

/// Bytes that a metric takes beside the names in it, at the most: a sketch of two hundred buckets with the largest
/// counts there are, and its sum.
pub(super) const LARGEST_METRIC: usize = 10_000;

/// Series added up.
#[derive(Debug, Default)]
pub struct Windows {
    groups: Vec<Group>,
    places: HashMap<(Arc<str>, ByteString), usize>,
}

/// The series of one deployment of one environment.
#[derive(Debug)]
struct Group {
    environment: Arc<str>,
    deployment: ByteString,
    totals: Vec<Total>,
    places: HashMap<(i64, Series), usize>,
}

/// One series in one window.
#[derive(Debug)]
struct Total {
    window: i64,
    series: Series,
    /// The newest event time of what was added.
    newest: i64,
    sum: Sum,
}

#[derive(Debug)]
enum Sum {
    Count(i128),
    Of(Box<Distribution>),
}

/// Metrics for one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The environment of all of them.
    pub environment: Arc<str>,
    /// Their deployment; may be empty.
    pub deployment: ByteString,
    /// The newest event time of what is in them, microseconds since 1970.
    pub newest: i64,
    /// The metrics.
    pub metrics: MetricBatch,
}

/// The window of a time: the beginning of its minute.
pub(super) fn window(event_time: i64) -> i64 {
    event_time.div_euclid(WINDOW) * WINDOW
}

impl Windows {
    /// Adds a result.
    pub fn add(&mut self, contribution: &Contribution) {
        let Contribution { environment, deployment, event_time, partials, .. } = contribution;
        let key = (Arc::clone(environment), deployment.clone());
        let groups = &mut self.groups;
        let group = *self.places.entry(key).or_insert_with(|| {
            let (environment, deployment) = (Arc::clone(environment), deployment.clone());
            groups.push(Group { environment, deployment, totals: Vec::new(), places: HashMap::new() });
            groups.len() - 1
        });
        for (series, measure) in partials {
            groups[group].total(*event_time, series, measure).add(*event_time, measure);
        }
    }

    /// The metrics, in bodies of no more than `room` bytes each, which environment and deployment decide.
    ///
    /// One that is larger by itself has a message of its own; results whose names make such are refused before.
    pub fn into_batches(self, room: impl Fn(&str, &str) -> usize) -> Vec<Batch> {
        let mut batches = Vec::new();
        for Group { environment, deployment, totals, .. } in self.groups {
            let limit = room(&environment, &deployment);
            let mut size = 0;
            let mut open: Option<Batch> = None;
            for total in totals {
                let newest = total.newest;
                let Some(metric) = total.metric(&environment, &deployment) else { continue };
                let length = metric.encoded_len();
                let length = 1 + prost::length_delimiter_len(length) + length;
                if size + length > limit {
                    batches.extend(open.take());
                }
                let batch = open.get_or_insert_with(|| {
                    size = 0;
                    let (environment, deployment) = (Arc::clone(&environment), deployment.clone());
                    Batch { environment, deployment, newest, metrics: MetricBatch::default() }
                });
                size += length;
                batch.newest = batch.newest.max(newest);
                batch.metrics.metrics.push(metric);
            }
            batches.extend(open);
        }
        batches
    }
}

impl Group {
    fn total(&mut self, event_time: i64, series: &Series, measure: &Measure) -> &mut Total {
        let Self { totals, places, .. } = self;
        let window = window(event_time);
        let place = *places.entry((window, series.clone())).or_insert_with(|| {
            let sum = match measure {
                Measure::Sum(_) => Sum::Count(0),
                Measure::Values { .. } => Sum::Of(Box::default()),
            };
            totals.push(Total { window, series: series.clone(), newest: event_time, sum });
            totals.len() - 1
        });
        &mut totals[place]
    }
}

impl Total {
    fn add(&mut self, event_time: i64, measure: &Measure) {
        self.newest = self.newest.max(event_time);
        match (&mut self.sum, measure) {
            (Sum::Count(count), Measure::Sum(more)) => *count += more,
            (Sum::Of(distribution), Measure::Values { values, nulls }) => {
                for value in values {
                    let added = distribution.add(*value);
                    debug_assert!(added, "only finite values are in a measure");
                }
                distribution.add_nulls(*nulls);
            }
            (Sum::Count(_) | Sum::Of(_), _) => unreachable!("a name is only ever that of sums or of distributions"),
        }
    }

    /// The metric; `None` of nulls alone: a feature that has no numbers, or had none in this minute. How many
    /// nulls there were, its requests say.
    fn metric(self, environment: &str, deployment: &ByteString) -> Option<Metric> {
        let Self { window, series, sum, .. } = self;
        let Series { namespace, name, source, resource_group, tags } = series;
        let (value, aggregation) = match sum {
            Sum::Count(count) => (Value::Numeric(NumericMetric { value: count as f64 }), Measure::Sum(0).aggregation()),
            Sum::Of(distribution) => {
                let statistics = distribution.statistics();
                if statistics.count == 0 {
                    return None;
                }
                let statistics = MetricStatistics {
                    min: statistics.min,
                    max: statistics.max,
                    count: statistics.count,
                    null_count: statistics.null_count,
                    mean: statistics.mean,
                    variance: statistics.variance,
                };
                let value = distribution.sketch().to_text();
                let aggregation = Measure::Values { values: Vec::new(), nulls: 0 }.aggregation();
                (Value::Sketch(SketchMetric { value, statistics: Some(statistics) }), aggregation)
            }
        };
        Some(Metric {
            id: None,
            environment_id: environment.to_owned(),
            deployment_id: deployment.to_string(),
            observed_at: Some(timestamp(window)),
            namespace: namespace.into(),
            metric_name: name.into(),
            source: source.to_string(),
            operation_id: None,
            resource_group: resource_group.map(|group| group.to_string()),
            value: Some(value),
            tag1: tags.status.map(i32::from),
            tag2: tags.cache.map(i32::from),
            tag3: tags.kind.map(i32::from),
            tag4: tags.context.map(i32::from),
            tag5: tags.null.map(i32::from),
            aggregation_type: Some(aggregation.into()),
            tag6: tags.form.map(i32::from),
            tag7: None,
        })
    }
}
