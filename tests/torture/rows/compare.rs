//! What is there against what was sent: on the way what was acknowledged, in the end everything.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::check::{doubled, missing, strangers};
use super::role::{Held, Looking, Role, expect};
use super::run::{Run, Sent};
use super::{ROLES, Type, mirror};
use crate::bus::Record;
use crate::check::Wrong;

/// What a mirror may have shed and committed between the last look at its count and its end.
const UNSEEN: u64 = 20;

/// How long everything may take to catch up in the end. It bounds a hang and nothing else.
const SETTLES_WITHIN: Duration = Duration::from_secs(240);

impl Run {
    /// Reads on in the topic of dead letters.
    pub fn read_letters(&mut self) {
        for record in self.bus.new_records() {
            if let Record::Letter(letter) = record {
                self.buried.insert((letter.writer, letter.body));
            }
        }
    }

    /// Checks that what was acknowledged is stored or buried. Only of roles of one writer: what another has still to
    /// write may be on its way.
    pub fn audit(&mut self) {
        let committed: Vec<_> = ROLES
            .iter()
            .map(|role| {
                (role.writers.len() == 1).then(|| self.bus.committed(&Type(role.writers[0]).group(), role.topic.0))
            })
            .collect();
        for (at, committed) in committed.iter().enumerate() {
            // What a mirror has not asked is told in the end.
            let Some(committed) = committed.as_ref().filter(|_| ROLES[at].store.is_some()) else { continue };
            let due = |sent: &&Sent| sent.place.offset < committed[&sent.place.partition];
            let (expected, bad) = Self::expected(self.dealt[at].sent.iter().filter(due));
            self.promises += expected.len() + bad.len();
            let held = self.held(at);
            let found = missing(ROLES[at].name, &expected, &held);
            self.problems.extend(found.into_iter().map(|(wrong, what)| match wrong {
                Wrong::Lost => (Wrong::AcknowledgedTooEarly, what),
                other => (other, what),
            }));
            self.check_letters(at, bad, Wrong::AcknowledgedTooEarly);
        }
    }

    fn expected<'a>(sent: impl Iterator<Item = &'a Sent>) -> (Held, Vec<Vec<u8>>) {
        let (mut expected, mut bad) = (Held::new(), Vec::new());
        for Sent { content, .. } in sent {
            expect(&mut expected, &content.leaves);
            bad.extend(content.bad.clone());
        }
        (expected, bad)
    }

    fn held(&mut self, at: usize) -> Held {
        let Self { dealt, bus, .. } = self;
        let place = &dealt[at].place;
        (dealt[at].role.look)(&mut Looking { place, bus: &mut **bus })
    }

    fn check_letters(&mut self, at: usize, bad: Vec<Vec<u8>>, wrong: Wrong) {
        self.read_letters();
        let role = self.dealt[at].role;
        for body in bad {
            let letter = (role.writers[0].to_owned(), body);
            if !self.buried.contains(&letter) {
                let what = format!("{}: {} is not buried", role.name, letter.1.escape_ascii());
                self.problems.push((wrong, what));
            }
        }
    }

    /// Lets everything be written and compares.
    pub fn finish(&mut self) {
        self.say("draining");
        self.settle();
        self.count_shed();
        self.writers.leave();
        self.writers.drain(&Type::all());
        // What the first of two has published meanwhile.
        let behind: Vec<Type> = ROLES.iter().flat_map(|role| &role.writers[1..]).map(|name| Type(name)).collect();
        self.writers.drain(&behind);
        let sum: u64 = self.counted.values().sum();
        for at in 0..self.dealt.len() {
            let role = self.dealt[at].role;
            let (mut expected, bad) = Self::expected(self.dealt[at].sent.iter());
            let held = self.held(at);
            if role.name == mirror::ROLE.name {
                let all = expected.len();
                let asked: HashSet<String> = self.dealt[at]
                    .sent
                    .iter()
                    .map(|sent| sent.content.number)
                    .filter(|number| self.api.was_asked(*number))
                    .map(|number| format!("op-{number}"))
                    .collect();
                expected.retain(|key, _| asked.contains(key));
                self.shed = all - expected.len();
                let most = sum + UNSEEN * self.writers.ended_of(Type(role.writers[0])) as u64;
                if self.shed as u64 > most {
                    let what = format!("{}: {} queries were not asked, and at most {most} shed", role.name, self.shed);
                    self.problems.push((Wrong::Lost, what));
                }
            }
            self.problems.extend(missing(role.name, &expected, &held));
            let once = (role.once)(&self.dealt[at].place);
            self.problems.extend(strangers(role.name, &expected, &held, once));
            self.duplicates[at] = doubled(&expected, &held);
            self.check_letters(at, bad, Wrong::Lost);
        }
        self.problems.sort();
        self.problems.dedup();
    }

    /// Waits until everything that was sent is acknowledged, where nobody else sends to the topic.
    pub fn settle(&mut self) {
        let begun = Instant::now();
        let alone =
            |role: &&Role| ROLES.iter().all(|other| other.writers.len() == 1 || other.writers[1] != role.writers[0]);
        let groups: Vec<_> =
            ROLES.iter().filter(alone).map(|role| (Type(role.writers[0]).group(), role.topic.0)).collect();
        loop {
            self.writers.wake_all();
            self.send();
            self.tend();
            let bus = &mut self.bus;
            let mut is_behind = |(group, topic): &(String, &str)| {
                let (ends, committed) = (bus.ends(topic), bus.committed(group, topic));
                ends.iter().any(|(partition, end)| committed[partition] < *end)
            };
            let behind: Vec<&str> = groups.iter().filter(|group| is_behind(group)).map(|(group, _)| &**group).collect();
            if behind.is_empty() && self.waiting.is_empty() {
                return;
            }
            assert!(begun.elapsed() < SETTLES_WITHIN, "{behind:?} do not catch up");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
