//! Writers whose clock was set back, and who have to end themselves for it: see [`super::clock`].

use std::time::Instant;

use super::clock;
use super::writers::{Job, Writers};

/// Processes whose clock was set back.
pub struct SetBack {
    processes: Vec<u32>,
    minutes: i64,
    since: Instant,
}

impl<J: Job> Writers<J> {
    /// Sets the clock of some processes back, and ends all others: who has only just started may not look at its clock yet.
    /// Who starts from now on has the right time. Returns how many were killed.
    pub fn set_back(&mut self, processes: Vec<u32>, minutes: i64) -> (usize, SetBack) {
        let killed = self.kill_others(&processes);
        let old = self.clock.renew();
        self.clock.set_that(&old, -minutes);
        (killed, SetBack { processes, minutes, since: Instant::now() })
    }

    /// Whether they have ended, as an error where that takes too long.
    pub fn have_ended(&self, set_back: &SetBack) -> Result<bool, String> {
        let SetBack { processes, minutes, since } = set_back;
        let left = self.still_there(processes);
        if left.is_empty() || since.elapsed() <= clock::ENDS_WITHIN {
            return Ok(left.is_empty());
        }
        let (late, all) = (left.len(), processes.len());
        Err(format!("clock: {late} of {all} processes, set back by {minutes} minutes: {left:?}"))
    }
}
