//! What a plan is started with, and why it may not start.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, BusError, Stretch};
use crate::runtime::Health;

/// What a plan is started with.
#[derive(Clone)]
pub struct Start {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// What the pipeline says of itself, from the first attempt to connect on.
    pub health: Arc<Health>,
    /// End once everything that is on the bus now has been dealt with.
    pub drain: bool,
    /// Read a stretch of the topic again instead, outside the consumer group, and end with it.
    pub again: Option<Again>,
    /// Ends the wait for a bus that is away.
    pub shutdown: CancellationToken,
    /// Whether an environment that nobody described may still come, where somebody can be asked; asked for then.
    pub may_come: Option<MayCome>,
}

/// Says of an environment, by its id, whether it is to be waited for.
pub type MayCome = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What is to be read instead of what the group has not read yet.
#[derive(Clone, Debug)]
pub enum Again {
    /// What lies between two times, by the bus's timestamps in milliseconds since 1970.
    Between {
        /// From this time on.
        from_ms: i64,
        /// Before this time; without it, up to what is there now.
        until_ms: Option<i64>,
        /// Also where that does harm: see [`StartError::Harmful`].
        force: bool,
    },
    /// These stretches, which nobody has written so far: no more is done than the group's writer would do.
    These(Vec<Stretch>),
}

/// Why a writer did not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// A configuration that cannot work: a missing topic, a secret that is not there; exit code 78.
    #[error("{0}")]
    Configuration(String),
    /// Reading again would leave more than was there before: double rows, or values that had been
    /// evicted; exit code 64.
    #[error("{0}")]
    Harmful(String),
    /// The bus, beyond what is retried; exit code 1.
    #[error(transparent)]
    Bus(BusError),
    /// Shutdown was asked for before the bus answered. Nothing had been read.
    #[error("stopped before the bus answered: {0}")]
    Stopped(String),
}
