//! `chalk.metrics.v4`: a metric → its row, beside those of the older form.

use super::event::Event;
use super::partial::{Metric, sketch};
use crate::proto::metrics::v4;
use crate::proto::metrics::v4::metric::Value as Content;
use crate::sink::Refusal;
use crate::store::metrics::metric::MetricRow;
use crate::value::Value;
use crate::writer::fields::{count, decode, either, map, micros, number, text, word};

/// How partials of a type become one, in the words of the older form.
fn aggregation(metric_type: i32) -> Value {
    match v4::MetricType::try_from(metric_type) {
        Ok(v4::MetricType::Counter | v4::MetricType::UpDownCounter) => Value::text("SUM"),
        Ok(v4::MetricType::Histogram) => Value::text("SKETCH"),
        Ok(v4::MetricType::Unspecified) | Err(_) => Value::Null,
    }
}

impl Metric for v4::Metric {
    fn environment(&self) -> &str {
        &self.environment_id
    }

    fn observed_at(&self) -> Option<i64> {
        micros(self.observed_at.as_ref()).ok().flatten()
    }

    fn row(self, event: &Event<'_>) -> Result<MetricRow, Refusal> {
        if self.name == 0 {
            return Err(decode("a metric without a `name`"));
        }
        let observed_at = event.time(micros(self.observed_at.as_ref())?)?;
        let namespace = v4::MetricNamespace::try_from(self.namespace).ok().map(|known| known.as_str_name());
        let name = v4::MetricName::try_from(self.name).ok().map(|known| known.as_str_name());
        let metric_type = v4::MetricType::try_from(self.r#type).ok().map(|known| known.as_str_name());
        let row = MetricRow {
            version: Value::Int(4),
            id: self.id.map_or(Value::Null, Value::Int),
            environment_id: either(self.environment_id, event.environment),
            deployment_id: either(self.deployment_id, event.deployment),
            observed_at: Value::Timestamp(observed_at),
            namespace: word(self.namespace, namespace, "METRIC_NAMESPACE_"),
            metric_name: word(self.name, name, "METRIC_NAME_"),
            source: text(self.source),
            aggregation_type: aggregation(self.r#type),
            metric_type: word(self.r#type, metric_type, "METRIC_TYPE_"),
            additional_tags: if self.additional_tags.is_empty() { Value::Null } else { map(self.additional_tags) },
            ..MetricRow::default()
        };
        let row = match self.value {
            Some(Content::Numeric(sent)) => MetricRow { value: Value::Double(sent), ..row },
            Some(Content::Sketch(sent)) => sketch(row, sent)?,
            None => return Err(decode("a metric without a number or a sketch")),
        };
        let statistics = self.statistics.unwrap_or_default();
        Ok(MetricRow {
            min: number(statistics.min),
            max: number(statistics.max),
            count: statistics.count.map_or(Ok(row.count), |numbers| count("count", numbers))?,
            null_count: statistics.null_count.map_or(Ok(Value::Null), |numbers| count("null_count", numbers))?,
            mean: statistics.mean.map_or(row.mean, Value::Double),
            variance: number(statistics.variance),
            ..row
        })
    }
}
