//! Metrics in short, for the status page: counters by label, histograms as mean and two quantiles.
//!
//! Read from the text that Prometheus is given, so both always tell the same.

use std::collections::BTreeMap;

use serde::Serialize;

use super::metrics::{Kind, METRICS};

/// One metric with one set of labels.
#[derive(Debug, PartialEq, Serialize)]
pub struct Measure {
    /// The metric's name.
    pub metric: &'static str,
    /// Its own labels.
    pub labels: BTreeMap<String, String>,
    /// A counter's or gauge's value; how often a histogram was recorded.
    pub value: f64,
    /// A histogram's mean.
    pub mean: Option<f64>,
    /// Half of the records are no larger; an upper bound, as fine as the buckets.
    pub p50: Option<f64>,
    /// 99 of 100 records are no larger; an upper bound, as fine as the buckets.
    pub p99: Option<f64>,
}

/// What is shown: the histograms, and counters that have labels and counted anything. The rest is in the status already.
pub fn measures(exposition: &str) -> Vec<Measure> {
    let mut found: BTreeMap<(usize, BTreeMap<String, String>), Series> = BTreeMap::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let Some(sample) = sample(line) else { continue };
        let Some((at, part)) = METRICS.iter().enumerate().find_map(|(at, metric)| match metric.kind {
            Kind::Histogram(_) => sample.name.strip_prefix(metric.name).map(|part| (at, part)),
            Kind::Counter if !metric.labels.is_empty() => (sample.name == metric.name).then_some((at, "")),
            Kind::Counter | Kind::Gauge => None,
        }) else {
            continue;
        };
        // Registered for those who take rates; people look for what happened.
        if METRICS[at].kind == Kind::Counter && sample.value == 0. {
            continue;
        }
        let mut labels = sample.labels;
        let bound = labels.remove("le");
        labels.retain(|name, _| METRICS[at].labels.contains(&name.as_str()));
        let series = found.entry((at, labels)).or_default();
        match (part, bound) {
            ("_bucket", Some(bound)) => series.buckets.push((bound.parse().unwrap_or(f64::INFINITY), sample.value)),
            ("_sum", _) => series.sum = Some(sample.value),
            _ => series.value = sample.value,
        }
    }
    found.into_iter().map(|((at, labels), series)| series.measure(METRICS[at].name, labels)).collect()
}

#[derive(Default)]
struct Series {
    value: f64,
    sum: Option<f64>,
    buckets: Vec<(f64, f64)>,
}

impl Series {
    fn measure(self, metric: &'static str, labels: BTreeMap<String, String>) -> Measure {
        let quantile = |share: f64| {
            let enough = self.value * share;
            let (bound, _) = self.buckets.iter().find(|(_, below)| self.value > 0. && *below >= enough)?;
            bound.is_finite().then_some(*bound)
        };
        Measure {
            metric,
            labels,
            value: self.value,
            mean: self.sum.filter(|_| self.value > 0.).map(|sum| sum / self.value),
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }
}

struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// `name{a="b",c="d"} 1`, or without the labels.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while let Some((label, after)) = rest.trim_start_matches(',').split_once("=\"") {
            if label.contains('}') {
                break;
            }
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after;
        }
        rest = rest.strip_prefix('}')?;
    }
    Some(Sample { name, labels, value: rest.trim().parse().ok()? })
}

/// The text up to the closing quote, its escapes undone, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                value.push(if c == 'n' { '\n' } else { c });
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &text[at + 1..])),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_become_mean_and_quantiles_and_labels_of_everyone_are_left_out() {
        let text = r#"# TYPE chalk_writer_store_write_seconds histogram
chalk_writer_store_write_seconds_bucket{writer="w",destination="a \"b\", c",le="0.5"} 60
chalk_writer_store_write_seconds_bucket{writer="w",destination="a \"b\", c",le="1"} 99
chalk_writer_store_write_seconds_bucket{writer="w",destination="a \"b\", c",le="+Inf"} 100
chalk_writer_store_write_seconds_sum{writer="w",destination="a \"b\", c"} 50
chalk_writer_store_write_seconds_count{writer="w",destination="a \"b\", c"} 100
chalk_writer_messages_buried_total{writer="w",class="DECODE"} 3
chalk_writer_messages_received_total{writer="w"} 7
"#;
        let measures = measures(text);
        assert_eq!(measures.len(), 2, "{measures:?}");
        assert_eq!((measures[0].metric, measures[0].value), ("chalk_writer_messages_buried_total", 3.));
        assert_eq!(measures[1].labels["destination"], r#"a "b", c"#);
        assert_eq!(
            (measures[1].value, measures[1].mean, measures[1].p50, measures[1].p99),
            (100., Some(0.5), Some(0.5), Some(1.))
        );
    }

    #[test]
    fn a_histogram_without_records_has_no_mean() {
        let measures = measures("chalk_writer_batch_rows_count{} 0\nchalk_writer_batch_rows_sum{} 0\n");
        assert_eq!((measures[0].mean, measures[0].p50), (None, None));
    }
}
