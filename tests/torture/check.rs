//! Compares what is stored and buried with what was sent.
//!
//! In the end all of it must be there. On the way, what a group has committed must be: a position is
//! a promise, and one that is given too early is a loss as soon as its writer dies. So positions are
//! read first and the stores after them, which is sound whatever happens in between.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::bus::{Letter, TestBus};
use super::look::{Lake, Online};
use super::sent::{Expected, Message};
use super::writers::Kind;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    Lost,
    OlderOnTop,
    AcknowledgedTooEarly,
    DoubledInPeace,
    NeverSent,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::OlderOnTop => "older on top",
            Self::AcknowledgedTooEarly => "acknowledged and not there",
            Self::DoubledInPeace => "doubled by a handover in peace",
            Self::NeverSent => "never sent",
        })
    }
}

/// One thing that is wrong, and what it is about.
pub type Problem = (Wrong, String);

/// The stores and the dead letters as they are now, and who has promised what.
pub struct Checker {
    online: Online,
    pub lake: Lake,
    /// How often each dead letter was buried: by which writer, body, class.
    buried: HashMap<(String, Vec<u8>, String), usize>,
    /// Per group and partition, up to where promises were checked.
    audited: BTreeMap<(&'static str, i32), i64>,
    /// Messages whose promise was checked, by both writers.
    pub promises: usize,
    pub problems: Vec<Problem>,
}

impl Checker {
    pub fn new(online: Online, lake: Lake) -> Self {
        let (buried, audited, problems) = (HashMap::new(), BTreeMap::new(), Vec::new());
        Self { online, lake, buried, audited, promises: 0, problems }
    }

    /// Checks that everything that a group has acknowledged is stored or buried.
    pub fn audit(&mut self, kind: Kind, sent: &[Message], bus: &mut dyn TestBus) {
        let committed = bus.committed(kind.group());
        let is_due = |message: &&Message| {
            let partition = message.place.partition;
            let audited = self.audited.get(&(kind.group(), partition)).copied().unwrap_or(0);
            (audited..committed[&partition]).contains(&message.place.offset)
        };
        let due: Vec<&Message> = sent.iter().filter(is_due).collect();
        self.promises += due.len();
        let missing = self.missing(kind, &Expected::of(kind, due.into_iter()), bus);
        let too_early = |(wrong, what)| match wrong {
            Wrong::Lost => (Wrong::AcknowledgedTooEarly, what),
            other => (other, what),
        };
        self.problems.extend(missing.into_iter().map(too_early));
        self.audited.extend(committed.into_iter().map(|(partition, position)| ((kind.group(), partition), position)));
    }

    /// Checks that everything is there in the end, and nothing else.
    pub fn finish(&mut self, sent: &[Message], bus: &mut dyn TestBus) {
        for kind in Kind::ALL {
            let expected = Expected::of(kind, sent.iter());
            let missing = self.missing(kind, &expected, bus);
            self.problems.extend(missing);
            let strangers = self.strangers(kind, &expected);
            self.problems.extend(strangers.into_iter().map(|what| (Wrong::NeverSent, what)));
        }
    }

    /// Reads what there is now and tells what is missing in it.
    fn missing(&mut self, kind: Kind, expected: &Expected, bus: &mut dyn TestBus) -> Vec<Problem> {
        for Letter { writer, body, class } in bus.new_letters() {
            *self.buried.entry((writer, body, class)).or_default() += 1;
        }
        let mut problems = Vec::new();
        let mut lost = |what: String| problems.push((Wrong::Lost, what));
        let not_buried =
            expected.bad.iter().filter(|(body, class)| !self.buried.contains_key(&letter(kind, body, class)));
        for (body, class) in not_buried {
            lost(format!("{kind:?}: not buried as {class}: {}", text(body)));
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
                self.lake.read();
                for row in expected.history.iter().filter(|row| !self.lake.history.contains_key(row)) {
                    lost(format!("Offline: row of user {} in op-{}", row.1, row.0));
                }
                for number in expected.queries.iter().filter(|number| !self.lake.queries.contains(number)) {
                    lost(format!("Offline: op-{number} in the query log"));
                }
            }
        }
        problems
    }

    /// What is there and was never sent.
    fn strangers(&self, kind: Kind, expected: &Expected) -> Vec<String> {
        let of_kind = self.buried.keys().filter(|(writer, ..)| writer == kind.type_name());
        let buried = of_kind.filter(|(_, body, class)| !expected.bad.contains(&(body.clone(), class.clone())));
        let mut strangers: Vec<String> =
            buried.map(|(_, body, class)| format!("{kind:?}: buried as {class}: {}", text(body))).collect();
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
                let lake = &self.lake;
                let rows = lake.history.keys().filter(|row| !expected.history.contains(row));
                strangers.extend(rows.map(|(number, entity)| format!("Offline: row of user {entity} in op-{number}")));
                let queries = lake.queries.iter().filter(|number| !expected.queries.contains(number));
                strangers.extend(queries.map(|number| format!("Offline: op-{number} in the query log")));
                strangers.extend(lake.nonsense.iter().map(|what| format!("Offline: {what}")));
                let (ids, rows) = (lake.observation_ids.len(), lake.history.len());
                if ids != rows {
                    strangers.push(format!("Offline: {ids} observation ids for {rows} rows"));
                }
            }
        }
        strangers
    }

    /// Dead letters, and those of them that were buried again.
    pub fn letters(&self) -> (usize, usize) {
        let all: usize = self.buried.values().sum();
        (all, all - self.buried.len())
    }
}

/// As much of a body as tells which it is.
fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(120).collect()
}

fn letter(kind: Kind, body: &[u8], class: &str) -> (String, Vec<u8>, String) {
    (kind.type_name().to_owned(), body.to_owned(), class.to_owned())
}
