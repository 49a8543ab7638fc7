//! How often Google's client has tried to open a stream.
//!
//! It tries by itself, without end and without telling, where a stream fails for what it takes for passing (`StreamRetryPolicy` of
//! `google-cloud-pubsub` 1.7): the service is away, a quota is exhausted, no token is had. A subscription whose stream fares so looks
//! like an empty one. But each attempt asks for credentials, in the task that waits for the stream: here they are counted.
//! Acknowledgements ask for them too, in tasks of their own, and are not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap};
use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider};
use google_cloud_auth::errors::CredentialsError;
use tokio::time::Instant;

use crate::causes::in_full;

/// So many attempts that follow one another are trouble: a stream that the service has ended, as it does with each after a while, is
/// opened by the first or second.
const TROUBLE: u32 = 3;
/// The client's longest pause after its first attempt, by what it grows from one to the next, and where that ends (`stream.rs` of the
/// same crate).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const GROWS: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What an attempt itself may take beside that.
const BESIDE_A_PAUSE: Duration = Duration::from_secs(5);

/// What is told where nothing else is known.
const AGAIN_AND_AGAIN: &str = "a stream of its messages is opened again and again, and does not open or ends at once, for a reason that \
                               Google's client keeps to itself: an exhausted quota, or a service that is away";

tokio::task_local! {
    /// Those of the stream that this task reads.
    static OF_THIS_TASK: Arc<Openings>;
}

/// Attempts to open one stream.
#[derive(Default)]
pub(super) struct Openings(Mutex<State>);

#[derive(Default)]
struct State {
    /// Attempts, each of which follows the one before as closely as one that follows a failure does.
    running: u32,
    last: Option<Instant>,
    /// Why the last one had no credentials.
    no_token: Option<String>,
}

impl State {
    /// How long after the last attempt another one comes at the latest, where that one failed.
    fn patience(&self) -> Duration {
        let grown = GROWS.saturating_pow(self.running.saturating_sub(1));
        FIRST_PAUSE.saturating_mul(grown).min(LONGEST_PAUSE) + BESIDE_A_PAUSE
    }
}

impl Openings {
    /// Runs what reads a stream, so that attempts to open it are counted here.
    pub(super) async fn count<T>(self: &Arc<Self>, reading: impl Future<Output = T>) -> T {
        OF_THIS_TASK.scope(Arc::clone(self), reading).await
    }

    /// Another stream begins, or this one has brought something.
    pub(super) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    fn begins(&self) {
        let state = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.last.is_some_and(|last| now - last > state.patience()) {
            *state = State::default();
        }
        state.running += 1;
        state.last = Some(now);
    }

    fn has_no_token(&self, why: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).no_token = why;
    }

    /// What is wrong with the stream, where it is tried again and again.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running < TROUBLE || state.last?.elapsed() > state.patience() {
            return None;
        }
        Some(match &state.no_token {
            Some(why) => format!("no token of Google's could be had: {why}"),
            None => AGAIN_AND_AGAIN.to_owned(),
        })
    }

    /// Whether the last attempt can be taken for a success: another one would have come, or an error.
    pub(super) fn has_settled(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last.is_some_and(|last| last.elapsed() > state.patience())
    }
}

/// These credentials, of which each use in the task of a stream counts as an attempt to open it.
pub(super) fn counted(credentials: Credentials) -> Credentials {
    Counted(credentials).into()
}

#[derive(Debug)]
struct Counted(Credentials);

impl CredentialsProvider for Counted {
    async fn headers(&self, extensions: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let openings = OF_THIS_TASK.try_with(Arc::clone).ok();
        if let Some(openings) = &openings {
            openings.begins();
        }
        let headers = self.0.headers(extensions).await;
        if let Some(openings) = &openings {
            openings.has_no_token(headers.as_ref().err().map(|error| in_full(error)));
        }
        headers
    }

    async fn universe_domain(&self) -> Option<String> {
        self.0.universe_domain().await
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_auth::credentials::anonymous;

    use super::*;

    /// Credentials that cannot be had for now.
    #[derive(Debug)]
    struct Away;

    impl CredentialsProvider for Away {
        async fn headers(&self, _: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
            Err(CredentialsError::from_msg(true, "503 of the token server"))
        }

        async fn universe_domain(&self) -> Option<String> {
            None
        }
    }

    async fn attempt(openings: &Arc<Openings>, credentials: &Credentials) {
        // It is what was asked that counts, not what is answered.
        let _ = openings.count(credentials.headers(Extensions::new())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_follow_one_another_are_trouble_until_none_follows() {
        let (openings, credentials) = (Arc::new(Openings::default()), counted(anonymous::Builder::new().build()));
        for pause in [0, 90, 350] {
            assert_eq!(openings.trouble(), None);
            tokio::time::advance(Duration::from_millis(pause)).await;
            attempt(&openings, &credentials).await;
        }
        assert_eq!(openings.trouble().as_deref(), Some(AGAIN_AND_AGAIN));
        assert!(!openings.has_settled());
        // The next one would have come after 1.6 s.
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!((openings.trouble(), openings.has_settled()), (None, true));
        // One after many is the end of a stream that was there for long.
        attempt(&openings, &credentials).await;
        assert_eq!(openings.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_trouble_for_as_long_as_the_longest_pause_lasts() {
        let (openings, credentials) = (Arc::new(Openings::default()), counted(anonymous::Builder::new().build()));
        for pause in [0.0, 0.1, 0.4, 1.6, 6.4, 25.6, 60.0, 60.0] {
            tokio::time::advance(Duration::from_secs_f64(pause)).await;
            attempt(&openings, &credentials).await;
        }
        tokio::time::advance(LONGEST_PAUSE).await;
        assert_eq!(openings.trouble().as_deref(), Some(AGAIN_AND_AGAIN));
        openings.reset();
        assert_eq!((openings.trouble(), openings.has_settled()), (None, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_cannot_be_had_is_named_and_others_tasks_are_not_counted() {
        let (openings, credentials) = (Arc::new(Openings::default()), counted(Away.into()));
        for _ in 0..TROUBLE {
            // As acknowledgements ask.
            assert!(credentials.headers(Extensions::new()).await.is_err());
        }
        assert_eq!(openings.trouble(), None);
        for _ in 0..TROUBLE {
            attempt(&openings, &credentials).await;
        }
        let trouble = openings.trouble().expect("in trouble");
        assert!(trouble.contains("no token of Google's") && trouble.contains("503 of the token server"), "{trouble}");
    }
}
