//! Plans of a writer: one for good, or one for each description of the environments.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::settings::{MetadataSettings, WriterSettings};
use crate::metadata::{Feed, Known, Snapshot};
use crate::runtime::pause::Pauses;
use crate::runtime::{Health, Retry};
use crate::writer::{self, AnyPlan, MayCome, Unfit};

use super::deployment::AtStart;
use super::exit::{Exit, Failure};

/// Who describes the environments, for health.
pub(super) const PART: &str = "metadata";

/// Whether what is described now is not gone by because it cannot be.
const REFUSED: &str = "chalk_writer_metadata_refused";

/// What a writer is run by.
pub(super) enum Plans {
    /// The file says everything.
    Fixed(Option<Box<dyn AnyPlan>>),
    /// Somebody else describes the environments, now in one way and then in another.
    Described(Box<Described>),
}

/// Plans by a description that changes.
pub(super) struct Described {
    feed: Feed,
    at_start: AtStart,
    /// Pauses between attempts at what cannot be gone by.
    retry: Retry,
    /// Two changes are no closer than that: each costs what is at hand its time, and the group a rebalance.
    apart: Duration,
    /// What the last plan was made by, and when.
    followed: Option<(Arc<Snapshot>, Instant)>,
    ready: Option<Box<dyn AnyPlan>>,
}

impl Plans {
    /// For a writer of a file.
    pub(super) fn of(settings: &WriterSettings, at_start: AtStart) -> Result<Self, Failure> {
        let tuning = &settings.tuning;
        let retry = Retry { first: tuning.retry_first_pause, longest: tuning.retry_max_pause };
        match &settings.metadata {
            None => Ok(Self::Fixed(Some(writer::plan(settings)?))),
            Some(metadata) => {
                Described::new(metadata, at_start, retry).map(|described| Self::Described(Box::new(described)))
            }
        }
    }

    /// Whether an environment may still come that is not described.
    pub(super) fn may_come(&self) -> Option<MayCome> {
        match self {
            Self::Fixed(_) => None,
            Self::Described(described) => Some(described.feed.asks()),
        }
    }

    /// The plan to go by now. Waits for the first description, and for one that can be used; `None` where the end came
    /// before that.
    pub(super) async fn next(
        &mut self,
        health: &Health,
        shutdown: &CancellationToken,
    ) -> Result<Option<Box<dyn AnyPlan>>, Failure> {
        match self {
            Self::Fixed(plan) => Ok(plan.take()),
            Self::Described(described) => tokio::select! {
                plan = described.next(health) => Ok(Some(plan)),
                () = shutdown.cancelled() => Ok(None),
            },
        }
    }

    /// Waits for another plan than the one that is gone by, and for one that can be gone by. Cancel-safe.
    pub(super) async fn changed(&mut self, health: &Health) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Described(described) => described.changed(health).await,
        }
    }
}

impl Described {
    fn new(metadata: &MetadataSettings, at_start: AtStart, retry: Retry) -> Result<Self, Failure> {
        let feed = Feed::start(metadata).map_err(|error| Failure::new(Exit::Configuration, error))?;
        Ok(Self { feed, at_start, retry, apart: metadata.refresh, followed: None, ready: None })
    }

    async fn next(&mut self, health: &Health) -> Box<dyn AnyPlan> {
        if let Some(plan) = self.ready.take() {
            return plan;
        }
        health.has(PART, false);
        let mut pauses = Pauses::new(self.retry);
        loop {
            match self.feed.now().await {
                Known { snapshot: Some(snapshot), .. } => match self.plan(&snapshot).await {
                    Ok(plan) => {
                        self.follow(snapshot, health);
                        return plan;
                    }
                    // It is described by others, who may see to it, or to what it names.
                    Err(unfit) => {
                        health.failed(PART, &unfit.text, unfit.denied);
                        let _ = timeout(pauses.next(None), self.feed.changed()).await;
                    }
                },
                Known { error, .. } => {
                    if let Some(error) = error {
                        health.failed(PART, &error.text, error.denied);
                    }
                    self.feed.changed().await;
                }
            }
        }
    }

    async fn changed(&mut self, health: &Health) {
        let mut pauses = Pauses::new(self.retry);
        loop {
            let Known { snapshot, error } = self.feed.now().await;
            let Some((newest, (followed, since))) = snapshot.zip(self.followed.as_ref()) else {
                self.feed.changed().await;
                continue;
            };
            if newest.environments == followed.environments {
                refused(false);
                match error {
                    Some(error) => health.spares(PART, &format!("{error}; what was described last is used on")),
                    None => health.works(PART),
                }
                pauses = Pauses::new(self.retry);
                self.feed.changed().await;
                continue;
            }
            // It may be the one before again until then.
            let early = self.apart.saturating_sub(since.elapsed());
            if !early.is_zero() {
                let _ = timeout(early, self.feed.changed()).await;
                continue;
            }
            match self.plan(&newest).await {
                Ok(plan) => {
                    self.follow(newest, health);
                    self.ready = Some(plan);
                    return;
                }
                Err(unfit) => {
                    refused(true);
                    health.spares(
                        PART,
                        &format!(
                            "the environments have changed into what cannot be used; what was described before is used \
                             on: {}",
                            unfit.text
                        ),
                    );
                    let _ = timeout(pauses.next(None), self.feed.changed()).await;
                }
            }
        }
    }

    /// From now on it is gone by this.
    fn follow(&mut self, snapshot: Arc<Snapshot>, health: &Health) {
        refused(false);
        health.works(PART);
        self.feed.follows(&snapshot);
        self.followed = Some((snapshot, Instant::now()));
    }

    /// What is described, if a start would get beyond the secrets that it names.
    async fn plan(&self, snapshot: &Snapshot) -> Result<Box<dyn AnyPlan>, Unfit> {
        let unfit = |failure: Failure| Unfit { denied: false, text: failure.text };
        let settings = self.at_start.described(snapshot.environments.clone()).map_err(unfit)?;
        let plan = writer::plan(&settings).map_err(|error| unfit(error.into()))?;
        plan.try_out().await?;
        Ok(plan)
    }
}

fn refused(is: bool) {
    metrics::gauge!(REFUSED).set(f64::from(u8::from(is)));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::sync::watch;
    use tokio::time::advance;

    use super::*;
    use crate::cli::deployment::Selection;
    use crate::config::Overrides;
    use crate::writer::WriterType;

    const APART: Duration = Duration::from_secs(30);

    /// Environments with a store in a file of this name each.
    fn described(etag: &str, ids: &[&str]) -> Known {
        let entry = |id: &&str| ((*id).to_owned(), json!({"online_store": {"uri": format!("sqlite:{id}.sqlite")}}));
        let environments = Value::Object(ids.iter().map(entry).collect());
        let snapshot = Some(Arc::new(Snapshot { etag: etag.to_owned(), environments }));
        Known { snapshot, error: None }
    }

    fn plans(folder: &std::path::Path) -> (Described, watch::Sender<Known>) {
        let file = folder.join("chalk.json");
        let config = json!({
            "common_persistence_specs": {"bus_backend": "LOCAL", "kafka_dlq_topic": "d", "result_bus_topic_id": "r"},
            "metadata_provider": "GRPC_SERVER", "api_server_host": "nowhere",
            "writers": [{"bus_subscriber_type": "ONLINE_WRITER"}],
        });
        std::fs::write(&file, config.to_string()).expect("written");
        let at_start = Selection::of(WriterType::ONLINE, &file).read(Overrides::from_process()).expect("sound");
        let (tell, known) = watch::channel(Known::default());
        let retry = Retry { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let feed = Feed::told(known);
        (Described { feed, at_start, retry, apart: APART, followed: None, ready: None }, tell)
    }

    /// Whether there is another plan by now; nothing is waited for but what is due.
    async fn changes(plans: &mut Described, health: &Health) -> bool {
        timeout(Duration::from_millis(1), plans.changed(health)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn equal_descriptions_change_nothing_and_others_are_some_time_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut plans, tell) = plans(folder.path());
        let health = Health::default();
        tell.send_replace(described("1", &["a"]));
        let plan = plans.next(&health).await;
        assert_eq!(plan.destinations().len(), 1);
        advance(APART).await;
        tell.send_replace(described("2", &["a"]));
        assert!(!changes(&mut plans, &health).await, "only its name is new");
        tell.send_replace(described("3", &["a", "b"]));
        assert!(changes(&mut plans, &health).await, "the first change after a while is followed at once");
        assert_eq!(plans.next(&health).await.destinations().len(), 2);
        tell.send_replace(described("4", &["a"]));
        assert!(!changes(&mut plans, &health).await, "too soon");
        tell.send_replace(described("5", &["a", "b"]));
        advance(2 * APART).await;
        assert!(!changes(&mut plans, &health).await, "it is what it was");
        tell.send_replace(described("6", &["a"]));
        assert!(changes(&mut plans, &health).await);
        tell.send_replace(described("7", &["b"]));
        assert!(!changes(&mut plans, &health).await);
        advance(APART).await;
        assert!(changes(&mut plans, &health).await, "it is followed later");
    }
}
