//! The tables of usage: their columns are the fields of the messages, in their order.

use std::sync::Arc;

use crate::row::table::Shape;
use crate::store::tables::fixed;
use crate::value::dtype::DataType;

/// One row per event of usage.
pub const USAGE_EVENTS: &str = "usage_events";
/// One row per node and time at which it was looked at.
pub const NODE_STATUS: &str = "node_status";
/// One row per pod and time at which it was looked at.
pub const POD_STATUS: &str = "pod_status";

/// The table of events.
pub fn usage_events() -> Arc<Shape> {
    use DataType::{Float64, Int64, String, Timestamp};
    let columns = [
        ("event_id", String),
        ("environment_id", String),
        ("team", String),
        ("kind", String),
        ("subject", String),
        ("quantity", Float64),
        ("unit", String),
        ("started_at", Timestamp),
        ("ended_at", Timestamp),
        ("cost_micros", Int64),
        ("dimensions", fixed::json()),
    ];
    shape(USAGE_EVENTS, &columns, "started_at", "event_id", &["event_id"])
}

/// The table of nodes.
pub fn node_status() -> Arc<Shape> {
    use DataType::{Bool, String, Timestamp};
    let columns = [
        ("team", String),
        ("name", String),
        ("uid", String),
        ("instance_type", String),
        ("region", String),
        ("zone", String),
        ("creation_timestamp", Timestamp),
        ("deletion_timestamp", Timestamp),
        ("observed_timestamp", Timestamp),
        ("labels", fixed::json()),
        ("annotations", fixed::json()),
        ("machine_id", String),
        ("system_uuid", String),
        ("boot_id", String),
        ("unschedulable", Bool),
        ("namespace", String),
        ("instance_id", String),
        ("cluster", String),
        ("total_cpu", String),
        ("total_memory", String),
        ("allocatable_cpu", String),
        ("allocatable_memory", String),
    ];
    shape(NODE_STATUS, &columns, "observed_timestamp", "uid", &["cluster", "uid", "observed_timestamp"])
}

/// The table of pods.
pub fn pod_status() -> Arc<Shape> {
    use DataType::{String, Timestamp};
    let columns = [
        ("team", String),
        ("app", String),
        ("component", String),
        ("datadog_service", String),
        ("datadog_version", String),
        ("pod_template_hash", String),
        ("creation_timestamp", Timestamp),
        ("deletion_timestamp", Timestamp),
        ("observed_timestamp", Timestamp),
        ("labels", fixed::json()),
        ("annotations", fixed::json()),
        ("cluster", String),
        ("uid", String),
        ("name", String),
    ];
    shape(POD_STATUS, &columns, "observed_timestamp", "uid", &["cluster", "uid", "observed_timestamp"])
}

fn shape(
    table: &'static str,
    columns: &[(&'static str, DataType)],
    time: &str,
    name: &str,
    key: &[&str],
) -> Arc<Shape> {
    Arc::new(fixed::shape(None, table.into(), columns, time, name, key))
}
