//! Parking: messages for a destination that has been away for long are moved aside, so that those for others go on.
//!
//! They are published to a parking topic as they are, confirmed, and only then acknowledged. A second pipeline of the same
//! process, with a group of its own, reads them back: to it the destination is one that is away as always, which it waits
//! for. A parked message was judged in nothing: the dead letter budget knows nothing of it, and a bad row in it is found
//! and buried when it is read back.
//!
//! The order of a key is that of the parking topic, where keys keep their partition. What comes after the destination
//! answers again may overtake what is parked: stores that compare times, or know rows by key, end with the same rows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, sleep};

use super::PipelineError;
use super::health::{Health, Report};
use super::pause::Pauses;
use super::policy::Policy;
use crate::bus::Publisher;
use crate::dead_letter::headers::TARGET_GROUP;
use crate::message::headers::append;
use crate::message::{Headers, Message, Outgoing};

/// The part of the pipeline that health names.
pub(super) const PART: &str = "parking topic";

/// Messages of one publish.
const TOGETHER: usize = 100;

/// Where messages are parked, and when.
#[derive(Clone)]
pub struct Parking {
    /// How long a destination is waited for before.
    pub after: Duration,
    /// The topic.
    pub topic: String,
    /// What publishes to it.
    pub publisher: Arc<dyn Publisher>,
}

/// How often one message of those to be parked is tried on a destination that is away: who reads parked messages may be
/// another process, and only an attempt tells this one that the destination answers again.
const TRIED_EVERY: Duration = Duration::from_secs(10);

/// Which destinations are away; shared by the pipelines of one writer, since either finds that one answers.
#[derive(Debug, Default)]
pub struct Away(Mutex<Vec<Option<Failing>>>);

/// A destination that nothing but failures has come from.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    tried: Instant,
}

impl Away {
    /// An attempt on a destination failed, by the number that rows call it.
    pub(super) fn failed(&self, destination: usize) {
        let now = Instant::now();
        self.change(destination, |failing| failing.get_or_insert(Failing { since: now, tried: now }).tried = now);
    }

    /// A destination answered.
    pub(super) fn works(&self, destination: usize) {
        self.change(destination, |failing| *failing = None);
    }

    fn failing(&self, destination: usize) -> Option<Failing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(destination).copied().flatten()
    }

    fn change(&self, destination: usize, change: impl FnOnce(&mut Option<Failing>)) {
        let mut away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if away.len() <= destination {
            away.resize(destination + 1, None);
        }
        change(&mut away[destination]);
    }
}

impl Parking {
    /// How long a destination may still be waited for; zero where its messages are to be parked.
    pub(super) fn patience(&self, away: &Away, destination: usize) -> Duration {
        match away.failing(destination) {
            None => self.after,
            // One attempt, whatever it takes.
            Some(Failing { tried, .. }) if tried.elapsed() >= TRIED_EVERY => TRIED_EVERY,
            Some(Failing { since, .. }) => self.after.saturating_sub(since.elapsed()),
        }
    }

    /// Returns once the bus has confirmed every one of them. What is away is waited for without end: nothing may be
    /// acknowledged before.
    pub(super) async fn park(
        &self,
        messages: impl Iterator<Item = &Message>,
        policy: &Policy,
        health: &Health,
    ) -> Result<u64, PipelineError> {
        let parked: Vec<Outgoing> = messages.map(|message| self.parked(message, &policy.group)).collect();
        for together in parked.chunks(TOGETHER) {
            let report = Report::new(health, PART);
            let mut pauses = Pauses::new(policy.retry);
            while let Err(error) = self.publisher.publish(together).await {
                if let crate::bus::BusError::Failed(_) = error {
                    return Err(error.into());
                }
                // One that it does not take, as being too large, waits like all others: dropping it is no choice.
                report.failed(&format!("{}: {error}", self.topic), matches!(error, crate::bus::BusError::Denied(_)));
                sleep(pauses.next(None)).await;
            }
            report.works();
        }
        Ok(parked.len() as u64)
    }

    /// A message as it is, for the group that has parked it: other writers may park in the same topic.
    fn parked(&self, message: &Message, group: &str) -> Outgoing {
        let mut block = BytesMut::with_capacity(message.headers.size() + 64);
        for (name, value) in message.headers.iter().filter(|(name, _)| *name != TARGET_GROUP) {
            append(&mut block, name, value);
        }
        append(&mut block, TARGET_GROUP, Some(group.as_bytes()));
        Outgoing {
            topic: self.topic.clone(),
            partition: None,
            key: message.key.clone(),
            headers: Headers::from_block(block.freeze()),
            payload: message.payload.clone(),
            timestamp_ms: message.timestamp_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_away_from_its_first_failure_to_its_next_answer() {
        let away = Away::default();
        assert!(away.failing(3).is_none());
        away.failed(3);
        let first = away.failing(3).expect("away");
        away.failed(3);
        assert_eq!(away.failing(3).expect("still away").since, first.since, "a second failure does not begin anew");
        assert!(away.failing(1).is_none(), "the others are not");
        away.works(3);
        assert!(away.failing(3).is_none());
    }
}
