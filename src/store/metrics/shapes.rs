//! The tables of metrics, their columns, keys and what a repeated key does.
//!
//! Rows of metrics and errors never change, so the first of a key stands; a query is told of again as it goes on, so
//! the last report does. All columns are declared: a table is whole from its first row on.

use std::sync::Arc;

use bytestring::ByteString;

use super::metric;
use crate::row::table::{Of, Repeats, Shape};
use crate::store::tables::fixed;
use crate::value::dtype::DataType;

/// One row per series, moment, message and place in it.
pub const METRICS: &str = "metrics";
/// One row per query.
pub const QUERIES: &str = "queries";
/// One row per error of a whole query.
pub const QUERY_ERRORS: &str = "query_errors";
/// One row per error that names a resolver.
pub const RESOLVER_ERRORS: &str = "resolver_errors";

/// Where a table is: `schema.table` of a setting, or the usual name in the store's own schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The schema, where the setting names one.
    pub schema: Option<ByteString>,
    /// The table.
    pub table: ByteString,
}

impl Place {
    /// A table of the usual name.
    pub fn usual(table: &'static str) -> Self {
        Self { schema: None, table: ByteString::from_static(table) }
    }

    /// What a setting says.
    pub fn named(text: &str) -> Self {
        let (schema, table) =
            text.split_once('.').map_or((None, text), |(schema, table)| (Some(ByteString::from(schema)), table));
        Self { schema, table: table.into() }
    }
}

fn shape(place: &Place, columns: &[(&'static str, DataType)], time: &str, name: &str, key: &[&str]) -> Shape {
    fixed::shape(place.schema.clone(), place.table.clone(), columns, time, name, key)
}

/// The table of metrics: the columns of a [`MetricRow`](super::metric::MetricRow).
pub fn metrics(place: &Place) -> Arc<Shape> {
    let key = ["series", "observed_at", "emitter", "part"];
    let shape = shape(place, &metric::columns(), "observed_at", "metric_name", &key);
    Arc::new(Shape { of: Of::Metrics, ..shape })
}

/// The table of queries: the fields of `QueryMessagePubSub` in their order, and by what the last report of a query is
/// told: how far the query was, then when its message says it is from. `created_at` is the same in all of them.
pub fn queries(place: &Place) -> Arc<Shape> {
    use DataType::{Bool, Float64, Int64, String, Timestamp};
    let columns = [
        ("operation_id", String),
        ("environment_id", String),
        ("query_meta", fixed::json()),
        ("query_name", String),
        ("query_name_version", String),
        ("correlation_id", String),
        ("input_features", fixed::json()),
        ("output_features", fixed::json()),
        ("output_root_fqns", fixed::json()),
        ("intermediate_features", fixed::json()),
        ("resolvers", fixed::json()),
        ("query_plan_id", String),
        ("created_at", Timestamp),
        ("has_errors", Bool),
        ("agent_id", String),
        ("branch_name", String),
        ("deployment_id", String),
        ("has_plan_stages", Bool),
        ("meta_query_hash", String),
        ("query_duration_seconds", Float64),
        ("trace_id", String),
        ("resource_group", String),
        ("status", String),
        ("progress", Int64),
        ("reported_at", Timestamp),
    ];
    let shape = shape(place, &columns, "reported_at", "operation_id", &["environment_id", "operation_id"]);
    let progress = columns.iter().position(|(name, _)| *name == "progress").unwrap_or_default();
    Arc::new(Shape { repeats: Repeats::Furthest(progress), ..shape })
}

/// A table of errors. Its key has the time, which a table cut by time cannot do without.
pub fn errors(place: &Place) -> Arc<Shape> {
    use DataType::{String, Timestamp};
    let columns = [
        ("environment_id", String),
        ("deployment_id", String),
        ("operation_id", String),
        ("operation_kind", String),
        ("query_name", String),
        ("query_name_version", String),
        ("created_at", Timestamp),
        ("code", String),
        ("category", String),
        ("message", String),
        ("display_primary_key", String),
        ("display_primary_key_fqn", String),
        ("feature", String),
        ("resolver", String),
        ("exception_kind", String),
        ("exception_message", String),
        ("exception_stacktrace", String),
        ("exception_internal_stacktrace", String),
        ("error_id", String),
    ];
    let shape = shape(place, &columns, "created_at", "error_id", &["error_id", "created_at"]);
    Arc::new(Shape { of: Of::Events, ..shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_that_is_named_is_there() {
        let names = |shape: &Shape, at: &[usize]| -> Vec<String> {
            at.iter().map(|at| shape.columns[*at].name.to_string()).collect()
        };
        let metrics = metrics(&Place::usual(METRICS));
        assert_eq!(names(&metrics, &metrics.key), ["series", "observed_at", "emitter", "part"]);
        assert_eq!(
            names(&metrics, &[metrics.time.column().expect("a column"), metrics.name]),
            ["observed_at", "metric_name"]
        );
        let queries = queries(&Place::named("chalk.queries"));
        assert_eq!(names(&queries, &queries.key), ["environment_id", "operation_id"]);
        assert_eq!(
            names(&queries, &[queries.time.column().expect("a column"), queries.name]),
            ["reported_at", "operation_id"]
        );
        assert_eq!((queries.schema.as_deref(), &*queries.table), (Some("chalk"), "queries"));
        let errors = errors(&Place::named("failures"));
        assert_eq!(names(&errors, &errors.key), ["error_id", "created_at"]);
        assert_eq!((errors.schema.as_deref(), &*errors.table), (None, "failures"));
    }
}
