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

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep};

use super::PipelineError;
use super::health::{Health, Report};
use super::pause::Pauses;
use super::policy::Policy;
use crate::bus::{BusError, Publisher};
use crate::dead_letter::headers::{
    PARKED_OFFSET, PARKED_PARTITION, PARKED_PREFIX, PARKED_TIMESTAMP_MS, PARKED_TOPIC, TARGET_GROUP,
};
use crate::decode::{Decoded, Decoder};
use crate::message::envelope::id_of;
use crate::message::headers::append;
use crate::message::{Headers, Message, Outgoing, Partition};

/// The part of the pipeline that health names.
pub(super) const PART: &str = "parking topic";

/// Messages of one publish.
const TOGETHER: usize = 100;

/// Larger messages are published one by one: a publisher may copy what it sends.
const ALONE: usize = 256 << 10;

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

/// How often a destination that is away is asked whether it answers: who reads parked messages may be another process,
/// and there may be no messages for it.
pub(super) const ASKED_EVERY: Duration = Duration::from_secs(10);

/// Which destinations are away; shared by the pipelines of one writer, since either finds that one answers.
#[derive(Debug, Default)]
pub struct Away(Mutex<Vec<Option<Failing>>>);

/// A destination that nothing but failures has come from.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    /// It has answered a question since the last attempt to write, which may be made then.
    answers: bool,
}

impl Away {
    /// An attempt on a destination failed, by the number that rows call it.
    pub(super) fn failed(&self, destination: usize) {
        let since = Instant::now();
        self.change(destination, |failing| failing.get_or_insert(Failing { since, answers: false }).answers = false);
    }

    /// One that is away answered a question, though not a write.
    pub(super) fn answers(&self, destination: usize) {
        self.change(destination, |failing| {
            if let Some(failing) = failing {
                failing.answers = true;
            }
        });
    }

    /// Whether nothing but failures has come from it.
    pub(super) fn is_away(&self, destination: usize) -> bool {
        self.failing(destination).is_some()
    }

    /// A destination took a write.
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
            // One attempt, whatever it takes: its failure ends this.
            Some(Failing { answers: true, .. }) => ASKED_EVERY,
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
        let large = |message: &Outgoing| message.payload.as_ref().map_or(0, Bytes::len) > ALONE;
        for together in parked.chunk_by(|one, next| !large(one) && !large(next)).flat_map(|run| run.chunks(TOGETHER)) {
            let report = Report::new(health, PART);
            let mut pauses = Pauses::new(policy.retry);
            let mut left = together.to_vec();
            while let Err(undelivered) = self.publisher.publish(&left).await {
                let error = undelivered.reason();
                if let BusError::Failed(_) = error {
                    return Err(error.clone().into());
                }
                // One that it does not take, as being too large, waits like all others: dropping it is no choice.
                report.failed(&format!("{}: {error}", self.topic), matches!(error, BusError::Denied(_)));
                // What the topic has is not sent again.
                left = undelivered.left(left);
                sleep(pauses.next(None)).await;
            }
            report.works();
        }
        Ok(parked.len() as u64)
    }

    /// A message as it is, with its id and where it was read from, for the group that has parked it: other writers may park in the same topic.
    fn parked(&self, message: &Message, group: &str) -> Outgoing {
        let mut block = BytesMut::with_capacity(message.headers.size() + 200);
        let first = unparked(message);
        let first = first.as_ref().unwrap_or(message);
        let ours = |name: &str| name == TARGET_GROUP || name.starts_with(PARKED_PREFIX);
        for (name, value) in message.headers.iter().filter(|(name, _)| !ours(name)) {
            append(&mut block, name, value);
        }
        let mut put = |name: &str, value: &str| append(&mut block, name, Some(value.as_bytes()));
        // Without an id of its own it would have another one there, and rows of which some are written already would be
        // other rows. An empty id is as good as none.
        if ["ce_id", "ce-id"].iter().all(|name| message.headers.get(name).is_none_or(<[u8]>::is_empty)) {
            put("ce_id", &id_of(message));
        }
        put(TARGET_GROUP, group);
        put(PARKED_TOPIC, &first.partition.topic);
        put(PARKED_PARTITION, &first.partition.number.to_string());
        put(PARKED_OFFSET, &first.offset.to_string());
        if let Some(millis) = first.timestamp_ms {
            put(PARKED_TIMESTAMP_MS, &millis.to_string());
        }
        Outgoing {
            topic: self.topic.clone(),
            partition: None,
            key: message.key.clone(),
            headers: Headers::from_block(block.freeze()),
            payload: message.payload.clone(),
            // By the time of an old message a broker would expire it at once.
            timestamp_ms: None,
        }
    }
}

/// A decoder that sees parked messages as they were when they were first read: their topic, place and time are what
/// rows without an id or a time of their own have.
pub struct Unparked<R>(pub Arc<dyn Decoder<R>>);

impl<R> Decoder<R> for Unparked<R> {
    fn decode(&self, message: &Message, decoded: &mut Decoded<R>) {
        match unparked(message) {
            Some(original) => self.0.decode(&original, decoded),
            None => self.0.decode(message, decoded),
        }
    }
}

/// The message as it was first read; `None` of one that nobody of ours has parked.
pub fn unparked(message: &Message) -> Option<Message> {
    let number = |name| message.headers.get_str(name)?.parse::<i64>().ok();
    let topic = message.headers.get_str(PARKED_TOPIC)?;
    let partition = Partition { topic: topic.into(), number: number(PARKED_PARTITION)?.try_into().ok()? };
    Some(Message {
        partition,
        offset: number(PARKED_OFFSET)?,
        timestamp_ms: number(PARKED_TIMESTAMP_MS),
        ..message.clone()
    })
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

    #[test]
    fn a_parked_message_has_the_id_that_it_had_and_its_letter_names_where_it_came_from() {
        use crate::dead_letter::{Note, compose, headers};
        use crate::message::{Delivery, Partition};
        use crate::sink::{ErrorClass, Refusal};

        struct Nobody;
        #[async_trait::async_trait]
        impl Publisher for Nobody {
            async fn publish(&self, _: &[Outgoing]) -> Result<Vec<crate::bus::Placed>, crate::bus::Undelivered> {
                Ok(Vec::new())
            }
        }
        let message = Message {
            delivery: Delivery(1),
            partition: Partition { topic: "results".into(), number: 3 },
            offset: 42,
            timestamp_ms: Some(7),
            key: None,
            headers: Headers::default(),
            payload: Some("x".into()),
        };
        let parking = Parking { after: Duration::ZERO, topic: "parked".to_owned(), publisher: Arc::new(Nobody) };
        let outgoing = parking.parked(&message, "g");
        assert_eq!(outgoing.headers.get_str("ce_id"), Some("results/3/42/7"));
        let again = Message {
            partition: Partition { topic: "parked".into(), number: 0 },
            offset: 0,
            headers: outgoing.headers,
            ..message
        };
        // Parked once more it is still the same.
        let twice = parking.parked(&again, "g");
        assert_eq!(twice.headers.get_str("ce_id"), Some("results/3/42/7"));
        let note = Note {
            writer_type: "ONLINE_WRITER",
            group: "g".to_owned(),
            environment: None,
            sink: None,
            refusal: Refusal::new(ErrorClass::ValueRefused, "no"),
            failed_at_ms: 0,
            attempts: 1,
            batch_id: "b".to_owned(),
        };
        let letter = compose(&again, &note, "dlq", None).remove(0);
        let found = [headers::TOPIC, headers::PARTITION, headers::OFFSET].map(|name| letter.headers.get_str(name));
        assert_eq!(found, [Some("results"), Some("3"), Some("42")]);
    }
}
