//! Numbered messages, and what every store must hold of them in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::bus::TestBus;

/// Entities that are written again and again: for what is older and what is newer.
const ENTITIES: u64 = 150;

/// Entities from here on are written once: nothing that comes later hides that one was lost.
const ONCE: u64 = 1_000_000;

/// The time of message 0: 2026-01-01T00:00:00Z in microseconds.
const BASE: i64 = 1_767_225_600_000_000;

/// One message as it was sent.
pub struct Message {
    /// Why it must be among the dead letters, where it must.
    pub bad: Option<&'static str>,
    pub body: Vec<u8>,
}

/// Everything that was sent and confirmed by the bus.
#[derive(Default)]
pub struct Sent {
    pub messages: Vec<Message>,
    /// Per entity and feature: time and number of the newest value.
    pub newest: BTreeMap<(u64, &'static str), (i64, i64)>,
    /// Rows of history: operation and entity.
    pub history: BTreeSet<(String, u64)>,
    /// Operations with a row in the query log.
    pub queries: BTreeSet<String>,
}

pub struct Producer {
    random: fastrand::Rng,
    number: i64,
    pub sent: Sent,
}

impl Producer {
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), number: 0, sent: Sent::default() }
    }

    /// Sends some messages; those that the bus does not confirm are sent again, as a sound producer does.
    pub fn send(&mut self, bus: &mut dyn TestBus, count: usize) {
        let (mut keys, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (key, message) = self.make();
            keys.push(key);
            bodies.push(message.body.clone());
            self.sent.messages.push(message);
        }
        bus.publish(&keys, &bodies);
    }

    fn make(&mut self) -> (String, Message) {
        self.number += 1;
        let number = self.number;
        let operation = format!("op-{number}");
        // One in ten is late: it is older than messages that were sent before it. Times are unique.
        let late = if self.random.u8(..10) == 0 { self.random.i64(1..3000) } else { 0 };
        let time = BASE + (number - late) * 1000 + (number % 1000);
        let kind = self.random.u8(..100);
        let entity = self.random.u64(..ENTITIES);
        let key = format!("prod/user/{entity}");
        if kind == 0 {
            return (
                key,
                Message { bad: Some("DECODE"), body: format!("{{\"operation_id\": \"{operation}\", ").into_bytes() },
            );
        }
        if kind == 1 {
            let body = json!({"environment_id": "nowhere", "operation_id": operation, "observed_at": rfc3339(time),
                "tables": [{"namespace": "user", "rows": {"rows": [{"id": entity, "features": {"user.seq": number}}]}}]});
            return (key, Message { bad: Some("UNKNOWN_ENVIRONMENT"), body: body.to_string().into_bytes() });
        }
        let bad_row = kind == 2;
        let mut entities = BTreeSet::from([entity, ONCE + number as u64]);
        for _ in 0..self.random.u8(..3) {
            entities.insert(self.random.u64(..ENTITIES));
        }
        let mut rows = Vec::new();
        for (at, entity) in entities.into_iter().enumerate() {
            if bad_row && at == 0 {
                rows.push(json!({"id": entity, "features": {"user.seq": "not a number"}}));
                continue;
            }
            let mut features = json!({"user.seq": number, "user.text": format!("é\"{number}\u{1F600}")});
            self.newest(entity, "seq", time, number);
            self.newest(entity, "text", time, number);
            if self.random.bool() {
                features["user.sometimes"] = json!(number as f64 + 0.5);
                self.newest(entity, "sometimes", time, number);
            }
            rows.push(json!({"id": entity, "features": features}));
            self.sent.history.insert((operation.clone(), entity));
        }
        let mut body = json!({"environment_id": "prod", "operation_id": operation, "observed_at": rfc3339(time),
            "operation_kind": "ONLINE_QUERY", "tables": [{"namespace": "user", "rows": {"rows": rows}}]});
        if self.random.u8(..4) == 0 {
            body["query"] = json!({"operation_id": operation, "environment_id": "prod", "query_name": "torture"});
            self.sent.queries.insert(operation);
        }
        (key, Message { bad: bad_row.then_some("TYPE_MISMATCH"), body: body.to_string().into_bytes() })
    }

    fn newest(&mut self, entity: u64, feature: &'static str, time: i64, number: i64) {
        let newest = self.sent.newest.entry((entity, feature)).or_insert((time, number));
        *newest = (*newest).max((time, number));
    }
}

fn rfc3339(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
