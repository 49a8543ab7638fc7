//! The store of one of two environments is away: whether the other goes on, and whether what was moved aside lies there in
//! the order in which it came.
//!
//! Whatever comes of it in the stores is compared like everything else.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::config::PARKED;
use super::run::Run;
use super::{Type, features};
use crate::bus::{Parked, TestBus};
use crate::check::{Problem, Wrong};

/// How long whoever parks may take to do so, on a busy machine. It bounds a hang and nothing else.
const GOES_ON_WITHIN: Duration = Duration::from_secs(90);

/// What it is called that a writer reads parked messages as.
pub fn group_of(group: &str) -> String {
    format!("{group}-parked")
}

impl Run {
    /// One of two stores is gone for a while. With parking, the other environment is not held up by it.
    pub fn one_store_away(&mut self) {
        let role = &features::ROLE;
        let (group, topic) = (self.group(Type(role.writers[0])), role.topic.0);
        let is_there = self.dealt.iter().any(|dealt| dealt.role.name == role.name);
        self.stores.spare().expect("there is a second environment").be_gone();
        let away = Instant::now();
        self.pass(2500..5000);
        if self.parks && is_there {
            let sent = self.bus.ends(topic);
            let goes_on = |bus: &mut dyn TestBus| {
                let committed = bus.committed(&group, topic);
                sent.iter().all(|(partition, end)| committed[partition] >= *end)
            };
            while !goes_on(&mut *self.bus) {
                if away.elapsed() > GOES_ON_WITHIN {
                    let what = format!("{}: for {:.0} s", role.name, away.elapsed().as_secs_f64());
                    self.problems.push((Wrong::HeldUp, what));
                    break;
                }
                self.let_pass(Duration::from_millis(100));
            }
            self.say(&format!("the others went on within {:.1} s", away.elapsed().as_secs_f64()));
        }
        self.stores.spare().expect("there is a second environment").be_there();
    }

    /// Where messages came from that were moved aside, of each group.
    pub fn parked(&mut self) -> HashSet<(String, (i32, i64))> {
        if !self.parks {
            return HashSet::new();
        }
        self.bus.parked(PARKED.0).into_iter().map(|parked| (parked.group, parked.from)).collect()
    }

    /// Checks that parked messages of a key lie in one partition, in their order; how many there are of each group.
    pub fn check_parked(&mut self) -> BTreeMap<String, usize> {
        if !self.parks {
            return BTreeMap::new();
        }
        let all = self.bus.parked(PARKED.0);
        self.problems.extend(disorder(&all));
        let mut counts = BTreeMap::new();
        for Parked { group, .. } in all {
            *counts.entry(group).or_default() += 1;
        }
        counts
    }
}

/// What is not in order. A message may be there several times, as after a crash: then one passage of all is in order.
fn disorder(all: &[Parked]) -> Vec<Problem> {
    let mut keys: BTreeMap<(&str, &[u8]), Vec<&Parked>> = BTreeMap::new();
    // What has no key, as what a writer publishes for another, has no order.
    for parked in all.iter().filter(|parked| !parked.key.is_empty()) {
        keys.entry((&parked.group, &parked.key)).or_default().push(parked);
    }
    let mut problems = Vec::new();
    for ((group, key), mut parked) in keys {
        parked.sort_by_key(|parked| parked.at);
        let wanted: Vec<(i32, i64)> = parked.iter().map(|one| one.from).collect::<BTreeSet<_>>().into_iter().collect();
        let mut met = 0;
        for one in &parked {
            met += usize::from(wanted.get(met) == Some(&one.from));
        }
        let places: BTreeSet<i32> = parked.iter().map(|one| one.at.0).collect();
        if met < wanted.len() || places.len() > 1 {
            let from: Vec<_> = parked.iter().map(|one| one.from).collect();
            let what = format!("{group}: key {} in partitions {places:?}, from {from:?}", key.escape_ascii());
            problems.push((Wrong::OutOfOrder, what));
        }
    }
    problems
}

#[test]
fn parked_messages_of_a_key_are_in_order_where_one_passage_of_them_is() {
    let parked = |offsets: &[i64]| -> Vec<Parked> {
        let one = |(at, from): (usize, &i64)| Parked {
            at: (0, at as i64),
            key: b"key".to_vec(),
            group: "group".to_owned(),
            from: (1, *from),
        };
        offsets.iter().enumerate().map(one).collect()
    };
    for sound in [&[5, 6, 9][..], &[5, 6, 5, 6, 7], &[5, 7, 6, 7]] {
        assert_eq!(disorder(&parked(sound)), [], "{sound:?}");
    }
    for wrong in [&[6, 5][..], &[5, 7, 6]] {
        assert_eq!(disorder(&parked(wrong)).len(), 1, "{wrong:?}");
    }
    let mut apart = parked(&[5, 6]);
    apart[1].at.0 = 1;
    assert_eq!(disorder(&apart).len(), 1);
}
