//! What happens to a run. Each is over when its function returns; from there the time to recover counts.

use std::time::Duration;

use chalk_writer::writer::guarantee;

use super::run::Run;
use super::{Type, mirror};
use crate::bus::{Brokers, TestBus};
use crate::check::Wrong;
use crate::clock;
use crate::proxy::Proxy;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Terminate,
    Stop,
    RebalanceStorm,
    RestartOfTheBroker,
    RestartOfTheStore,
    CutConnections,
    CutBus,
    SlowStore,
    LostAnswers,
    ThrottledStore,
    StoreStandsStill,
    OneStoreAway,
    FullDisk,
    FullDiskOfTheBus,
    KilledOverStalledStores,
    PowerCut,
    LettersAway,
    MirroredServerAway,
    LossOfABroker,
    ClockJumps,
}

use Fault::{
    ClockJumps, CutBus, CutConnections, FullDisk, FullDiskOfTheBus, Kill, KilledOverStalledStores, LettersAway,
    LossOfABroker, LostAnswers, MirroredServerAway, OneStoreAway, PowerCut, RebalanceStorm, RestartOfTheBroker,
    RestartOfTheStore, SlowStore, Stop, StoreStandsStill, Terminate, ThrottledStore,
};

impl Fault {
    pub const ALL: [Self; 21] = [
        Kill,
        Terminate,
        Stop,
        RebalanceStorm,
        RestartOfTheBroker,
        RestartOfTheStore,
        CutConnections,
        CutBus,
        SlowStore,
        LostAnswers,
        ThrottledStore,
        StoreStandsStill,
        OneStoreAway,
        FullDisk,
        FullDiskOfTheBus,
        KilledOverStalledStores,
        PowerCut,
        LettersAway,
        MirroredServerAway,
        LossOfABroker,
        ClockJumps,
    ];

    /// As the report has it, and `TORTURE_FAULTS`.
    pub const fn name(self) -> &'static str {
        match self {
            Kill => "SIGKILL",
            Terminate => "SIGTERM",
            Stop => "SIGSTOP",
            RebalanceStorm => "rebalance storm",
            RestartOfTheBroker => "broker restart",
            RestartOfTheStore => "store restart",
            CutConnections => "connection cut",
            CutBus => "bus connection cut",
            SlowStore => "slow store",
            LostAnswers => "answer lost",
            ThrottledStore => "throttled store",
            StoreStandsStill => "store stands still",
            OneStoreAway => "one store of two away",
            KilledOverStalledStores => "every writer killed over stalled stores",
            FullDisk => "full disk",
            FullDiskOfTheBus => "full disk of the bus",
            PowerCut => "power cut",
            LettersAway => "dead letter topic away",
            MirroredServerAway => "mirrored server away",
            LossOfABroker => "loss of a broker",
            ClockJumps => "clock jump",
        }
    }

    /// What it is, as `explain` has it.
    pub fn may_be(self, bus: &dyn TestBus) -> &'static [guarantee::Fault] {
        use guarantee::Fault as F;
        match self {
            Kill => &[F::WriterKilled],
            // A drain that goes over its limit says so, and is noted then.
            Terminate => &[F::Rebalance],
            RebalanceStorm => &[F::Rebalance, F::TwoWritersOfOneGroup, F::WriterKilled],
            Stop => &[F::WriterPaused],
            RestartOfTheBroker | LossOfABroker => &[F::BusRestarted, F::BusAway],
            RestartOfTheStore => &[F::StoreRestarted, F::StoreAway, F::StoreUnsure],
            CutConnections | LostAnswers => &[F::StoreUnsure, F::StoreAway],
            SlowStore => &[F::StoreSlow],
            ThrottledStore => &[F::StoreSlow, F::StoreAway, F::StoreUnsure, F::StoreFull],
            StoreStandsStill => &[F::StoreSlow, F::StoreAway, F::StoreUnsure],
            OneStoreAway => &[F::OneStoreAway, F::StoreAway, F::StoreUnsure],
            FullDisk => &[F::StoreFull],
            FullDiskOfTheBus | CutBus => &[F::BusAway],
            KilledOverStalledStores => &[F::WriterKilled, F::StoreSlow, F::StoreAway, F::StoreUnsure],
            PowerCut => &[F::WriterKilled, F::StoreRestarted, F::StoreAway, F::StoreUnsure],
            LettersAway if bus.has_positions() => &[F::DeadLetterTopicAway],
            // They have to stand still for it.
            LettersAway => &[F::DeadLetterTopicAway, F::WriterPaused],
            MirroredServerAway => &[F::StoreAway],
            // Those who have only just started are killed, on Kafka.
            ClockJumps if bus.waits_by_the_time_of_day() => &[F::ClockWrong, F::WriterKilled],
            ClockJumps => &[F::ClockWrong],
        }
    }

    /// Whether it is done to a server that has to be ours.
    pub const fn needs_a_server_of_ours(self) -> bool {
        matches!(
            self,
            RestartOfTheBroker
                | RestartOfTheStore
                | ThrottledStore
                | FullDisk
                | FullDiskOfTheBus
                | PowerCut
                | LossOfABroker
        )
    }

    /// All, or those that `TORTURE_FAULTS` names, between commas.
    pub fn chosen() -> Vec<Self> {
        let Ok(names) = std::env::var("TORTURE_FAULTS") else { return Self::ALL.to_vec() };
        let find = |name: &str| {
            let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
            found.unwrap_or_else(|| panic!("TORTURE_FAULTS: no fault `{name}`; known: {:?}", Self::ALL.map(Self::name)))
        };
        names.split(',').map(|name| find(name.trim())).collect()
    }
}

impl Run {
    /// Goes through with a fault, where there is such a thing here.
    pub fn strike(&mut self, fault: Fault) -> bool {
        if !self.has(fault) {
            // With this one alone, time passes in peace.
            self.let_pass(Duration::from_millis(100));
            return false;
        }
        let sent: usize = self.dealt.iter().map(|dealt| dealt.sent.messages).sum();
        self.say(&format!("{}, after {sent} messages", fault.name()));
        match fault {
            Kill => self.kill(),
            Terminate => self.terminate(),
            Stop => self.stop(),
            RebalanceStorm => self.rebalance_storm(),
            RestartOfTheBroker => {
                self.bus.restart();
            }
            RestartOfTheStore => {
                self.stores.vanish();
                self.pass(500..1500);
                self.stores.come_back();
            }
            CutConnections => {
                for _ in 0..3 {
                    let Self { stores, random, .. } = self;
                    stores.proxies().for_each(|proxy| proxy.cut_after(random.usize(..20_000)));
                    self.pass(300..900);
                }
                self.stores.proxies().for_each(Proxy::mend);
            }
            CutBus => {
                for _ in 0..3 {
                    let bytes = self.random.usize(..20_000);
                    self.bus.proxy().expect("it has one").cut_after(bytes);
                    self.pass(300..900);
                }
                self.bus.proxy().expect("it has one").mend();
            }
            SlowStore => {
                self.stores.proxies().for_each(|proxy| proxy.be_slow(Duration::from_millis(150)));
                self.pass(2000..4000);
                self.stores.proxies().for_each(Proxy::mend);
            }
            LostAnswers => {
                self.stores.proxies().for_each(Proxy::lose_answers);
                self.pass(700..2000);
                self.stores.proxies().for_each(Proxy::mend);
            }
            ThrottledStore => {
                let Self { stores, random, .. } = self;
                stores.throttle(random);
                self.pass(1500..3500);
                self.stores.let_pass();
            }
            OneStoreAway => self.one_store_away(),
            KilledOverStalledStores => self.killed_over_stalled_stores(),
            StoreStandsStill => {
                self.stall();
                self.go_on();
            }
            FullDisk => self.full_disk(),
            FullDiskOfTheBus => {
                self.bus_disk.as_ref().expect("it has one").fill();
                self.is_mute = true;
                self.pass(1500..3000);
                self.bus_disk.as_ref().expect("it has one").free();
                self.is_mute = false;
            }
            PowerCut => self.power_cut(),
            LettersAway => self.letters_away(),
            MirroredServerAway => {
                self.api.be_away(true);
                self.pass(1000..2500);
                self.api.be_away(false);
            }
            LossOfABroker => {
                self.bus.lose_one();
                self.pass(3000..9000);
                self.bus.regain_one();
            }
            ClockJumps => self.clock_jumps(),
        }
        true
    }

    pub fn has(&self, fault: Fault) -> bool {
        let is_own = self.own.is_some();
        match fault {
            RestartOfTheBroker => self.brokers.is_some_and(|brokers| brokers != Brokers::Theirs),
            LettersAway => self.brokers.is_some() || self.bus.name() == "Pub/Sub",
            CutBus => self.bus.proxy().is_some(),
            LossOfABroker => self.brokers == Some(Brokers::Three),
            FullDisk => self.stores.disk.is_ok() && !is_own,
            FullDiskOfTheBus => self.bus_disk.is_some(),
            RestartOfTheStore => self.stores.can_restart(),
            ThrottledStore | PowerCut => !is_own,
            CutConnections | SlowStore | LostAnswers => self.stores.proxies().next().is_some(),
            OneStoreAway => self.stores.spare().is_some() && self.dealt.iter().any(|dealt| dealt.role.is_in_both),
            MirroredServerAway => self.dealt.iter().any(|dealt| dealt.role.name == mirror::ROLE.name),
            _ => true,
        }
    }

    pub fn pass(&mut self, millis: std::ops::Range<u64>) {
        let time = self.millis(millis);
        self.let_pass(time);
    }

    /// Half of the writers, at random.
    fn some(&mut self) -> Vec<Type> {
        let all = &self.types;
        let one = self.random.usize(..all.len());
        let is_chosen = |at: &usize| *at == one || self.random.bool();
        (0..all.len()).filter(is_chosen).map(|at| all[at]).collect()
    }

    fn kill(&mut self) {
        self.count_shed_before_the_end();
        for of in self.some() {
            self.writers.kill_one(of, &mut self.random);
            self.writers.start(of);
        }
    }

    fn terminate(&mut self) {
        self.count_shed_before_the_end();
        for of in self.some() {
            self.writers.terminate_one(of, &mut self.random);
            self.writers.start(of);
        }
    }

    /// Some sleep, beyond their session or not, and another may take over; then they go on with what they had.
    fn stop(&mut self) {
        let length = self.millis(1000..7000);
        for of in self.some() {
            self.writers.stop_one(of, length, &mut self.random);
            if self.random.bool() {
                self.writers.start(of);
            }
        }
        self.let_pass(length + Duration::from_millis(100));
        self.writers.wake_all();
    }

    /// Members come and go, in order or not, before their group has settled.
    fn rebalance_storm(&mut self) {
        for _ in 0..4 {
            let all = self.types.clone();
            for of in self.some().into_iter().take(all.len() / 2) {
                if self.writers.is_full(of) || self.random.bool() && self.writers.count(of) > 1 {
                    self.count_shed_before_the_end();
                    if self.random.bool() {
                        self.writers.kill_newest(of);
                    } else {
                        self.writers.terminate_newest(of);
                    }
                } else {
                    self.writers.start(of);
                }
            }
            self.pass(300..1000);
        }
    }

    /// The stores take nothing, for longer than the clock of commits.
    fn stall(&mut self) {
        self.stalled = true;
        self.pass(2300..3500);
    }

    fn go_on(&mut self) {
        self.stalled = false;
        self.stores.go_on();
    }

    /// Forwards, then back beyond the right time, and right again. On Kafka those whose clock is set back have to end
    /// themselves, and the next ones have the right time.
    fn clock_jumps(&mut self) {
        let (ahead, behind) = (self.random.i64(60..600), self.random.i64(60..600));
        self.writers.wake_all();
        let at_work = self.writers.at_work();
        self.jump_to(ahead);
        if !self.bus.waits_by_the_time_of_day() {
            self.jump_to(-behind);
            self.jump_to(0);
            return;
        }
        self.count_shed_before_the_end();
        let (_, set_back) = self.writers.set_back(at_work, behind);
        loop {
            self.let_pass(Duration::from_millis(100));
            match self.writers.have_ended(&set_back) {
                Ok(false) => {}
                Ok(true) => return,
                Err(what) => {
                    self.problems.push((Wrong::GoesOn, what));
                    for of in self.types.clone() {
                        self.writers.kill_all(of);
                    }
                    return;
                }
            }
        }
    }

    fn jump_to(&mut self, minutes: i64) {
        self.writers.clock.set(minutes);
        self.let_pass(clock::SEEN_WITHIN);
        self.pass(500..2500);
    }

    fn full_disk(&mut self) {
        let disk = self.stores.disk.as_ref().expect("it has one");
        disk.fill();
        self.pass(1500..3000);
        self.stores.disk.as_ref().expect("it has one").free();
    }

    /// Everything dies at once but the bus, while nothing can be written. What was acknowledged is to be there.
    fn power_cut(&mut self) {
        self.kill_all_stalled();
        self.stores.vanish();
        self.stalled = false;
        self.stores.come_back();
        self.audit_and_start();
    }

    /// The same, but for the stores.
    fn killed_over_stalled_stores(&mut self) {
        self.kill_all_stalled();
        self.go_on();
        self.audit_and_start();
    }

    fn audit_and_start(&mut self) {
        self.audit();
        for of in self.types.clone() {
            self.writers.at_least(of, 1);
        }
    }

    fn kill_all_stalled(&mut self) {
        self.stall();
        // A batch or two get through.
        self.go_on();
        let moment = self.millis(20..300);
        std::thread::sleep(moment);
        self.stall();
        self.count_shed_before_the_end();
        for of in self.types.clone() {
            self.writers.kill_all(of);
        }
    }

    /// The topic of dead letters is deleted, with all that is in it, and made again; what is bad meanwhile waits.
    fn letters_away(&mut self) {
        // Nobody buries now, so that what is deleted was read before.
        if self.bus.has_positions() {
            self.settle();
        } else {
            self.stand_still();
        }
        self.read_letters();
        if !self.bus.delete_letters() {
            return;
        }
        // A writer that is started now says that the topic is missing.
        self.writers.excused = Some(78);
        self.writers.wake_all();
        self.pass(2000..4000);
        self.bus.create_letters();
        self.pass(1000..1500);
        self.writers.excused = None;
    }

    /// Nobody writes, until they are woken.
    fn stand_still(&mut self) {
        while !self.writers.all_have_left() {
            self.let_pass(Duration::from_millis(100));
        }
        self.writers.stop_all();
    }
}
