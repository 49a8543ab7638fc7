//! What of a result is passed on: the query's row, and a row for each error.

use crate::proto::common::v1::ChalkError;
use crate::proto::pubsub::v1::QueryMessagePubSub;
use crate::proto::writer::v1::ErrorRow;
use crate::result::QueryResult;
use crate::result::arrow::Budget;
use crate::result::encode::timestamp;
use crate::row::contribution::Forward;
use crate::sink::Refusal;

/// What the rows have of their message.
pub(super) struct Around<'a> {
    pub(super) environment: &'a str,
    pub(super) deployment: &'a str,
    /// The query's id; never empty.
    pub(super) operation: &'a str,
    /// Microseconds since 1970.
    pub(super) event_time: i64,
}

/// Takes the query and the errors out of a result. Each error's row names the query, so many of them may come to
/// more than the message was: that comes out of the budget.
pub(super) fn forward(
    result: &mut QueryResult,
    around: &Around<'_>,
    budget: &mut Budget,
) -> Result<Vec<Forward>, Refusal> {
    let of_query = |text: fn(&QueryMessagePubSub) -> Option<&String>| {
        result.query.as_deref().and_then(text).cloned().unwrap_or_default()
    };
    let query_name = of_query(|query| query.query_name.as_ref());
    let query_name_version = of_query(|query| query.query_name_version.as_ref());
    let names = around.operation.len() + query_name.len() + query_name_version.len();
    budget.take_rows(result.errors.len(), size_of::<ErrorRow>() + names)?;
    let operation_kind = result.operation_kind;
    let row = |error: ChalkError| ErrorRow {
        operation_id: around.operation.to_owned(),
        operation_kind,
        query_name: query_name.clone(),
        query_name_version: query_name_version.clone(),
        created_at: Some(timestamp(around.event_time)),
        error: Some(error),
    };
    let is_of_resolver = |error: &ChalkError| error.resolver.as_deref().is_some_and(|name| !name.is_empty());
    let (of_resolvers, of_query): (Vec<_>, Vec<_>) =
        std::mem::take(&mut result.errors).into_iter().partition(is_of_resolver);
    let mut forward = Vec::new();
    if let Some(mut query) = result.query.take() {
        // Rows are stored by environment and operation. Which environment, the message decides.
        around.environment.clone_into(&mut query.environment_id);
        if query.operation_id.is_empty() {
            around.operation.clone_into(&mut query.operation_id);
        }
        if query.deployment_id.is_none() && !around.deployment.is_empty() {
            query.deployment_id = Some(around.deployment.to_owned());
        }
        if query.created_at == 0 {
            query.created_at = around.event_time;
        }
        forward.push(Forward::Query(query));
    }
    if !of_query.is_empty() {
        forward.push(Forward::QueryErrors(of_query.into_iter().map(row).collect()));
    }
    if !of_resolvers.is_empty() {
        forward.push(Forward::ResolverErrors(of_resolvers.into_iter().map(row).collect()));
    }
    Ok(forward)
}
