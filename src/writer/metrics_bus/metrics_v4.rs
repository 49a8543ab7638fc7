//! `chalk.metrics.v4`: a metric → its row, beside those of the older form.

use super::event::Event;
use super::partial::{Metric, Parts, Sketch, dimensions};
use crate::proto::metrics::v4;
use crate::proto::metrics::v4::metric::Value as Content;
use crate::sink::Refusal;
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
        micros(self.observed_at.as_ref())
    }

    fn values(self, event: &Event<'_>, parts: &mut Parts) -> Result<Vec<Value>, Refusal> {
        if self.name == 0 {
            return Err(decode("a metric without a `name`"));
        }
        let observed_at = event.time(self.observed_at())?;
        let namespace = v4::MetricNamespace::try_from(self.namespace).ok().map(|known| known.as_str_name());
        let name = v4::MetricName::try_from(self.name).ok().map(|known| known.as_str_name());
        let metric_type = v4::MetricType::try_from(self.r#type).ok().map(|known| known.as_str_name());
        let (mut value, mut sketch) = (Value::Null, [Value::Null, Value::Null, Value::Null]);
        let statistics = self.statistics.unwrap_or_default();
        let (mut numbers, mut mean) = (statistics.count, statistics.mean);
        match self.value {
            Some(Content::Numeric(sent)) => value = Value::Double(sent),
            Some(Content::Sketch(sent)) => {
                let read = Sketch::read(&sent)?;
                numbers = numbers.or(Some(read.count));
                mean = mean.or(read.mean);
                sketch = [Value::text(sent), read.buckets, read.compactions];
            }
            None => return Err(decode("a metric without a number or a sketch")),
        }
        let counted = |what, counted: Option<u64>| counted.map_or(Ok(Value::Null), |counted| count(what, counted));
        let [sketch, buckets, compactions] = sketch;
        let mut values = vec![
            Value::Int(4),
            self.id.map_or(Value::Null, Value::Int),
            either(self.environment_id, event.environment),
            either(self.deployment_id, event.deployment),
            Value::Timestamp(observed_at),
            word(self.namespace, namespace, "METRIC_NAMESPACE_"),
            word(self.name, name, "METRIC_NAME_"),
            text(self.source),
        ];
        // No query, no resource group, no numbered tags.
        values.resize(17, Value::Null);
        values.extend([aggregation(self.r#type), word(self.r#type, metric_type, "METRIC_TYPE_")]);
        values.push(if self.additional_tags.is_empty() { Value::Null } else { map(self.additional_tags) });
        values.extend([value, sketch, number(statistics.min), number(statistics.max)]);
        values.extend([counted("count", numbers)?, counted("null_count", statistics.null_count)?]);
        values.extend([number(mean), number(statistics.variance), buckets, compactions]);
        let key = parts.next(&dimensions(&values), observed_at);
        values.extend(key);
        Ok(values)
    }
}
