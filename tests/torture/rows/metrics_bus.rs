//! `METRICS_BUS_WRITER` alone: metrics and queries of others, some of which come twice.

use chalk_writer::config::StoreKind;
use serde_json::json;

use super::role::{Leaves, Looking, Made, Making, Pace, Role, rfc3339};

pub const ROLE: Role = Role {
    name: "metrics bus",
    writers: &["METRICS_BUS_WRITER"],
    topic: ("metrics", 4),
    more_topics: &[],
    message: "chalk.metrics.v1",
    store: Some(StoreKind::Metrics),
    is_in_both: false,
    pace: Pace::Share(30.0),
    make,
    look,
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
    Made { body, key: number.to_string(), leaves: sources.map(Leaves::Row).into(), twice, environment: "prod" }
}

fn look(looking: &mut Looking<'_>) {
    show_sums(looking, |source| source.starts_with("direct"));
}

/// Sums of what was asked for, by feature and query.
pub fn show_sums(looking: &mut Looking<'_>, wanted: fn(&str) -> bool) {
    let seen = &mut *looking.seen;
    looking.place.each("chalk", "metrics", "namespace, metric_name, source, value", &mut |row| {
        let [namespace, name, source, value] = row else { panic!("{row:?}") };
        if matches!(*namespace, "FEATURE" | "QUERY") && *name == "REQUEST" && wanted(source) {
            seen.found(source, value.parse::<f64>().unwrap() as u32);
        }
    });
}

/// Rows of queries.
pub fn show_queries(looking: &mut Looking<'_>, prefix: &str) {
    let seen = &mut *looking.seen;
    looking.place.each("chalk", "queries", "operation_id", &mut |row| {
        if row[0].starts_with(prefix) {
            seen.found(&format!("row {}", row[0]), 1);
        }
    });
}
