//! `ONLINE_VECTOR_STORE_WRITER`: of each id the newest vector, or its tombstone.

use chalk_writer::config::StoreKind;
use serde_json::json;

use super::place::Place;
use super::role::{Leaves, Looking, Made, Making, Pace, Role, rfc3339};

pub const ROLE: Role = Role {
    name: "vectors",
    writers: &["ONLINE_VECTOR_STORE_WRITER"],
    topic: ("vectors", 4),
    more_topics: &[],
    message: "chalk.vector_batch.v1",
    store: Some(StoreKind::Vector),
    is_in_both: false,
    pace: Pace::Share(40.0),
    make,
    look,
};

/// Ids that come again and again.
const AGAIN: i64 = 60;

fn make(making: &mut Making<'_>) -> Made {
    let (number, time) = (making.number, making.time());
    let again = making.random.i64(0..AGAIN);
    // The other one comes never again: nothing that comes later hides that it was lost.
    let ids = [again, 1_000_000 + number];
    let deletes = making.random.u8(..6) == 0;
    let entry = |id: &i64| {
        if deletes {
            return json!({"int_id": id, "observed_at": rfc3339(time)});
        }
        // Both elements are told by the number, and singles hold them exactly.
        let elements = [(number % 1_000_000) as f64, 1.0];
        json!({"int_id": id, "observed_at": rfc3339(time), "vector": {"fp32": {"elements": elements}}})
    };
    let entries: Vec<_> = ids.iter().map(entry).collect();
    let body = json!({
        "environment_id": "prod", "namespace": "user", "feature": "user.embedding",
        (if deletes { "deletes" } else { "upserts" }): entries,
    });
    // Whether it is gone is in the lowest digit: times are of tens of milliseconds, and unique.
    let leaves = ids.map(|id| Leaves::Value(id.to_string(), time * 10 + i64::from(deletes))).into();
    Made { body, key: again.to_string(), leaves, twice: false, environment: "prod" }
}

fn look(looking: &mut Looking<'_>) {
    let time = match looking.place {
        Place::Postgres { .. } => "(extract(epoch FROM observed_at) * 1000000)::bigint, evicted::int",
        _ => "observed_at, evicted",
    };
    let seen = &mut *looking.seen;
    looking.place.each("public", "vectors_user__embedding", &format!("id, {time}"), &mut |row| {
        seen.found_value(row[0], row[1].parse::<i64>().unwrap() * 10 + row[2].parse::<i64>().unwrap_or(0));
    });
}
