//! What a pipeline says of itself while it runs: for probes, the status page and the progress line.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Trouble of this age makes a pipeline not ready; before that it may be a restart of the store.
const PATIENCE: Duration = Duration::from_secs(60);

/// A part that keeps failing is logged again after this long,
const REMINDER: Duration = Duration::from_secs(60);

/// and one that fails in a new way after this long.
const BRIEFLY: Duration = Duration::from_secs(5);

/// Ways in which one part fails that are remembered: a store that is away may say so in turns.
const TOLD: usize = 16;

/// How many errors are remembered.
const REMEMBERED: usize = 10;

/// Shared between a pipeline and whoever asks how it is.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<HealthState>,
}

/// A copy of the state of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct HealthState {
    /// Messages acknowledged since the start.
    pub acknowledged: u64,
    /// Values that stores hold because of this pipeline.
    pub stored: u64,
    /// Values that a store did not take: it had them, or newer ones, or they had expired.
    pub stale: u64,
    /// Messages buried.
    pub buried: u64,
    /// Messages parked, because their destination was away; whoever reads them back counts them once more.
    pub parked: u64,
    /// Values left out on purpose.
    pub skipped: u64,
    /// Messages that were read and are not acknowledged.
    pub in_hand: u64,
    /// When the loop last turned; `None` before it started.
    pub turned: Option<Instant>,
    /// For how long what reads the bus has been stuck; `None` while it is not.
    pub bus_stuck: Option<Duration>,
    /// The parts of the pipeline that are known, and whether each has ever worked.
    pub parts: BTreeMap<String, bool>,
    /// Part of the pipeline (a destination, the bus, the dead letter topic) and what is wrong with it.
    pub troubles: BTreeMap<String, Trouble>,
    /// What destinations say of themselves, by name; those that say nothing are not there.
    pub summaries: BTreeMap<String, serde_json::Value>,
    /// The last errors, newest last.
    pub last_errors: VecDeque<(SystemTime, String)>,
}

/// A part that does not work now.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Since when.
    pub since: Instant,
    /// Failed attempts since then.
    pub attempts: u64,
    /// What it says.
    pub reason: String,
    /// Missing credentials or rights: not ready at once, since waiting alone does not help.
    pub denied: bool,
    /// The work goes on by what is known: no reason for not being ready.
    pub spared: bool,
    /// When an attempt failed last.
    failed: Instant,
    /// When it was last logged.
    said: Option<Instant>,
    /// In which ways it failed that were logged.
    told: Vec<String>,
}

impl Trouble {
    fn of(reason: &str, since: Instant) -> Self {
        let reason = reason.to_owned();
        Self { since, attempts: 0, reason, denied: false, spared: false, failed: since, said: None, told: Vec::new() }
    }
}

impl HealthState {
    fn remember(&mut self, error: String) {
        self.last_errors.push_back((SystemTime::now(), error));
        if self.last_errors.len() > REMEMBERED {
            self.last_errors.pop_front();
        }
    }
}

impl Health {
    /// The state now.
    pub fn state(&self) -> HealthState {
        self.lock().clone()
    }

    /// Why the pipeline is not ready, per part; empty when it is.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        let HealthState { troubles, parts, .. } = &*self.lock();
        let never = |part: &String| parts.get(part) == Some(&false);
        let troubled = troubles
            .iter()
            .filter(|(_, trouble)| !trouble.spared)
            .filter(|(part, trouble)| trouble.denied || never(part) || trouble.since.elapsed() >= PATIENCE)
            .map(|(part, trouble)| (part.clone(), trouble.reason.clone()));
        let unreached = parts.keys().filter(|part| never(part) && !troubles.contains_key(*part));
        troubled.chain(unreached.map(|part| (part.clone(), "not reached yet".to_owned()))).collect()
    }

    /// A part that the pipeline has. One that was not reached yet is not ready before it was.
    pub(crate) fn has(&self, part: &str, reached: bool) {
        self.lock().parts.insert(part.to_owned(), reached);
    }

    /// A part failed. Logged when it begins, when it fails in a new way, and every minute.
    pub(crate) fn failed(&self, part: &str, reason: &str, denied: bool) {
        let mut state = self.lock();
        let now = Instant::now();
        let trouble =
            state.troubles.entry(part.to_owned()).or_insert_with(|| Trouble { denied, ..Trouble::of(reason, now) });
        let new = !trouble.told.iter().any(|told| told == bare(reason)) || trouble.denied != denied;
        let say = trouble.said.is_none_or(|said| {
            let silence = now.duration_since(said);
            silence >= REMINDER || (new && silence >= BRIEFLY)
        });
        trouble.attempts += 1;
        trouble.failed = now;
        reason.clone_into(&mut trouble.reason);
        (trouble.denied, trouble.spared) = (denied, false);
        if say {
            trouble.said = Some(now);
            if new && trouble.told.len() < TOLD {
                trouble.told.push(bare(reason).to_owned());
            }
        }
        let attempts = trouble.attempts;
        if say {
            state.remember(format!("{part}: {reason}"));
            drop(state);
            tracing::warn!(part, attempts, denied, "{reason}; will be tried again");
        }
    }

    /// A part does not work, and the work goes on without it. Logged when that is new.
    pub(crate) fn spares(&self, part: &str, reason: &str) {
        let mut state = self.lock();
        let now = Instant::now();
        let trouble = state.troubles.entry(part.to_owned()).or_insert_with(|| Trouble::of(reason, now));
        let new = !trouble.told.iter().any(|told| told == reason);
        trouble.attempts += 1;
        trouble.failed = now;
        reason.clone_into(&mut trouble.reason);
        (trouble.denied, trouble.spared) = (false, true);
        if new {
            if trouble.told.len() < TOLD {
                trouble.told.push(reason.to_owned());
            }
            state.remember(format!("{part}: {reason}"));
            drop(state);
            tracing::error!(part, "{reason}; will be tried again");
        }
    }

    /// What ran is over, and what runs next may have other parts: only this one stays.
    pub(crate) fn begins_anew(&self, but: &str) {
        let mut state = self.lock();
        state.parts.retain(|part, _| part == but);
        state.troubles.retain(|part, _| part == but);
        state.summaries.clear();
        // The loop that turned is over, and the next one may have to wait for a bus or a secret first.
        (state.turned, state.bus_stuck) = (None, None);
    }

    /// A part works. Logged when it did not before.
    pub(crate) fn works(&self, part: &str) {
        let trouble = {
            let mut state = self.lock();
            if let Some(reached) = state.parts.get_mut(part) {
                *reached = true;
            }
            state.troubles.remove(part)
        };
        if let Some(trouble) = trouble {
            let seconds = trouble.since.elapsed().as_secs_f64();
            tracing::info!(part, attempts = trouble.attempts, seconds, "works again");
        }
    }

    /// What kept a part from being tried is over; whether it works is still to be seen.
    pub(crate) fn is_over(&self, part: &str) {
        let trouble = self.lock().troubles.remove(part);
        if let Some(trouble) = trouble {
            let seconds = trouble.since.elapsed().as_secs_f64();
            tracing::info!(part, attempts = trouble.attempts, seconds, "can be tried now");
        }
    }

    /// A part stands still since then, without an attempt that fails. Whoever finds that says so.
    pub(super) fn stands(&self, part: &str, reason: &str, since: Instant) {
        let state = &mut *self.lock();
        match state.troubles.get_mut(part) {
            Some(trouble) => {
                reason.clone_into(&mut trouble.reason);
                trouble.since = since;
            }
            None => {
                state.troubles.insert(part.to_owned(), Trouble::of(reason, since));
                state.remember(format!("{part}: {reason}"));
            }
        }
    }

    /// It does not any more. Returns since when it had.
    pub(super) fn stands_no_more(&self, part: &str) -> Option<Instant> {
        self.lock().troubles.remove(part).map(|trouble| trouble.since)
    }

    /// Says once more what is wrong with a part of which no attempt tells, every minute for as long as it lasts.
    pub(super) fn remind(&self, part: &str) {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(trouble) = state.troubles.get_mut(part) else { return };
        if trouble.said.is_some_and(|said| now.duration_since(said) < REMINDER) {
            return;
        }
        trouble.said = Some(now);
        let (reason, seconds) = (trouble.reason.clone(), now.duration_since(trouble.since).as_secs());
        drop(state);
        tracing::warn!(part, seconds, "{reason}; this lasts, and is tried on");
    }

    /// Whether a part does not work now.
    pub(super) fn is_in_trouble(&self, part: &str) -> bool {
        self.lock().troubles.contains_key(part)
    }

    /// A part answered a question, though it did no work: its trouble is over where no attempt has failed for so long.
    pub(super) fn answers(&self, part: &str, quiet: Duration) {
        let failed = self.lock().troubles.get(part).map(|trouble| trouble.failed);
        if failed.is_some_and(|failed| failed.elapsed() >= quiet) {
            self.works(part);
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut HealthState)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
        // A panic while it was held ends the process anyway; until then the numbers are still true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reason without what says that it is one for now.
fn bare(reason: &str) -> &str {
    reason.strip_prefix("not now: ").unwrap_or(reason)
}

/// One attempt's reports on a part. Dropped in trouble, because the attempt was cancelled, it takes
/// its trouble back: nobody would be left to say that the part works again.
pub(super) struct Report<'a> {
    health: &'a Health,
    part: Cow<'a, str>,
    troubled: AtomicBool,
}

impl<'a> Report<'a> {
    pub(super) fn new(health: &'a Health, part: impl Into<Cow<'a, str>>) -> Self {
        Self { health, part: part.into(), troubled: AtomicBool::new(false) }
    }

    pub(super) fn failed(&self, reason: &str, denied: bool) {
        self.troubled.store(true, Ordering::Relaxed);
        self.health.failed(&self.part, reason, denied);
    }

    /// The trouble stays, though this attempt ends: others go on to try.
    pub(super) fn stays(&self) {
        self.troubled.store(false, Ordering::Relaxed);
    }

    pub(super) fn works(&self) {
        self.troubled.store(false, Ordering::Relaxed);
        self.health.works(&self.part);
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if self.troubled.load(Ordering::Relaxed) {
            self.health.lock().troubles.remove(&*self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_nobody_has_reached_is_not_ready_and_one_that_was_is_given_a_minute() {
        let health = Health::default();
        health.has("store", false);
        assert_eq!(health.not_ready(), [("store".to_owned(), "not reached yet".to_owned())]);
        health.failed("store", "connection refused", false);
        assert_eq!(health.not_ready(), [("store".to_owned(), "connection refused".to_owned())]);
        health.works("store");
        health.failed("store", "connection reset", false);
        assert_eq!(health.not_ready(), []);
    }

    #[test]
    fn what_is_done_without_is_told_once_and_no_reason_for_not_being_ready() {
        let health = Health::default();
        health.has("metadata", true);
        for _ in 0..3 {
            health.spares("metadata", "no answer");
        }
        health.update(|state| {
            let trouble = state.troubles.get_mut("metadata").expect("in trouble");
            trouble.since = trouble.since.checked_sub(PATIENCE).expect("the machine is up for a minute");
        });
        assert_eq!((health.not_ready(), health.state().last_errors.len()), (Vec::new(), 1));
        health.failed("metadata", "no answer", false);
        assert_eq!(health.not_ready().len(), 1, "now it is in the way");
    }

    #[test]
    fn what_runs_next_begins_without_the_parts_of_what_ran() {
        let health = Health::default();
        health.has("online store of gone", false);
        health.failed("online store of gone", "connection refused", false);
        health.has("metadata", true);
        health.spares("metadata", "no answer");
        health.begins_anew("metadata");
        let state = health.state();
        assert_eq!(state.parts.keys().chain(state.troubles.keys()).collect::<Vec<_>>(), ["metadata"; 2]);
        assert_eq!(health.not_ready(), []);
    }

    #[test]
    fn a_part_that_fails_in_two_ways_in_turns_is_told_of_once_in_each() {
        let health = Health::default();
        let long_ago = |health: &Health| {
            health.update(|state| {
                let trouble = state.troubles.get_mut("store").expect("failing");
                trouble.said = trouble.said.and_then(|said| said.checked_sub(2 * BRIEFLY));
            });
        };
        for _ in 0..2 {
            health.failed("store", "not now: connection refused", false);
            long_ago(&health);
            health.failed("store", "connection refused", false);
            long_ago(&health);
            health.failed("store", "timed out", false);
            long_ago(&health);
        }
        let told: Vec<String> = health.state().last_errors.into_iter().map(|(_, error)| error).collect();
        assert_eq!(told, ["store: not now: connection refused", "store: timed out"]);
    }

    #[test]
    fn what_nobody_attempts_is_told_again_while_it_lasts() {
        let health = Health::default();
        let said = |health: &Health| health.state().troubles.get("bus").and_then(|trouble| trouble.said);
        health.remind("bus");
        health.failed("bus", "no broker answers", false);
        let first = said(&health);
        health.remind("bus");
        assert_eq!(said(&health), first, "just said");
        health.update(|state| {
            let trouble = state.troubles.get_mut("bus").expect("failing");
            trouble.said = trouble.said.and_then(|said| said.checked_sub(REMINDER));
        });
        health.remind("bus");
        assert!(said(&health) >= first, "told again");
    }

    #[test]
    fn a_part_that_only_answers_questions_is_in_trouble_while_attempts_fail() {
        let health = Health::default();
        health.failed("store", "disk full", false);
        health.answers("store", Duration::from_hours(1));
        assert!(health.is_in_trouble("store"));
        health.answers("store", Duration::ZERO);
        assert!(!health.is_in_trouble("store"));
    }

    #[test]
    fn missing_rights_are_not_ready_at_once_and_a_lost_connection_is_given_a_minute() {
        let health = Health::default();
        health.failed("store a", "connection reset", false);
        assert_eq!(health.not_ready(), []);
        health.failed("store b", "wrong password", true);
        assert_eq!(health.not_ready(), [("store b".to_owned(), "wrong password".to_owned())]);
        health.works("store b");
        assert_eq!(health.not_ready(), []);
        health.update(|state| {
            let trouble = state.troubles.get_mut("store a").expect("still failing");
            trouble.since = trouble.since.checked_sub(PATIENCE).expect("the machine is up for a minute");
        });
        assert_eq!(health.not_ready().len(), 1);
    }
}
