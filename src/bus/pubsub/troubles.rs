//! What is wrong with the streams of one subscription: each has one trouble at a time, until it works again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bus::BusError;

/// A place for each stream.
pub(super) struct Troubles {
    places: Mutex<Vec<Option<Trouble>>>,
    /// Keeps one wake-up for the one who waits.
    changed: Notify,
}

struct Trouble {
    error: BusError,
    is_told: bool,
}

impl Troubles {
    /// Of so many streams, none of which is in trouble.
    pub(super) fn of(streams: usize) -> Self {
        Self { places: Mutex::new((0..streams).map(|_| None).collect()), changed: Notify::new() }
    }

    /// A stream has failed: this is what is wrong with it from now on, and is told.
    pub(super) fn begin(&self, stream: usize, error: BusError) {
        self.lock()[stream] = Some(Trouble { error, is_told: false });
        self.changed.notify_one();
    }

    /// A stream works, whatever was told of it.
    pub(super) fn end(&self, stream: usize) {
        if self.lock()[stream].take().is_some() {
            self.changed.notify_one();
        }
    }

    /// Whether a stream is in trouble.
    pub(super) fn are_there(&self) -> bool {
        self.lock().iter().any(Option::is_some)
    }

    /// Whether this stream is in trouble.
    pub(super) fn has(&self, stream: usize) -> bool {
        self.lock()[stream].is_some()
    }

    /// A trouble that nobody was told of, once.
    pub(super) fn untold(&self) -> Option<BusError> {
        let mut places = self.lock();
        let untold = places.iter_mut().flatten().find(|trouble| !trouble.is_told)?;
        untold.is_told = true;
        Some(untold.error.clone())
    }

    /// Waits until a trouble has begun or ended since this was waited for last. Cancel-safe, for one who waits.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Trouble>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn each_stream_has_its_last_trouble_until_it_works() {
        let troubles = Troubles::of(2);
        let denied = |text: &str| BusError::Denied(text.to_owned());
        let told = |troubles: &Troubles| troubles.untold().map(BusError::into_reason);
        for text in ["first", "second"] {
            troubles.begin(1, denied(text));
        }
        assert_eq!((told(&troubles).as_deref(), told(&troubles)), (Some("second"), None), "once, and what is true now");
        assert!(troubles.are_there() && troubles.has(1) && !troubles.has(0));
        assert!(troubles.changed().now_or_never().is_some() && troubles.changed().now_or_never().is_none());
        troubles.begin(1, denied("third"));
        troubles.end(0);
        troubles.end(1);
        assert_eq!((told(&troubles), troubles.are_there()), (None, false), "it is over before it was told");
        assert!(troubles.changed().now_or_never().is_some());
    }
}
