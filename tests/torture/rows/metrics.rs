//! `METRICS_WRITER`, with `METRICS_BUS_WRITER` behind it: the sums in the metrics store are what was sent, and each
//! query has its row.

use chalk_writer::config::StoreKind;
use serde_json::json;

use super::metrics_bus::{show_queries, show_sums};
use super::role::{Leaves, Looking, Made, Making, Pace, Role, rfc3339};

pub const ROLE: Role = Role {
    name: "metrics",
    writers: &["METRICS_WRITER", "METRICS_BUS_WRITER"],
    topic: ("counted", 4),
    more_topics: &[],
    message: "chalk.result.v1",
    store: Some(StoreKind::Metrics),
    is_in_both: false,
    pace: Pace::Share(30.0),
    make,
    look,
};

fn make(making: &mut Making<'_>) -> Made {
    let (number, time) = (making.number, making.time());
    // Few series, each of many results; and one that is of few.
    let (feature, query) = (format!("user.f{}", making.random.u8(..20)), format!("q{}", number / 200));
    let body = json!({
        "environment_id": "prod", "deployment_id": "dep", "operation_id": format!("op-{number}"),
        "operation_kind": "ONLINE_QUERY", "observed_at": rfc3339(time),
        "query": {"query_name": query, "output_features": [feature], "status": "SUCCESSFUL"},
        "tables": [{"namespace": "user", "rows": {"rows": [{"id": number, "features": {(feature.clone()): number}}]}}],
    });
    let leaves = [feature, query, format!("row op-{number}")].map(Leaves::Row).into();
    Made { body, key: number.to_string(), leaves, twice: false, environment: "prod" }
}

fn look(looking: &mut Looking<'_>) {
    show_sums(looking, |source| !source.starts_with("direct"));
    show_queries(looking, "op-");
}
