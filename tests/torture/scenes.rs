//! Scenes: what a broken writer would not survive, staged so that it meets it.
//!
//! # Why
//! Between the acknowledgement of a batch and its write a broken writer has milliseconds, and a position
//! reaches the broker by a clock of seconds: a kill at random hits it once in hundreds. A store that
//! stands still makes seconds of the milliseconds: longer than the clock that commits, longer than a
//! handover waits (`drain_timeout`). So a scene waits until both groups are at work, makes the stores
//! stand still while messages flow, and opens them for moments, in which a batch or two get through.
//! Then it asks what was promised (see [`super::check`]), at best when everyone is dead.

use std::time::{Duration, Instant};

use super::chaos::{Chaos, Scene};
use super::check::Wrong;
use super::stores::Trouble;
use super::writers::Kind;
use chalk_writer::writer::guarantee::{Effect, Fault};

/// How long a group may take to catch up before a scene is played without that.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// How long anything else is waited for before a scene goes on without it.
const HAPPENS_WITHIN: Duration = Duration::from_secs(10);

impl Chaos {
    pub fn play(&mut self, scene: Scene) {
        if scene == Scene::HandoverInPeace && self.checker.told.never(Kind::Offline, Effect::Duplicated) {
            // Nothing is doubled there, peace or not.
            return;
        }
        let settled = self.settle();
        self.say(&format!("scene: {scene:?}{}", if settled { "" } else { ", not settled" }));
        match scene {
            Scene::PowerCut => {
                self.stall();
                let openings = self.random.usize(..3);
                self.open_for_moments(openings);
                self.power_cut();
            }
            Scene::StuckHandover => self.stuck_handover(),
            Scene::HandoverInPeace if settled => self.handover_in_peace(),
            // Where there is no peace there is nothing to see.
            Scene::HandoverInPeace => {}
            Scene::TroubleOfStores => self.trouble(),
            Scene::ReplayKilled => self.replay_killed(),
            Scene::PassedOver => self.pass_over(),
            Scene::ReadAgain => self.read_again(),
        }
    }

    fn settle(&mut self) -> bool {
        self.settle_with(2)
    }

    /// Lets both groups have so many members at least and catch up with what was sent so far; says
    /// whether they did.
    fn settle_with(&mut self, members: usize) -> bool {
        self.writers.wake_all();
        for kind in Kind::ALL {
            self.writers.at_least(kind, members);
        }
        let begun = Instant::now();
        let ends = self.bus.ends("results");
        loop {
            let behind = Kind::ALL.iter().any(|kind| {
                let committed = self.bus.committed(kind.group(), "results");
                ends.iter().any(|(partition, end)| committed[partition] < *end)
            });
            if !behind && self.writers.all_have_left() {
                return true;
            }
            if begun.elapsed() > SETTLES_WITHIN {
                return false;
            }
            self.let_pass(Duration::from_millis(200));
        }
    }

    /// Waits for something that a sound writer does soon; a broken one perhaps never.
    pub fn wait_until(&mut self, is_so: impl Fn(&mut Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) && begun.elapsed() < HAPPENS_WITHIN {
            self.let_pass(Duration::from_millis(200));
        }
    }

    /// The stores take nothing, for longer than the commit clock.
    pub fn stall(&mut self) {
        self.note("stores stand still", "both");
        self.stalled = true;
        let pause = self.millis(2300..4000);
        self.let_pass(pause);
    }

    pub fn go_on(&mut self) {
        self.stalled = false;
        for store in &mut self.stores {
            store.go_on();
        }
    }

    /// Lets a batch or two through, so many times.
    fn open_for_moments(&mut self, times: usize) {
        for _ in 0..times {
            self.go_on();
            // Not `let_pass`: nothing else may take its time meanwhile.
            let moment = self.millis(20..300);
            std::thread::sleep(moment);
            self.stall();
            self.audit_stalled();
        }
    }

    /// What was promised until now has to be there, while nobody can write.
    fn audit_stalled(&mut self) {
        for (store, kind) in self.stores.iter().zip(Kind::ALL) {
            if store.can_be_read_stalled() {
                self.checker.audit(kind, &self.producer.sent, &mut *self.bus);
            }
        }
    }

    /// What happens to stores of one kind alone: slots move, nodes die, connections are cut.
    fn trouble(&mut self) {
        for which in [Trouble::Light, Trouble::Heavy] {
            let Self { stores, random, .. } = self;
            let begun: Vec<bool> = stores.iter_mut().map(|store| store.begin_trouble(which, random)).collect();
            if begun.contains(&true) {
                let pause = self.millis(1500..3000);
                self.let_pass(pause);
            }
            for at in (0..begun.len()).filter(|at| begun[*at]) {
                let what = self.stores[at].end_trouble();
                let name = self.stores[at].name();
                self.note(&format!("{name}: {what}"), "and is as it was");
            }
        }
    }

    /// Everything dies at once but the bus. What was promised until then has to be found.
    fn power_cut(&mut self) {
        self.note("power cut", "of every writer and the stores");
        for kind in Kind::ALL {
            self.writers.kill_all(kind);
        }
        for store in &mut self.stores {
            store.vanish();
        }
        self.stalled = false;
        for store in &mut self.stores {
            store.come_back();
        }
        for kind in Kind::ALL {
            self.checker.audit(kind, &self.producer.sent, &mut *self.bus);
        }
        for kind in Kind::ALL {
            self.writers.at_least(kind, 2);
        }
    }

    /// Members come and go while their rows cannot be written: parts of what a member has in hand
    /// are taken from it, and come back to it.
    fn stuck_handover(&mut self) {
        for kind in Kind::ALL {
            if self.writers.is_full(kind) {
                self.writers.terminate_one(kind, &mut self.random);
            }
        }
        self.settle();
        self.stalled = true;
        let pause = self.millis(500..1500);
        self.let_pass(pause);
        self.note("handover over stalled stores", "one more member");
        let before = Kind::ALL.map(|kind| self.writers.said(kind).given_up);
        for kind in Kind::ALL {
            self.writers.start(kind);
        }
        self.wait_until(|chaos| {
            Kind::ALL.iter().zip(before).all(|(kind, before)| chaos.writers.said(*kind).given_up > before)
        });
        let pause = self.millis(500..2000);
        self.let_pass(pause);
        if self.random.bool() {
            self.note("handover over stalled stores", "it leaves again");
            for kind in Kind::ALL {
                self.writers.terminate_newest(kind);
            }
            self.wait_until(|chaos| chaos.writers.all_have_left());
            let pause = self.millis(1000..3000);
            self.let_pass(pause);
        } else {
            self.note("handover over stalled stores", "it is killed");
            for kind in Kind::ALL {
                self.writers.kill_newest(kind);
            }
            // Longer than its session.
            let pause = self.millis(6000..9000);
            self.let_pass(pause);
        }
        let openings = self.random.usize(1..3);
        self.open_for_moments(openings);
        if self.random.bool() {
            self.power_cut();
        } else {
            self.go_on();
        }
    }

    /// A member goes and another comes while everything works. What is in hand then is written and
    /// committed first, so nothing is read again. A writer that could not keep to that says so, which
    /// excuses it.
    fn handover_in_peace(&mut self) {
        let kind = Kind::Offline;
        self.note("handover in peace", "one leaves, one joins");
        self.checker.read_history();
        let (doubled, complaints) = (self.checker.history.doubled(), self.writers.said(kind).complaints);
        self.writers.terminate_one(kind, &mut self.random);
        if !self.settle_with(1) {
            return;
        }
        // Whoever has partitions gives some of them to it.
        self.writers.start(kind);
        let pause = self.millis(2000..3000);
        self.let_pass(pause);
        if !self.settle_with(1) {
            return;
        }
        self.checker.read_history();
        let more = self.checker.history.doubled() - doubled;
        let complained = self.writers.said(kind).complaints > complaints;
        self.say(&format!("{more} rows doubled in peace{}", if complained { ", excused" } else { "" }));
        let excluded = !self.checker.told.may(kind, Fault::Rebalance).has(Effect::Duplicated);
        if more > 0 && !complained && excluded {
            self.checker.problems.push((Wrong::DoubledInPeace, format!("{kind:?}: {more} rows of history")));
        }
    }
}
