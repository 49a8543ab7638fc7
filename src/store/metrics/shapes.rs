//! The tables of metrics, their columns, keys and what a repeated key does.
//!
//! Rows of metrics and errors never change, so the first of a key stands; a query is told of again as it goes on, so
//! the newest does. All columns are declared: a table is whole from its first row on.

use std::sync::Arc;

use bytestring::ByteString;

use crate::row::table::{Column, Repeats, Shape, When};
use crate::value::dtype::DataType;

/// One row per series, moment, message and place in it.
pub const METRICS: &str = "metrics";
/// One row per query.
pub const QUERIES: &str = "queries";
/// One row per error of a whole query.
pub const QUERY_ERRORS: &str = "query_errors";
/// One row per error that names a resolver.
pub const RESOLVER_ERRORS: &str = "resolver_errors";

/// What tells one series from another, beside its hash in `series`.
pub(super) const DIMENSIONS: [&str; 18] = [
    "environment_id",
    "deployment_id",
    "namespace",
    "metric_name",
    "source",
    "resource_group",
    "tag1",
    "tag2",
    "tag3",
    "tag4",
    "tag5",
    "tag6",
    "tag7",
    "aggregation_type",
    "version",
    "metric_type",
    "additional_tags",
    "series",
];

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
    let at = |wanted: &str| columns.iter().position(|(name, _)| *name == wanted).unwrap_or_default();
    Shape {
        schema: place.schema.clone(),
        table: place.table.clone(),
        columns: columns
            .iter()
            .map(|(name, data_type)| Column { name: ByteString::from_static(name), data_type: Some(data_type.clone()) })
            .collect(),
        time: When::Column(at(time)),
        name: at(name),
        key: key.iter().map(|name| at(name)).collect(),
        repeats: Repeats::First,
        create: true,
    }
}

/// Any JSON: a struct of no declared fields is `jsonb` in Postgres and text of JSON in SQLite, for lists as well.
fn json() -> DataType {
    DataType::Struct(Vec::new())
}

/// The table of metrics. The order of the columns is that of a row's values.
pub fn metrics(place: &Place) -> Arc<Shape> {
    use DataType::{Float64, Int64, String, Timestamp};
    let columns = [
        ("version", Int64),
        ("id", Int64),
        ("environment_id", String),
        ("deployment_id", String),
        ("observed_at", Timestamp),
        ("namespace", String),
        ("metric_name", String),
        ("source", String),
        ("operation_id", String),
        ("resource_group", String),
        ("tag1", String),
        ("tag2", String),
        ("tag3", String),
        ("tag4", String),
        ("tag5", String),
        ("tag6", String),
        ("tag7", String),
        ("aggregation_type", String),
        ("metric_type", String),
        ("additional_tags", json()),
        ("value", Float64),
        ("sketch", String),
        ("min", Float64),
        ("max", Float64),
        ("count", Int64),
        ("null_count", Int64),
        ("mean", Float64),
        ("variance", Float64),
        ("buckets", json()),
        ("compactions", Int64),
        ("series", String),
        ("emitter", String),
        ("part", Int64),
    ];
    Arc::new(shape(place, &columns, "observed_at", "metric_name", &["series", "observed_at", "emitter", "part"]))
}

/// The table of queries: the fields of `QueryMessagePubSub` in their order.
pub fn queries(place: &Place) -> Arc<Shape> {
    use DataType::{Bool, Float64, String, Timestamp};
    let columns = [
        ("operation_id", String),
        ("environment_id", String),
        ("query_meta", json()),
        ("query_name", String),
        ("query_name_version", String),
        ("correlation_id", String),
        ("input_features", json()),
        ("output_features", json()),
        ("output_root_fqns", json()),
        ("intermediate_features", json()),
        ("resolvers", json()),
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
    ];
    let shape = shape(place, &columns, "created_at", "operation_id", &["environment_id", "operation_id"]);
    Arc::new(Shape { repeats: Repeats::Newest, ..shape })
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
    Arc::new(shape(place, &columns, "created_at", "error_id", &["error_id", "created_at"]))
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
        assert!(DIMENSIONS.iter().all(|name| metrics.columns.iter().any(|column| column.name == *name)));
        let queries = queries(&Place::named("chalk.queries"));
        assert_eq!(names(&queries, &queries.key), ["environment_id", "operation_id"]);
        assert_eq!(
            names(&queries, &[queries.time.column().expect("a column"), queries.name]),
            ["created_at", "operation_id"]
        );
        assert_eq!((queries.schema.as_deref(), &*queries.table), (Some("chalk"), "queries"));
        let errors = errors(&Place::named("failures"));
        assert_eq!(names(&errors, &errors.key), ["error_id", "created_at"]);
        assert_eq!((errors.schema.as_deref(), &*errors.table), (None, "failures"));
    }
}
