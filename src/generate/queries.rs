//! Rows of queries, and the errors that they and their resolvers met.

use super::draft::Draft;
use super::features;
use crate::message::{EventType, Outgoing};
use crate::proto::writer::v1::{ErrorBatch, ErrorRow, QueryResult};
use crate::result::encode::timestamp;

/// A query's row.
pub(super) fn row(draft: &mut Draft) -> Outgoing {
    let result = draft.result();
    let query = result.query.unwrap_or_default();
    draft.message(EventType::Query, &query.operation_id, &query)
}

/// One error of a whole query, or two.
pub(super) fn query_error(draft: &mut Draft) -> Outgoing {
    let result = draft.result();
    let errors = (0..draft.random.usize(1..3)).map(|_| features::query_error(&mut draft.random)).collect();
    batch(draft, EventType::QueryError, &result, errors)
}

/// Some errors of resolvers of one query.
pub(super) fn resolver_error(draft: &mut Draft) -> Outgoing {
    let result = draft.result();
    let errors = (0..draft.random.usize(1..4)).map(|_| features::resolver_error(&result, &mut draft.random)).collect();
    batch(draft, EventType::ResolverError, &result, errors)
}

fn batch(
    draft: &mut Draft,
    event_type: EventType,
    result: &QueryResult,
    errors: Vec<crate::proto::common::v1::ChalkError>,
) -> Outgoing {
    let query_name = result.query.as_ref().and_then(|query| query.query_name.clone()).unwrap_or_default();
    let row = |error| ErrorRow {
        operation_id: result.operation_id.clone(),
        operation_kind: result.operation_kind,
        query_name: query_name.clone(),
        created_at: Some(timestamp(draft.time())),
        error: Some(error),
        ..ErrorRow::default()
    };
    let batch = ErrorBatch {
        environment_id: result.environment_id.clone(),
        deployment_id: result.deployment_id.clone(),
        errors: errors.into_iter().map(row).collect(),
    };
    draft.message(event_type, &result.operation_id, &batch)
}
