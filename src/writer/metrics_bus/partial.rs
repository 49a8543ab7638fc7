//! What both forms of a metric have: a series, a place in the message, a sketch.

use hashbrown::HashMap;

use super::event::Event;
use crate::sink::{ErrorClass, Refusal};
use crate::sketch::UddSketch;
use crate::value::Value;
use crate::writer::digest::{digest, put};
use crate::writer::fields::count;

/// A metric of either form.
pub(super) trait Metric {
    /// The environment that it names; may be empty.
    fn environment(&self) -> &str;

    /// Its time, where it has one.
    fn observed_at(&self) -> Option<i64>;

    /// The values of its row, in the order of [`shapes::metrics`](crate::store::metrics::shapes::metrics).
    fn values(self, event: &Event<'_>, parts: &mut Parts) -> Result<Vec<Value>, Refusal>;
}

/// Tells partials of one series and moment in one message apart by their order.
pub(super) struct Parts {
    emitter: String,
    seen: HashMap<(String, i64), i64>,
}

impl Parts {
    pub(super) fn of(event: &Event<'_>) -> Self {
        Self { emitter: event.emitter(), seen: HashMap::new() }
    }

    /// The columns `series`, `emitter` and `part` of the next partial.
    pub(super) fn next(&mut self, dimensions: &[&Value], observed_at: i64) -> [Value; 3] {
        let series = series(dimensions);
        let part = self.seen.entry((series.clone(), observed_at)).or_default();
        let number = *part;
        *part += 1;
        [Value::text(series), Value::text(self.emitter.clone()), Value::Int(number)]
    }
}

/// Of the first values of a metric's row those that tell its series from others.
pub(super) fn dimensions(values: &[Value]) -> Vec<&Value> {
    // All but `id`, the time and `operation_id`, which tell partials of one series apart.
    const NOT: [usize; 3] = [1, 4, 8];
    // Up to `additional_tags`; behind them is what was measured.
    const ALL: usize = 20;
    values.iter().take(ALL).enumerate().filter(|(at, _)| !NOT.contains(at)).map(|(_, value)| value).collect()
}

/// The name of a series: the hash of its dimensions in the order of the columns, each a byte that says whether it has
/// one and its text with its length.
fn series(dimensions: &[&Value]) -> String {
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

/// A sketch of a message, as far as columns have it.
pub(super) struct Sketch {
    pub(super) count: u64,
    pub(super) mean: Option<f64>,
    /// `[[sign, index, count], …]`
    pub(super) buckets: Value,
    pub(super) compactions: Value,
}

impl Sketch {
    pub(super) fn read(text: &str) -> Result<Self, Refusal> {
        let sketch = UddSketch::from_text(text).map_err(|error| Refusal::new(ErrorClass::Decode, error.to_string()))?;
        let mut buckets = Vec::with_capacity(sketch.buckets().len());
        for (bucket, numbers) in sketch.buckets() {
            let numbers = count("count of a bucket", *numbers)?;
            buckets.push(Value::List(vec![Value::Int(bucket.sign().into()), Value::Int(bucket.index()), numbers]));
        }
        let mean = (sketch.count() > 0).then(|| sketch.sum().value() / sketch.count() as f64);
        Ok(Self {
            count: sketch.count(),
            mean,
            buckets: Value::List(buckets),
            compactions: Value::Int(sketch.compactions().into()),
        })
    }
}
