//! Buries messages: published to the dead letter topic and confirmed before anything is acknowledged.

use std::fmt;
use std::sync::Arc;

use tokio::time::sleep;

use super::health::{Health, Report};
use super::pause::Pauses;
use super::{DeadLetterTopic, PipelineError, Policy};
use crate::bus::{BusError, Publisher};
use crate::dead_letter::{Fit, Note};
use crate::message::{Message, Outgoing};
use crate::sink::{ErrorClass, Refusal};
use crate::value::time::now;

/// The part of the pipeline that health names.
pub(super) const PART: &str = "dead letter topic";

/// Larger letters are published one by one: should the bus find one too large, no other is sent again.
const ALONE: usize = 256 << 10;

/// Dead letters of one publish.
const TOGETHER: usize = 100;

/// Burials of one batch that are logged one by one.
const SAID_OF_A_BATCH: usize = 5;

/// Shows every class before anything is buried, so that the first burials count as an increase.
pub(super) fn count_from_zero() {
    for class in ErrorClass::ALL {
        count(class, 0);
    }
}

fn count(class: ErrorClass, messages: u64) {
    metrics::counter!("chalk_writer_messages_buried_total", "class" => class.as_str()).increment(messages);
}

/// A message that is to be buried, and why.
#[derive(Debug)]
pub(super) struct Burial<'a> {
    pub(super) message: &'a Message,
    pub(super) environment: Option<&'a str>,
    pub(super) refusal: Refusal,
    pub(super) sink: Option<String>,
    pub(super) attempts: u32,
}

/// Where and how messages are buried.
#[derive(Clone)]
pub(super) struct Graveyard {
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) topic: DeadLetterTopic,
}

impl Graveyard {
    /// Returns once the bus has confirmed every one of them. What is away is waited for without
    /// end: nothing may be acknowledged before.
    pub(super) async fn bury(
        &self,
        burials: &[&Burial<'_>],
        batch_id: &str,
        policy: &Policy,
        health: &Health,
    ) -> Result<(), PipelineError> {
        let failed_at_ms = now() / 1_000;
        let notes: Vec<Note> = burials.iter().map(|burial| burial.note(batch_id, failed_at_ms, policy)).collect();
        let fit = Fit::of(self.topic.max_message_bytes, self.topic.max_header_bytes);
        let (small, large): (Vec<_>, Vec<_>) =
            burials.iter().zip(&notes).partition(|(burial, _)| burial.message.size() <= ALONE.min(fit.limit() / 2));
        for together in small.chunks(TOGETHER) {
            let letters: Vec<Outgoing> =
                together.iter().flat_map(|(burial, note)| fit.letter(burial.message, note, &self.topic.name)).collect();
            self.publish(&letters, policy, health).await?;
        }
        for (burial, note) in large {
            self.bury_cut(burial, note, fit, policy, health).await?;
        }
        self.report(burials);
        Ok(())
    }

    /// One letter, cut into smaller and smaller parts until the topic takes it: the bus may count
    /// more than we do, or its limit may have changed.
    async fn bury_cut(
        &self,
        burial: &Burial<'_>,
        note: &Note,
        mut fit: Fit,
        policy: &Policy,
        health: &Health,
    ) -> Result<(), PipelineError> {
        let topic = &self.topic.name;
        loop {
            match self.publish(&fit.letter(burial.message, note, topic), policy, health).await {
                Err(PipelineError::Bus(BusError::TooLarge(_))) if fit.halve() => {}
                other => return other,
            }
        }
    }

    async fn publish(&self, letters: &[Outgoing], policy: &Policy, health: &Health) -> Result<(), PipelineError> {
        let mut pauses = Pauses::new(policy.retry);
        let report = Report::new(health, PART);
        loop {
            match self.publisher.publish(letters).await {
                Ok(_) => {
                    report.works();
                    return Ok(());
                }
                // A topic that was there at the start is waited for: dropping the message is no choice.
                Err(error) if error.is_transient() || matches!(error, BusError::NotFound(_)) => {
                    report.failed(&error.to_string(), matches!(error, BusError::Denied(_)));
                    sleep(pauses.next(None)).await;
                }
                // There is nowhere else to put it: whoever runs the topic has to change it.
                Err(BusError::TooLarge(reason)) => return Err(BusError::TooLarge(self.says(&reason)).into()),
                Err(BusError::Refused(reason)) => return Err(BusError::Refused(self.says(&reason)).into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn says(&self, reason: &str) -> String {
        format!("{PART} {}: {reason}", self.topic.name)
    }

    fn report(&self, burials: &[&Burial<'_>]) {
        for burial in burials {
            count(burial.refusal.class, 1);
        }
        for burial in burials.iter().take(SAID_OF_A_BATCH) {
            tracing::warn!(
                topic = &*burial.message.partition.topic,
                partition = burial.message.partition.number,
                offset = burial.message.offset,
                class = burial.refusal.class.as_str(),
                "buried in {}: {}",
                self.topic.name,
                burial.refusal.for_logs()
            );
            tracing::debug!(offset = burial.message.offset, "buried: {}", burial.refusal);
        }
        if burials.len() > SAID_OF_A_BATCH {
            let more = burials.len() - SAID_OF_A_BATCH;
            tracing::warn!(more, "buried more of the same batch in {}", self.topic.name);
        }
    }
}

/// As logs have it.
impl fmt::Display for Burial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { partition, offset, .. } = self.message;
        write!(f, "{}/{}/{offset}: {}", partition.topic, partition.number, self.refusal.for_logs())
    }
}

impl Burial<'_> {
    fn note(&self, batch_id: &str, failed_at_ms: i64, policy: &Policy) -> Note {
        Note {
            writer_type: policy.writer_type,
            group: policy.group.clone(),
            environment: self.environment.map(str::to_owned),
            sink: self.sink.clone(),
            refusal: self.refusal.clone(),
            failed_at_ms,
            attempts: self.attempts,
            batch_id: batch_id.to_owned(),
        }
    }
}
