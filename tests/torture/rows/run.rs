//! A run: messages flow, one fault comes after the other, and in the end everything is compared.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chalk_writer::config::StoreKind;
use chalk_writer::writer::guarantee;

use super::api::Api;
use super::config::{Given, PARKED};
use super::doubles::Episodes;
use super::faults::Fault;
use super::flight::Flights;
use super::log::{Log, Numbered};
use super::place::Place;
use super::role::{Leaves, Made, Making, Pace, Role};
use super::stores::Stores;
use super::{Type, config, deal, variable};
use crate::bus::{self, Brokers, Sending, TestBus, Topic};
use crate::check::Problem;
use crate::own::Own;
use crate::recovery::{self, Recovery};
use crate::sent::Fingerprint;
use crate::stores::Disk;
use crate::told::Told;
use crate::writers::Writers;

/// One in so many messages cannot be read; of more than [`BAD_A_SECOND`] fewer.
const BAD: u64 = 50;

/// More of them than this are dead letters and little else.
const BAD_A_SECOND: u64 = 4;

/// Messages that a role may be behind by, in seconds of its pace: then it is waited for.
const BEHIND: f64 = 8.0;

/// Messages that are made up for at once after a pause, in the same way.
const AT_ONCE: f64 = 1.0;

/// How often messages are sent: more of them at once cost the brokers less, and how many come does not depend on it.
const SENDS_EVERY: Duration = Duration::from_millis(200);

/// How often it is looked where everyone is.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// A message on its way.
pub struct Waiting {
    role: usize,
    sending: Sending,
    message: Numbered,
}

/// A role in a run.
pub struct Dealt {
    pub role: &'static Role,
    /// Of each environment.
    pub places: [Option<Place>; 2],
    pub sent: Log,
    /// Messages in a second, at the most.
    rate: f64,
    /// Messages that are to be made now, and the rest of one.
    due: f64,
    is_behind: bool,
    /// Of what each of its writers reads.
    pub flights: Vec<Flights>,
}

pub struct Run {
    /// The first to go in the end: what they write to is gone after them.
    pub writers: Writers<Type>,
    /// Whether messages for a store that is away are moved aside.
    pub parks: bool,
    /// Servers that are not ours.
    pub own: Option<&'static Own>,
    /// Its writers.
    pub types: Vec<Type>,
    /// What may be, by `explain`.
    pub told: Told<Type>,
    pub episodes: Episodes,
    /// Of what is moved aside, by who reads it.
    pub parked_flights: BTreeMap<Type, Flights>,
    /// Drains that went over their limit and partitions that were lost, as far as that is noted.
    pub given_up: usize,
    pub lost: usize,
    /// When it was looked last whether somebody had ended by itself.
    tended: Instant,
    /// Parked messages by the group that they are for.
    pub parked: BTreeMap<String, usize>,
    pub number: usize,
    pub seed: u64,
    pub begun: Instant,
    pub random: fastrand::Rng,
    pub bus: Box<dyn TestBus>,
    pub brokers: Option<Brokers>,
    /// Of the embedded bus.
    pub bus_disk: Option<Disk>,
    pub stores: Stores,
    pub stalled: bool,
    pub api: Api,
    pub dealt: Vec<Dealt>,
    pub faults: BTreeMap<&'static str, usize>,
    /// What could not be done here, and why.
    pub left_out: Vec<String>,
    pub recovery: Recovery,
    pub problems: Vec<Problem>,
    pub duplicates: Vec<u64>,
    pub promises: usize,
    /// Queries that were never asked.
    pub shed: usize,
    files: PathBuf,
    next: u32,
    /// One in so many messages is bad.
    bad: u64,
    made_until: Instant,
    sent_at: Instant,
    looked: Instant,
    /// Nobody can ask the bus now.
    pub is_mute: bool,
    pub waiting: Vec<Waiting>,
    /// What comes a second time, and when: with the first in one batch it would be one row.
    later: Vec<(Instant, Waiting)>,
    deck: Vec<Fault>,
    /// Dead letters by writer and body.
    pub buried: HashSet<Fingerprint>,
    /// When all that was acknowledged was looked for last, and how long that took.
    pub audited: Option<(Instant, Duration)>,
    /// By process, what it said to have shed.
    pub counted: BTreeMap<u32, u64>,
}

impl Dealt {
    /// What its rows go to, in the first environment.
    pub fn store(&self) -> &'static str {
        self.places[0].as_ref().map_or("nothing", Place::name)
    }

    pub fn see_whether_behind(&mut self, committed: &BTreeMap<i32, i64>) {
        self.is_behind = self.sent.behind(committed) as f64 > self.rate * BEHIND;
    }
}

impl Run {
    pub fn new(number: usize, seed: u64, folder: &Path) -> Self {
        let hand = deal::to(number, seed);
        let mut topics: Vec<Topic> =
            hand.roles.iter().flat_map(|role| role.more_topics.iter().copied().chain([role.topic])).collect();
        topics.push(PARKED);
        topics.sort_unstable();
        topics.dedup();
        let mut left_out = Vec::new();
        let mut why =
            |what: &str, error: nix::Error| left_out.push(format!("{what}: no tmpfs can be mounted: {error}"));
        // Servers of somebody else are asked first: what is wrong there ends the process before anything is made.
        if let Some(own) = hand.own {
            own.examine(hand.roles.iter().any(|role| role.store == Some(StoreKind::Vector)));
        }
        let theirs = hand.own.and_then(|own| {
            let kafka = own.kafka.as_ref()?;
            Some(Box::new(bus::Kafka::own(folder, own, kafka, &topics)))
        });
        let stores = Stores::start(folder, &hand);
        if let Err(error) = stores.disk {
            why("full disk", error);
        }
        let (bus, bus_disk): (Box<dyn TestBus>, _) = if let Some(theirs) = theirs {
            (theirs, None)
        } else if let Some(brokers) = hand.brokers {
            (Box::new(bus::Kafka::start(folder, brokers, &topics)), None)
        } else if hand.is_pubsub {
            (Box::new(bus::Pubsub::start(folder, &topics)), None)
        } else {
            let root = folder.join("bus");
            let disk = Disk::mount(root.clone());
            if let Err(error) = disk {
                why("full disk of the bus", error);
            }
            (Box::new(bus::Local::new(&root, &topics)), disk.ok())
        };
        let api = Api::start();
        // Of those that a whole run has, so that fewer roles have no more each.
        let usual: f64 = hand.roles.iter().map(|role| role.share()).sum::<f64>().max(1.0);
        let rate = variable("TORTURE_RATE", usual as u64);
        let types = Type::of(&hand.roles);
        let given = Given {
            bus: &*bus,
            stores: &stores,
            roles: &hand.roles,
            types: &types,
            parks: hand.parks,
            api: &api,
            rate,
        };
        let config = config::write(folder, &given);
        let told = Told::of(&config, &types);
        let files = folder.join("files");
        std::fs::create_dir_all(&files).unwrap();
        let dealt = |role: &&'static Role| Dealt {
            role,
            places: stores.of(role.store),
            sent: Log::default(),
            rate: match role.pace {
                Pace::Share(share) => share * rate as f64 / usual,
                Pace::Fixed(pace) => pace,
            },
            due: 0.0,
            is_behind: false,
            flights: role.writers.iter().map(|_| Flights::default()).collect(),
        };
        let dealt: Vec<Dealt> = hand.roles.iter().map(dealt).collect();
        let mut run = Self {
            parks: hand.parks,
            own: hand.own,
            told,
            episodes: Episodes::default(),
            parked_flights: BTreeMap::new(),
            given_up: 0,
            lost: 0,
            tended: Instant::now(),
            parked: BTreeMap::new(),
            number,
            seed,
            begun: Instant::now(),
            random: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
            bus,
            brokers: hand.brokers,
            bus_disk,
            writers: Writers::new(folder, &config, &types),
            types,
            stores,
            stalled: false,
            api,
            faults: BTreeMap::new(),
            left_out,
            recovery: Recovery::default(),
            problems: Vec::new(),
            duplicates: vec![0; dealt.len()],
            dealt,
            promises: 0,
            shed: 0,
            files,
            next: 0,
            bad: BAD.max(rate / BAD_A_SECOND),
            made_until: Instant::now(),
            sent_at: Instant::now(),
            looked: Instant::now(),
            is_mute: false,
            waiting: Vec::new(),
            later: Vec::new(),
            deck: Vec::new(),
            buried: HashSet::new(),
            audited: None,
            counted: BTreeMap::new(),
        };
        for dealt in &run.dealt {
            run.say(&format!("{}: to {}", dealt.role.name, dealt.store()));
        }
        run.say(if run.parks {
            "what is for a store that is away is parked"
        } else {
            "a store that is away is waited for"
        });
        for fault in Fault::ALL {
            if run.own.is_some() && fault.needs_a_server_of_ours() {
                run.left_out.push(format!("{}: the server is not ours", fault.name()));
            }
        }
        for left_out in &run.left_out {
            run.say(&format!("left out: {left_out}"));
        }
        run
    }

    /// Faults, one after the other.
    pub fn go_on_for(&mut self, time: Duration) {
        for of in self.types.clone() {
            self.writers.at_least(of, 1);
        }
        self.let_pass(Duration::from_secs(2));
        while self.begun.elapsed() < time {
            if self.deck.is_empty() {
                self.deck = Fault::chosen();
                self.random.shuffle(&mut self.deck);
            }
            let fault = self.deck.pop().expect("faults");
            let begun = Instant::now();
            if self.strike(fault) {
                *self.faults.entry(fault.name()).or_default() += 1;
                self.recover(fault);
                // Until everyone has committed again, something may come of it.
                self.episodes.add(fault.may_be(&*self.bus), begun, Instant::now());
            }
        }
    }

    /// Waits until every writer commits again; where nobody can tell, for a while.
    fn recover(&mut self, fault: Fault) {
        if !self.bus.has_positions() {
            self.pass(1000..3000);
            return;
        }
        let groups: Vec<_> = self.types.iter().map(|of| (self.group(*of), of.topic())).collect();
        self.recovery.begin(fault.name(), &groups, &mut *self.bus);
        let begun = Instant::now();
        while !self.recovery.look(&mut *self.bus) && begun.elapsed() < recovery::WITHIN {
            self.let_pass(Duration::from_millis(100));
        }
        self.recovery.give_up();
    }

    pub fn group(&self, of: Type) -> String {
        format!("chalk-{}", self.bus.named(&of.name()))
    }

    pub fn say(&self, what: &str) {
        println!(
            "torture: {:>5.1} s rows {} {:5} {what}",
            self.begun.elapsed().as_secs_f64(),
            self.number,
            self.bus.name()
        );
    }

    pub fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }

    /// Time passes, and messages with it.
    pub fn let_pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.sent_at.elapsed() >= SENDS_EVERY {
                self.sent_at = Instant::now();
                self.make();
                self.send();
            }
            self.tend();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn tend(&mut self) {
        if !self.is_mute && self.looked.elapsed() >= LOOKS_EVERY {
            self.looked = Instant::now();
            self.look_at_flights();
        }
        if self.stalled {
            self.stores.stall();
        }
        self.count_shed();
        let ended = self.writers.tend();
        let before = std::mem::replace(&mut self.tended, Instant::now());
        if ended > 0 {
            self.episodes.add(&[guarantee::Fault::WriterKilled], before, self.tended);
            *self.faults.entry("writers that ended by themselves").or_default() += ended;
        }
    }

    /// Makes what has come due; of whom is behind nothing, so that what a run sends is what its writers can take.
    fn make(&mut self) {
        let now = Instant::now();
        self.waiting.extend(self.later.extract_if(.., |(due, _)| *due <= now).map(|(_, again)| again));
        let passed = now.duration_since(self.made_until).as_secs_f64();
        self.made_until = now;
        for at in 0..self.dealt.len() {
            let Dealt { rate, due, is_behind, .. } = &mut self.dealt[at];
            *due = if *is_behind { 0.0 } else { (*due + *rate * passed).min(*rate * AT_ONCE) };
            let count = due.floor();
            *due -= count;
            for _ in 0..count as usize {
                self.next += 1;
                self.make_one(at, self.next);
            }
        }
    }

    fn make_one(&mut self, at: usize, number: u32) {
        let role = self.dealt[at].role;
        let message = Numbered { number, is_bad: false, is_again: false };
        let Some(made) = self.made(at, number, true) else {
            let sending = role.bad(number.into());
            self.waiting.push(Waiting { role: at, sending, message: Numbered { is_bad: true, ..message } });
            return;
        };
        if made.twice {
            let sending = role.sending(number.into(), &made);
            let again = Waiting { role: at, sending, message: Numbered { is_again: true, ..message } };
            let pause = self.millis(0..3000);
            self.later.push((Instant::now() + pause, again));
        }
        self.waiting.push(Waiting { role: at, sending: role.sending(number.into(), &made), message });
    }

    /// The message of a number, which is the same each time; none where it cannot be read. Its files are made once.
    fn made(&self, at: usize, number: u32, is_new: bool) -> Option<Made> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        if random.u64(..self.bad) == 0 {
            return None;
        }
        let folder = is_new.then_some(&*self.files);
        let Dealt { role, places: [_, spare], .. } = &self.dealt[at];
        let has_spare = role.is_in_both && spare.is_some();
        Some((role.make)(&mut Making { number: number.into(), random, folder, has_spare }))
    }

    /// Whether a message is one that comes twice.
    pub fn was_sent_twice(&self, at: usize, number: u32) -> bool {
        self.made(at, number, false).is_some_and(|made| made.twice)
    }

    /// What a message leaves; its body where it cannot be read.
    pub fn leaves(&self, at: usize, number: u32) -> Result<Vec<Leaves>, Vec<u8>> {
        let made = self.made(at, number, false);
        made.map(|made| made.leaves).ok_or_else(|| self.dealt[at].role.bad(number.into()).packed.body)
    }

    /// Those first that the bus did not take before.
    pub fn send(&mut self) {
        let messages: Vec<&Sending> = self.waiting.iter().map(|waiting| &waiting.sending).collect();
        if messages.is_empty() {
            return;
        }
        if let Some(places) = self.bus.publish(&messages) {
            for (place, Waiting { role, message, .. }) in places.into_iter().zip(self.waiting.drain(..)) {
                self.dealt[role].sent.add(place, message);
            }
        }
    }
}
