//! Credentials that are made anew after Google's library has given them up.
//!
//! The library renews a token in a task that ends for good at the first answer that it does not take for passing: the
//! metadata server knows no account yet, the token endpoint refuses, or answers what cannot be read. From then on it
//! answers the same error, also once the binding, the key or the pool is right (`token_cache.rs` of `google-cloud-auth`
//! 1.19). A writer waits for a right that is missing, so it asks again, and so have its credentials to.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap};
use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider};
use google_cloud_auth::errors::CredentialsError;
use tokio::time::Instant;

use super::NoIdentity;

/// Between two makings at the least: what the library takes between two attempts after an error that may pass.
pub(super) const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// Makes credentials.
type Make = dyn Fn() -> Result<Credentials, NoIdentity> + Send + Sync;

/// Credentials, and how they are made.
struct Renewed {
    make: Box<Make>,
    every: Duration,
    current: Mutex<(Instant, Credentials)>,
}

/// Credentials made by a function, at once and again after a lasting error, but not more often than this.
pub(super) fn renewed(
    make: impl Fn() -> Result<Credentials, NoIdentity> + Send + Sync + 'static,
    every: Duration,
) -> Result<Credentials, NoIdentity> {
    let current = Mutex::new((Instant::now(), make()?));
    Ok(Renewed { make: Box::new(make), every, current }.into())
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

impl Renewed {
    fn current(&self) -> Credentials {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Whoever asks next is answered by others, if it is time for that.
    fn give_up(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() < self.every {
            return;
        }
        match (self.make)() {
            Ok(made) => *current = (Instant::now(), made),
            // The file is not there, or not whole, now: the error that stands is told, and it is looked at again.
            Err(error) => {
                current.0 = Instant::now();
                tracing::debug!("Google's credentials cannot be made anew: {error}");
            }
        }
    }
}

impl CredentialsProvider for Renewed {
    async fn headers(&self, extensions: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let answer = self.current().headers(extensions).await;
        if answer.as_ref().is_err_and(|error| !error.is_transient()) {
            self.give_up();
        }
        answer
    }

    async fn universe_domain(&self) -> Option<String> {
        self.current().universe_domain().await
    }
}
