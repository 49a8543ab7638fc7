//! `QUERY_MIRROR_CONSUMER`: each query is asked, or counted as shed; what was asked has its outcome at least once.

use chalk_writer::proto::writer::v1::MirrorOutcome;
use prost::Message as _;
use serde_json::json;

use super::role::{Leaves, Looking, Made, Making, Pace, Role};

pub const ROLE: Role = Role {
    name: "mirror",
    writers: &["QUERY_MIRROR_CONSUMER"],
    topic: ("query-log", 4),
    more_topics: &[("outcomes", 2)],
    message: "chalk.query_log.v1",
    store: None,
    is_in_both: false,
    pace: Pace::Fixed(20.0),
    make,
    look,
};

fn make(making: &mut Making<'_>) -> Made {
    let number = making.number;
    // The stand-in answers with the number that it was asked for.
    let request = json!({"inputs": {"user.id": number}, "outputs": ["user.id"], "query_name": "torture"});
    let body = json!({
        "operation_id": format!("op-{number}"), "environment_id": "prod", "request": request.to_string(),
        "recorded": {"outputs": json!({"user.id": number}).to_string(), "duration_seconds": 0.004},
    });
    Made {
        body,
        key: number.to_string(),
        leaves: vec![Leaves::Row(format!("op-{number}"))],
        twice: false,
        environment: "prod",
    }
}

fn look(looking: &mut Looking<'_>) {
    for body in looking.bus.bodies("outcomes") {
        let outcome = MirrorOutcome::decode(&*body).unwrap();
        // What was answered must be the answer to that query.
        let is_right = outcome.agreed || !outcome.error.unwrap_or_default().is_empty();
        let id = outcome.operation_id;
        looking.seen.found(&if is_right { id } else { format!("{id}: differs") }, 1);
    }
}
