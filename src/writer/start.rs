//! From a plan to a pipeline that is ready to run: everything that needs I/O.

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use crate::bus::{Bus, BusError, Publisher, Subscribe, TopicInfo};
use crate::dead_letter::SMALLEST_LIMIT;
use crate::runtime::pause::Pauses;
use crate::runtime::{DeadLetterTopic, Destination, Health, Pipeline, Retry, Run};
use crate::sink::Row;
use crate::store::StoreOptions;

/// The field that names the dead letter topic.
const DEAD_LETTERS: &str = "`kafka_dlq_topic`";

/// What a dead letter topic takes where the bus does not tell, in bytes: the default of Kafka, the
/// one bus here that may keep it to itself. Larger letters go in parts.
const ASSUMED_LIMIT: usize = 1 << 20;

/// What a plan is started with.
#[derive(Clone)]
pub struct Start {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// What the pipeline says of itself, from the first attempt to connect on.
    pub health: Arc<Health>,
    /// End once everything that is on the bus now has been dealt with.
    pub drain: bool,
    /// Ends the wait for a bus that is away.
    pub shutdown: CancellationToken,
}

/// Why a writer did not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// A configuration that cannot work: a missing topic, a secret that is not there; exit code 78.
    #[error("{0}")]
    Configuration(String),
    /// The bus, beyond what is retried; exit code 1.
    #[error(transparent)]
    Bus(BusError),
    /// Shutdown was asked for before the bus answered. Nothing had been read.
    #[error("stopped before the bus answered: {0}")]
    Stopped(String),
}

/// Starts a plan.
pub(super) async fn start<R: Row>(plan: Plan<R>, with: Start) -> Result<Box<dyn Run>, StartError> {
    let Plan { reads, dead_letter_topic, decoder, destinations: planned, store_limits, mut policy } = plan;
    policy.eager = with.drain;
    let mut destinations = Vec::with_capacity(planned.len());
    for destination in planned {
        let name = destination.name;
        let configuration = |error: String| StartError::Configuration(format!("{name}: {error}"));
        let uri = destination.settings.uri;
        let options = StoreOptions {
            fetched: uri.fetch().await.map_err(|error| configuration(error.to_string()))?,
            uri,
            cache_prefix: destination.settings.cache_prefix.as_str().into(),
            clustered: destination.settings.clustered,
            wait_replicas: destination.settings.wait_replicas,
            concurrency: store_limits.concurrency,
            tombstone_retention: store_limits.tombstone_retention,
            memory_limit: store_limits.memory_limit,
        };
        let sink = (destination.open)(&options).map_err(|error| configuration(error.to_string()))?;
        destinations.push(Destination { name, sink });
    }

    let connect = Connect { with: &with, retry: policy.retry };
    let dead_letters = match dead_letter_topic {
        Some(topic) => Some(connect.dead_letters(topic).await?),
        None => None,
    };
    let topic = &reads.subscription;
    connect.topic(&format!("topic `{topic}`"), topic, &reads.named_by).await?;
    let subscribe = Subscribe {
        topic: topic.clone(),
        group: reads.group,
        drain: with.drain,
        fetch_bytes: reads.fetch_bytes,
        on_gap: reads.on_gap,
    };
    let part = format!("subscription of `{topic}`");
    let subscription = connect.patiently(&part, || with.bus.subscribe(subscribe.clone())).await?;
    let health = with.health;
    Ok(Box::new(Pipeline { subscription, decoder, destinations, dead_letters, policy, health }))
}

/// Talks to a bus that may be away for a while.
struct Connect<'a> {
    with: &'a Start,
    retry: Retry,
}

impl Connect<'_> {
    /// A dead letter topic that will take what is sent to it: a burial must not be what fails.
    async fn dead_letters(&self, name: String) -> Result<(Arc<dyn Publisher>, DeadLetterTopic), StartError> {
        let part = format!("dead letter topic `{name}`");
        let info = self.topic(&part, &name, DEAD_LETTERS).await?;
        if let Some(limit) = info.max_message_bytes.filter(|limit| *limit < SMALLEST_LIMIT) {
            return Err(StartError::Configuration(format!(
                "{part} takes messages of at most {limit} bytes; it needs {SMALLEST_LIMIT} or more \
                 (`max.message.bytes`)"
            )));
        }
        let publisher = self.patiently(&part, || self.with.bus.publisher()).await?;
        let limit = info.max_message_bytes.unwrap_or_else(|| {
            tracing::warn!("{part}: its limit is not known; assuming the default of Kafka, {ASSUMED_LIMIT} bytes");
            ASSUMED_LIMIT
        });
        Ok((publisher, DeadLetterTopic { name, max_message_bytes: Some(limit) }))
    }

    /// A topic that has to be there, and the field that names it.
    async fn topic(&self, part: &str, name: &str, field: &str) -> Result<TopicInfo, StartError> {
        let answer = self
            .patiently(part, || async {
                match self.with.bus.topic(name).await {
                    Err(BusError::NotFound(found)) => Ok(Err(found)),
                    other => other.map(Ok),
                }
            })
            .await?;
        answer.map_err(|found| {
            // Some buses say more than the name: which topics there are, or that there is no bus yet.
            let more = found.strip_prefix(name).unwrap_or(&found);
            StartError::Configuration(format!(
                "{part}, which {field} names, is not there{more}; make it with the broker's tools, or with \
                 `chalk-writer publish --config FILE --topic {name} --generate 0 --partitions N`"
            ))
        })
    }

    /// Repeats a call for as long as the same call may succeed later.
    ///
    /// Without a bound, as every wait for a bus is: an orchestrator's restart would wait no better,
    /// and until the bus answers the writer is not ready and says why. `shutdown` ends it.
    async fn patiently<T, F: Future<Output = Result<T, BusError>>>(
        &self,
        part: &str,
        call: impl Fn() -> F,
    ) -> Result<T, StartError> {
        let mut pauses = Pauses::new(self.retry);
        loop {
            let error = tokio::select! {
                result = call() => match result {
                    Ok(value) => {
                        self.with.health.works(part);
                        return Ok(value);
                    }
                    Err(error) => error,
                },
                () = self.with.shutdown.cancelled() => return Err(StartError::Stopped(part.to_owned())),
            };
            match error {
                BusError::Unavailable(_) | BusError::Denied(_) => {}
                BusError::NotFound(_) | BusError::Settings(_) | BusError::TooLarge(_) => {
                    return Err(StartError::Configuration(format!("{part}: {error}")));
                }
                BusError::Gap(_) | BusError::Failed(_) => return Err(StartError::Bus(error)),
            }
            self.with.health.failed(part, &error.to_string(), matches!(error, BusError::Denied(_)));
            tokio::select! {
                () = tokio::time::sleep(pauses.next(None)) => {}
                () = self.with.shutdown.cancelled() => {
                    return Err(StartError::Stopped(format!("{part}: {error}")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
