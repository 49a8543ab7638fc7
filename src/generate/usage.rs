//! Events of usage: what queries, resolvers, features and machines used, some at a time.

use super::draft::Draft;
use crate::message::{EventType, Outgoing};
use crate::proto::writer::v1::{UsageBatch, UsageEvent, UsageKind};
use crate::result::encode::timestamp;

const TEAMS: [&str; 4] = ["fraud", "growth", "platform", "risk"];

/// Kind, what it is of, unit, and the largest amount.
const USED: [(UsageKind, &str, &str, f64); 6] = [
    (UsageKind::Query, "fraud_check", "queries", 500.0),
    (UsageKind::Query, "authorize", "queries", 900.0),
    (UsageKind::Resolver, "fraud.get_score", "seconds", 120.0),
    (UsageKind::Resolver, "search.embed", "seconds", 300.0),
    (UsageKind::Feature, "user.score", "values", 10_000.0),
    (UsageKind::Compute, "engine", "core_seconds", 3_600.0),
];

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let events = (0..draft.random.usize(1..8)).map(|_| event(draft)).collect();
    draft.message(EventType::Usage, "", &UsageBatch { events })
}

fn event(draft: &mut Draft) -> UsageEvent {
    let (kind, subject, unit, most) = USED[draft.random.usize(..USED.len())];
    let quantity = match kind {
        UsageKind::Resolver | UsageKind::Compute => (draft.random.f64() * most * 1_000.0).round() / 1_000.0,
        _ => (draft.random.f64() * most).ceil(),
    };
    let ended_at = draft.time();
    let started_at = ended_at - draft.random.i64(1_000_000..60_000_000);
    let priced = draft.chance(80);
    UsageEvent {
        event_id: draft.id(),
        environment_id: draft.options.environment.clone(),
        team: draft.chance(90).then(|| draft.one_of(&TEAMS)),
        kind: kind.into(),
        subject: subject.to_owned(),
        quantity,
        unit: unit.to_owned(),
        started_at: Some(timestamp(started_at)),
        ended_at: Some(timestamp(ended_at)),
        cost_micros: priced.then(|| (quantity * 37.5).round() as i64),
        dimensions: [
            ("pool".to_owned(), draft.one_of(&["on-demand", "spot"])),
            ("region".to_owned(), draft.one_of(&["eu-west-1", "us-east-1"])),
        ]
        .into(),
    }
}
