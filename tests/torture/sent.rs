//! Numbered messages, and what stores and dead letters must hold of them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::bodies::{Draft, Form, Packed, Row, Seq};
use super::bus::{Place, Sending, TestBus, Topic};
use super::config::LARGEST;
use super::writers::Kind;

/// The topic of all messages.
pub const RESULTS: Topic = ("results", 4);

/// Entities that are written again and again: for what is older and what is newer.
pub const ENTITIES: u64 = 150;

/// Entities from here on are written once: nothing that comes later hides that one was lost.
const ONCE: u64 = 1_000_000;

/// The time of message 0: 2026-01-01T00:00:00Z in microseconds.
const BASE: i64 = 1_767_225_600_000_000;

/// Makes a sound body of a bad one, as a person would, in JSON: what [`Bad::Mendable`] wants.
pub const MEND: &str = r#"sed -E 's/"number ([0-9]+)"/\1/g'"#;

/// One message, confirmed by the bus.
pub struct Message {
    pub place: Place,
    pub content: Content,
    /// The writer that a person has made pass over it.
    pub skipped_by: Option<Kind>,
}

/// Which body it is, once the body itself is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    pub fn of(body: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It ends in its middle.
    CutOff,
    /// Nobody knows its environment.
    Nowhere,
    /// One row is nobody's.
    NobodysRow,
    /// One row has text for a number; [`MEND`] is what it needs.
    Mendable,
    /// It is larger than the configuration allows, at first.
    Large,
}

impl Bad {
    const ALL: [Self; 5] = [Self::CutOff, Self::Nowhere, Self::NobodysRow, Self::Mendable, Self::Large];

    fn class(self) -> &'static str {
        match self {
            Self::CutOff | Self::NobodysRow => "DECODE",
            Self::Nowhere => "UNKNOWN_ENVIRONMENT",
            Self::Mendable => "TYPE_MISMATCH",
            Self::Large => "TOO_LARGE",
        }
    }

    /// Whether it comes right when it is sent again, edited or under another configuration.
    fn comes_right(self) -> bool {
        matches!(self, Self::Mendable | Self::Large)
    }
}

/// One message as it was made.
pub struct Content {
    number: i64,
    time: i64,
    pub bad: Option<Bad>,
    fingerprint: Fingerprint,
    /// What is written of it as it comes.
    at_once: Written,
    /// What is written once its dead letter was replayed.
    by_replay: Written,
}

/// What a message leaves in stores.
#[derive(Default)]
struct Written {
    /// Rows: entity and features.
    rows: Vec<(u64, Vec<&'static str>)>,
    /// A row in the query log.
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
    /// Body and error class of every dead letter.
    pub letters: BTreeMap<(Fingerprint, &'static str), Letter>,
}

/// What is known of a dead letter.
pub struct Letter {
    /// Number of its message.
    pub number: i64,
    /// Whether a replay sends it, in the end.
    pub comes_right: bool,
}

impl Expected {
    /// Of these messages, what a writer is responsible for; either as they came, or with what was replayed.
    pub fn of<'a>(kind: Kind, messages: impl Iterator<Item = &'a Message>, replayed: bool) -> Self {
        let mut expected = Self::default();
        for Message { content, skipped_by, .. } in messages {
            let number = content.number;
            if let Some(bad) = content.bad {
                let letter = Letter { number, comes_right: bad.comes_right() };
                expected.letters.insert((content.fingerprint, bad.class()), letter);
            }
            let skipped = *skipped_by == Some(kind);
            if skipped {
                expected.letters.insert((content.fingerprint, "SKIPPED"), Letter { number, comes_right: true });
            }
            if replayed || !skipped {
                expected.add(kind, content, &content.at_once);
            }
            if replayed {
                expected.add(kind, content, &content.by_replay);
            }
        }
        expected
    }

    fn add(&mut self, kind: Kind, content: &Content, written: &Written) {
        match kind {
            Kind::Online => {
                for (entity, features) in &written.rows {
                    for feature in features {
                        let newest = self.online.entry((*entity, feature)).or_default();
                        *newest = (*newest).max((content.time, content.number));
                    }
                }
            }
            Kind::Offline => {
                self.history.extend(written.rows.iter().map(|(entity, _)| (content.number, *entity)));
                self.queries.extend(written.query.then_some(content.number));
            }
        }
    }
}

/// Makes messages from a seed and sends them.
pub struct Producer {
    random: fastrand::Rng,
    number: i64,
    /// Made and not taken by the bus yet.
    waiting: Vec<(Sending, Content)>,
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
        let messages: Vec<&Sending> = self.waiting.iter().map(|(message, _)| message).collect();
        if let Some(places) = bus.publish(&messages) {
            let contents = self.waiting.drain(..).map(|(_, content)| content);
            let sent = places.into_iter().zip(contents);
            self.sent.extend(sent.map(|(place, content)| Message { place, content, skipped_by: None }));
        }
    }

    fn make(&mut self) -> (Sending, Content) {
        self.number += 1;
        let number = self.number;
        // One in ten is late: it is older than messages that were sent before it. Times are unique.
        let late = if self.random.u8(..10) == 0 { self.random.i64(1..3000) } else { 0 };
        let time = BASE + (number - late) * 10_000 + number % 10_000;
        let bad = Bad::ALL.get(self.random.usize(..100)).copied();
        let entity = self.random.u64(..ENTITIES);
        let form = match bad {
            Some(Bad::Mendable) => Form::ROWS[self.random.usize(..Form::ROWS.len())],
            _ => Form::draw(&mut self.random),
        };
        let mut draft = Draft {
            environment: if bad == Some(Bad::Nowhere) { "nowhere" } else { "prod" },
            deployment: if bad == Some(Bad::Large) { "large ".repeat(LARGEST / 5) } else { "dep".to_owned() },
            operation: format!("op-{number}"),
            observed_at: time,
            rows: self.rows(number, entity, form),
            query: self.random.u8(..4) == 0,
        };
        let mut rows: Vec<(u64, Vec<&'static str>)> =
            draft.rows.iter().map(|row| (row.id.expect("an entity"), row.features())).collect();
        let (mut at_once, mut by_replay) = (Written::default(), Written::default());
        match bad {
            Some(Bad::CutOff | Bad::Nowhere) => {}
            Some(Bad::NobodysRow) => {
                draft.rows[0].id = None;
                rows.remove(0);
                at_once = Written { rows, query: draft.query };
            }
            Some(Bad::Mendable) => {
                draft.rows[0].seq = Seq::Text(format!("number {number}"));
                by_replay.rows = vec![rows.remove(0)];
                at_once = Written { rows, query: draft.query };
            }
            Some(Bad::Large) => by_replay = Written { rows, query: draft.query },
            None => at_once = Written { rows, query: draft.query },
        }
        let mut packed = Packed::of(&draft, form, &mut self.random);
        if bad == Some(Bad::CutOff) {
            packed.cut_off();
        }
        let fingerprint = Fingerprint::of(&packed.body);
        let content = Content { number, time, bad, fingerprint, at_once, by_replay };
        let key = format!("prod/user/{entity}");
        (Sending { topic: RESULTS.0, key, headers: Vec::new(), packed }, content)
    }

    /// A row of one entity that comes again and again, of one that does not, and perhaps of others.
    fn rows(&mut self, number: i64, entity: u64, form: Form) -> Vec<Row> {
        let mut entities = BTreeSet::from([entity, ONCE + number as u64]);
        for _ in 0..self.random.u8(..3) {
            entities.insert(self.random.u64(..ENTITIES));
        }
        let all = self.random.bool();
        let mut row = |id| {
            let sometimes = if form.has_columns() { all } else { self.random.bool() };
            Row {
                id: Some(id),
                seq: Seq::Number(number),
                text: format!("é\"{number}\u{1F600}"),
                sometimes: sometimes.then_some(number as f64 + 0.5),
            }
        };
        entities.into_iter().map(&mut row).collect()
    }
}

impl Row {
    fn features(&self) -> Vec<&'static str> {
        let mut features = vec!["seq", "text"];
        features.extend(self.sometimes.map(|_| "sometimes"));
        features
    }
}
