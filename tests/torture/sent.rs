//! Numbered messages, and what stores and dead letters must hold of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::bus::{Place, TestBus};
use super::writers::Kind;

/// Entities that are written again and again: for what is older and what is newer.
const ENTITIES: u64 = 150;

/// Entities from here on are written once: nothing that comes later hides that one was lost.
const ONCE: u64 = 1_000_000;

/// The time of message 0: 2026-01-01T00:00:00Z in microseconds.
const BASE: i64 = 1_767_225_600_000_000;

/// One message, confirmed by the bus.
pub struct Message {
    pub place: Place,
    pub content: Content,
}

/// One message as it was made.
pub struct Content {
    number: i64,
    time: i64,
    /// Why it must be among the dead letters, where it must.
    bad: Option<&'static str>,
    body: Vec<u8>,
    /// Its sound rows: entity and features.
    rows: Vec<(u64, Vec<&'static str>)>,
    /// Whether it has a row in the query log.
    query: bool,
}

/// What must be there of some messages.
#[derive(Default)]
pub struct Expected {
    /// Per entity and feature: time and number of the newest value.
    pub online: BTreeMap<(u64, &'static str), (i64, i64)>,
    /// Rows of history: number of the message and entity.
    pub history: BTreeSet<(i64, u64)>,
    /// Numbers of messages with a row in the query log.
    pub queries: BTreeSet<i64>,
    /// Body and error class of every bad message.
    pub bad: BTreeSet<(Vec<u8>, String)>,
}

impl Expected {
    /// Of these messages, what a writer is responsible for.
    pub fn of<'a>(kind: Kind, messages: impl Iterator<Item = &'a Message>) -> Self {
        let mut expected = Self::default();
        for Message { content, .. } in messages {
            expected.bad.extend(content.bad.map(|class| (content.body.clone(), class.to_owned())));
            match kind {
                Kind::Online => {
                    for (entity, features) in &content.rows {
                        for feature in features {
                            let newest = expected.online.entry((*entity, feature)).or_default();
                            *newest = (*newest).max((content.time, content.number));
                        }
                    }
                }
                Kind::Offline => {
                    expected.history.extend(content.rows.iter().map(|(entity, _)| (content.number, *entity)));
                    expected.queries.extend(content.query.then_some(content.number));
                }
            }
        }
        expected
    }
}

/// Makes messages from a seed and sends them.
pub struct Producer {
    random: fastrand::Rng,
    number: i64,
    /// Made and not taken by the bus yet, each with its key.
    waiting: Vec<(String, Content)>,
    pub sent: Vec<Message>,
}

impl Producer {
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), number: 0, waiting: Vec::new(), sent: Vec::new() }
    }

    /// Sends some messages, those first that the bus did not take before.
    pub fn send(&mut self, bus: &mut dyn TestBus, count: usize) {
        while self.waiting.len() < count {
            let made = self.make();
            self.waiting.push(made);
        }
        let (keys, bodies): (Vec<_>, Vec<_>) =
            self.waiting.iter().map(|(key, content)| (key.clone(), content.body.clone())).unzip();
        if let Some(places) = bus.publish(&keys, &bodies) {
            let contents = self.waiting.drain(..).map(|(_, content)| match content.bad {
                Some(_) => content,
                // Only dead letters are looked for by their body.
                None => Content { body: Vec::new(), ..content },
            });
            self.sent.extend(places.into_iter().zip(contents).map(|(place, content)| Message { place, content }));
        }
    }

    /// The end of each partition, as far as messages were confirmed.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        let mut ends = BTreeMap::new();
        for Message { place, .. } in &self.sent {
            let end = ends.entry(place.partition).or_default();
            *end = (place.offset + 1).max(*end);
        }
        ends
    }

    fn make(&mut self) -> (String, Content) {
        self.number += 1;
        let number = self.number;
        let operation = format!("op-{number}");
        // One in ten is late: it is older than messages that were sent before it. Times are unique.
        let late = if self.random.u8(..10) == 0 { self.random.i64(1..3000) } else { 0 };
        let time = BASE + (number - late) * 10_000 + number % 10_000;
        let kind = self.random.u8(..100);
        let entity = self.random.u64(..ENTITIES);
        let key = format!("prod/user/{entity}");
        let mut content = Content { number, time, bad: None, body: Vec::new(), rows: Vec::new(), query: false };
        if kind == 0 {
            content.bad = Some("DECODE");
            content.body = format!("{{\"operation_id\": \"{operation}\", ").into_bytes();
            return (key, content);
        }
        if kind == 1 {
            content.bad = Some("UNKNOWN_ENVIRONMENT");
            let body = json!({"environment_id": "nowhere", "operation_id": operation, "observed_at": rfc3339(time),
                "tables": [{"namespace": "user", "rows": {"rows": [{"id": entity, "features": {"user.seq": number}}]}}]});
            content.body = body.to_string().into_bytes();
            return (key, content);
        }
        let bad_row = kind == 2;
        content.bad = bad_row.then_some("TYPE_MISMATCH");
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
            let mut names = vec!["seq", "text"];
            if self.random.bool() {
                features["user.sometimes"] = json!(number as f64 + 0.5);
                names.push("sometimes");
            }
            rows.push(json!({"id": entity, "features": features}));
            content.rows.push((entity, names));
        }
        let mut body = json!({"environment_id": "prod", "operation_id": operation, "observed_at": rfc3339(time),
            "operation_kind": "ONLINE_QUERY", "tables": [{"namespace": "user", "rows": {"rows": rows}}]});
        if self.random.u8(..4) == 0 {
            body["query"] = json!({"operation_id": operation, "environment_id": "prod", "query_name": "torture"});
            content.query = true;
        }
        content.body = body.to_string().into_bytes();
        (key, content)
    }
}

fn rfc3339(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
