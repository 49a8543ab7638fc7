//! Whether a row may be there twice: only where its message was on its way while something happened that may double it, by what
//! `explain` says of the very configuration, at one of the writers that it goes through.
//!
//! A run of many faults has one that may double a row of a lake sooner or later. What was done with before that, and what came
//! after everyone had committed again, is there once all the same.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chalk_writer::writer::guarantee::Fault;

use super::Type;
use super::check::Compared;
use super::config::PARKED;
use super::flight::{Flight, Flights, Look};
use super::parking::group_of;
use super::role::{ENVIRONMENTS, Leaves};
use super::run::Run;
use crate::check::Problem;
use crate::sent::Fingerprint;

/// How long before a writer says that partitions went from it they may have gone, on a busy machine.
const SAID_WITHIN: Duration = Duration::from_secs(15);

type Span = (Instant, Instant);

/// What happened, and when.
#[derive(Default)]
pub struct Episodes(Vec<(Vec<Fault>, Span)>);

impl Episodes {
    pub fn add(&mut self, faults: &[Fault], from: Instant, until: Instant) {
        self.0.push((faults.to_vec(), (from, until)));
    }

    /// When something happened that may double.
    fn when(&self, may_double: impl Fn(Fault) -> bool) -> Vec<Span> {
        self.0
            .iter()
            .filter(|(faults, _)| faults.iter().any(|fault| may_double(*fault)))
            .map(|(_, span)| *span)
            .collect()
    }
}

/// One of the writers that a message goes through.
struct Hop<'a> {
    reads: &'a Flights,
    /// What it moves aside and reads again.
    parks: Option<&'a Flights>,
    /// Of each environment, when something happened that may double there.
    doubles: [Vec<Span>; 2],
    /// Of each environment, whether what comes twice is there twice.
    is_there_twice: [bool; 2],
    /// What it publishes twice is another message each time.
    makes_others: bool,
}

/// The writers that messages of a role go through.
pub struct Ways<'a>(Vec<Hop<'a>>);

impl Ways<'_> {
    /// Whether rows of a message may be there twice in an environment.
    fn may_double(&self, from: (i32, i64), environment: usize, sent_twice: bool) -> bool {
        let mut comes_twice = sent_twice;
        let mut are_others = false;
        let mut flight: Option<Flight> = None;
        for hop in &self.0 {
            let mut now = match flight {
                None => hop.reads.of(from),
                Some(before) => Flight { until: hop.reads.passed(before.until), ..before },
            };
            if let Some(parks) = hop.parks {
                now.until = parks.passed(now.until);
            }
            flight = Some(now);
            comes_twice = hop.doubles[environment].iter().any(|span| now.meets(*span))
                || comes_twice && (are_others || hop.is_there_twice[environment]);
            are_others = comes_twice && (are_others || hop.makes_others);
        }
        comes_twice
    }

    /// What is there twice and must not be. `sent` gives of each message where it landed, whether it was sent twice, and what it
    /// leaves; several may leave one key, of which one alone may be the one that is doubled.
    pub fn excluded<I: Iterator<Item = ((i32, i64), bool, Vec<Leaves>)>>(
        &self,
        name: &str,
        compared: &Compared,
        sent: impl Fn() -> I,
    ) -> Vec<Problem> {
        if compared.more() == 0 {
            return Vec::new();
        }
        let key = |leaf: &Leaves| Fingerprint::of(leaf.key().as_bytes());
        let mut allowed = HashSet::new();
        for (from, sent_twice, leaves) in sent() {
            for leaf in leaves.iter().filter(|leaf| compared.is_doubled(leaf)) {
                let environment = usize::from(leaf.is_in(ENVIRONMENTS[1]));
                if self.may_double(from, environment, sent_twice) {
                    allowed.insert(key(leaf));
                }
            }
        }
        let is_excluded = |leaf: &Leaves| !allowed.contains(&key(leaf));
        compared.doubled(name, sent().map(|(_, _, leaves)| leaves.into_iter().filter(is_excluded).collect()))
    }
}

impl Run {
    /// Notes where everyone is, and what writers say that happened without anybody's doing.
    ///
    /// Where the bus tells no positions, every message is on its way all the time, for all that is known.
    pub fn look_at_flights(&mut self) {
        self.note_what_is_said(Instant::now());
        if !self.bus.has_positions() {
            return;
        }
        for at in 0..self.dealt.len() {
            for (hop, name) in self.dealt[at].role.writers.iter().enumerate() {
                let of = Type(name);
                if hop > 0 && !self.may_ever_double(of) {
                    continue;
                }
                let (begun, group) = (Instant::now(), self.group(of));
                // The first topic may be another's as well.
                let ends = if hop == 0 { self.dealt[at].sent.ends() } else { self.bus.ends(of.topic()) };
                let committed = self.bus.committed(&group, of.topic());
                if hop == 0 {
                    self.dealt[at].see_whether_behind(&committed);
                }
                let look = Look { begun, ended: Instant::now(), ends, committed };
                self.dealt[at].flights[hop].add(look);
            }
        }
        for of in self.writers_that_park().into_iter().filter(|of| self.may_ever_double(*of)).collect::<Vec<_>>() {
            let (begun, group) = (Instant::now(), group_of(&self.group(of)));
            let (ends, committed) = (self.bus.ends(PARKED.0), self.bus.committed(&group, PARKED.0));
            let look = Look { begun, ended: Instant::now(), ends, committed };
            self.parked_flights.entry(of).or_default().add(look);
        }
    }

    /// Whether anything may double what it writes. Of others it does not matter when a message was on its way.
    fn may_ever_double(&self, of: Type) -> bool {
        let may = |environment: &str| Fault::ALL.into_iter().any(|fault| self.told.doubles(of, environment, fault));
        ENVIRONMENTS.into_iter().any(may)
    }

    /// What happened up to now, since a moment at the latest, and was not noted yet.
    pub fn note_what_is_said(&mut self, since: Instant) {
        let said = self.types.clone().into_iter().map(|of| self.writers.said(of));
        let (given_up, lost) =
            said.fold((0, 0), |(given_up, lost), counts| (given_up + counts.given_up, lost + counts.lost));
        let left_unfinished = std::mem::take(&mut self.writers.unfinished);
        let now = Instant::now();
        let from = since.checked_sub(SAID_WITHIN).unwrap_or(self.begun);
        if left_unfinished || given_up > self.given_up {
            self.episodes.add(&[Fault::DrainOverLimit], from, now);
        }
        if lost > self.lost {
            self.episodes.add(&[Fault::WriterPaused], from, now);
        }
        (self.given_up, self.lost) = (given_up, lost);
    }

    /// What is there twice though `explain` excludes it.
    pub fn excluded_doubles(&self, at: usize, compared: &Compared) -> Vec<Problem> {
        let dealt = &self.dealt[at];
        let parking = self.writers_that_park();
        let hop = |(name, reads): (&&'static str, _)| {
            let of = Type(name);
            let may = |environment| move |fault| self.told.doubles(of, environment, fault);
            Hop {
                reads,
                parks: parking.contains(&of).then(|| self.parked_flights.get(&of)).flatten(),
                doubles: ENVIRONMENTS.map(|environment| self.episodes.when(may(environment))),
                is_there_twice: ENVIRONMENTS.map(|environment| may(environment)(Fault::SentTwice)),
                makes_others: self.told.makes_others(of),
            }
        };
        let ways = Ways(dealt.role.writers.iter().zip(&dealt.flights).map(hop).collect());
        ways.excluded(dealt.role.name, compared, || {
            let messages = dealt.sent.before(None);
            messages.filter_map(|landed| {
                let leaves = self.leaves(at, landed.number).ok()?;
                Some((landed.from, self.was_sent_twice(at, landed.number), leaves))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::Wrong;

    /// Seconds of a run.
    struct Clock(Instant);

    impl Clock {
        fn at(&self, second: u64) -> Instant {
            self.0 + Duration::from_secs(second)
        }

        /// Looks, each a second after the one before it: the end of the one partition, and the position of its group.
        fn flights(&self, looks: &[(i64, i64)]) -> Flights {
            let mut flights = Flights::default();
            for (second, (end, position)) in (0..).zip(looks) {
                let (begun, ended) = (self.at(second), self.at(second));
                let [ends, committed] = [end, position].map(|offset| BTreeMap::from([(0, *offset)]));
                flights.add(Look { begun, ended, ends, committed });
            }
            flights
        }
    }

    /// Three messages, one a second, of which each is committed a second later.
    const LOOKS: [(i64, i64); 6] = [(0, 0), (1, 0), (2, 1), (3, 2), (3, 3), (3, 3)];

    fn hop<'a>(reads: &'a Flights, spans: &[Span]) -> Hop<'a> {
        Hop {
            reads,
            parks: None,
            doubles: [spans.to_vec(), Vec::new()],
            is_there_twice: [true, false],
            makes_others: false,
        }
    }

    /// Which of three messages, of which each is there twice, fail the run.
    fn failing(hops: Vec<Hop<'_>>, twice: Option<i64>) -> Vec<String> {
        let row = |number: i64| vec![Leaves::Row(format!("row {number}"))];
        let mut compared = Compared::default();
        (0..3).for_each(|number| compared.expect(&row(number)));
        (0..3).for_each(|number| compared.found(&format!("row {number}"), 2));
        let found = Ways(hops)
            .excluded("usage", &compared, || (0..3).map(|number| ((0, number), Some(number) == twice, row(number))));
        assert!(found.iter().all(|(wrong, _)| *wrong == Wrong::Doubled), "{found:?}");
        found.iter().map(|(_, what)| what["usage: ".len()..].chars().take("row 0".len()).collect()).collect()
    }

    #[test]
    fn a_doubled_row_fails_the_run_unless_it_was_on_its_way_when_something_happened_that_may_double_it() {
        let before = Clock(Instant::now());
        let clock = Clock(before.at(2));
        let reads = clock.flights(&LOOKS);
        assert_eq!(failing(vec![hop(&reads, &[])], None), ["row 0", "row 1", "row 2"]);
        let while_the_last_was = (clock.at(4), clock.at(5));
        assert_eq!(failing(vec![hop(&reads, &[while_the_last_was])], None), ["row 0", "row 1"]);
        let before_any = (before.at(0), before.at(1));
        assert_eq!(failing(vec![hop(&reads, &[before_any])], None), ["row 0", "row 1", "row 2"]);
        assert_eq!(failing(vec![hop(&reads, &[(clock.at(0), clock.at(9))])], None), [""; 0]);
    }

    #[test]
    fn what_was_sent_twice_may_be_there_twice_where_that_is_said_of_the_store() {
        let clock = Clock(Instant::now());
        let reads = clock.flights(&LOOKS);
        assert_eq!(failing(vec![hop(&reads, &[])], Some(1)), ["row 0", "row 2"]);
        let with_keys = Hop { is_there_twice: [false; 2], ..hop(&reads, &[]) };
        assert_eq!(failing(vec![with_keys], Some(1)), ["row 0", "row 1", "row 2"]);
    }

    #[test]
    fn behind_another_writer_a_message_is_on_its_way_until_what_that_one_published_is_committed() {
        let clock = Clock(Instant::now());
        let (first, second) = (clock.flights(&LOOKS), clock.flights(&[(0, 0), (0, 0), (1, 0), (2, 0), (3, 1), (3, 3)]));
        let late = [(clock.at(5), clock.at(6))];
        // The first is committed at second 2 by the one and at second 4 by the other.
        assert_eq!(failing(vec![hop(&first, &[]), hop(&second, &late)], None), ["row 0"]);
        // What the first may publish twice is there twice only where it has no key.
        let with_keys = Hop { is_there_twice: [false; 2], ..hop(&second, &[]) };
        let all = [(clock.at(0), clock.at(9))];
        assert_eq!(failing(vec![hop(&first, &all), with_keys], None), ["row 0", "row 1", "row 2"]);
        // No key tells what is another message each time.
        let with_keys = Hop { is_there_twice: [false; 2], ..hop(&second, &[]) };
        let makes_others = Hop { makes_others: true, ..hop(&first, &all) };
        assert_eq!(failing(vec![makes_others, with_keys], None), [""; 0]);
    }

    #[test]
    fn what_is_moved_aside_is_on_its_way_until_it_was_read_there() {
        let clock = Clock(Instant::now());
        let (reads, parked) = (clock.flights(&LOOKS), clock.flights(&[(0, 0), (0, 0), (1, 0), (1, 0), (1, 0), (1, 1)]));
        let parks = Hop { parks: Some(&parked), ..hop(&reads, &[(clock.at(5), clock.at(6))]) };
        assert_eq!(failing(vec![parks], None), [""; 0]);
    }

    #[test]
    fn of_messages_with_one_key_any_may_be_the_one_that_is_there_twice() {
        let clock = Clock(Instant::now());
        let reads = clock.flights(&LOOKS);
        let row = || vec![Leaves::Row("sum".to_owned())];
        let mut compared = Compared::default();
        (0..3).for_each(|_| compared.expect(&row()));
        compared.found("sum", 4);
        let sent = || (0..3).map(|number| ((0, number), false, row()));
        let late = hop(&reads, &[(clock.at(4), clock.at(5))]);
        assert!(Ways(vec![late]).excluded("metrics", &compared, sent).is_empty());
        assert_eq!(Ways(vec![hop(&reads, &[])]).excluded("metrics", &compared, sent).len(), 1);
    }
}
