//! What happens to processes in production, one thing after another, chosen by a seed.
//!
//! Blind accidents ([`Accident`]) and scenes ([`Scene`]) take turns. A scene is staged: it waits until
//! the writers are at work, takes the stores away, and only then does what a broken writer would not
//! survive. Both are dealt like cards, so every run has all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bus::TestBus;
use super::check::{Checker, Wrong};
use super::clock;
use super::recovery::{Group, Recovery};
use super::sent::{Producer, RESULTS};
use super::stores::Store;
use super::writers::{Kind, Writers};

/// One thing that just happens.
#[derive(Clone, Copy, Debug)]
enum Accident {
    Kill,
    Terminate,
    Stop,
    OneMore,
    OneLess,
    RestartStore,
    KillOverAPausedStore,
    RestartBroker,
    ClockJump,
    Peace,
}

impl Accident {
    /// What it is called where it is over at once; from there the time to recover counts.
    fn ended(self) -> Option<&'static str> {
        match self {
            Self::Kill => Some("SIGKILL"),
            Self::Terminate => Some("SIGTERM"),
            Self::RestartStore => Some("store restart"),
            Self::KillOverAPausedStore => Some("SIGKILL over a paused store"),
            Self::RestartBroker => Some("broker restart"),
            Self::ClockJump => Some("clock jump"),
            Self::Stop | Self::OneMore | Self::OneLess | Self::Peace => None,
        }
    }
}

/// Something that is staged; see [`super::scenes`] and [`super::people`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    PowerCut,
    StuckHandover,
    HandoverInPeace,
    TroubleOfStores,
    ReplayKilled,
    PassedOver,
    ReadAgain,
}

/// Cards in a row, shuffled again when all of them were dealt.
struct Deck<T: 'static> {
    all: &'static [T],
    left: Vec<T>,
    rounds: usize,
}

impl<T: Clone> Deck<T> {
    fn of(all: &'static [T]) -> Self {
        Self { all, left: Vec::new(), rounds: 0 }
    }

    fn deal(&mut self, random: &mut fastrand::Rng) -> T {
        if self.left.is_empty() {
            self.left = self.all.to_vec();
            random.shuffle(&mut self.left);
        }
        let card = self.left.pop().expect("a deck has cards");
        self.rounds += usize::from(self.left.is_empty());
        card
    }
}

/// Everything that a run consists of.
pub struct Chaos {
    /// Which of the runs that go on at once.
    run: usize,
    pub begun: Instant,
    pub random: fastrand::Rng,
    pub bus: Box<dyn TestBus>,
    /// The online store and the lake.
    pub stores: [Box<dyn Store>; 2],
    /// Whether the stores are to take nothing now.
    pub stalled: bool,
    pub writers: Writers,
    pub producer: Producer,
    pub checker: Checker,
    /// Replays that were killed.
    pub killed_replays: i64,
    /// How often each thing was done.
    pub faults: BTreeMap<String, usize>,
    pub recovery: Recovery,
    accidents: Deck<Accident>,
    scenes: Deck<Scene>,
}

impl Chaos {
    pub fn new(
        run: usize,
        seed: u64,
        bus: Box<dyn TestBus>,
        stores: [Box<dyn Store>; 2],
        writers: Writers,
        checker: Checker,
    ) -> Self {
        use Accident::{
            ClockJump, Kill, KillOverAPausedStore, OneLess, OneMore, Peace, RestartBroker, RestartStore, Stop,
            Terminate,
        };
        Self {
            run,
            begun: Instant::now(),
            random: fastrand::Rng::with_seed(seed ^ 0xC4A0_5000),
            bus,
            stores,
            stalled: false,
            writers,
            producer: Producer::new(seed),
            checker,
            killed_replays: 0,
            faults: BTreeMap::new(),
            recovery: Recovery::default(),
            accidents: Deck::of(&[
                Kill,
                Kill,
                Terminate,
                Stop,
                Stop,
                OneMore,
                OneLess,
                RestartStore,
                KillOverAPausedStore,
                RestartBroker,
                ClockJump,
                Peace,
            ]),
            scenes: Deck::of(&[
                Scene::PowerCut,
                Scene::StuckHandover,
                Scene::HandoverInPeace,
                Scene::TroubleOfStores,
                Scene::ReplayKilled,
                Scene::PassedOver,
                Scene::ReadAgain,
            ]),
        }
    }

    /// Goes on for so long, and until every scene was played.
    pub fn run(&mut self, time: Duration) {
        while self.begun.elapsed() < time || self.scenes.rounds == 0 {
            for _ in 0..self.random.u8(..3) {
                let accident = self.accidents.deal(&mut self.random);
                self.happen(accident);
                if let Some(ended) = accident.ended() {
                    let groups: Vec<Group> = Kind::ALL.map(|kind| (kind.group().to_owned(), RESULTS.0)).into();
                    self.recovery.begin(ended, &groups, &mut *self.bus);
                }
                let pause = self.millis(300..2000);
                self.let_pass(pause);
            }
            // What a scene does is no recovery.
            self.recovery.forget();
            let scene = self.scenes.deal(&mut self.random);
            self.play(scene);
        }
    }

    fn happen(&mut self, accident: Accident) {
        let kind = if self.random.bool() { Kind::Online } else { Kind::Offline };
        match accident {
            Accident::Kill => {
                self.note("SIGKILL", &format!("of one {kind:?} writer"));
                self.writers.kill_one(kind, &mut self.random);
                self.writers.start(kind);
            }
            Accident::Terminate => {
                self.note("SIGTERM", &format!("of one {kind:?} writer"));
                self.writers.terminate_one(kind, &mut self.random);
                self.writers.start(kind);
            }
            Accident::Stop => {
                self.note("SIGSTOP", &format!("of one {kind:?} writer"));
                // Beyond its session, or not.
                let length = self.millis(1000..10_000);
                self.writers.stop_one(kind, length, &mut self.random);
            }
            Accident::OneMore => {
                self.note("one more member", &format!("{kind:?}"));
                self.writers.start(kind);
            }
            Accident::OneLess => {
                self.note("one member less", &format!("{kind:?}"));
                self.writers.terminate_one(kind, &mut self.random);
            }
            Accident::RestartStore => {
                let at = self.random.usize(..2);
                let name = self.stores[at].name();
                self.note("store restart", name);
                self.stores[at].vanish();
                self.let_pass(Duration::from_millis(500));
                self.stores[at].come_back();
            }
            Accident::KillOverAPausedStore => {
                // Writes that were sent arrive after their writer is gone, and perhaps after its
                // successor's.
                let at = self.random.usize(..2);
                let (name, kind) = (self.stores[at].name(), Kind::ALL[at]);
                self.note("SIGKILL over a paused store", name);
                self.stores[at].stall();
                let pause = self.millis(200..2000);
                self.let_pass(pause);
                self.writers.kill_one(kind, &mut self.random);
                self.writers.start(kind);
                // Long enough, sometimes, for partitions to move while nothing can be written.
                let pause = self.millis(0..6000);
                self.let_pass(pause);
                self.stores[at].go_on();
            }
            Accident::RestartBroker => {
                if self.bus.restart() {
                    self.note("broker restart", self.bus.name());
                }
            }
            Accident::ClockJump => {
                let (ahead, behind) = (self.random.i64(60..600), self.random.i64(60..600));
                self.note("clock jump", &format!("{ahead} minutes ahead, then {behind} behind"));
                self.clock_jumps(ahead, behind);
            }
            Accident::Peace => self.note("peace", "for a while"),
        }
    }

    /// On Kafka those whose clock is set back have to end themselves, and the next ones have the right time.
    fn clock_jumps(&mut self, ahead: i64, behind: i64) {
        self.writers.wake_all();
        let at_work = self.writers.at_work();
        self.jump_to(ahead);
        if !self.bus.waits_by_the_time_of_day() {
            self.jump_to(-behind);
            self.jump_to(0);
            return;
        }
        let (killed, set_back) = self.writers.set_back(at_work, behind);
        if killed > 0 {
            self.note("SIGKILL", "of those that have only just started");
        }
        loop {
            self.let_pass(Duration::from_millis(100));
            match self.writers.have_ended(&set_back) {
                Ok(false) => {}
                Ok(true) => break,
                Err(what) => {
                    self.checker.problems.push((Wrong::GoesOn, what));
                    for kind in Kind::ALL {
                        self.writers.kill_all(kind);
                    }
                    break;
                }
            }
        }
        for kind in Kind::ALL {
            self.writers.at_least(kind, 2);
        }
    }

    fn jump_to(&mut self, minutes: i64) {
        self.writers.clock.set(minutes);
        self.let_pass(clock::SEEN_WITHIN);
        let pause = self.millis(300..2000);
        self.let_pass(pause);
    }

    pub fn note(&mut self, what: &str, whom: &str) {
        self.say(&format!("{what}: {whom}"));
        self.checker.told.note(what);
        *self.faults.entry(what.to_owned()).or_default() += 1;
    }

    pub fn say(&self, what: &str) {
        println!("torture: {:>5.1} s {} {:5} {what}", self.begun.elapsed().as_secs_f64(), self.run, self.bus.name());
    }

    pub fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }

    /// Time passes, and messages with it.
    pub fn let_pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.producer.send(&mut *self.bus, 30);
            self.recovery.look(&mut *self.bus);
            if self.stalled {
                for store in &mut self.stores {
                    store.stall();
                }
            }
            let ended = self.writers.tend();
            if ended > 0 {
                self.checker.told.note("writers that ended by themselves");
                *self.faults.entry("writers that ended by themselves".to_owned()).or_default() += ended;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
