//! `chalk.query_error.v1` and `chalk.resolver_error.v1`: an error → its row.

use super::event::Event;
use crate::proto::common::v1::{ErrorCode, ErrorCodeCategory, OperationKind};
use crate::proto::writer::v1::ErrorRow;
use crate::sink::Refusal;
use crate::value::Value;
use crate::writer::fields::{decode, either, micros, optional, text, word};

/// What a batch says of all of its errors.
pub(super) struct Batch {
    pub(super) environment_id: String,
    pub(super) deployment_id: String,
}

/// The values of an error's row, in the order of [`shapes::errors`](crate::store::metrics::shapes::errors).
pub(super) fn values(row: ErrorRow, index: usize, batch: &Batch, event: &Event<'_>) -> Result<Vec<Value>, Refusal> {
    let Some(error) = row.error else { return Err(decode("an error row without its `error`")) };
    let created_at = event.time(micros(row.created_at.as_ref())?)?;
    let kind = OperationKind::try_from(row.operation_kind).ok().map(|known| known.as_str_name());
    let exception = error.exception.unwrap_or_default();
    Ok(vec![
        either(batch.environment_id.clone(), event.environment),
        either(batch.deployment_id.clone(), event.deployment),
        either(row.operation_id, event.operation),
        word(row.operation_kind, kind, "OPERATION_KIND_"),
        text(row.query_name),
        text(row.query_name_version),
        Value::Timestamp(created_at),
        // Their 0 is a value like the others.
        Value::text(code(error.code)),
        Value::text(category(error.category)),
        text(error.message),
        optional(error.display_primary_key),
        optional(error.display_primary_key_fqn),
        optional(error.feature),
        optional(error.resolver),
        text(exception.kind),
        text(exception.message),
        text(exception.stacktrace),
        optional(exception.internal_stacktrace),
        Value::text(event.row(index)),
    ])
}

fn code(number: i32) -> String {
    known(ErrorCode::try_from(number).ok().map(|known| known.as_str_name()), "ERROR_CODE_", number)
}

fn category(number: i32) -> String {
    let name = ErrorCodeCategory::try_from(number).ok().map(|known| known.as_str_name());
    known(name, "ERROR_CODE_CATEGORY_", number)
}

fn known(name: Option<&str>, prefix: &str, number: i32) -> String {
    let plain = name.and_then(|name| name.strip_prefix(prefix));
    plain.map_or_else(|| number.to_string(), |plain| plain.trim_end_matches("_UNSPECIFIED").to_owned())
}
