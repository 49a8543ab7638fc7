//! From a plan to a pipeline that is ready to run: everything that needs I/O.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::destinations::{OpenTopic, Opened, Opener, PlannedDestination, To};
use super::doubles::Doubles;
use super::outlet::{Outlet, Publishes};
use super::plan::{ParkingTopic, Plan, Reads};
use super::skip;
use crate::bus::reread::reread;
use crate::bus::{Bus, BusError, Keeping, Publisher, Stretch, Subscribe, Subscription, TopicInfo};
use crate::config::secret::expose;
use crate::dead_letter::{ASSUMED_LIMIT, SMALLEST_LIMIT};
use crate::runtime::pause::Pauses;
use crate::runtime::{
    Away, Beside, DeadLetterTopic, Destination, Emission, Health, Parking, Pipeline, Policy, Retry, Run,
};
use crate::sink::Row;
use crate::store::{StoreError, StoreOptions};
use crate::value::time::{format_timestamp, now};

/// The field that names the dead letter topic.
const DEAD_LETTERS: &str = "`kafka_dlq_topic`";

/// A topic that keeps its letters for less than a long weekend loses some before anybody looks.
const KEPT_FOR_MS: u64 = 4 * 86_400_000;

/// Clocks differ by less than this.
const CLOCKS_DIFFER_MS: u64 = 60_000;

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
}

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

/// Starts a plan.
pub(super) async fn start<R: Row>(plan: Plan<R>, with: Start) -> Result<Box<dyn Run>, StartError> {
    let Plan { reads, dead_letter_topic, publishes, decoder, destinations: planned, store_limits, parking, mut policy } =
        plan;
    policy.eager = with.drain || with.again.is_some();
    let mut harms = Vec::new();
    let mut found = Vec::with_capacity(planned.len());
    let mut emits = None;
    for PlannedDestination { name, to } in planned {
        let part = match to {
            To::Store(store) => {
                let options = StoreOptions::fetch(&store.settings, store_limits).await;
                let options = options.map_err(|error| unusable(&name, &error))?;
                if let Some(Again::Between { from_ms, .. }) = &with.again {
                    let doubles = store.doubles(expose(&options.fetched)).map_err(|error| unusable(&name, &error))?;
                    let tombstones_for = store.has_tombstones.then_some(options.limits.tombstone_retention);
                    let harm = harm(*from_ms, doubles, tombstones_for);
                    harms.extend(harm.map(|harm| format!("{name} {harm}")));
                }
                Part::Store(options, store.open)
            }
            To::Topic(open) => {
                if let Some(Again::Between { from_ms, .. }) = &with.again {
                    harms.extend(harm(*from_ms, Doubles::SentAgain, None).map(|harm| format!("{name} {harm}")));
                }
                Part::Topic(open)
            }
            To::Transactions(open) => {
                if let Some(Again::Between { from_ms, .. }) = &with.again {
                    harms.extend(harm(*from_ms, Doubles::OutOfPosition, None).map(|harm| format!("{name} {harm}")));
                }
                emits = Some((name, open));
                continue;
            }
        };
        with.health.has(&name, false);
        found.push((name, part));
    }
    if let Some(Again::Between { force, .. }) = &with.again
        && !harms.is_empty()
    {
        let harms = harms.join("; ");
        if !force {
            return Err(StartError::Harmful(format!("reading again does harm, and `--force` does it: {harms}")));
        }
        tracing::warn!("reading again does harm, as forced: {harms}");
    }

    let connect = Connect { with: &with, retry: policy.retry };
    let outlet = match publishes {
        Some(publishes) => Some(connect.outlet(publishes).await?),
        None => None,
    };
    let emission = match emits {
        Some((name, open)) => {
            let outlet = outlet.as_ref().ok_or_else(|| unusable(&name, &NO_TOPIC))?;
            // It was found just now.
            with.health.has(&name, true);
            Some(Emission { name, emit: open(outlet), publisher: Arc::clone(outlet.publisher()) })
        }
        None => None,
    };
    let parking = parking.filter(|_| with.again.is_none());
    if parking.is_some() && (emission.is_some() || found.iter().any(|(_, part)| matches!(part, Part::Topic(_)))) {
        let text = "`park_after` is for writers with stores; this one publishes, and a bus that is away is waited for";
        return Err(StartError::Configuration(text.to_owned()));
    }
    let mut destinations = Vec::with_capacity(found.len());
    for (name, part) in found {
        let sink = part.open(outlet.as_ref()).map_err(|error| unusable(&name, &error))?;
        destinations.push(Destination { name, sink });
    }
    if let Some(enough) = enough(destinations.iter().map(|destination| destination.sink.enough())) {
        policy.max_bytes = policy.max_bytes.min(enough);
    }

    // Before anything is made: one that is not there has nothing to read, and rather is a wrong name.
    let topic = &reads.subscription;
    connect.topic(&format!("topic `{topic}`"), topic, &reads.named_by).await?;
    let dead_letters = match dead_letter_topic {
        Some(topic) => Some(connect.dead_letters(topic, reads.embedded).await?),
        None => None,
    };
    let parked = match parking {
        Some(parking) => Some(connect.parked(parking, &reads, &policy).await?),
        None => None,
    };
    let subscription = if let Some(again) = &with.again {
        connect.again(topic, again).await?
    } else {
        let subscribe = Subscribe {
            topic: topic.clone(),
            group: reads.group.clone(),
            drain: with.drain,
            fetch_bytes: reads.fetch_bytes,
            on_gap: reads.on_gap,
            transactional: emission.is_some(),
        };
        let part = format!("subscription of `{topic}`");
        connect.patiently(&part, || with.bus.subscribe(subscribe.clone())).await?
    };
    for (reason, _) in skip::ALL {
        metrics::counter!("chalk_writer_values_skipped_total", "reason" => *reason).increment(0);
    }
    let (health, away) = (with.health, Arc::<Away>::default());
    let beside = parked.map(|(parking, subscription, policy)| {
        let (decoder, destinations, dead_letters) = (decoder.clone(), destinations.clone(), dead_letters.clone());
        let (health, away) = (health.clone(), away.clone());
        let parked = Pipeline {
            subscription,
            decoder,
            destinations,
            emission: None,
            dead_letters,
            parking: None,
            away,
            policy,
            health,
        };
        (parking, parked)
    });
    // A drain is to write everything, so it waits for every store.
    let parking = beside.as_ref().filter(|_| !with.drain).map(|(parking, _)| parking.clone());
    let main = Pipeline { subscription, decoder, destinations, emission, dead_letters, parking, away, policy, health };
    Ok(match beside {
        Some((_, parked)) => Box::new(Beside { main, parked }),
        None => Box::new(main),
    })
}

/// What reading again does to whoever reads what a writer publishes.
const TWICE: &str = "would publish everything of that stretch once more";

/// A writer that publishes, in an installation that names no topic for it.
const NO_TOPIC: &str = "publishes, and no topic to publish to is named";

/// A destination that is about to be opened.
enum Part<R: Row> {
    Store(StoreOptions, Opener<R>),
    Topic(OpenTopic<R>),
}

impl<R: Row> Part<R> {
    fn open(self, outlet: Option<&Outlet>) -> Opened<R> {
        let outlet = || outlet.ok_or_else(|| StoreError(NO_TOPIC.to_owned()));
        match self {
            Self::Store(options, Opener::Store(open)) => open(&options),
            Self::Store(options, Opener::Publishing(open)) => open(&options, outlet()?),
            Self::Topic(open) => open(outlet()?),
        }
    }
}

/// A destination whose settings cannot work.
fn unusable(name: &str, error: &dyn Display) -> StartError {
    StartError::Configuration(format!("{name}: {error}"))
}

/// Bytes of a batch that are enough for every store; `None` where one gains by any more.
fn enough(mut stores: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    stores.try_fold(0, |most, enough| Some(most.max(enough?))).filter(|most| *most > 0)
}

/// What reading again does to a destination beyond writing what is missing in it.
fn harm(from_ms: i64, doubles: Doubles, tombstones_for: Option<Duration>) -> Option<String> {
    match doubles {
        Doubles::Never => {}
        Doubles::Keyless => {
            return Some("would hold every row of that stretch twice that has no key of its own".to_owned());
        }
        Doubles::ReadAgain => {
            return Some("would hold every row of that stretch twice (with the same key)".to_owned());
        }
        Doubles::SentAgain | Doubles::OutOfPosition => return Some(TWICE.to_owned()),
    }
    let kept = tombstones_for?;
    let kept_since = now() / 1_000 - i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    (from_ms < kept_since).then(|| {
        let since = rfc3339(kept_since);
        format!(
            "keeps no trace of what was evicted before {since} (`tombstone_retention`), or has expired since: such values would come back; a `--from-time` after that is harmless"
        )
    })
}

fn rfc3339(milliseconds: i64) -> String {
    format_timestamp(milliseconds.saturating_mul(1_000))
}

/// What is wrong with how a dead letter topic keeps its letters.
pub fn worries(keeping: &Keeping) -> Vec<String> {
    let Keeping { compacts, for_ms, refuses_beyond_ms } = *keeping;
    let mut worries = Vec::new();
    if compacts {
        worries.push(
            "LOSES DEAD LETTERS: it is compacted (`cleanup.policy`), so the second bad message of a key removes the \
             first, and one without a key cannot be buried at all; set `cleanup.policy` to `delete`"
                .to_owned(),
        );
    }
    let short = for_ms.filter(|for_ms| *for_ms < KEPT_FOR_MS);
    worries.extend(short.map(|for_ms| {
        format!("keeps a letter for {} only (`retention.ms`): one of Friday night may be gone on Monday", hours(for_ms))
    }));
    let strict = refuses_beyond_ms.filter(|beyond| *beyond < CLOCKS_DIFFER_MS);
    worries.extend(strict.map(|beyond| {
        format!(
            "refuses letters once this machine's clock is {beyond} ms from the broker's \
             (`message.timestamp.before.max.ms`, `.after.max.ms`, `.difference.max.ms`)"
        )
    }));
    worries
}

fn hours(milliseconds: u64) -> String {
    match milliseconds / 3_600_000 {
        0 => format!("{} s", milliseconds / 1_000),
        hours => format!("{hours} h"),
    }
}

/// Talks to a bus that may be away for a while.
struct Connect<'a> {
    with: &'a Start,
    retry: Retry,
}

impl Connect<'_> {
    /// A dead letter topic that will take what is sent to it: a burial must not be what fails.
    async fn dead_letters(
        &self,
        name: String,
        made_here: bool,
    ) -> Result<(Arc<dyn Publisher>, DeadLetterTopic), StartError> {
        let part = format!("dead letter topic `{name}`");
        if made_here {
            self.made(&part, &name).await?;
        }
        let info = self.topic(&part, &name, DEAD_LETTERS).await?;
        if let Some(limit) = info.max_message_bytes.filter(|limit| *limit < SMALLEST_LIMIT) {
            return Err(StartError::Configuration(format!(
                "{part} takes messages of at most {limit} bytes; it needs {SMALLEST_LIMIT} or more \
                 (`max.message.bytes`)"
            )));
        }
        for worry in worries(&info.keeping) {
            tracing::warn!("{part} {worry} (docs/dead-letters.md has the settings that it should have)");
        }
        let publisher = self.patiently(&part, || self.with.bus.publisher()).await?;
        if info.max_message_bytes.is_none() {
            tracing::warn!("{part}: its limit is not known; assuming the default of Kafka, {ASSUMED_LIMIT} bytes");
        }
        Ok((publisher, DeadLetterTopic { name, max_message_bytes: info.max_message_bytes }))
    }

    /// Where messages are parked, and how they are read back: by a group of their own, with a quarter of the memory.
    async fn parked(
        &self,
        parking: ParkingTopic,
        reads: &Reads,
        policy: &Policy,
    ) -> Result<(Parking, Subscription, Policy), StartError> {
        let ParkingTopic { after, topic } = parking;
        let part = format!("parking topic `{topic}`");
        if reads.embedded {
            self.made(&part, &topic).await?;
        } else {
            self.topic(&part, &topic, "`parking_topic`").await?;
        }
        let publisher = self.patiently(&part, || self.with.bus.publisher()).await?;
        let subscribe = Subscribe {
            topic: topic.clone(),
            group: format!("{}-parked", reads.group),
            drain: self.with.drain,
            fetch_bytes: (reads.fetch_bytes / 4).max(1 << 20),
            on_gap: reads.on_gap,
            transactional: false,
        };
        let subscription = self.patiently(&part, || self.with.bus.subscribe(subscribe.clone())).await?;
        let policy = Policy { max_bytes: (policy.max_bytes / 4).max(1), beside: true, ..policy.clone() };
        Ok((Parking { after, topic, publisher }, subscription, policy))
    }

    /// A topic that is made where it is missing.
    async fn made(&self, part: &str, name: &str) -> Result<(), StartError> {
        let bus = &self.with.bus;
        self.patiently(part, || async {
            match bus.topic(name).await {
                Err(BusError::NotFound(_)) => bus.create_topic(name, 1).await,
                other => other.map(drop),
            }
        })
        .await
    }

    /// The topic that the writer publishes to, with the limit that it has now.
    async fn outlet(&self, publishes: Publishes) -> Result<Outlet, StartError> {
        let Publishes { topic, named_by, .. } = &publishes;
        let part = format!("topic `{topic}`");
        let info = self.topic(&part, topic, named_by).await?;
        let publisher = self.patiently(&part, || self.with.bus.publisher()).await?;
        if info.max_message_bytes.is_none() {
            tracing::warn!("{part}: its limit is not known; assuming the default of Kafka, {ASSUMED_LIMIT} bytes");
        }
        Ok(Outlet::new(publisher, publishes, info.max_message_bytes))
    }

    /// A part of a topic, outside every group.
    async fn again(&self, topic: &str, again: &Again) -> Result<Subscription, StartError> {
        let (from_ms, until_ms) = match again {
            Again::Between { from_ms, until_ms, .. } => (*from_ms, *until_ms),
            Again::These(stretches) => return Ok(reread(Arc::clone(&self.with.bus), topic, stretches.clone(), None)),
        };
        let part = format!("stretch of `{topic}`");
        let stretches = self.patiently(&part, || self.with.bus.stretch(topic, from_ms, until_ms)).await?;
        let offsets: i64 = stretches.iter().map(|stretch| stretch.until - stretch.from).sum();
        let until = until_ms.map_or_else(|| "now".to_owned(), rfc3339);
        tracing::info!(topic, from = rfc3339(from_ms), until, offsets, "reading again, outside the consumer group");
        if offsets == 0 {
            tracing::warn!(topic, "nothing lies between these times, which are those that the bus has of its messages");
        }
        for Stretch { partition, from, earliest, .. } in &stretches {
            if from == earliest && *earliest > 0 {
                tracing::warn!(
                    topic,
                    partition,
                    earliest,
                    "begins at the earliest message that is left; older ones of that stretch have expired, if there were any"
                );
            }
        }
        Ok(reread(Arc::clone(&self.with.bus), topic, stretches, Some(from_ms)))
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
