//! Values that were read, and when they are read again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::{SecretError, Trouble};

/// However many doubt it, a secret is not read more often: stores try again after milliseconds, managers are paid by
/// the call and refuse those who call too often.
const NO_SOONER: Duration = Duration::from_secs(1);

/// A value that nobody doubts is read again after so long, when somebody connects.
const NO_LATER: Duration = Duration::from_secs(300);

/// Values by the names that they are asked for by.
#[derive(Default)]
pub(super) struct Kept {
    all: Mutex<HashMap<String, Arc<Secret>>>,
}

#[derive(Default)]
struct Secret {
    /// The value did not work.
    doubted: AtomicBool,
    /// Held while it is read: who comes meanwhile waits for that.
    known: tokio::sync::Mutex<Known>,
}

#[derive(Default)]
struct Known {
    value: Option<SecretString>,
    /// Why there is no newer one.
    error: Option<SecretError>,
    /// When it was last tried.
    tried: Option<Instant>,
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

    /// The value that is known, or what `read` gives.
    pub(super) async fn fetch(
        &self,
        name: &str,
        read: impl AsyncFnOnce() -> Result<SecretString, SecretError>,
    ) -> Result<SecretString, SecretError> {
        let secret = self.get(name);
        let mut known = secret.known.lock().await;
        if let Some(tried) = known.tried {
            let doubted = secret.doubted.load(Ordering::Acquire);
            let due = if doubted || known.error.is_some() { NO_SOONER } else { NO_LATER };
            if tried.elapsed() < due {
                return known.answer();
            }
        }
        // Before it is read: a doubt that comes meanwhile is of the value before, or costs one call too many.
        secret.doubted.store(false, Ordering::Release);
        let answer = read().await;
        known.tried = Some(Instant::now());
        let before = known.error.take();
        match answer {
            Ok(value) => {
                if before.is_some() {
                    tracing::info!(secret = name, "the secret can be read again");
                }
                known.value = Some(value);
            }
            Err(error) => {
                if known.value.is_some() && error.trouble == Trouble::Away {
                    if before.is_none() {
                        tracing::warn!(%error, "the value that is known is used on");
                    }
                } else {
                    // A secret that is gone, or no longer ours, is not used on as if it were.
                    known.value = None;
                }
                known.error = Some(error);
            }
        }
        known.answer()
    }
}

impl Known {
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
    }

    impl Manager {
        async fn fetch(&self) -> Result<String, Trouble> {
            let read = async || {
                tokio::task::yield_now().await;
                self.asked.set(self.asked.get() + 1);
                match self.trouble.get() {
                    None => Ok(SecretString::from(self.asked.get().to_string())),
                    Some(trouble) => Err(SecretError::new(trouble, "s", "no")),
                }
            };
            let answer = self.kept.fetch("s", read).await;
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
        assert_eq!(manager.after(NO_SOONER).await.as_deref(), Ok("4"));
    }
}
