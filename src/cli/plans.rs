//! Plans of a writer: one for good, or one for each description of the environments.

use tokio_util::sync::CancellationToken;

use crate::config::settings::{MetadataSettings, WriterSettings};
use crate::metadata::{Feed, Snapshot};
use crate::runtime::Health;
use crate::writer::{self, AnyPlan, MayCome};

use super::deployment::Selection;
use super::exit::{Exit, Failure};

/// Who describes the environments, for health.
const PART: &str = "metadata";

/// What a writer is run by.
pub(super) enum Plans {
    /// The file says everything.
    Fixed(Option<Box<dyn AnyPlan>>),
    /// Somebody else describes the environments, now in one way and then in another.
    Described(Described),
}

/// Plans by a description that changes.
pub(super) struct Described {
    feed: Feed,
    selection: Selection,
    /// Of the description that the last plan was made by.
    etag: String,
    ready: Option<Box<dyn AnyPlan>>,
}

impl Plans {
    /// For a writer of a file.
    pub(super) fn of(settings: &WriterSettings, selection: Selection) -> Result<Self, Failure> {
        match &settings.metadata {
            None => Ok(Self::Fixed(Some(writer::plan(settings)?))),
            Some(metadata) => Described::new(metadata, selection).map(Self::Described),
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

    /// Waits for another plan than the one that is gone by.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Described(described) => described.changed().await,
        }
    }
}

impl Described {
    fn new(metadata: &MetadataSettings, selection: Selection) -> Result<Self, Failure> {
        let feed = Feed::start(metadata).map_err(|error| Failure::new(Exit::Configuration, error))?;
        Ok(Self { feed, selection, etag: String::new(), ready: None })
    }

    async fn next(&mut self, health: &Health) -> Box<dyn AnyPlan> {
        if let Some(plan) = self.ready.take() {
            return plan;
        }
        health.has(PART, false);
        loop {
            match self.feed.now().await {
                Ok(snapshot) => match self.plan(&snapshot) {
                    Ok(plan) => {
                        health.works(PART);
                        self.etag.clone_from(&snapshot.etag);
                        return plan;
                    }
                    // It is described by others, who may see to it.
                    Err(failure) => health.failed(PART, &failure.text, false),
                },
                Err(error) => health.failed(PART, &error.text, error.denied),
            }
            self.feed.changed().await;
        }
    }

    async fn changed(&mut self) {
        loop {
            self.feed.changed().await;
            let Ok(snapshot) = self.feed.now().await else { continue };
            if snapshot.etag == self.etag {
                continue;
            }
            self.etag.clone_from(&snapshot.etag);
            match self.plan(&snapshot) {
                Ok(plan) => {
                    self.ready = Some(plan);
                    return;
                }
                Err(failure) => tracing::error!(
                    "the environments have changed into what cannot be used; what was described before is used on: {failure}"
                ),
            }
        }
    }

    fn plan(&self, snapshot: &Snapshot) -> Result<Box<dyn AnyPlan>, Failure> {
        let settings = self.selection.described(snapshot.environments.clone())?;
        Ok(writer::plan(&settings)?)
    }
}
