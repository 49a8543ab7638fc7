//! Values that were read, and when they are read again.
//!
//! Who has a value never waits for another who reads it, and not for long by himself: a manager that hangs holds up
//! whoever has nothing yet, and nobody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout};

use super::{SecretError, Trouble};

/// However many doubt it, a secret is not read more often: stores try again after milliseconds, managers are paid by
/// the call and refuse those who call too often.
const NO_SOONER: Duration = Duration::from_secs(1);

/// Each reading of a doubted value that brings nothing new doubles that, up to this.
const SOON: Duration = Duration::from_secs(16);

/// A value that nobody doubts is read again after so long, when somebody connects.
const NO_LATER: Duration = Duration::from_secs(300);

/// The longest that a reading takes, whatever the client does meanwhile: a little longer than the limit of its own that
/// each client has, since its words say more.
const ANSWERS_WITHIN: Duration = Duration::from_secs(25);

/// The same where there is a value that nobody doubts.
const REFRESHED_WITHIN: Duration = Duration::from_secs(5);

/// Values by the names that they are asked for by.
#[derive(Default)]
pub(super) struct Kept {
    all: Mutex<HashMap<String, Arc<Secret>>>,
}

#[derive(Default)]
struct Secret {
    /// The value did not work.
    doubted: AtomicBool,
    known: Mutex<Known>,
    /// Held while it is read: who comes meanwhile and has nothing waits for that.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    value: Option<SecretString>,
    /// Why there is no newer one.
    error: Option<SecretError>,
    /// When it was last tried.
    tried: Option<Instant>,
    /// Readings one after the other that brought nothing new, though it was asked for.
    in_vain: u32,
}

impl Kept {
    fn get(&self, name: &str) -> Arc<Secret> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = all.get(name) {
            return Arc::clone(secret);
        }
        Arc::clone(all.entry(name.to_owned()).or_default())
    }

    /// Has it read again by the next who asks.
    pub(super) fn doubt(&self, name: &str) {
        self.get(name).doubted.store(true, Ordering::Release);
    }

    /// The value that is known, or what `read` gives; `told` hears what came of a reading.
    pub(super) async fn fetch(
        &self,
        name: &str,
        read: impl AsyncFnOnce() -> Result<SecretString, SecretError>,
        told: impl FnOnce(&Result<SecretString, SecretError>),
    ) -> Result<SecretString, SecretError> {
        let secret = self.get(name);
        if let Some(answer) = secret.settled() {
            return answer;
        }
        let _reading = if let Ok(reading) = secret.reading.try_lock() {
            reading
        } else {
            let known = secret.known().value.clone();
            if let Some(value) = known {
                return Ok(value);
            }
            secret.reading.lock().await
        };
        // Another one may have read it meanwhile.
        if let Some(answer) = secret.settled() {
            return answer;
        }
        // Before it is read: a doubt that comes meanwhile is of the value before, or costs one call too many.
        let doubted = secret.doubted.swap(false, Ordering::AcqRel);
        let has_one = secret.known().value.is_some();
        let within = if has_one && !doubted { REFRESHED_WITHIN } else { ANSWERS_WITHIN };
        let answer = timeout(within, read()).await.unwrap_or_else(|_| {
            let text = format!("the secret manager has not answered within {} s", within.as_secs());
            Err(SecretError::new(Trouble::Away, name, text))
        });
        told(&answer);
        let mut known = secret.known();
        known.learn(name, doubted, answer);
        known.answer()
    }
}

impl Secret {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, where it is too soon to ask again.
    fn settled(&self) -> Option<Result<SecretString, SecretError>> {
        let known = self.known();
        let tried = known.tried?;
        let asked_for = self.doubted.load(Ordering::Acquire) || known.error.is_some();
        let due = if asked_for { known.pause() } else { NO_LATER };
        (tried.elapsed() < due).then(|| known.answer())
    }
}

impl Known {
    /// How long it is not read again, though somebody wants that.
    fn pause(&self) -> Duration {
        let doublings = self.in_vain.saturating_sub(1).min(SOON.as_secs().ilog2());
        (NO_SOONER * 2_u32.pow(doublings)).min(SOON)
    }

    fn learn(&mut self, name: &str, doubted: bool, answer: Result<SecretString, SecretError>) {
        // After a while without a doubt one is the first again.
        let is_new_trouble = self.tried.is_none_or(|tried| tried.elapsed() > 2 * SOON);
        let before = self.error.take();
        self.tried = Some(Instant::now());
        let same = |value: &SecretString| {
            self.value.as_ref().is_some_and(|known| known.expose_secret() == value.expose_secret())
        };
        let in_vain = answer.as_ref().map_or(true, |value| doubted && same(value));
        self.in_vain = match (in_vain, is_new_trouble) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => self.in_vain.saturating_add(1),
        };
        match answer {
            Ok(value) => {
                if before.is_some() {
                    tracing::info!(secret = name, "the secret can be read again");
                }
                self.value = Some(value);
            }
            Err(error) => {
                if self.value.is_some() && error.trouble == Trouble::Away {
                    if before.is_none() {
                        tracing::warn!(%error, "the value that is known is used on");
                    }
                } else {
                    // A secret that is gone, or no longer ours, is not used on as if it were.
                    self.value = None;
                }
                self.error = Some(error);
            }
        }
    }

    fn answer(&self) -> Result<SecretString, SecretError> {
        match (&self.value, &self.error) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => unreachable!("it was tried, so that there is one of them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::future::join;
    use secrecy::ExposeSecret as _;

    use super::*;

    /// A manager that counts how often it is asked.
    #[derive(Default)]
    struct Manager {
        kept: Kept,
        asked: Cell<u32>,
        trouble: Cell<Option<Trouble>>,
        /// It takes connections and never answers.
        hangs: Cell<bool>,
        /// It always gives the same.
        steady: Cell<bool>,
    }

    impl Manager {
        async fn fetch(&self) -> Result<String, Trouble> {
            let read = async || {
                tokio::task::yield_now().await;
                self.asked.set(self.asked.get() + 1);
                if self.hangs.get() {
                    std::future::pending::<()>().await;
                }
                match self.trouble.get() {
                    None if self.steady.get() => Ok(SecretString::from("steady")),
                    None => Ok(SecretString::from(self.asked.get().to_string())),
                    Some(trouble) => Err(SecretError::new(trouble, "s", "no")),
                }
            };
            let answer = self.kept.fetch("s", read, |_| ()).await;
            answer.map(|value| value.expose_secret().to_owned()).map_err(|error| error.trouble)
        }

        async fn after(&self, time: Duration) -> Result<String, Trouble> {
            tokio::time::advance(time).await;
            self.fetch().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_read_once_for_all_and_again_when_it_is_doubted_or_old() {
        let manager = Manager::default();
        let (one, other) = join(manager.fetch(), manager.fetch()).await;
        assert_eq!((one.as_deref(), other.as_deref()), (Ok("1"), Ok("1")));
        assert_eq!(manager.after(NO_LATER / 2).await.as_deref(), Ok("1"));
        manager.kept.doubt("s");
        assert_eq!(manager.fetch().await.as_deref(), Ok("2"));
        manager.kept.doubt("s");
        assert_eq!(manager.fetch().await.as_deref(), Ok("2"), "no sooner than after a second");
        assert_eq!(manager.after(NO_SOONER).await.as_deref(), Ok("3"));
        assert_eq!(manager.after(NO_SOONER).await.as_deref(), Ok("3"), "nobody doubts it");
        assert_eq!(manager.after(NO_LATER).await.as_deref(), Ok("4"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_manager_that_is_away_takes_nothing_from_who_has_it() {
        let manager = Manager::default();
        manager.trouble.set(Some(Trouble::Away));
        assert_eq!(manager.fetch().await, Err(Trouble::Away));
        manager.trouble.set(None);
        assert_eq!(manager.fetch().await, Err(Trouble::Away), "asked once a second");
        assert_eq!(manager.after(NO_SOONER).await.as_deref(), Ok("2"));
        manager.trouble.set(Some(Trouble::Away));
        manager.kept.doubt("s");
        assert_eq!(manager.after(NO_SOONER).await.as_deref(), Ok("2"));
        manager.trouble.set(None);
        assert_eq!(manager.after(NO_SOONER).await.as_deref(), Ok("4"), "it is asked again as soon as it may answer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_is_no_longer_given_is_not_used_on() {
        let manager = Manager::default();
        assert_eq!(manager.fetch().await.as_deref(), Ok("1"));
        manager.trouble.set(Some(Trouble::Denied));
        manager.kept.doubt("s");
        assert_eq!(manager.after(NO_SOONER).await, Err(Trouble::Denied));
        manager.trouble.set(Some(Trouble::Away));
        assert_eq!(manager.after(NO_SOONER).await, Err(Trouble::Away));
        manager.trouble.set(None);
        assert_eq!(manager.after(2 * NO_SOONER).await.as_deref(), Ok("4"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_value_waits_for_nobody_while_a_manager_hangs() {
        let manager = Manager::default();
        assert_eq!(manager.fetch().await.as_deref(), Ok("1"));
        manager.hangs.set(true);
        tokio::time::advance(NO_LATER).await;
        let begun = Instant::now();
        let waited = async || {
            let answer = manager.fetch().await;
            (answer, begun.elapsed())
        };
        let (one, other) = join(waited(), waited()).await;
        assert_eq!(one, (Ok("1".to_owned()), REFRESHED_WITHIN), "it asks, and goes on with what it has");
        assert_eq!(other, (Ok("1".to_owned()), Duration::ZERO));
        // Who doubts it needs another one, and waits longer for that, but not for ever.
        manager.kept.doubt("s");
        let begun = Instant::now();
        assert_eq!(manager.after(SOON).await.as_deref(), Ok("1"));
        assert_eq!(begun.elapsed(), SOON + ANSWERS_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_hears_in_time_that_a_manager_hangs() {
        let manager = Manager::default();
        manager.hangs.set(true);
        let begun = Instant::now();
        let both = join(manager.fetch(), manager.fetch()).await;
        assert_eq!(both, (Err(Trouble::Away), Err(Trouble::Away)));
        assert_eq!((begun.elapsed(), manager.asked.get()), (ANSWERS_WITHIN, 1), "one waits for the other");
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubted_value_that_stays_the_same_is_read_more_and_more_seldom() {
        let manager = Manager::default();
        manager.steady.set(true);
        let mut reads = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let before = manager.asked.get();
            assert_eq!(manager.fetch().await.as_deref(), Ok("steady"));
            if manager.asked.get() > before {
                reads.push(begun.elapsed().as_secs());
            }
            manager.kept.doubt("s");
            tokio::time::advance(NO_SOONER).await;
        }
        assert_eq!(reads, [0, 1, 2, 4, 8, 16, 32, 48]);
        // The new one gets in, and the next trouble is looked into at once.
        manager.steady.set(false);
        assert_eq!(manager.after(SOON).await.as_deref(), Ok("9"));
        manager.kept.doubt("s");
        assert_eq!(manager.after(NO_SOONER).await.as_deref(), Ok("10"));
    }
}
