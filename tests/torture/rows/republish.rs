//! `OFFLINE_WRITER` that republishes, and `OFFLINE_STORE_STREAMING_INSERT_WRITER` behind it: each row once in Postgres,
//! at least once in the lake, under one id.

use chalk_writer::config::StoreKind;
use serde_json::json;

use super::role::{Leaves, Looking, Made, Making, Pace, Role, rfc3339};

pub const ROLE: Role = Role {
    name: "republished",
    writers: &["OFFLINE_WRITER", "OFFLINE_STORE_STREAMING_INSERT_WRITER"],
    topic: ("results", 4),
    more_topics: &[("inserts", 2)],
    message: "chalk.result.v1",
    store: Some(StoreKind::Offline),
    is_in_both: false,
    pace: Pace::Share(30.0),
    make: |making| make_for(making, "prod"),
    look,
};

/// Rows of an environment, and of one in four messages a query.
pub(super) fn make_for(making: &mut Making<'_>, environment: &'static str) -> Made {
    let (number, time) = (making.number, making.time());
    let rows = making.random.i64(1..4);
    let row = |part: i64| json!({"id": part, "features": {"user.seq": number, "user.text": format!("é{number}")}});
    let mut body = json!({
        "environment_id": environment, "deployment_id": "dep", "operation_id": format!("op-{number}"),
        "operation_kind": "ONLINE_QUERY", "observed_at": rfc3339(time),
        "tables": [{"namespace": "user", "rows": {"rows": (0..rows).map(row).collect::<Vec<_>>()}}],
    });
    let mut leaves: Vec<Leaves> =
        (0..rows).map(|part| Leaves::Row(format!("{environment}/op-{number}/{part} {number}"))).collect();
    if making.random.u8(..4) == 0 {
        body["query"] = json!({"operation_id": format!("op-{number}"), "query_name": "torture"});
        leaves.push(Leaves::Row(format!("{environment}/query op-{number}")));
    }
    Made { body, key: number.to_string(), leaves, twice: false, environment }
}

pub(super) fn look(looking: &mut Looking<'_>) {
    let (seen, environment) = (&mut *looking.seen, looking.environment);
    looking.place.each("public", "user", "__operation_id__, __id__, seq, __observation_id__", &mut |row| {
        seen.found_under(&format!("{environment}/{}/{} {}", row[0], row[1], row[2]), row[3]);
    });
    looking.place.each("public", "query_log", "operation_id", &mut |row| {
        seen.found(&format!("{environment}/query {}", row[0]), 1);
    });
}
