//! What happens to processes in production, one thing after another, chosen by a seed.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::bus::TestBus;
use super::processes::{Redis, Writers};

pub struct Chaos {
    random: fastrand::Rng,
    pub bus: Box<dyn TestBus>,
    redis: Option<Redis>,
    writers: Writers,
}

impl Chaos {
    pub fn new(seed: u64, bus: Box<dyn TestBus>, redis: Option<Redis>, writers: Writers) -> Self {
        Self { random: fastrand::Rng::with_seed(seed ^ 0xC4A0_5000), bus, redis, writers }
    }

    /// Does one thing and says how long to let it work.
    pub fn act(&mut self) -> Duration {
        let kind = if self.random.bool() { "ONLINE_WRITER" } else { "OFFLINE_WRITER" };
        let pause = Duration::from_millis(self.random.u64(300..3000));
        match self.random.u8(..100) {
            0..25 => {
                self.say("SIGKILL", kind);
                self.writers.signal_one(kind, Signal::SIGKILL, &mut self.random);
                self.writers.start(kind);
            }
            25..40 => {
                self.say("SIGTERM", kind);
                self.writers.terminate_one(kind, &mut self.random);
                self.writers.start(kind);
            }
            40..55 => {
                self.say("SIGSTOP beyond the session", kind);
                self.writers.stop_one(kind, Duration::from_secs(self.random.u64(1..12)), &mut self.random);
            }
            55..65 => {
                self.say("one more member", kind);
                self.writers.start(kind);
            }
            65..72 => {
                self.say("one member less", kind);
                self.writers.terminate_one(kind, &mut self.random);
            }
            72..84 => self.disturb_redis(kind),
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
        let Some(redis) = &mut self.redis else { return };
        match self.random.u8(..3) {
            0 => {
                println!("torture: restart of redis");
                redis.kill();
                std::thread::sleep(Duration::from_millis(500));
                redis.start_again();
                return;
            }
            1 => {
                // What was acknowledged and not written is lost with its writer.
                println!("torture: redis away while every writer of its rows is killed");
                redis.kill();
                std::thread::sleep(Duration::from_millis(self.random.u64(500..3000)));
                for _ in 0..3 {
                    self.writers.signal_one("ONLINE_WRITER", Signal::SIGKILL, &mut self.random);
                }
                redis.start_again();
                self.writers.start("ONLINE_WRITER");
                return;
            }
            _ => {}
        }
        // Writes that were sent to it arrive after their writer is gone.
        println!("torture: redis paused while a writer is killed");
        redis.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(self.random.u64(200..4000)));
        self.writers.signal_one(kind, Signal::SIGKILL, &mut self.random);
        self.writers.start(kind);
        // Long enough for partitions to move while nothing can be written.
        std::thread::sleep(Duration::from_millis(self.random.u64(0..6000)));
        redis.signal(Signal::SIGCONT);
    }

    fn say(&self, what: &str, whom: &str) {
        println!("torture: {what} {whom}");
    }

    /// Everything works again.
    pub fn calm_down(mut self) -> (Box<dyn TestBus>, Option<Redis>, Writers) {
        if let Some(redis) = &self.redis {
            redis.signal(Signal::SIGCONT);
        }
        self.writers.wake_all();
        self.bus.ensure_up();
        (self.bus, self.redis, self.writers)
    }
}
