//! From a plan to a pipeline that is ready to run: everything that needs I/O.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use crate::bus::{Bus, BusError, Publisher, Subscribe};
use crate::dead_letter::SMALLEST_LIMIT;
use crate::runtime::{DeadLetterTopic, Destination, Health, Pipeline, Retry, Run};
use crate::sink::Row;
use crate::store::StoreOptions;

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
    connect.patiently(&format!("topic `{topic}`"), || with.bus.topic(topic)).await?;
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
        let bus = &self.with.bus;
        let part = format!("dead letter topic `{name}`");
        let info = self.patiently(&part, || bus.topic(&name)).await?;
        if let Some(limit) = info.max_message_bytes.filter(|limit| *limit < SMALLEST_LIMIT) {
            return Err(StartError::Configuration(format!(
                "{part} takes messages of at most {limit} bytes; it needs {SMALLEST_LIMIT} or more \
                 (`max.message.bytes`)"
            )));
        }
        let publisher = self.patiently(&part, || bus.publisher()).await?;
        Ok((publisher, DeadLetterTopic { name, max_message_bytes: info.max_message_bytes }))
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
        let mut pause = self.retry.first;
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
                () = tokio::time::sleep(pause.mul_f64(fastrand::f64())) => {}
                () = self.with.shutdown.cancelled() => {
                    return Err(StartError::Stopped(format!("{part}: {error}")));
                }
            }
            pause = (pause * 2).min(self.retry.longest).max(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests;
