//! Logged queries: what was asked for one entity, and what was answered.

use serde_json::{Map, Value as Json, json};

use super::draft::Draft;
use crate::message::{EventType, Outgoing};
use crate::proto::writer::v1::feature_table::Body;
use crate::proto::writer::v1::row::Id;
use crate::proto::writer::v1::value::Kind;
use crate::proto::writer::v1::{LoggedQuery, QueryAnswer, Rows};
use crate::result::encode::timestamp;

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let result = draft.result();
    let query = result.query.unwrap_or_default();
    let table = result.tables.into_iter().next().unwrap_or_default();
    let rows = match table.body {
        Some(Body::Rows(rows)) => rows,
        _ => Rows::default(),
    };
    let row = rows.rows.into_iter().next().unwrap_or_default();
    let id = match row.id {
        Some(Id::IntId(id)) => json!(id),
        Some(Id::TextId(id)) => json!(id),
        None => Json::Null,
    };
    let values =
        rows.columns.iter().zip(row.values).filter_map(|(name, value)| Some((name.clone(), plain(value.kind)?)));
    let outputs: Map<String, Json> = values.collect();
    let request = json!({
        "inputs": {(format!("{}.id", table.namespace)): id},
        "outputs": outputs.keys().collect::<Vec<_>>(),
        "query_name": query.query_name,
        "context": {"environment": result.environment_id, "tags": []},
    });
    let logged = LoggedQuery {
        operation_id: result.operation_id,
        environment_id: result.environment_id,
        deployment_id: result.deployment_id,
        query_timestamp: Some(timestamp(draft.time())),
        request: request.to_string(),
        recorded: Some(QueryAnswer {
            outputs: Some(Json::Object(outputs).to_string()),
            duration_seconds: query.query_duration_seconds.map(f64::from),
            http_status: 200,
            ..QueryAnswer::default()
        }),
    };
    draft.message(EventType::QueryLog, &logged.operation_id.clone(), &logged)
}

/// A value as the API answers it; `None` for those that are no plain JSON.
fn plain(kind: Option<Kind>) -> Option<Json> {
    Some(match kind? {
        Kind::NullValue(_) => Json::Null,
        Kind::BoolValue(value) => json!(value),
        Kind::IntValue(number) => json!(number),
        Kind::DoubleValue(number) => json!(number),
        Kind::StringValue(text) => json!(text),
        _ => return None,
    })
}
