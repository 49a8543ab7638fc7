//! `ONLINE_WRITER`: of each feature the newest value, in either environment.

use chalk_writer::config::StoreKind;
use serde_json::json;

use super::place::{Keys, Place};
use super::role::{Leaves, Looking, Made, Making, Pace, Role, rfc3339};
use crate::wire::Wire;

pub const ROLE: Role = Role {
    name: "features",
    writers: &["ONLINE_WRITER"],
    topic: ("online", 4),
    more_topics: &[],
    message: "chalk.result.v1",
    store: Some(StoreKind::Online),
    is_in_both: true,
    pace: Pace::Share(40.0),
    make,
    look,
};

/// Entities that come again and again.
const AGAIN: i64 = 60;

/// Requests that are sent before their answers are read.
const TOGETHER: usize = 200;

fn make(making: &mut Making<'_>) -> Made {
    let (number, time, environment) = (making.number, making.time(), making.environment());
    let again = making.random.i64(0..AGAIN);
    // The other one comes never again: nothing that comes later hides that it was lost.
    let entities = [again, 1_000_000 + number];
    let row = |id: &i64| json!({"id": id, "features": {"item.seq": number, "item.text": format!("é{number}")}});
    let body = json!({
        "environment_id": environment, "deployment_id": "dep", "operation_id": format!("op-{number}"),
        "operation_kind": "ONLINE_QUERY", "observed_at": rfc3339(time),
        "tables": [{"namespace": "item", "rows": {"rows": entities.iter().map(row).collect::<Vec<_>>()}}],
    });
    let value = |(entity, feature): (i64, &str)| Leaves::Value(name(environment, entity, feature), time);
    let leaves = entities.into_iter().flat_map(|entity| [(entity, "seq"), (entity, "text")]).map(value).collect();
    Made { body, key: format!("{environment}/{again}"), leaves, twice: false, environment }
}

fn name(environment: &str, entity: impl std::fmt::Display, feature: &str) -> String {
    format!("{environment}/{entity}/{feature}")
}

fn look(looking: &mut Looking<'_>) {
    let (seen, environment) = (&mut *looking.seen, looking.environment);
    let mut found = |entity: &str, feature: &str, time: i64, value: &str| {
        let name = name(environment, entity, feature);
        // The time of a message has the last digits of its number, which is the value.
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        if digits.parse::<i64>().is_ok_and(|number| number % 10_000 == time % 10_000) {
            seen.found_value(&name, time);
        } else {
            seen.found(&format!("{name}: {value} of {time}"), 1);
        }
    };
    if let Place::Redis(keys) = looking.place {
        return each_field(keys, environment, &mut found);
    }
    let time = match looking.place {
        Place::Postgres { .. } => "(extract(epoch FROM observed_at) * 1000000)::bigint",
        _ => "observed_at",
    };
    looking.place.each(
        "public",
        "online_features",
        &format!("environment, pkey, feature, {time}, value"),
        &mut |row| {
            if row[0] == environment {
                found(row[1], row[2], row[3].parse().unwrap(), row[4]);
            }
        },
    );
}

/// Shows entity, feature, time and value of every hash of an environment.
fn each_field(keys: &Keys, environment: &str, found: &mut dyn FnMut(&str, &str, i64, &str)) {
    let begin = format!("{}{environment}/item/", keys.prefix);
    for server in &keys.servers {
        let mut look = |wire: &mut Wire| {
            // A replica has what its master has.
            if wire.say(&["ROLE"])?.list().swap_remove(0).text() != "master" {
                return Ok(());
            }
            let keys = wire.keys(&begin)?;
            for some in keys.chunks(TOGETHER) {
                let commands: Vec<[&[u8]; 2]> = some.iter().map(|key| [&b"HGETALL"[..], key]).collect();
                wire.send(commands.iter().map(|command| &command[..]))?;
                for key in some {
                    let key = String::from_utf8_lossy(key);
                    let entity = key[begin.len()..].trim_matches(['{', '}']);
                    for (feature, stored) in wire.hear_fields()?.iter().filter(|(name, _)| !name.is_empty()) {
                        let time = i64::from_be_bytes(stored[..8].try_into().expect("a time"));
                        let value = rmpv::decode::read_value(&mut &stored[16..]).expect("MessagePack").to_string();
                        found(entity, &String::from_utf8_lossy(feature), time, &value);
                    }
                }
            }
            Ok::<_, String>(())
        };
        let looked = Wire::to(server).and_then(|mut wire| look(&mut wire));
        looked.unwrap_or_else(|error| panic!("{}:{}: {error}", server.host, server.port));
    }
}
