//! Compares what is stored and buried with what was sent.
//!
//! In the end all of it must be there. On the way, what a group has committed must be: a position is
//! a promise, and one that is given too early is a loss as soon as its writer dies. So positions are
//! read first and the stores after them, which is sound whatever happens in between.
//!
//! Dead letters that come right when they are sent again are sent again in the end: each has a mark then,
//! and one alone, and what it holds is in the stores like everything else.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::bus::{Letter, Record, TestBus};
use super::look::{History, Offline, Online};
use super::sent::{Expected, Fingerprint, Message};
use super::told::Told;
use super::writers::{Job as _, Kind};
use chalk_writer::writer::guarantee::Effect;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    Lost,
    OlderOnTop,
    AcknowledgedTooEarly,
    DoubledInPeace,
    Doubled,
    NeverSent,
    NotMarkedOnce,
    NotPassedOver,
    NotReadAgain,
    OutOfOrder,
    HeldUp,
    GoesOn,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::OlderOnTop => "older on top",
            Self::AcknowledgedTooEarly => "acknowledged and not there",
            Self::DoubledInPeace => "doubled by a handover in peace",
            Self::Doubled => "there twice",
            Self::NeverSent => "never sent",
            Self::NotMarkedOnce => "not replayed and marked once",
            Self::NotReadAgain => "not read again, or not beside the group",
            Self::NotPassedOver => "not passed over by itself",
            Self::OutOfOrder => "parked in another order",
            Self::HeldUp => "held up by a store of others",
            Self::GoesOn => "there still, though the clock was set back",
        })
    }
}

/// One thing that is wrong, and what it is about.
pub type Problem = (Wrong, String);

/// The stores and the dead letters as they are now, and who has promised what.
pub struct Checker {
    online: Box<dyn Online>,
    offline: Box<dyn Offline>,
    pub history: History,
    /// Dead letters by writer, body and class.
    buried: HashMap<(String, Fingerprint, String), Buried>,
    /// How often each dead letter was marked as sent again, by its place.
    marks: BTreeMap<i64, usize>,
    /// Per group and partition, up to where promises were checked.
    audited: BTreeMap<(&'static str, i32), i64>,
    /// Messages whose promise was checked, by both writers.
    pub promises: usize,
    pub problems: Vec<Problem>,
    /// What may be, by `explain`.
    pub told: Told,
}

/// Dead letters of one message, from one writer.
struct Buried {
    places: Vec<i64>,
    /// As much of the body as tells which it is.
    text: String,
}

impl Checker {
    pub fn new(online: Box<dyn Online>, offline: Box<dyn Offline>, told: Told) -> Self {
        Self {
            online,
            offline,
            history: History::default(),
            buried: HashMap::new(),
            marks: BTreeMap::new(),
            audited: BTreeMap::new(),
            promises: 0,
            problems: Vec::new(),
            told,
        }
    }

    /// Checks that everything that a group has acknowledged is stored or buried.
    pub fn audit(&mut self, kind: Kind, sent: &[Message], bus: &mut dyn TestBus) {
        let committed = bus.committed(kind.group(), "results");
        let is_due = |message: &&Message| {
            let partition = message.place.partition;
            let audited = self.audited.get(&(kind.group(), partition)).copied().unwrap_or(0);
            (audited..committed[&partition]).contains(&message.place.offset)
        };
        let due: Vec<&Message> = sent.iter().filter(is_due).collect();
        self.promises += due.len();
        let missing = self.missing(kind, &Expected::of(kind, due.into_iter(), false), bus);
        let too_early = |(wrong, what)| match wrong {
            Wrong::Lost => (Wrong::AcknowledgedTooEarly, what),
            other => (other, what),
        };
        self.problems.extend(missing.into_iter().map(too_early));
        self.audited.extend(committed.into_iter().map(|(partition, position)| ((kind.group(), partition), position)));
    }

    /// Checks that everything is there in the end, and nothing else, once what can be replayed was.
    pub fn finish(&mut self, sent: &[Message], bus: &mut dyn TestBus) {
        for kind in Kind::ALL {
            let expected = Expected::of(kind, sent.iter(), true);
            let missing = self.missing(kind, &expected, bus);
            self.problems.extend(missing);
            let strangers = self.strangers(kind, &expected);
            self.problems.extend(strangers.into_iter().map(|what| (Wrong::NeverSent, what)));
            self.check_marks(kind, &expected);
        }
        if self.told.excludes(Kind::Offline, Effect::Duplicated) {
            let rows = self.history.rows.iter().filter(|(_, times)| **times > 1);
            let rows = rows.map(|((number, user), times)| format!("Offline: {times} × user {user} in op-{number}"));
            let queries = self.history.queries.iter().filter(|(_, times)| **times > 1);
            let queries = queries.map(|(number, times)| format!("Offline: {times} × op-{number} in the query log"));
            self.problems.extend(rows.chain(queries).map(|what| (Wrong::Doubled, what)));
        }
    }

    /// Checks that those dead letters were replayed that come right by it, and no other.
    fn check_marks(&mut self, kind: Kind, expected: &Expected) {
        for ((fingerprint, class), letter) in &expected.letters {
            let times = usize::from(letter.comes_right);
            let buried = self.buried.get(&key(kind, *fingerprint, class));
            for place in buried.into_iter().flat_map(|buried| &buried.places) {
                let marks = self.marks.get(place).copied().unwrap_or_default();
                if marks != times {
                    let what = format!("{kind:?}: {class} of op-{} at 0/{place}: {marks} marks", letter.number);
                    self.problems.push((Wrong::NotMarkedOnce, what));
                }
            }
        }
    }

    /// Reads on in the topic of dead letters.
    pub fn read_letters(&mut self, bus: &mut dyn TestBus) {
        for record in bus.new_records() {
            match record {
                Record::Mark(place) => *self.marks.entry(place).or_default() += 1,
                Record::Letter(Letter { offset, body, class, writer }) => {
                    let key = (writer, Fingerprint::of(&body), class);
                    let text = || body[..body.len().min(120)].escape_ascii().to_string();
                    let buried = self.buried.entry(key).or_insert_with(|| Buried { places: Vec::new(), text: text() });
                    buried.places.push(offset);
                }
            }
        }
    }

    /// Marks of dead letters that were replayed.
    pub fn marks(&self) -> usize {
        self.marks.values().sum()
    }

    /// Reads what there is now and tells what is missing in it.
    fn missing(&mut self, kind: Kind, expected: &Expected, bus: &mut dyn TestBus) -> Vec<Problem> {
        self.read_letters(bus);
        let mut problems = Vec::new();
        let mut lost = |what: String| problems.push((Wrong::Lost, what));
        for ((fingerprint, class), letter) in &expected.letters {
            if !self.buried.contains_key(&key(kind, *fingerprint, class)) {
                lost(format!("{kind:?}: op-{} is not buried as {class}", letter.number));
            }
        }
        match kind {
            Kind::Online => {
                let mut entities: Vec<u64> = expected.online.keys().map(|(entity, _)| *entity).collect();
                entities.dedup();
                let values = self.online.read(&entities);
                for ((entity, feature), newest) in &expected.online {
                    let what = format!("Online: {feature} of user {entity}");
                    match values.get(&(*entity, (*feature).to_owned())) {
                        None => problems.push((Wrong::Lost, format!("{what}: {newest:?}"))),
                        Some(found) if found < newest => {
                            problems.push((Wrong::OlderOnTop, format!("{what} is {found:?}, not {newest:?}")));
                        }
                        Some(_) => {}
                    }
                }
            }
            Kind::Offline => {
                self.read_history();
                for row in expected.history.iter().filter(|row| !self.history.rows.contains_key(row)) {
                    lost(format!("Offline: row of user {} in op-{}", row.1, row.0));
                }
                for number in expected.queries.iter().filter(|number| !self.history.queries.contains_key(number)) {
                    lost(format!("Offline: op-{number} in the query log"));
                }
            }
        }
        problems
    }

    /// What is there and was never sent.
    fn strangers(&self, kind: Kind, expected: &Expected) -> Vec<String> {
        let of_kind = self.buried.iter().filter(|((writer, ..), _)| writer == kind.type_name());
        let known = |fingerprint, class: &str| expected.letters.keys().any(|known| *known == (fingerprint, class));
        let buried = of_kind.filter(|((_, fingerprint, class), _)| !known(*fingerprint, class));
        let mut strangers: Vec<String> =
            buried.map(|((.., class), Buried { text, .. })| format!("{kind:?}: buried as {class}: {text}")).collect();
        match kind {
            Kind::Online => {
                let mut entities: Vec<u64> = expected.online.keys().map(|(entity, _)| *entity).collect();
                entities.dedup();
                for ((entity, feature), found) in self.online.read(&entities) {
                    let newest = expected.online.get(&(entity, &*feature));
                    if newest.is_none_or(|newest| found > *newest) {
                        strangers.push(format!("Online: {feature} of user {entity} is {found:?}, not {newest:?}"));
                    }
                }
            }
            Kind::Offline => {
                let History { rows, observation_ids, queries, nonsense } = &self.history;
                let unknown = rows.keys().filter(|row| !expected.history.contains(row));
                strangers
                    .extend(unknown.map(|(number, entity)| format!("Offline: row of user {entity} in op-{number}")));
                let unknown = queries.keys().filter(|number| !expected.queries.contains(number));
                strangers.extend(unknown.map(|number| format!("Offline: op-{number} in the query log")));
                strangers.extend(nonsense.iter().map(|what| format!("Offline: {what}")));
                let (ids, rows) = (observation_ids.len(), rows.len());
                if ids != rows {
                    strangers.push(format!("Offline: {ids} observation ids for {rows} rows"));
                }
            }
        }
        strangers
    }

    /// Brings what is known of history up to what there is now.
    pub fn read_history(&mut self) {
        self.offline.read(&mut self.history);
    }

    /// Dead letters, and those of them that were buried again.
    pub fn letters(&self) -> (usize, usize) {
        let all: usize = self.buried.values().map(|buried| buried.places.len()).sum();
        (all, all - self.buried.len())
    }
}

fn key(kind: Kind, fingerprint: Fingerprint, class: &str) -> (String, Fingerprint, String) {
    (kind.type_name().to_owned(), fingerprint, class.to_owned())
}
