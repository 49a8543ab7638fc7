//! `USAGE_BUS_WRITER`: each event once by its id where the store has keys, also where it is sent twice; in a lake at
//! least once.

use chalk_writer::config::StoreKind;
use serde_json::json;

use super::role::{Leaves, Looking, Made, Making, Pace, Role, rfc3339};

pub const ROLE: Role = Role {
    name: "usage",
    writers: &["USAGE_BUS_WRITER"],
    topic: ("usage", 4),
    more_topics: &[],
    message: "chalk.usage.v1",
    store: Some(StoreKind::Usage),
    is_in_both: false,
    pace: Pace::Share(40.0),
    make,
    look,
};

fn make(making: &mut Making<'_>) -> Made {
    let (number, time) = (making.number, making.time());
    let event = |part: i64| {
        json!({
            "event_id": format!("e-{number}-{part}"), "environment_id": "prod", "team": "t", "subject": "s",
            "kind": "USAGE_KIND_QUERY", "quantity": number, "unit": "queries", "started_at": rfc3339(time),
        })
    };
    let parts = making.random.i64(1..4);
    let body = json!({"events": (0..parts).map(event).collect::<Vec<_>>()});
    // With the quantity in it, so that it is known to be the right one.
    let leaves = (0..parts).map(|part| Leaves::Row(format!("e-{number}-{part} {number}"))).collect();
    Made { body, key: number.to_string(), leaves, twice: making.random.u8(..6) == 0, environment: "prod" }
}

fn look(looking: &mut Looking<'_>) {
    let seen = &mut *looking.seen;
    looking.place.each("chalk", "usage_events", "event_id, quantity", &mut |row| {
        seen.found(&format!("{} {}", row[0], row[1].parse::<f64>().unwrap()), 1);
    });
}
