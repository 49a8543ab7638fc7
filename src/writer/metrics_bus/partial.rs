//! What both forms of a metric have: a series, a place in the message, a sketch.

use super::event::Event;
use crate::sink::Refusal;
use crate::sketch::UddSketch;
use crate::store::metrics::metric::MetricRow;
use crate::value::Value;
use crate::writer::digest::{digest, put};
use crate::writer::fields::{count, decode, number};

/// A metric of either form.
pub(super) trait Metric {
    /// The environment that it names; may be empty.
    fn environment(&self) -> &str;

    /// Its time, where it has one.
    fn observed_at(&self) -> Option<i64>;

    /// Its row, without what tells it from other partials.
    fn row(self, event: &Event<'_>) -> Result<MetricRow, Refusal>;
}

/// Fills in what tells a row from other partials: its series, the hash of its message, and its place in it. A message
/// that is mended and comes again has each of its metrics in the same place.
pub(super) fn told_apart(row: MetricRow, emitter: &str, place: usize) -> MetricRow {
    let series = Value::text(series(row.dimensions()));
    let part = Value::Int(i64::try_from(place).unwrap_or(i64::MAX));
    MetricRow { series, emitter: Value::text(emitter.to_owned()), part, ..row }
}

/// The name of a series: the hash of its dimensions in the order of the columns, each a byte that says whether it has
/// one and its text with its length.
fn series<'a>(dimensions: impl Iterator<Item = &'a Value>) -> String {
    let mut bytes = Vec::with_capacity(256);
    for dimension in dimensions {
        let text = match dimension {
            Value::Null => {
                bytes.push(0);
                continue;
            }
            Value::Text(text) => text.to_string(),
            other => crate::value::json::to_text(other),
        };
        bytes.push(1);
        put(&mut bytes, &text);
    }
    digest(&bytes)
}

/// The row with a sketch: its text as it came, its buckets as `[[sign, index, count], …]`, and how many numbers it is of.
pub(super) fn sketch(row: MetricRow, text: String) -> Result<MetricRow, Refusal> {
    // What is wrong with a text says where, and holds no more of it than a character or a number.
    let sketch = UddSketch::from_text(&text).map_err(|error| decode(error.to_string()))?;
    let mut buckets = Vec::with_capacity(sketch.buckets().len());
    for (bucket, numbers) in sketch.buckets() {
        let numbers = count("count of a bucket", *numbers)?;
        buckets.push(Value::List(vec![Value::Int(bucket.sign().into()), Value::Int(bucket.index()), numbers]));
    }
    let mean = (sketch.count() > 0).then(|| sketch.sum().value() / sketch.count() as f64);
    Ok(MetricRow {
        sketch: Value::text(text),
        buckets: Value::List(buckets),
        compactions: Value::Int(sketch.compactions().into()),
        count: count("count", sketch.count())?,
        mean: number(mean),
        ..row
    })
}
