//! `METRICS_BUS_WRITER` alone: metrics and queries of others, some of which come twice.

use serde_json::json;

use super::place::Place;
use super::role::{Held, Leaves, Looking, Made, Making, Role, add, rfc3339};

pub const ROLE: Role = Role {
    name: "metrics bus",
    writers: &["METRICS_BUS_WRITER"],
    topic: ("metrics", 4),
    more_topics: &[],
    message: "chalk.metrics.v1",
    store: Some(("metrics_store", "metrics.sqlite")),
    pace: (1, 3),
    make,
    look,
    once: |_| true,
};

/// Metrics, beside one of which is a series of the message alone.
fn make(making: &mut Making<'_>) -> Made {
    let (number, time) = (making.number, making.time());
    let sources = [format!("direct.f{}", making.random.u8(..20)), format!("direct.n{number}")];
    let metric = |source: &String| {
        json!({
            "environment_id": "prod", "deployment_id": "dep", "observed_at": rfc3339(time), "source": source,
            "namespace": "METRICS1_PROTO_REPRESENTATION_NAMESPACE_FEATURE",
            "metric_name": "METRICS1_PROTO_REPRESENTATION_NAME_REQUEST",
            "aggregation_type": "METRICS1_PROTO_AGGREGATION_TYPE_SUM", "numeric": {"value": 1},
        })
    };
    let body = json!({"metrics": sources.iter().map(metric).collect::<Vec<_>>()});
    let twice = making.random.u8(..8) == 0;
    Made { body, key: number.to_string(), leaves: sources.map(Leaves::Row).into(), twice }
}

fn look(looking: &mut Looking<'_>) -> Held {
    let mut held = Held::new();
    add_sums(&mut held, looking.place, |source| source.starts_with("direct"));
    held
}

/// Sums of what was asked for, by feature and query.
pub fn add_sums(held: &mut Held, place: &Place, wanted: fn(&str) -> bool) {
    for row in place.rows("chalk", "metrics", "namespace, metric_name, source, value") {
        let [namespace, name, source, value] = &row[..] else { panic!("{row:?}") };
        if matches!(&**namespace, "FEATURE" | "QUERY") && name == "REQUEST" && wanted(source) {
            add(held, source, value.parse::<f64>().unwrap() as u64);
        }
    }
}

/// Rows of queries.
pub fn add_queries(held: &mut Held, place: &Place, prefix: &str) {
    for row in place.rows("chalk", "queries", "operation_id") {
        if row[0].starts_with(prefix) {
            add(held, format!("row {}", row[0]), 1);
        }
    }
}
