//! `chalk.metrics.v1`: a metric → its row.

use super::event::Event;
use super::partial::{Metric, Parts, Sketch, dimensions};
use crate::proto::metrics::v1;
use crate::proto::metrics::v1::metric::Value as Content;
use crate::sink::Refusal;
use crate::value::Value;
use crate::writer::fields::{count, decode, either, micros, number, optional, text, word};

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
        micros(self.observed_at.as_ref())
    }

    fn values(self, event: &Event<'_>, parts: &mut Parts) -> Result<Vec<Value>, Refusal> {
        let name = self.metric_name;
        if name == 0 {
            return Err(decode("a metric without a `metric_name`"));
        }
        let observed_at = event.time(self.observed_at())?;
        let namespace = v1::Metrics1ProtoRepresentationNamespace::try_from(self.namespace).ok();
        let namespace =
            word(self.namespace, namespace.map(|known| known.as_str_name()), &format!("{OF_ALL}NAMESPACE_"));
        let known = v1::Metrics1ProtoRepresentationName::try_from(name).ok();
        let name = word(name, known.map(|known| known.as_str_name()), &format!("{OF_ALL}NAME_"));
        let (mut value, mut sketch, mut moments) = (Value::Null, [Value::Null, Value::Null, Value::Null], Vec::new());
        match self.value {
            Some(Content::Numeric(numeric)) => value = Value::Double(numeric.value),
            Some(Content::Sketch(sent)) => {
                let read = Sketch::read(&sent.value)?;
                moments = match sent.statistics {
                    Some(statistics) => vec![
                        Value::Double(statistics.min),
                        Value::Double(statistics.max),
                        count("count", statistics.count)?,
                        count("null_count", statistics.null_count)?,
                        Value::Double(statistics.mean),
                        Value::Double(statistics.variance),
                    ],
                    None => {
                        vec![
                            Value::Null,
                            Value::Null,
                            count("count", read.count)?,
                            Value::Null,
                            number(read.mean),
                            Value::Null,
                        ]
                    }
                };
                sketch = [Value::text(sent.value), read.buckets, read.compactions];
            }
            None => return Err(decode("a metric without a number or a sketch")),
        }
        moments.resize(6, Value::Null);
        let tags = [
            tag!(self.tag1, Metrics1ProtoRepresentationTag1, "METRICS1_PROTO_REPRESENTATION_TAG1_"),
            tag!(self.tag2, Metrics1ProtoRepresentationTag2, "METRICS1_PROTO_REPRESENTATION_TAG2_"),
            tag!(self.tag3, Metrics1ProtoRepresentationTag3, "METRICS1_PROTO_REPRESENTATION_TAG3_"),
            tag!(self.tag4, Metrics1ProtoRepresentationTag4, "METRICS1_PROTO_REPRESENTATION_TAG4_"),
            tag!(self.tag5, Metrics1ProtoRepresentationTag5, "METRICS1_PROTO_REPRESENTATION_TAG5_"),
            tag!(self.tag6, Metrics1ProtoRepresentationTag6, "METRICS1_PROTO_REPRESENTATION_TAG6_"),
            tag!(self.tag7, Metrics1ProtoRepresentationTag7, "METRICS1_PROTO_REPRESENTATION_TAG7_"),
        ];
        let aggregation = tag!(self.aggregation_type, Metrics1ProtoAggregationType, "METRICS1_PROTO_AGGREGATION_TYPE_");
        let mut values = vec![
            Value::Int(1),
            self.id.map_or(Value::Null, Value::Int),
            either(self.environment_id, event.environment),
            either(self.deployment_id, event.deployment),
            Value::Timestamp(observed_at),
            namespace,
            name,
            text(self.source),
            optional(self.operation_id),
            optional(self.resource_group),
        ];
        values.extend(tags);
        values.extend([aggregation, Value::Null, Value::Null, value]);
        let [sketch, buckets, compactions] = sketch;
        values.push(sketch);
        values.append(&mut moments);
        values.extend([buckets, compactions]);
        let key = parts.next(&dimensions(&values), observed_at);
        values.extend(key);
        Ok(values)
    }
}
