//! Talking to a bus that may be away for a while: which topics there are, and whether they fit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::harm::rfc3339;
use super::keeping::{unfit_for_parking, unfit_for_publishing, worries, worry_of_parking};
use super::with::{Again, Start, StartError};
use crate::bus::reread::reread;
use crate::bus::{BusError, Hold, Publisher, Stretch, Subscribe, Subscription, TopicInfo};
use crate::config::secret::Trouble;
use crate::config::settings::StoreSettings;
use crate::dead_letter::{ASSUMED_LIMIT, SMALLEST_LIMIT};
use crate::runtime::pause::Pauses;
use crate::runtime::{DeadLetterTopic, Parking, Policy, Retry};
use crate::store::{StoreLimits, StoreOptions};
use crate::writer::apart::FIX;
use crate::writer::outlet::{Outlet, Publishes};
use crate::writer::plan::{ParkingTopic, Reads};

/// The field that names the dead letter topic.
const DEAD_LETTERS: &str = "`kafka_dlq_topic`";

/// How long the end waits for what is being read back.
const LEAVES_PARKED_WITHIN: Duration = Duration::from_secs(2);

/// Talks to a bus that may be away for a while.
pub(super) struct Connect<'a> {
    pub(super) with: &'a Start,
    pub(super) retry: Retry,
}

impl Connect<'_> {
    /// What a store is opened with. A secret manager that is away, or does not give what it is asked for, is waited
    /// for as the bus is; a secret that is not where it has to be is a configuration that cannot work.
    pub(super) async fn options(
        &self,
        name: &str,
        settings: &StoreSettings,
        limits: StoreLimits,
    ) -> Result<StoreOptions, StartError> {
        let fetch = || StoreOptions::fetch(settings, limits);
        let options = self.retried(name, fetch, |error| match error.trouble {
            Trouble::Denied | Trouble::Away => {
                Ok(Setback { denied: error.trouble == Trouble::Denied, text: error.text.clone() })
            }
            Trouble::Never | Trouble::Missing => Err(StartError::Configuration(format!("{name}: {error}"))),
        });
        let options = options.await?;
        self.with.health.is_over(name);
        Ok(options)
    }

    /// A dead letter topic that will take what is sent to it: a burial must not be what fails.
    pub(super) async fn dead_letters(
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
        if self.with.bus.subscriptions().is_some() && info.keeping.for_ms.is_none() {
            tracing::warn!(
                "{part} keeps nothing (`message_retention_duration`): a dead letter that no subscription of it holds is gone at \
                 once, and `dlq` finds none"
            );
        }
        for worry in worries(&info.keeping) {
            tracing::warn!("{part} {worry} (docs/dead-letters.md has the settings that it should have)");
        }
        let publisher = self.patiently(&part, || self.with.bus.publisher()).await?;
        if info.max_message_bytes.is_none() {
            tracing::warn!("{part}: its limit is not known; assuming the default of Kafka, {ASSUMED_LIMIT} bytes");
        }
        let TopicInfo { max_message_bytes, max_header_bytes, keeping, .. } = info;
        Ok((publisher, DeadLetterTopic { name, max_message_bytes, max_header_bytes, compacts: keeping.compacts }))
    }

    /// Where messages are parked, and how they are read back: by a group of their own, with a quarter of the memory.
    pub(super) async fn parked(
        &self,
        parking: ParkingTopic,
        reads: &Reads,
        policy: &Policy,
    ) -> Result<(Parking, Subscription, Policy), StartError> {
        let ParkingTopic { after, topic } = parking;
        let part = format!("parking topic `{topic}`");
        if reads.embedded {
            self.made(&part, &topic).await?;
        }
        let info = self.topic(&part, &topic, "`parking_topic`").await?;
        if let Some(why) = unfit_for_parking(&info.keeping) {
            return Err(StartError::Configuration(format!("{part} {why}")));
        }
        if let Some(worry) = worry_of_parking(&info.keeping) {
            tracing::warn!("{part} {worry}");
        }
        let group = ParkingTopic::group(&reads.group);
        if self.with.bus.subscriptions().is_some()
            && !self.patiently(&part, || self.with.bus.reads(&group, &topic)).await?
        {
            return Err(StartError::Configuration(format!(
                "{part}: subscription `{group}` is not there or does not read `{topic}`, so what is parked would never come back; \
                 `chalk-writer publish --config FILE --topic {topic} --subscription {group} --generate 0` makes it"
            )));
        }
        let publisher = self.patiently(&part, || self.with.bus.publisher()).await?;
        // Nobody waits long for a store at the end: what is parked is safe where it is.
        let drain_within = policy.drain_within.min(LEAVES_PARKED_WITHIN);
        let max_bytes = (policy.max_bytes / 4).max(1);
        let policy = Policy { max_bytes, drain_within, beside: true, ..policy.clone() };
        let fetch_bytes = (reads.fetch_bytes / 4).max(1 << 20);
        let subscribe = Subscribe {
            topic: topic.clone(),
            group,
            drain: self.with.drain,
            fetch_bytes,
            hold: policy.holds(fetch_bytes),
            on_gap: reads.on_gap,
            transactional: false,
        };
        let subscription = self.patiently(&part, || self.with.bus.subscribe(subscribe.clone())).await?;
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
    pub(super) async fn outlet(&self, publishes: Publishes) -> Result<Outlet, StartError> {
        let Publishes { topic, named_by, .. } = &publishes;
        let part = format!("topic `{topic}`");
        let info = self.topic(&part, topic, named_by).await?;
        if let Some(why) = unfit_for_publishing(&info.keeping) {
            return Err(StartError::Configuration(format!("{part} ({named_by}) {why}")));
        }
        let publisher = self.patiently(&part, || self.with.bus.publisher()).await?;
        if info.max_message_bytes.is_none() {
            tracing::warn!("{part}: its limit is not known; assuming the default of Kafka, {ASSUMED_LIMIT} bytes");
        }
        Ok(Outlet::new(publisher, publishes, info.max_message_bytes))
    }

    /// What the writer reads: its place in the group, or a stretch outside every group.
    pub(super) async fn subscription(
        &self,
        reads: &Reads,
        hold: Hold,
        transactional: bool,
    ) -> Result<Subscription, StartError> {
        let topic = &reads.subscription;
        if let Some(again) = &self.with.again {
            return self.again(topic, again, hold).await;
        }
        let subscribe = Subscribe {
            topic: topic.clone(),
            group: reads.group.clone(),
            drain: self.with.drain,
            fetch_bytes: reads.fetch_bytes,
            hold,
            on_gap: reads.on_gap,
            transactional,
        };
        let part = match self.with.bus.subscriptions() {
            Some(_) => format!("subscription `{topic}`"),
            None => format!("subscription of `{topic}`"),
        };
        self.patiently(&part, || self.with.bus.subscribe(subscribe.clone())).await
    }

    /// A part of a topic, outside every group.
    async fn again(&self, read: &str, again: &Again, hold: Hold) -> Result<Subscription, StartError> {
        let (from_ms, until_ms) = match again {
            Again::Between { from_ms, until_ms, .. } => (*from_ms, *until_ms),
            Again::These(stretches) => return Ok(reread(Arc::clone(&self.with.bus), read, stretches.clone(), None)),
        };
        let named = self.patiently(&format!("subscription `{read}`"), || self.with.bus.topic_of(read)).await?;
        let topic = &*named;
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
        let own = self.patiently(&part, || async { self.with.bus.reread(topic, &stretches, hold).await.transpose() });
        if let Some(subscription) = own.await? {
            return Ok(subscription);
        }
        Ok(reread(Arc::clone(&self.with.bus), topic, stretches, Some(from_ms)))
    }

    /// What the writer reads, which has to be there.
    pub(super) async fn readable(&self, name: &str, field: &str) -> Result<TopicInfo, StartError> {
        let bus = &self.with.bus;
        if bus.subscriptions().is_none() {
            return self.topic(&format!("topic `{name}`"), name, field).await;
        }
        let part = format!("subscription `{name}`");
        let answer = self
            .patiently(&part, || async {
                match bus.readable(name).await {
                    Err(BusError::NotFound(_)) => Ok(None),
                    other => other.map(Some),
                }
            })
            .await?;
        answer.ok_or_else(|| {
            StartError::Configuration(format!(
                "{part}, which {field} names, is not there; make it with Google's tools, or with `chalk-writer publish \
                 --config FILE --topic TOPIC --subscription {name} --generate 0 --partitions 1`"
            ))
        })
    }

    /// Refuses a topic that is sent to and that the writer's subscription brings back; of a topic that is read by its
    /// name, the file told. Who may not ask about the subscription waits before this, where it is looked for.
    pub(super) async fn nothing_comes_back(&self, reads: &Reads) -> Result<(), StartError> {
        let name = &reads.subscription;
        let Some(subscriptions) = self.with.bus.subscriptions() else { return Ok(()) };
        let part = format!("subscription `{name}`");
        let topic = self.patiently(&part, || subscriptions.topic_of(name)).await?;
        let Some(wrong) = reads.coming_back(&topic).next() else { return Ok(()) };
        if self.patiently(&part, || subscriptions.is_filtered(name)).await? {
            // What a filter leaves out is for whoever wrote it.
            tracing::warn!("{wrong}, unless the filter of {part} leaves it out");
            return Ok(());
        }
        Err(StartError::Configuration(format!("{wrong}; {FIX}")))
    }

    /// A topic that has to be there, and the field that names it.
    pub(super) async fn topic(&self, part: &str, name: &str, field: &str) -> Result<TopicInfo, StartError> {
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
    pub(super) async fn patiently<T, F: Future<Output = Result<T, BusError>>>(
        &self,
        part: &str,
        call: impl Fn() -> F,
    ) -> Result<T, StartError> {
        let value = self.retried(part, call, |error| match error {
            BusError::Denied(_) => Ok(Setback { denied: true, text: error.to_string() }),
            // What is away may be looked for in the wrong place.
            BusError::Unavailable(_) => {
                let hint = self.with.bus.addressed_by().map(|by| format!(" ({by})")).unwrap_or_default();
                Ok(Setback { denied: false, text: format!("{error}{hint}") })
            }
            BusError::NotFound(_)
            | BusError::Settings(_)
            | BusError::TooLarge(_)
            | BusError::Refused(_)
            | BusError::Keyless(_) => Err(StartError::Configuration(format!("{part}: {error}"))),
            BusError::Gap(_) | BusError::Failed(_) => Err(StartError::Bus(error)),
        });
        let value = value.await?;
        self.with.health.works(part);
        Ok(value)
    }

    /// Calls until it succeeds, or fails with what is no setback. Meanwhile the part is in trouble.
    async fn retried<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        part: &str,
        call: impl Fn() -> F,
        setback: impl Fn(E) -> Result<Setback, StartError>,
    ) -> Result<T, StartError> {
        let stopped = |why: &str| StartError::Stopped(format!("{part}{why}"));
        let mut pauses = Pauses::new(self.retry);
        loop {
            let called = tokio::select! {
                called = call() => called,
                () = self.with.shutdown.cancelled() => return Err(stopped("")),
            };
            let Setback { text, denied } = match called {
                Ok(value) => return Ok(value),
                Err(error) => setback(error)?,
            };
            self.with.health.failed(part, &text, denied);
            tokio::select! {
                () = tokio::time::sleep(pauses.next(None)) => {}
                () = self.with.shutdown.cancelled() => return Err(stopped(&format!(": {text}"))),
            }
        }
    }
}

/// What may be over later.
struct Setback {
    text: String,
    /// Credentials or rights are missing.
    denied: bool,
}
