//! `chalk.metrics.v1`: a metric → its row.

use super::event::Event;
use super::partial::{Metric, sketch};
use crate::proto::metrics::v1;
use crate::proto::metrics::v1::metric::Value as Content;
use crate::sink::Refusal;
use crate::store::metrics::metric::MetricRow;
use crate::value::Value;
use crate::writer::fields::{count, decode, either, micros, optional, text, word};

const OF_ALL: &str = "METRICS1_PROTO_REPRESENTATION_";

/// A tag's name without its prefix.
macro_rules! tag {
    ($field:expr, $type:ident, $prefix:literal) => {{
        let number = $field.unwrap_or_default();
        word(number, v1::$type::try_from(number).ok().map(|tag| tag.as_str_name()), $prefix)
    }};
}

impl Metric for v1::Metric {
    fn environment(&self) -> &str {
        &self.environment_id
    }

    fn observed_at(&self) -> Option<i64> {
        micros(self.observed_at.as_ref()).ok().flatten()
    }

    fn row(self, event: &Event<'_>) -> Result<MetricRow, Refusal> {
        let name = self.metric_name;
        if name == 0 {
            return Err(decode("a metric without a `metric_name`"));
        }
        let observed_at = event.time(micros(self.observed_at.as_ref())?)?;
        let namespace = v1::Metrics1ProtoRepresentationNamespace::try_from(self.namespace).ok();
        let known = v1::Metrics1ProtoRepresentationName::try_from(name).ok();
        let row = MetricRow {
            version: Value::Int(1),
            id: self.id.map_or(Value::Null, Value::Int),
            environment_id: either(self.environment_id, event.environment),
            deployment_id: either(self.deployment_id, event.deployment),
            observed_at: Value::Timestamp(observed_at),
            namespace: word(self.namespace, namespace.map(|known| known.as_str_name()), &format!("{OF_ALL}NAMESPACE_")),
            metric_name: word(name, known.map(|known| known.as_str_name()), &format!("{OF_ALL}NAME_")),
            source: text(self.source),
            operation_id: optional(self.operation_id),
            resource_group: optional(self.resource_group),
            tag1: tag!(self.tag1, Metrics1ProtoRepresentationTag1, "METRICS1_PROTO_REPRESENTATION_TAG1_"),
            tag2: tag!(self.tag2, Metrics1ProtoRepresentationTag2, "METRICS1_PROTO_REPRESENTATION_TAG2_"),
            tag3: tag!(self.tag3, Metrics1ProtoRepresentationTag3, "METRICS1_PROTO_REPRESENTATION_TAG3_"),
            tag4: tag!(self.tag4, Metrics1ProtoRepresentationTag4, "METRICS1_PROTO_REPRESENTATION_TAG4_"),
            tag5: tag!(self.tag5, Metrics1ProtoRepresentationTag5, "METRICS1_PROTO_REPRESENTATION_TAG5_"),
            tag6: tag!(self.tag6, Metrics1ProtoRepresentationTag6, "METRICS1_PROTO_REPRESENTATION_TAG6_"),
            tag7: tag!(self.tag7, Metrics1ProtoRepresentationTag7, "METRICS1_PROTO_REPRESENTATION_TAG7_"),
            aggregation_type: tag!(
                self.aggregation_type,
                Metrics1ProtoAggregationType,
                "METRICS1_PROTO_AGGREGATION_TYPE_"
            ),
            ..MetricRow::default()
        };
        match self.value {
            Some(Content::Numeric(numeric)) => Ok(MetricRow { value: Value::Double(numeric.value), ..row }),
            Some(Content::Sketch(sent)) => {
                let row = sketch(row, sent.value)?;
                let Some(statistics) = sent.statistics else { return Ok(row) };
                Ok(MetricRow {
                    min: Value::Double(statistics.min),
                    max: Value::Double(statistics.max),
                    count: count("count", statistics.count)?,
                    null_count: count("null_count", statistics.null_count)?,
                    mean: Value::Double(statistics.mean),
                    variance: Value::Double(statistics.variance),
                    ..row
                })
            }
            None => Err(decode("a metric without a number or a sketch")),
        }
    }
}
