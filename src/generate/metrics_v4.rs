//! Metrics in their newer form: where the values of features came from, and how they are spread.

use super::draft::Draft;
use super::metrics::{FEATURES, spread};
use crate::message::{EventType, Outgoing};
use crate::proto::metrics::v4::metric::Value;
use crate::proto::metrics::v4::{
    Metric, MetricBatch, MetricName as Name, MetricNamespace, MetricStatistics, MetricType,
};
use crate::result::encode::timestamp;

const COUNTED: [(Name, u32); 5] = [
    (Name::ResolverValuesUsed, 300),
    (Name::OnlineStoreValuesUsed, 80),
    (Name::DefaultValuesUsed, 10),
    (Name::NonNullCount, 380),
    (Name::NullCount, 20),
];

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let of_all = Metric {
        environment_id: draft.options.environment.clone(),
        deployment_id: draft.options.deployment.clone(),
        namespace: MetricNamespace::Feature.into(),
        observed_at: Some(timestamp(draft.time())),
        additional_tags: [("pod".to_owned(), format!("engine-{}", draft.random.u8(..4)))].into(),
        ..Metric::default()
    };
    let mut metrics = Vec::new();
    for source in FEATURES {
        let of_source = Metric { source: source.to_owned(), ..of_all.clone() };
        for (name, most) in COUNTED {
            let count = draft.random.u32(..most);
            metrics.push(Metric {
                name: name.into(),
                r#type: MetricType::Counter.into(),
                value: Some(Value::Numeric(f64::from(count))),
                ..of_source.clone()
            });
        }
        let count = draft.random.u32(20..400);
        let distribution = spread(draft, count, |random| random.f64() * 100.0);
        let statistics = distribution.statistics();
        metrics.push(Metric {
            name: Name::ValuesDistribution.into(),
            r#type: MetricType::Histogram.into(),
            value: Some(Value::Sketch(distribution.sketch().to_text())),
            statistics: Some(MetricStatistics {
                min: Some(statistics.min),
                max: Some(statistics.max),
                count: Some(statistics.count),
                null_count: Some(statistics.null_count),
                mean: Some(statistics.mean),
                variance: Some(statistics.variance),
            }),
            ..of_source
        });
    }
    draft.message(EventType::MetricsV4, "", &MetricBatch { metrics })
}
