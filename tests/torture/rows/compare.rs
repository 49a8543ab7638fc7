//! What is there against what was sent: on the way what was acknowledged, in the end everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::check::Compared;
use super::config::PARKED;
use super::log::Landed;
use super::parking::group_of;
use super::role::{ENVIRONMENTS, Leaves, Looking};
use super::run::{Dealt, Run};
use super::{Type, mirror};
use crate::bus::Record;
use crate::check::Wrong;
use crate::sent::Fingerprint;

/// What a mirror may have shed and committed between the last look at its count and its end.
const UNSEEN: u64 = 20;

/// How long everything may take to catch up in the end. It bounds a hang and nothing else.
const SETTLES_WITHIN: Duration = Duration::from_secs(900);

/// All that is there is looked at again after so many times as long as that took: a long run is not to do that alone.
const AUDITS_AFTER: u32 = 12;

/// Drains, one after the other, after which nothing is to come any more, where nobody tells. It bounds a hang and nothing else.
const DRAINS: u32 = 20;

fn letter(writer: &str, body: &[u8]) -> Fingerprint {
    Fingerprint::of(&[writer.as_bytes(), b"\n", body].concat())
}

impl Run {
    /// Reads on in the topic of dead letters.
    pub fn read_letters(&mut self) {
        for record in self.bus.new_records() {
            if let Record::Letter(buried) = record {
                self.buried.insert(letter(&buried.writer, &buried.body));
            }
        }
    }

    /// Checks that what was acknowledged is stored or buried. Only of roles of one writer: what another has still to
    /// write may be on its way.
    pub fn audit(&mut self) {
        if !self.bus.has_positions() || self.audited.is_some_and(|(end, took)| end.elapsed() < took * AUDITS_AFTER) {
            return;
        }
        let begun = Instant::now();
        let committed: Vec<_> = (0..self.dealt.len())
            .map(|at| {
                let role = self.dealt[at].role;
                let group = self.group(Type(role.writers[0]));
                (role.writers.len() == 1).then(|| (self.bus.committed(&group, role.topic.0), group))
            })
            .collect();
        // Behind the positions: what is parked was parked before them.
        let parked = self.parked();
        for (at, committed) in committed.iter().enumerate() {
            let role = self.dealt[at].role;
            // What a mirror has not asked is told in the end.
            let Some((committed, group)) = committed.as_ref().filter(|_| role.store.is_some()) else { continue };
            // What is moved aside is not there yet.
            let is_there = |landed: &Landed| !parked.contains(&(group.clone(), landed.from));
            let (mut compared, bad) = self.expected(at, Some(committed), &is_there);
            self.promises += compared.expected() + bad.len();
            self.look(at, &mut compared);
            let found = compared.missing(role.name, self.sent(at, Some(committed)));
            self.problems.extend(found.into_iter().map(|(wrong, what)| match wrong {
                Wrong::Lost => (Wrong::AcknowledgedTooEarly, what),
                other => (other, what),
            }));
            self.check_letters(at, bad, Wrong::AcknowledgedTooEarly);
        }
        self.say(&format!("all that was acknowledged was looked for, in {:.1} s", begun.elapsed().as_secs_f64()));
        self.audited = Some((Instant::now(), begun.elapsed()));
    }

    /// What the sound messages of a role leave, up to positions of its topic.
    fn sent<'a>(&'a self, at: usize, before: Option<&'a BTreeMap<i32, i64>>) -> impl Iterator<Item = Vec<Leaves>> + 'a {
        self.dealt[at].sent.before(before).filter_map(move |landed| self.leaves(at, landed.number).ok())
    }

    /// What must be there of them, and the bodies that must be buried.
    fn expected(
        &self,
        at: usize,
        before: Option<&BTreeMap<i32, i64>>,
        is_there: &dyn Fn(&Landed) -> bool,
    ) -> (Compared, Vec<Vec<u8>>) {
        let (mut compared, mut bad) = (Compared::default(), Vec::new());
        for Landed { number, .. } in self.dealt[at].sent.before(before).filter(is_there) {
            match self.leaves(at, number) {
                // What a mirror never asked is counted, and leaves nothing.
                Ok(_) if before.is_none() && self.was_shed(at, number) => {}
                Ok(leaves) => compared.expect(&leaves),
                Err(body) => bad.push(body),
            }
        }
        (compared, bad)
    }

    fn was_shed(&self, at: usize, number: u32) -> bool {
        self.dealt[at].role.name == mirror::ROLE.name && !self.api.was_asked(number.into())
    }

    fn look(&mut self, at: usize, seen: &mut Compared) {
        let Self { dealt, bus, .. } = self;
        let Dealt { role, places, .. } = &dealt[at];
        for (environment, place) in ENVIRONMENTS.into_iter().zip(places) {
            let Some(place) = place.as_ref().filter(|_| environment == ENVIRONMENTS[0] || role.is_in_both) else {
                continue;
            };
            (role.look)(&mut Looking { place, environment, bus: &mut **bus, seen });
        }
    }

    fn check_letters(&mut self, at: usize, bad: Vec<Vec<u8>>, wrong: Wrong) {
        self.read_letters();
        let role = self.dealt[at].role;
        for body in bad {
            if !self.buried.contains(&letter(role.writers[0], &body)) {
                let what = format!("{}: {} is not buried", role.name, body.escape_ascii());
                self.problems.push((wrong, what));
            }
        }
    }

    /// Lets everything be written and compares.
    pub fn finish(&mut self) {
        self.say("draining");
        self.settle();
        self.look_at_flights();
        // From here on nobody looks where they are, and everyone is asked to leave.
        let settled = Instant::now();
        self.count_shed_before_the_end();
        self.writers.leave();
        let types = self.types.clone();
        let mut drained = self.writers.drain(&types);
        // What a killed reader held comes back in its own time, and nobody tells of it.
        for round in 2.. {
            if self.bus.has_positions() || drained == 0 {
                break;
            }
            assert!(round < DRAINS, "something comes still in drain {round}");
            drained = self.writers.drain(&types);
        }
        // What the first of two has published meanwhile.
        let behind: Vec<Type> =
            self.dealt.iter().flat_map(|dealt| &dealt.role.writers[1..]).map(|name| Type(name)).collect();
        self.writers.drain(&behind);
        self.note_what_is_said(settled);
        self.parked = self.check_parked();
        self.say("comparing");
        for at in 0..self.dealt.len() {
            let role = self.dealt[at].role;
            let (mut compared, bad) = self.expected(at, None, &|_| true);
            self.look(at, &mut compared);
            let mut problems = compared.missing(role.name, self.sent(at, None));
            if role.name == mirror::ROLE.name && problems.len() as u64 <= self.check_shed(at) {
                self.say(&format!("{} queries were asked by one who lost them and shed by the next", problems.len()));
                problems.clear();
            }
            problems.extend(self.excluded_doubles(at, &compared));
            problems.extend(compared.strangers(role.name));
            self.problems.extend(problems);
            self.duplicates[at] = compared.more();
            self.check_letters(at, bad, Wrong::Lost);
        }
        self.problems.sort();
        self.problems.dedup();
    }

    /// Checks how many queries were never asked; returns how many may have been asked by a process that lost their
    /// partition before it published what came of it, and then shed by the next one.
    fn check_shed(&mut self, at: usize) -> u64 {
        let role = self.dealt[at].role;
        let numbers = self.dealt[at].sent.before(None).map(|landed| landed.number);
        let sound = numbers.filter(|number| self.leaves(at, *number).is_ok());
        self.shed = sound.filter(|number| self.was_shed(at, *number)).count();
        let sum: u64 = self.counted.values().sum();
        let most = sum + UNSEEN * self.writers.ended_of(Type(role.writers[0])) as u64;
        if self.shed as u64 > most {
            let what = format!("{}: {} queries were not asked, and at most {most} shed", role.name, self.shed);
            self.problems.push((Wrong::Lost, what));
        }
        sum.saturating_sub(self.shed as u64)
    }

    /// Waits until everything that was sent is acknowledged, where nobody else sends to the topic; where the bus tells nobody, until
    /// it is sent.
    pub fn settle(&mut self) {
        let begun = Instant::now();
        let roles: Vec<_> = self.dealt.iter().map(|dealt| dealt.role).collect();
        let is_alone = |of: &str| roles.iter().all(|other| other.writers.len() == 1 || other.writers[1] != of);
        let alone = roles.iter().filter(|role| is_alone(role.writers[0]));
        let mut groups: Vec<(String, &str)> =
            alone.map(|role| (self.group(Type(role.writers[0])), role.topic.0)).collect();
        groups.retain(|_| self.bus.has_positions());
        if self.parks {
            let parking = self.writers_that_park();
            groups.extend(parking.into_iter().map(|of| (group_of(&self.group(of)), PARKED.0)));
        }
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
            let waiting = self.waiting.len();
            assert!(begun.elapsed() < SETTLES_WITHIN, "{behind:?} do not catch up; {waiting} messages are not taken");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
