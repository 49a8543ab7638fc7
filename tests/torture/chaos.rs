//! What happens to processes in production, one thing after another, chosen by a seed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::bus::TestBus;
use super::processes::{Redis, Writers};
use super::sent::{Producer, Sent};

pub struct Chaos {
    random: fastrand::Rng,
    bus: Box<dyn TestBus>,
    redis: Option<Redis>,
    writers: Writers,
    producer: Producer,
}

/// What is left when it is over.
pub struct Aftermath {
    pub bus: Box<dyn TestBus>,
    pub redis: Option<Redis>,
    pub writers: Writers,
    pub sent: Sent,
}

impl Chaos {
    pub fn new(seed: u64, bus: Box<dyn TestBus>, redis: Option<Redis>, writers: Writers) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ 0xC4A0_5000);
        Self { random, bus, redis, writers, producer: Producer::new(seed) }
    }

    /// Does one thing and says how long to let it work.
    pub fn act(&mut self) -> Duration {
        let kind = if self.random.bool() { "ONLINE_WRITER" } else { "OFFLINE_WRITER" };
        let pause = Duration::from_millis(self.random.u64(300..3000));
        match self.random.u8(..100) {
            0..22 => {
                self.say("SIGKILL", kind);
                self.writers.signal_one(kind, Signal::SIGKILL, &mut self.random);
                self.writers.start(kind);
            }
            22..38 => {
                self.say("SIGTERM", kind);
                self.writers.terminate_one(kind, &mut self.random);
                self.writers.start(kind);
            }
            38..52 => {
                self.say("SIGSTOP beyond the session", kind);
                self.writers.stop_one(kind, Duration::from_secs(self.random.u64(1..12)), &mut self.random);
            }
            52..60 => {
                self.say("one more member", kind);
                self.writers.start(kind);
            }
            60..65 => {
                self.say("one member less", kind);
                self.writers.terminate_one(kind, &mut self.random);
            }
            65..84 => self.disturb_redis(kind),
            84..92 => {
                self.say("restart of", "the broker");
                self.bus.restart();
            }
            _ => self.say("peace for", "a while"),
        }
        self.writers.tend(&mut self.random);
        pause
    }

    fn disturb_redis(&mut self, kind: &'static str) {
        if self.redis.is_none() {
            return;
        }
        match self.random.u8(..3) {
            0 => {
                println!("torture: restart of redis");
                self.redis(Redis::kill);
                self.let_pass(Duration::from_millis(500));
                self.redis(Redis::start_again);
            }
            1 => {
                // What was acknowledged and not written is lost with its writers.
                println!("torture: redis away while every writer of its rows is killed");
                self.redis(Redis::kill);
                let pause = Duration::from_millis(self.random.u64(1000..4000));
                self.let_pass(pause);
                for _ in 0..3 {
                    self.writers.signal_one("ONLINE_WRITER", Signal::SIGKILL, &mut self.random);
                }
                self.redis(Redis::start_again);
                self.writers.start("ONLINE_WRITER");
            }
            _ => {
                // Writes that were sent to it arrive after their writer is gone.
                println!("torture: redis paused while a writer is killed");
                self.redis(|redis| redis.signal(Signal::SIGSTOP));
                let pause = Duration::from_millis(self.random.u64(200..4000));
                self.let_pass(pause);
                self.writers.signal_one(kind, Signal::SIGKILL, &mut self.random);
                self.writers.start(kind);
                // Long enough for partitions to move while nothing can be written.
                let pause = Duration::from_millis(self.random.u64(0..6000));
                self.let_pass(pause);
                self.redis(|redis| redis.signal(Signal::SIGCONT));
            }
        }
    }

    fn redis(&mut self, disturb: impl FnOnce(&mut Redis)) {
        disturb(self.redis.as_mut().expect("a run with redis"));
    }

    /// Time passes, and messages with it.
    pub fn let_pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.producer.send(&mut *self.bus, 50);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn say(&self, what: &str, whom: &str) {
        println!("torture: {what} {whom}");
    }

    /// Everything works again.
    pub fn calm_down(mut self) -> Aftermath {
        if let Some(redis) = &self.redis {
            redis.signal(Signal::SIGCONT);
        }
        self.writers.wake_all();
        self.bus.ensure_up();
        Aftermath { bus: self.bus, redis: self.redis, writers: self.writers, sent: self.producer.sent }
    }
}
