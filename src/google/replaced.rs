//! Credentials that a service has stopped taking are read anew.
//!
//! Google's library reads a file of credentials once, and signs with the key in it for as long as the process lives. A key that was
//! replaced in a mounted file, and deleted, still signs: only the service tells that it counts no more.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap};
use google_cloud_auth::credentials::{CacheableResource, Credentials, CredentialsProvider};
use google_cloud_auth::errors::CredentialsError;
use tokio::time::Instant;

use super::NoIdentity;

/// Between two readings at the least: many calls are refused at once, and all for the same credentials.
const READ_EVERY: Duration = Duration::from_secs(5);

/// Reads credentials.
type Read = dyn Fn() -> Result<Credentials, NoIdentity> + Send + Sync;

/// Credentials, shared by all clients that were given them, and how they are read.
#[derive(Clone)]
pub struct Replaced(Arc<Shared>);

struct Shared {
    read: Box<Read>,
    current: Mutex<(Instant, Credentials)>,
}

impl Replaced {
    /// Credentials that are read so, at once and again.
    ///
    /// # Errors
    /// Those of the first reading.
    pub(crate) fn read(
        read: impl Fn() -> Result<Credentials, NoIdentity> + Send + Sync + 'static,
    ) -> Result<Self, NoIdentity> {
        let current = Mutex::new((Instant::now(), read()?));
        Ok(Self(Arc::new(Shared { read: Box::new(read), current })))
    }

    /// What a client is made with: from then on it uses whatever was read last.
    pub fn credentials(&self) -> Credentials {
        self.clone().into()
    }

    /// A service does not take them: they are read anew, unless that was just done. Those that are in force stay so where there are no
    /// others.
    pub fn are_refused(&self) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() < READ_EVERY {
            return;
        }
        current.0 = Instant::now();
        match (self.0.read)() {
            Ok(read) => current.1 = read,
            // Such as a file that is being replaced: what was refused is told by whoever was refused, and it is read again.
            Err(error) => tracing::debug!("Google's credentials cannot be read anew: {error}"),
        }
    }

    fn current(&self) -> Credentials {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl fmt::Debug for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replaced").finish_non_exhaustive()
    }
}

impl CredentialsProvider for Replaced {
    async fn headers(&self, extensions: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        self.current().headers(extensions).await
    }

    async fn universe_domain(&self) -> Option<String> {
        self.current().universe_domain().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use google_cloud_auth::credentials::EntityTag;

    use super::*;

    /// Credentials of which it shows which reading they are of.
    #[derive(Debug)]
    struct Of(usize);

    impl CredentialsProvider for Of {
        async fn headers(&self, _: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
            let data = HeaderMap::from_iter([("authorization".parse().expect("a name"), self.0.into())]);
            Ok(CacheableResource::New { entity_tag: EntityTag::new(), data })
        }

        async fn universe_domain(&self) -> Option<String> {
            None
        }
    }

    async fn shown(credentials: &Credentials) -> String {
        let headers = credentials.headers(Extensions::new()).await.expect("there are some");
        let CacheableResource::New { data, .. } = headers else { panic!("nothing was had before") };
        data["authorization"].to_str().expect("a number").to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_were_made_before_use_what_was_read_after_a_refusal() {
        let readings = Arc::new(AtomicUsize::new(0));
        let read = {
            let readings = Arc::clone(&readings);
            move || match readings.fetch_add(1, Ordering::Relaxed) {
                1 => Err(NoIdentity("the file is being replaced".to_owned())),
                reading => Ok(Of(reading).into()),
            }
        };
        let replaced = Replaced::read(read).expect("the first");
        let of_a_client = replaced.credentials();
        assert_eq!(shown(&of_a_client).await, "0");
        // Just read: whoever else is refused was so for the ones before.
        replaced.are_refused();
        assert_eq!((shown(&of_a_client).await, readings.load(Ordering::Relaxed)), ("0".to_owned(), 1));
        tokio::time::advance(READ_EVERY).await;
        replaced.are_refused();
        assert_eq!(shown(&of_a_client).await, "0", "there are no others yet");
        tokio::time::advance(READ_EVERY).await;
        for _ in 0..3 {
            replaced.are_refused();
        }
        assert_eq!((shown(&of_a_client).await, readings.load(Ordering::Relaxed)), ("2".to_owned(), 3));
    }
}
