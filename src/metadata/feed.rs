//! Asks again and again, and keeps the last good answer while there is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{MetadataError, Snapshot, Source};
use crate::config::settings::MetadataSettings;

/// However often it is asked for, it is not asked sooner.
const NO_SOONER: Duration = Duration::from_secs(1);

/// Unknown environments that are remembered. Beyond that they are buried without a wait, and counted as ever.
const REMEMBERED: usize = 10_000;

/// What is known of the environments, kept up to date by a task of its own.
pub struct Feed {
    shared: Arc<Shared>,
    known: watch::Receiver<Known>,
    _task: AbortOnDropHandle<()>,
}

/// The last good answer, and why there is no newer one.
#[derive(Clone, Debug, Default)]
struct Known {
    snapshot: Option<Arc<Snapshot>>,
    error: Option<MetadataError>,
}

struct Shared {
    wait: Duration,
    soon: Notify,
    /// When an environment was first asked for that is not described.
    missed: Mutex<HashMap<String, Instant>>,
}

impl Feed {
    /// Asks from now on. Contacts nothing itself; an error is one of the settings.
    pub fn start(settings: &MetadataSettings) -> Result<Self, MetadataError> {
        let source = Source::of(settings)?;
        let shared = Arc::new(Shared { wait: settings.wait, soon: Notify::new(), missed: Mutex::default() });
        let (tell, known) = watch::channel(Known::default());
        let task = keep(source, settings.refresh, Arc::clone(&shared), tell);
        Ok(Self { shared, known, _task: AbortOnDropHandle::new(tokio::spawn(task)) })
    }

    /// The last good answer; else why there is none so far, once that is known.
    pub async fn now(&mut self) -> Result<Arc<Snapshot>, MetadataError> {
        loop {
            let known = self.known.borrow_and_update().clone();
            match known {
                Known { snapshot: Some(snapshot), .. } => return Ok(snapshot),
                Known { error: Some(error), .. } => return Err(error),
                Known { .. } => self.changed().await,
            }
        }
    }

    /// Waits until there is something new to be said.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            // The task ends with this alone.
            std::future::pending::<()>().await;
        }
    }

    /// Says of what is missing whether it may still come; it is asked for then.
    pub fn asks(&self) -> Arc<dyn Fn(&str) -> bool + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |what| shared.may_come(what))
    }
}

impl Shared {
    fn may_come(&self, what: &str) -> bool {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match missed.get(what) {
            Some(since) => *since,
            None if missed.len() >= REMEMBERED => return false,
            None => *missed.entry(what.to_owned()).or_insert_with(Instant::now),
        };
        let may_come = since.elapsed() < self.wait;
        if may_come {
            self.soon.notify_one();
        }
        may_come
    }
}

async fn keep(source: Source, refresh: Duration, shared: Arc<Shared>, tell: watch::Sender<Known>) {
    let mut etag = String::new();
    let mut failed = false;
    loop {
        let answer = source.fetch(&etag).await;
        metrics::counter!("chalk_writer_metadata_reads_total", "outcome" => match &answer {
            Ok(Some(_)) => "new",
            Ok(None) => "unchanged",
            Err(error) if error.denied => "denied",
            Err(_) => "away",
        })
        .increment(1);
        match answer {
            Ok(found) => {
                if std::mem::take(&mut failed) {
                    tracing::info!("the metadata can be read again");
                }
                if let Some(found) = found {
                    etag.clone_from(&found.etag);
                    // What was missed may be there now, and is waited for anew when it goes.
                    shared.missed.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    tell.send_replace(Known { snapshot: Some(Arc::new(found)), error: None });
                }
            }
            Err(error) => {
                let has_one = tell.borrow().snapshot.is_some();
                if has_one && !std::mem::replace(&mut failed, true) {
                    tracing::warn!(%error, "the metadata cannot be read; what was described last is used on");
                }
                if !has_one {
                    tell.send_replace(Known { snapshot: None, error: Some(error) });
                }
            }
        }
        sleep(NO_SOONER.min(refresh)).await;
        // Who waits for a first answer is not kept waiting for a whole interval.
        let rest = if tell.borrow().snapshot.is_some() { refresh.saturating_sub(NO_SOONER) } else { NO_SOONER };
        let _ = timeout(rest, shared.soon.notified()).await;
    }
}
