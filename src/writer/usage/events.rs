//! `chalk.usage.v1`: an event → its row.

use crate::proto::writer::v1::{UsageEvent, UsageKind};
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::writer::fields::{decode, map, micros, optional, text, word};

use super::times::Times;

/// When an event was over, or else when it began.
pub(super) fn latest(event: &UsageEvent) -> Option<i64> {
    let known = |time: Option<&_>| micros(time).ok().flatten();
    known(event.ended_at.as_ref()).or_else(|| known(event.started_at.as_ref()))
}

/// The values of an event's row, in the order of [`shapes::usage_events`](crate::store::usage::shapes::usage_events).
///
/// Without a beginning it began when it ended, else at the message's time: a row of a lake has to have one. Less than
/// nothing may have been used, which puts right what was told before.
pub(super) fn values(event: UsageEvent, environment: &str, times: &Times<'_>) -> Result<Vec<Value>, Refusal> {
    if event.event_id.is_empty() {
        return Err(decode("an event without an `event_id`, which is what it is counted once by"));
    }
    if !event.quantity.is_finite() {
        let message = format!("`quantity` is {}, which nobody can add up", event.quantity);
        return Err(Refusal::new(ErrorClass::ValueRefused, message).harmless());
    }
    let ended_at = micros(event.ended_at.as_ref())?;
    let started_at = times.of(micros(event.started_at.as_ref())?.or(ended_at))?;
    let kind = UsageKind::try_from(event.kind).ok().map(|known| known.as_str_name());
    Ok(vec![
        Value::text(event.event_id),
        Value::text(environment.to_owned()),
        optional(event.team),
        word(event.kind, kind, "USAGE_KIND_"),
        text(event.subject),
        Value::Double(event.quantity),
        text(event.unit),
        Value::Timestamp(started_at),
        ended_at.map_or(Value::Null, Value::Timestamp),
        event.cost_micros.map_or(Value::Null, Value::Int),
        map(event.dimensions),
    ])
}
