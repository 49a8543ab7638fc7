//! `OFFLINE_WRITER` that republishes, and `OFFLINE_STORE_STREAMING_INSERT_WRITER` behind it: each row once in Postgres,
//! at least once in the lake, under one id.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::place::Place;
use super::role::{Held, Leaves, Looking, Made, Making, Role, add, rfc3339};

pub const ROLE: Role = Role {
    name: "republished",
    writers: &["OFFLINE_WRITER", "OFFLINE_STORE_STREAMING_INSERT_WRITER"],
    topic: ("results", 4),
    more_topics: &[("inserts", 2)],
    message: "chalk.result.v1",
    store: Some(("offline_store", "lake")),
    pace: (1, 3),
    make,
    look,
    once: Place::has_keys,
};

fn make(making: &mut Making<'_>) -> Made {
    let (number, time) = (making.number, making.time());
    let rows = making.random.i64(1..4);
    let row = |part: i64| json!({"id": part, "features": {"user.seq": number, "user.text": format!("é{number}")}});
    let mut body = json!({
        "environment_id": "prod", "deployment_id": "dep", "operation_id": format!("op-{number}"),
        "operation_kind": "ONLINE_QUERY", "observed_at": rfc3339(time),
        "tables": [{"namespace": "user", "rows": {"rows": (0..rows).map(row).collect::<Vec<_>>()}}],
    });
    let mut leaves: Vec<Leaves> = (0..rows).map(|part| Leaves::Row(format!("op-{number}/{part} {number}"))).collect();
    if making.random.u8(..4) == 0 {
        body["query"] = json!({"operation_id": format!("op-{number}"), "query_name": "torture"});
        leaves.push(Leaves::Row(format!("query op-{number}")));
    }
    Made { body, key: number.to_string(), leaves, twice: false }
}

fn look(looking: &mut Looking<'_>) -> Held {
    let mut held = Held::new();
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in looking.place.rows("public", "user", "__operation_id__, __id__, seq, __observation_id__") {
        let key = format!("{}/{} {}", row[0], row[1], row[2]);
        add(&mut held, &*key, 1);
        ids.entry(key).or_default().insert(row[3].clone());
    }
    // By its id a reader of a lake tells a row that is there twice.
    for (key, ids) in ids.iter().filter(|(_, ids)| ids.len() > 1) {
        add(&mut held, format!("{key} under {} ids", ids.len()), 1);
    }
    for row in looking.place.rows("public", "query_log", "operation_id") {
        add(&mut held, format!("query {}", row[0]), 1);
    }
    held
}
