//! `chalk.query.v1`: a query → its row.

use super::event::Event;
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};
use crate::sink::Refusal;
use crate::value::Value;
use crate::writer::fields::{either, list, map, optional, text, word};

/// The query's id, else that of the headers, else the event's: never empty.
pub(super) fn operation(query: &QueryMessagePubSub, event: &Event<'_>) -> String {
    let known = [query.operation_id.as_str(), event.operation].into_iter().find(|id| !id.is_empty());
    known.map_or_else(|| event.id().to_string(), str::to_owned)
}

/// The values of a query's row, in the order of [`shapes::queries`](crate::store::metrics::shapes::queries).
pub(super) fn values(query: QueryMessagePubSub, operation: String, event: &Event<'_>) -> Result<Vec<Value>, Refusal> {
    let flag = |flag: Option<bool>| flag.map_or(Value::Null, Value::Bool);
    // `created_at` is an integer typed TIMESTAMP, which BigQuery reads as microseconds.
    let created_at = event.time(Some(query.created_at).filter(|time| *time != 0))?;
    let status = query.status.unwrap_or_default();
    let status_name = QueryStatus::try_from(status).ok().map(|known| known.as_str_name());
    Ok(vec![
        text(operation),
        either(query.environment_id, event.environment),
        map(query.query_meta),
        optional(query.query_name),
        optional(query.query_name_version),
        optional(query.correlation_id),
        list(query.input_features),
        list(query.output_features),
        list(query.output_root_fqns),
        list(query.intermediate_features),
        list(query.resolvers),
        optional(query.query_plan_id),
        Value::Timestamp(created_at),
        flag(query.has_errors),
        optional(query.agent_id),
        optional(query.branch_name),
        either(query.deployment_id.unwrap_or_default(), event.deployment),
        flag(query.has_plan_stages),
        optional(query.meta_query_hash),
        query.query_duration_seconds.map_or(Value::Null, |seconds| Value::Double(shortest(seconds))),
        optional(query.trace_id),
        optional(query.resource_group),
        word(status, status_name, "QUERY_STATUS_"),
        Value::Int(progress(status)),
        Value::Timestamp(event.time(None)?),
    ])
}

/// How far a query is on. Every report of it has the time at which it was created, and one of its end may overtake an
/// earlier one.
fn progress(status: i32) -> i64 {
    use QueryStatus::{
        Cancelled, Error, Expired, PendingSubmission, Running, Submitted, Successful, SuccessfulWithNonfatalErrors,
        Unspecified,
    };
    match QueryStatus::try_from(status) {
        Ok(Unspecified) | Err(_) => 0,
        Ok(PendingSubmission) => 1,
        Ok(Submitted) => 2,
        Ok(Running) => 3,
        Ok(Error | Expired | Cancelled | Successful | SuccessfulWithNonfatalErrors) => 4,
    }
}

/// The double that is written as the single is: 0.0042, not 0.004199999943375587.
fn shortest(single: f32) -> f64 {
    single.to_string().parse().unwrap_or_else(|_| f64::from(single))
}
