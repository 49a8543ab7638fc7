//! A run: messages flow, one fault comes after the other, and in the end everything is compared.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::api::Api;
use super::faults::Fault;
use super::place::Place;
use super::role::{Leaves, Made, Making, Role};
use super::stores::Stores;
use super::{ROLES, Type, config, deal};
use crate::bus::{self, Sending, TestBus, Topic};
use crate::check::Problem;
use crate::recovery::{self, Recovery};
use crate::stores::Disk;
use crate::writers::Writers;

/// One in so many messages cannot be read.
const BAD: u64 = 50;

/// A message on its way.
pub struct Waiting {
    role: usize,
    sending: Sending,
    content: Content,
}

/// What is known of a message.
pub struct Content {
    pub number: i64,
    pub leaves: Vec<Leaves>,
    /// Of one that cannot be read.
    pub bad: Option<Vec<u8>>,
}

/// A message that the bus has.
pub struct Sent {
    pub place: bus::Place,
    pub content: Content,
}

/// A role in a run.
pub struct Dealt {
    pub role: &'static Role,
    pub place: Place,
    pub sent: Vec<Sent>,
}

pub struct Run {
    pub number: usize,
    pub seed: u64,
    pub begun: Instant,
    pub random: fastrand::Rng,
    pub bus: Box<dyn TestBus>,
    /// Of the embedded bus.
    pub bus_disk: Option<Disk>,
    pub stores: Stores,
    pub stalled: bool,
    pub writers: Writers<Type>,
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
    next: i64,
    ticks: u64,
    pub waiting: Vec<Waiting>,
    /// What comes a second time, and when: with the first in one batch it would be one row.
    later: Vec<(u64, Waiting)>,
    deck: Vec<Fault>,
    /// Dead letters by writer and body.
    pub buried: HashSet<(String, Vec<u8>)>,
    /// By process, what it said to have shed.
    pub counted: BTreeMap<u32, u64>,
}

impl Run {
    pub fn new(number: usize, seed: u64, folder: &Path) -> Self {
        let hand = deal::to(number, seed);
        let mut topics: Vec<Topic> =
            ROLES.iter().flat_map(|role| role.more_topics.iter().copied().chain([role.topic])).collect();
        topics.sort_unstable();
        let mut left_out = Vec::new();
        let mut why =
            |what: &str, error: nix::Error| left_out.push(format!("{what}: no tmpfs can be mounted: {error}"));
        let stores = Stores::start(folder, &hand);
        if let Err(error) = stores.disk {
            why("full disk", error);
        }
        let (bus, bus_disk): (Box<dyn TestBus>, _) = if hand.is_kafka {
            (Box::new(bus::Kafka::start(folder, &topics)), None)
        } else {
            let root = folder.join("bus");
            let disk = Disk::mount(root.clone());
            if let Err(error) = disk {
                why("full disk of the bus", error);
            }
            (Box::new(bus::Local::new(&root, &topics)), disk.ok())
        };
        let api = Api::start();
        let config = config::write(folder, &*bus, &stores.uris(), &api);
        let files = folder.join("files");
        std::fs::create_dir_all(&files).unwrap();
        let dealt = |role: &'static Role| Dealt { role, place: stores.place(role.store), sent: Vec::new() };
        let dealt: Vec<Dealt> = ROLES.iter().map(dealt).collect();
        let run = Self {
            number,
            seed,
            begun: Instant::now(),
            random: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
            bus,
            bus_disk,
            writers: Writers::new(folder, &config, &Type::all()),
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
            ticks: 0,
            waiting: Vec::new(),
            later: Vec::new(),
            deck: Vec::new(),
            buried: HashSet::new(),
            counted: BTreeMap::new(),
        };
        for dealt in &run.dealt {
            run.say(&format!("{}: to {}", dealt.role.name, dealt.place.name()));
        }
        run
    }

    /// Faults, one after the other.
    pub fn go_on_for(&mut self, time: Duration) {
        for of in Type::all() {
            self.writers.at_least(of, 1);
        }
        self.let_pass(Duration::from_secs(2));
        while self.begun.elapsed() < time {
            if self.deck.is_empty() {
                self.deck = Fault::chosen();
                self.random.shuffle(&mut self.deck);
            }
            let fault = self.deck.pop().expect("faults");
            if self.strike(fault) {
                *self.faults.entry(fault.name()).or_default() += 1;
                self.recover(fault);
            }
        }
    }

    /// Waits until every writer commits again.
    fn recover(&mut self, fault: Fault) {
        let groups: Vec<_> = Type::all().iter().map(|of| (of.group(), of.topic())).collect();
        self.recovery.begin(fault.name(), &groups, &mut *self.bus);
        let begun = Instant::now();
        while !self.recovery.look(&mut *self.bus) && begun.elapsed() < recovery::WITHIN {
            self.let_pass(Duration::from_millis(50));
        }
        self.recovery.give_up();
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
            self.make();
            self.send();
            self.tend();
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn tend(&mut self) {
        if self.stalled {
            self.stores.stall();
        }
        self.count_shed();
        let ended = self.writers.tend();
        if ended > 0 {
            *self.faults.entry("writers that ended by themselves").or_default() += ended;
        }
    }

    fn make(&mut self) {
        self.ticks += 1;
        let now = self.ticks;
        self.waiting.extend(self.later.extract_if(.., |(due, _)| *due <= now).map(|(_, again)| again));
        for (at, role) in ROLES.iter().enumerate() {
            let (every, count) = role.pace;
            for _ in 0..if self.ticks.is_multiple_of(2 * every) { count } else { 0 } {
                self.next += 1;
                let number = self.next;
                if self.random.u64(..BAD) == 0 {
                    let sending = role.bad(number);
                    let content = Content { number, leaves: Vec::new(), bad: Some(sending.packed.body.clone()) };
                    self.waiting.push(Waiting { role: at, sending, content });
                    continue;
                }
                let made: Made = (role.make)(&mut Making { number, random: &mut self.random, folder: &self.files });
                if made.twice {
                    let content = Content { number, leaves: Vec::new(), bad: None };
                    let again = Waiting { role: at, sending: role.sending(number, &made), content };
                    self.later.push((self.ticks + self.random.u64(..60), again));
                }
                let sending = role.sending(number, &made);
                let content = Content { number, leaves: made.leaves, bad: None };
                self.waiting.push(Waiting { role: at, sending, content });
            }
        }
    }

    /// Those first that the bus did not take before.
    pub fn send(&mut self) {
        let messages: Vec<&Sending> = self.waiting.iter().map(|waiting| &waiting.sending).collect();
        if messages.is_empty() {
            return;
        }
        if let Some(places) = self.bus.publish(&messages) {
            for (place, Waiting { role, content, .. }) in places.into_iter().zip(self.waiting.drain(..)) {
                self.dealt[role].sent.push(Sent { place, content });
            }
        }
    }

    /// Messages of a role.
    pub fn messages(&self, at: usize) -> usize {
        self.dealt[at].sent.len()
    }

    pub fn bad_messages(&self, at: usize) -> usize {
        self.dealt[at].sent.iter().filter(|sent| sent.content.bad.is_some()).count()
    }
}
