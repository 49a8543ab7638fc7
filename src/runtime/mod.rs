//! The runtime: source → decode → batch → write → acknowledge.
//!
//! One loop fills one batch. A batch holds every message consumed since the last one was cut. Full
//! or old, it is written by a task of its own; up to [`Policy::in_flight`] such tasks run, and are
//! finished in the order in which they were cut. Finishing one acknowledges one number.
//!
//! # Why
//! Contiguous commits, a bounded memory, and one way to drain for shutdown, revocation and the end
//! of input follow from that by construction. Counting the rows of every message in lanes, or
//! acknowledging when the last reference is dropped, needs machinery of its own for each, and has
//! lost data elsewhere.
//!
//! # What a revocation does
//! Batches that hold messages of the partitions that go are given [`Policy::drain_within`]. After
//! that the partitions are let go: what is being filled forgets their messages, a batch that holds
//! nothing else is cancelled, and one that also holds messages of partitions that stay is written
//! on. So nothing of a kept partition is ever thrown away, and nothing has to be read again for it.

mod batch;
mod beside;
mod budget;
mod burial;
mod emit;
mod flight;
mod health;
mod landing;
mod nothing;
mod order;
mod parking;
pub(crate) mod pause;
mod policy;
mod probe;
mod shared;
mod standing;
mod turn;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, PartitionStatus, Publisher, Subscription};
use crate::decode::Decoder;
use crate::sink::{Row, Sink};
use turn::Loop;

pub use beside::Beside;
pub use emit::{Emission, Emit, Emitted};
pub use health::{Health, HealthState, Trouble};
pub use parking::{Away, Parking, Unparked, unparked};
pub use policy::{DeadLetterBudget, DeadLetterTopic, Policy, Retry, stops_within};

/// A place that rows of one pipeline go to.
pub struct Destination<R: Row> {
    /// What people know it by (`online store of prod`); never holds a credential.
    pub name: String,
    /// The store.
    pub sink: Arc<dyn Sink<R>>,
}

impl<R: Row> Clone for Destination<R> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), sink: Arc::clone(&self.sink) }
    }
}

/// All that one writer needs to run.
pub struct Pipeline<R: Row> {
    /// Where messages come from.
    pub subscription: Subscription,
    /// What is made of them.
    pub decoder: Arc<dyn Decoder<R>>,
    /// Where rows go; [`Row::destination`] is an index into it.
    pub destinations: Vec<Destination<R>>,
    /// What is published of the rows, instead of being written to destinations; with the positions in one
    /// transaction, where the subscription has them.
    pub emission: Option<Emission<R>>,
    /// Where bad messages go; without it the first one stops the writer.
    pub dead_letters: Option<(Arc<dyn Publisher>, DeadLetterTopic)>,
    /// Where messages go whose destination has been away for long; without it they are waited for.
    pub parking: Option<Parking>,
    /// Which destinations are away.
    pub away: Arc<Away>,
    /// Limits and times.
    pub policy: Policy,
    /// What the pipeline says of itself while it runs.
    pub health: Arc<Health>,
}

/// A pipeline whose rows no longer show in its type: what the registry builds and `main` runs.
#[async_trait]
pub trait Run: Send {
    /// How far behind it is, partition by partition, for as long as it runs.
    fn status(&self) -> watch::Receiver<Vec<PartitionStatus>>;

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
    #[error(
        "stopped by the dead letter budget, with nothing of that batch buried or acknowledged: {0} (`peek --group` shows these messages)"
    )]
    Budget(String),
    /// A bad message and no topic to bury it in; exit code 65.
    #[error(
        "a bad message, and no dead letter topic to keep it in (set `kafka_dlq_topic`): {0} (`peek --group` shows it)"
    )]
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

#[async_trait]
impl<R: Row> Run for Pipeline<R> {
    fn status(&self) -> watch::Receiver<Vec<PartitionStatus>> {
        self.subscription.status.clone()
    }

    async fn run(self: Box<Self>, shutdown: CancellationToken) -> Result<(), PipelineError> {
        if self.subscription.transactions.is_some() && self.emission.is_none() {
            return Err(PipelineError::Bug("positions move in transactions only, and nothing is published".to_owned()));
        }
        let mut turning = Loop::new(*self);
        let ended = turning.turn(&shutdown).await;
        // Whatever ended it: what was acknowledged is made durable, and the group is told.
        let closed = turning.leave().await;
        if let (Err(_), Err(error)) = (&ended, &closed) {
            tracing::warn!("{error}");
        }
        ended?;
        Ok(closed?)
    }
}
