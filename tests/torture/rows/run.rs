//! A run: messages flow, one fault comes after the other, and in the end everything is compared.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::api::Api;
use super::check::{doubled, missing, strangers};
use super::faults::Fault;
use super::place::Place;
use super::role::{Held, Leaves, Looking, Made, Making, Role, expect};
use super::stores::Stores;
use super::{ROLES, Type, config, deal, mirror};
use crate::bus::{self, Record, Sending, TestBus, Topic};
use crate::check::{Problem, Wrong};
use crate::recovery::{self, Recovery};
use crate::stores::Disk;
use crate::writers::Writers;

/// One in so many messages cannot be read.
const BAD: u64 = 50;

/// What a mirror may have shed and committed between the last look at its count and its end.
const UNSEEN: u64 = 20;

/// How long everything may take to catch up in the end. It bounds a hang and nothing else.
const SETTLES_WITHIN: Duration = Duration::from_secs(240);

/// A message on its way.
struct Waiting {
    role: usize,
    sending: Sending,
    content: Content,
}

/// What is known of a message.
struct Content {
    number: i64,
    leaves: Vec<Leaves>,
    /// Of one that cannot be read.
    bad: Option<Vec<u8>>,
}

/// A message that the bus has.
struct Sent {
    place: bus::Place,
    content: Content,
}

/// A role in a run.
pub struct Dealt {
    pub role: &'static Role,
    pub place: Place,
    sent: Vec<Sent>,
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
    waiting: Vec<Waiting>,
    deck: Vec<Fault>,
    /// Dead letters by writer and body.
    buried: HashSet<(String, Vec<u8>)>,
    /// By process, what it said to have shed.
    counted: BTreeMap<u32, u64>,
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

    fn tend(&mut self) {
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
                    self.waiting.push(Waiting { role: at, sending: role.sending(number, &made), content });
                }
                let sending = role.sending(number, &made);
                let content = Content { number, leaves: made.leaves, bad: None };
                self.waiting.push(Waiting { role: at, sending, content });
            }
        }
    }

    /// Those first that the bus did not take before.
    fn send(&mut self) {
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

    /// Asks the mirrors what they have shed.
    pub fn count_shed(&mut self) {
        for (process, address) in self.writers.listening(Type(mirror::ROLE.writers[0])) {
            if let Some(count) = shed(&address) {
                self.counted.insert(process, count);
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

/// What a process says that it did not ask; what came of asking has an outcome. `None` where it does not answer.
fn shed(address: &str) -> Option<u64> {
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_millis(200)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: torture\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let mut sum = 0.0;
    for line in text.lines().filter(|line| line.starts_with("chalk_writer_mirror_shed_total{")) {
        if ["rate", "backing_off", "no_slot"].iter().any(|reason| line.contains(&format!("reason=\"{reason}\""))) {
            sum += line.rsplit(' ').next()?.parse::<f64>().ok()?;
        }
    }
    text.starts_with("HTTP/1.1 200").then_some(sum as u64)
}
