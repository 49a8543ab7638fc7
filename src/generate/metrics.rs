//! Metrics in their first form: a minute of a deployment, as a writer of metrics would publish it.

use super::draft::Draft;
use crate::message::{EventType, Outgoing};
use crate::proto::metrics::v1::metric::Value;
use crate::proto::metrics::v1::{
    Metric, MetricBatch, MetricStatistics, Metrics1ProtoAggregationType as Aggregation,
    Metrics1ProtoRepresentationName as Name, Metrics1ProtoRepresentationNamespace as Namespace,
    Metrics1ProtoRepresentationTag1 as Outcome, NumericMetric, SketchMetric,
};
use crate::result::encode::timestamp;
use crate::sketch::Distribution;

/// Queries and resolvers that are counted and timed.
pub(super) const TIMED: [(Namespace, &str); 5] = [
    (Namespace::Query, "fraud_check"),
    (Namespace::Query, "authorize"),
    (Namespace::Resolver, "fraud.get_score"),
    (Namespace::Resolver, "accounts.get_user"),
    (Namespace::Resolver, "transactions.count"),
];

/// Features whose values are counted and spread.
pub(super) const FEATURES: [&str; 4] = ["user.score", "user.country", "merchant.risk", "transaction.amount"];

const MINUTE: i64 = 60_000_000;

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let time = draft.time();
    let of_all = Metric {
        environment_id: draft.options.environment.clone(),
        deployment_id: draft.options.deployment.clone(),
        observed_at: Some(timestamp(time - time.rem_euclid(MINUTE))),
        ..Metric::default()
    };
    let mut metrics = Vec::new();
    for (namespace, source) in TIMED {
        let of_source = Metric { namespace: namespace.into(), source: source.to_owned(), ..of_all.clone() };
        let count = draft.random.u32(20..400);
        let failed = draft.random.u32(..5);
        for (outcome, count) in [(Outcome::Success, count), (Outcome::Failure, failed)] {
            if count > 0 {
                let tagged = Metric { tag1: Some(outcome.into()), ..of_source.clone() };
                metrics.push(sum(tagged, Name::Request, count));
            }
        }
        let seconds = spread(draft, count, |random| f64::from(random.u32(500..20_000)) / 1e6);
        let tagged = Metric { tag1: Some(Outcome::Success.into()), ..of_source };
        metrics.push(sketch(tagged, Name::Latency, &seconds));
    }
    for source in FEATURES {
        let of_source = Metric { namespace: Namespace::Feature.into(), source: source.to_owned(), ..of_all.clone() };
        let count = draft.random.u32(20..400);
        metrics.push(sum(of_source.clone(), Name::Request, count));
        let values = spread(draft, count, |random| random.f64() * 100.0);
        metrics.push(sketch(of_source, Name::FeatureValue, &values));
    }
    draft.message(EventType::MetricsV1, "", &MetricBatch { metrics })
}

/// So many values, with a null now and then.
pub(super) fn spread(draft: &mut Draft, count: u32, value: fn(&mut fastrand::Rng) -> f64) -> Distribution {
    let mut distribution = Distribution::new();
    for _ in 0..count {
        if draft.chance(3) {
            distribution.add_nulls(1);
        } else {
            let added = distribution.add(value(&mut draft.random));
            debug_assert!(added, "what is drawn is finite");
        }
    }
    distribution
}

fn sum(metric: Metric, name: Name, count: u32) -> Metric {
    let value = Value::Numeric(NumericMetric { value: f64::from(count) });
    Metric { metric_name: name.into(), aggregation_type: Some(Aggregation::Sum.into()), value: Some(value), ..metric }
}

fn sketch(metric: Metric, name: Name, distribution: &Distribution) -> Metric {
    let statistics = distribution.statistics();
    let statistics = MetricStatistics {
        min: statistics.min,
        max: statistics.max,
        count: statistics.count,
        null_count: statistics.null_count,
        mean: statistics.mean,
        variance: statistics.variance,
    };
    let value = SketchMetric { value: distribution.sketch().to_text(), statistics: Some(statistics) };
    Metric {
        metric_name: name.into(),
        aggregation_type: Some(Aggregation::Sketch.into()),
        value: Some(Value::Sketch(value)),
        ..metric
    }
}
