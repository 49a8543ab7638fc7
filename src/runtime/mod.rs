//! The runtime: source → decode → batch → write → acknowledge.

mod policy;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, Publisher, Subscription};
use crate::decode::Decoder;
use crate::sink::{Row, Sink};

pub use policy::{DeadLetterBudget, DeadLetterTopic, Policy, Retry};

/// A place that rows of one pipeline go to.
pub struct Destination<R: Row> {
    /// What people know it by (`online store of prod`); never holds a credential.
    pub name: String,
    /// The store.
    pub sink: Arc<dyn Sink<R>>,
}

/// All that one writer needs to run.
pub struct Pipeline<R: Row> {
    /// Where messages come from.
    pub subscription: Subscription,
    /// What is made of them.
    pub decoder: Arc<dyn Decoder<R>>,
    /// Where rows go; [`Row::destination`] is an index into it.
    pub destinations: Vec<Destination<R>>,
    /// Where bad messages go; without it the first one stops the writer.
    pub dead_letters: Option<(Arc<dyn Publisher>, DeadLetterTopic)>,
    /// Limits and times.
    pub policy: Policy,
    /// What the pipeline says of itself while it runs.
    pub health: Arc<Health>,
}

/// A pipeline whose rows no longer show in its type: what the registry builds and `main` runs.
#[async_trait]
pub trait Run: Send {
    /// Runs until `shutdown` is cancelled and drained, until the source ends, or until it cannot go on.
    async fn run(self: Box<Self>, shutdown: CancellationToken) -> Result<(), PipelineError>;
}

/// Why a pipeline ended. Everything that was not acknowledged will be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The bus, beyond what is retried.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// More bad messages than the budget allows; exit code 65.
    #[error("stopped by the dead letter budget: {0}")]
    Budget(String),
    /// A bad message and no topic to bury it in; exit code 65.
    #[error("bad message and no dead letter topic (`kafka_dlq_topic`): {0}")]
    NoDeadLetterTopic(String),
    /// A drain ran out of time; says how much was left.
    #[error("{messages} messages were not written in time; they will be delivered again")]
    DrainTimeout {
        /// Messages that were not acknowledged.
        messages: usize,
    },
    /// A panic or an impossible state.
    #[error("bug: {0}")]
    Bug(String),
}

/// What a pipeline says of itself, for `/readyz`, `/status.json` and the progress line.
#[derive(Debug, Default)]
pub struct Health {
    state: std::sync::Mutex<HealthState>,
}

/// A copy of the state of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct HealthState {
    /// Messages acknowledged since the start.
    pub acknowledged: u64,
    /// Rows' values stored since the start.
    pub stored: u64,
    /// Values that were older than what was stored.
    pub stale: u64,
    /// Messages buried.
    pub buried: u64,
    /// Messages that were read and are not acknowledged.
    pub in_hand: u64,
    /// When the loop last turned; `None` before it started.
    pub turned: Option<std::time::Instant>,
    /// Part of the pipeline (a destination, the bus, the dead letter topic) and what is wrong with it.
    pub troubles: std::collections::BTreeMap<String, Trouble>,
    /// The last errors, newest last, at most ten.
    pub last_errors: std::collections::VecDeque<(std::time::SystemTime, String)>,
}

/// A part that does not work now.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Since when.
    pub since: std::time::Instant,
    /// What it says.
    pub reason: String,
    /// Denied is not ready at once; the rest after a minute.
    pub denied: bool,
}

impl Health {
    /// The state now.
    pub fn state(&self) -> HealthState {
        self.lock().clone()
    }

    /// Why the pipeline is not ready, per part; empty when it is.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        let minute = std::time::Duration::from_secs(60);
        self.lock()
            .troubles
            .iter()
            .filter(|(_, trouble)| trouble.denied || trouble.since.elapsed() >= minute)
            .map(|(part, trouble)| (part.clone(), trouble.reason.clone()))
            .collect()
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl<R: Row> Run for Pipeline<R> {
    async fn run(self: Box<Self>, _shutdown: CancellationToken) -> Result<(), PipelineError> {
        Err(PipelineError::Bug("the runtime is being written".to_owned()))
    }
}
