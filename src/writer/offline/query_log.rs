//! `query_log`: one row per query, with the 17 public columns.

use std::sync::Arc;

use bytestring::ByteString;

use super::kind;
use super::shapes::QUERY_LOG;
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};
use crate::row::table::{Column, Of, Repeats, Shape, When};
use crate::value::Value;
use crate::value::dtype::DataType;

pub(super) const COLUMNS: [&str; 17] = [
    "operation_id",
    "environment_id",
    "deployment_id",
    "operation_kind",
    "query_timestamp",
    "execution_started_at",
    "execution_finished_at",
    "query_status",
    "query_name",
    "query_name_version",
    "agent_id",
    "branch_name",
    "correlation_id",
    "trace_id",
    "query_plan_id",
    "value_tables",
    "meta_query_hash",
];
const OPERATION_ID: usize = 0;
pub(super) const ENVIRONMENT_ID: usize = 1;
const QUERY_TIMESTAMP: usize = 4;

/// What of a message goes into the row beside the query itself.
pub(super) struct Around<'a> {
    /// The message's operation id, else the event's: never empty.
    pub(super) operation_id: ByteString,
    pub(super) environment_id: &'a str,
    pub(super) deployment_id: &'a str,
    pub(super) operation_kind: i32,
    /// Microseconds since 1970.
    pub(super) query_timestamp: i64,
    /// Tables that hold this query's values.
    pub(super) value_tables: Vec<ByteString>,
}

/// The table's columns; a query is named by its environment and operation.
pub(super) fn shape() -> Arc<Shape> {
    let data_type = |name: &str| match name {
        "query_timestamp" | "execution_started_at" | "execution_finished_at" => DataType::Timestamp,
        "value_tables" => DataType::List(Box::new(DataType::String)),
        _ => DataType::String,
    };
    let columns = COLUMNS
        .iter()
        .map(|name| Column { name: ByteString::from_static(name), data_type: Some(data_type(name)) })
        .collect();
    Arc::new(Shape {
        schema: None,
        table: ByteString::from_static(QUERY_LOG),
        columns,
        time: When::Column(QUERY_TIMESTAMP),
        name: OPERATION_ID,
        key: vec![ENVIRONMENT_ID, OPERATION_ID],
        repeats: Repeats::Newest,
        create: true,
        of: Of::Anything,
    })
}

/// The values of a query's row, aligned with the shape.
///
/// `query_timestamp` is when the query came in. It ran from then on for `query_duration_seconds`;
/// without a duration nothing is known of the execution, and one that failed has no end.
pub(super) fn values(query: &QueryMessagePubSub, around: Around<'_>) -> Vec<Value> {
    let text = |text: &str| if text.is_empty() { Value::Null } else { Value::text(text.to_owned()) };
    let optional = |value: &Option<String>| value.as_deref().map_or(Value::Null, text);
    let status = status(query);
    let duration = query.query_duration_seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let started = duration.map(|_| around.query_timestamp);
    let finished = duration
        .filter(|_| status != Some(QueryStatus::Error))
        .map(|seconds| around.query_timestamp.saturating_add((f64::from(seconds) * 1e6).round() as i64));
    let time = |time: Option<i64>| time.map_or(Value::Null, Value::Timestamp);
    let deployment = query.deployment_id.as_deref().unwrap_or(around.deployment_id);
    vec![
        Value::Text(around.operation_id),
        text(around.environment_id),
        text(deployment),
        kind::value(around.operation_kind),
        Value::Timestamp(around.query_timestamp),
        time(started),
        time(finished),
        status.map_or(Value::Null, |status| {
            let name = status.as_str_name();
            Value::text(name.strip_prefix("QUERY_STATUS_").unwrap_or(name))
        }),
        optional(&query.query_name),
        optional(&query.query_name_version),
        optional(&query.agent_id),
        optional(&query.branch_name),
        optional(&query.correlation_id),
        optional(&query.trace_id),
        optional(&query.query_plan_id),
        Value::List(around.value_tables.into_iter().map(Value::Text).collect()),
        optional(&query.meta_query_hash),
    ]
}

/// The query's status, or the one that `has_errors` implies: older engines do not send it.
fn status(query: &QueryMessagePubSub) -> Option<QueryStatus> {
    let given = query.status.and_then(|status| QueryStatus::try_from(status).ok());
    given
        .filter(|status| *status != QueryStatus::Unspecified)
        .or_else(|| query.has_errors.map(|errors| if errors { QueryStatus::Error } else { QueryStatus::Successful }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_was_not_sent_is_the_one_that_errors_imply() {
        let query = |status: Option<QueryStatus>, has_errors| QueryMessagePubSub {
            status: status.map(i32::from),
            has_errors,
            ..QueryMessagePubSub::default()
        };
        assert_eq!(status(&query(Some(QueryStatus::Cancelled), Some(true))), Some(QueryStatus::Cancelled));
        assert_eq!(status(&query(None, Some(true))), Some(QueryStatus::Error));
        assert_eq!(status(&query(None, Some(false))), Some(QueryStatus::Successful));
        assert_eq!(status(&query(None, None)), None);
    }
}
