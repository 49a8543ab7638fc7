//! Asks again and again, and keeps the last good answer while there is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{MetadataError, Snapshot, Source};
use crate::config::settings::MetadataSettings;

/// However often it is asked for, it is not asked sooner.
const NO_SOONER: Duration = Duration::from_secs(1);

/// Unknown environments that are remembered. Those beyond are buried without a wait, and counted as ever.
const REMEMBERED: usize = 10_000;

/// When the source answered last, so that its silence can be told from nothing new.
const ANSWERED: &str = "chalk_writer_metadata_answered_timestamp_seconds";

/// What is known of the environments, kept up to date by a task of its own.
pub struct Feed {
    shared: Arc<Shared>,
    known: watch::Receiver<Known>,
    _task: AbortOnDropHandle<()>,
}

/// The last good answer, and why there is no newer one.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What was described last.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Why it was not answered the last time; nothing where it was.
    pub error: Option<MetadataError>,
}

struct Shared {
    wait: Duration,
    soon: Notify,
    asked: Mutex<Asked>,
}

/// What answers have said, and what was asked for.
#[derive(Default)]
struct Asked {
    /// When it was answered last.
    answered: Option<Instant>,
    /// What was answered last, and what is gone by so far.
    newest: Option<Arc<Snapshot>>,
    followed: Option<Arc<Snapshot>>,
    /// Environments that messages are of and nobody has described, each with when an answer first said so. Nothing as
    /// long as there was no answer: who cannot be asked has said nothing.
    missed: HashMap<String, Option<Instant>>,
}

impl Feed {
    /// Asks from now on. Contacts nothing itself; an error is one of the settings.
    pub fn start(settings: &MetadataSettings) -> Result<Self, MetadataError> {
        let source = Source::of(settings)?;
        let shared = Arc::new(Shared { wait: settings.wait, soon: Notify::new(), asked: Mutex::default() });
        let (tell, known) = watch::channel(Known::default());
        let task = keep(source, settings.refresh, Arc::clone(&shared), tell);
        Ok(Self { shared, known, _task: AbortOnDropHandle::new(tokio::spawn(task)) })
    }

    /// One that knows what a test tells it.
    #[cfg(test)]
    pub(crate) fn told(known: watch::Receiver<Known>) -> Self {
        let shared = Arc::new(Shared { wait: Duration::ZERO, soon: Notify::new(), asked: Mutex::default() });
        Self { shared, known, _task: AbortOnDropHandle::new(tokio::spawn(std::future::pending())) }
    }

    /// What is known, once there was an answer or none came. Cancel-safe.
    pub async fn now(&mut self) -> Known {
        loop {
            let known = self.known.borrow_and_update().clone();
            if known.snapshot.is_some() || known.error.is_some() {
                return known;
            }
            self.changed().await;
        }
    }

    /// Waits until there is something new to be said. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            // The task ends with this alone.
            std::future::pending::<()>().await;
        }
    }

    /// This is what is gone by from now on.
    pub fn follows(&self, snapshot: &Arc<Snapshot>) {
        self.shared.asked().followed = Some(Arc::clone(snapshot));
    }

    /// Says of an environment that nobody has described whether it may still come; it is asked for then.
    pub fn asks(&self) -> Arc<dyn Fn(&str) -> bool + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |id| shared.may_come(id))
    }
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_come(&self, id: &str) -> bool {
        let may_come = self.asked().may_come(id, self.wait);
        if may_come {
            self.soon.notify_one();
        }
        may_come
    }
}

impl Asked {
    /// Whether what was answered may still come to have an environment, or has it and is not gone by yet.
    fn may_come(&mut self, id: &str, wait: Duration) -> bool {
        let is_coming = match (&self.newest, &self.followed) {
            (Some(newest), Some(followed)) => newest.environments != followed.environments && newest.has(id),
            _ => true,
        };
        if is_coming {
            return true;
        }
        if self.missed.len() >= REMEMBERED && !self.missed.contains_key(id) {
            return false;
        }
        let first = *self.missed.entry(id.to_owned()).or_default();
        // From answer to answer, whatever time has gone by without any.
        first.zip(self.answered).is_none_or(|(first, last)| last.duration_since(first) < wait)
    }

    /// There was an answer. Returns what is new in it.
    fn answered(&mut self, found: Option<Snapshot>) -> Option<Arc<Snapshot>> {
        let now = Instant::now();
        self.answered = Some(now);
        let is_new =
            |found: &Snapshot| self.newest.as_ref().is_none_or(|newest| newest.environments != found.environments);
        let new = found.filter(is_new).map(Arc::new);
        if let Some(new) = &new {
            // What was missed may be there now, and is waited for anew when it goes.
            self.missed.clear();
            self.newest = Some(Arc::clone(new));
        }
        for first in self.missed.values_mut() {
            first.get_or_insert(now);
        }
        new
    }
}

async fn keep(source: Source, refresh: Duration, shared: Arc<Shared>, tell: watch::Sender<Known>) {
    let mut etag = String::new();
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
                metrics::gauge!(ANSWERED).set(unix_seconds());
                if let Some(found) = &found {
                    etag.clone_from(&found.etag);
                }
                let new = shared.asked().answered(found);
                tell.send_if_modified(|known| {
                    let told = known.error.take().is_some() || new.is_some();
                    known.snapshot = new.or_else(|| known.snapshot.take());
                    told
                });
            }
            Err(error) => {
                tell.send_if_modified(|known| {
                    let told = known.error.as_ref().is_some_and(|before| before.text == error.text);
                    known.error = Some(error);
                    !told
                });
            }
        }
        sleep(NO_SOONER.min(refresh)).await;
        // Who waits for a first answer is not kept waiting for a whole interval.
        let rest = if tell.borrow().snapshot.is_some() { refresh.saturating_sub(NO_SOONER) } else { NO_SOONER };
        let _ = timeout(rest, shared.soon.notified()).await;
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0., |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    /// Answers that describe these environments.
    fn described(ids: &[&str]) -> Snapshot {
        Snapshot::of(ids.iter().map(|id| ((*id).to_owned(), json!({}))).collect::<serde_json::Map<_, _>>().into())
    }

    /// What goes by the first answer.
    fn following(ids: &[&str]) -> Asked {
        let mut asked = Asked::default();
        asked.followed = asked.answered(Some(described(ids)));
        asked
    }

    #[tokio::test(start_paused = true)]
    async fn an_environment_is_given_up_only_by_answers_that_do_not_know_it() {
        let mut asked = following(&["prod"]);
        assert!(asked.may_come("dev", WAIT));
        tokio::time::advance(60 * WAIT).await;
        assert!(asked.may_come("dev", WAIT), "nobody could be asked meanwhile");
        asked.answered(None);
        assert!(asked.may_come("dev", WAIT), "the wait begins with the first answer");
        tokio::time::advance(60 * WAIT).await;
        assert!(asked.may_come("dev", WAIT), "there is none at its end");
        asked.answered(None);
        assert!(!asked.may_come("dev", WAIT), "an answer at its end does not know it either");
        assert!(asked.may_come("test", WAIT), "another one has a wait of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn an_environment_that_is_described_and_not_gone_by_yet_is_waited_for() {
        let mut asked = following(&["prod"]);
        assert!(asked.may_come("dev", WAIT));
        let newer = asked.answered(Some(described(&["prod", "dev"])));
        tokio::time::advance(60 * WAIT).await;
        asked.answered(None);
        tokio::time::advance(60 * WAIT).await;
        asked.answered(None);
        assert!(asked.may_come("dev", WAIT), "however long it cannot be gone by");
        assert!(asked.may_come("test", WAIT));
        asked.followed = newer;
        // It has an entry, and a writer may refuse its messages all the same.
        assert!(asked.may_come("dev", WAIT));
        asked.answered(None);
        tokio::time::advance(WAIT).await;
        asked.answered(None);
        assert!(!asked.may_come("dev", WAIT));
    }

    #[tokio::test(start_paused = true)]
    async fn equal_content_under_another_name_is_nothing_new_and_begins_no_wait_anew() {
        let mut asked = following(&["prod"]);
        assert!(asked.may_come("dev", WAIT));
        asked.answered(None);
        tokio::time::advance(WAIT).await;
        let renamed = Snapshot { etag: "another".to_owned(), ..described(&["prod"]) };
        assert!(asked.answered(Some(renamed)).is_none());
        assert!(!asked.may_come("dev", WAIT));
        assert!(asked.answered(Some(described(&["prod", "test"]))).is_some());
        assert!(asked.may_come("dev", WAIT), "what is described has changed");
    }
}
