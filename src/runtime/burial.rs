//! Buries messages: published to the dead letter topic and confirmed before anything is acknowledged.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::sleep;

use super::health::{Health, Report};
use super::pause::Pauses;
use super::{DeadLetterTopic, PipelineError, Policy};
use crate::bus::{BusError, Publisher, Undelivered};
use crate::dead_letter::{Fit, Note};
use crate::message::{Message, Outgoing};
use crate::sink::{ErrorClass, Refusal};
use crate::value::time::now;

/// The part of the pipeline that health names.
pub(super) const PART: &str = "dead letter topic";

/// Larger messages are buried one by one: a publisher may copy what it sends.
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

/// A message whose letter the topic does not have yet, and how that letter is made.
#[derive(Clone, Copy)]
struct Open<'a> {
    message: &'a Message,
    note: &'a Note,
    fit: Fit,
}

impl Open<'_> {
    fn letter(&self, topic: &str) -> Vec<Outgoing> {
        self.fit.letter(self.message, self.note, topic)
    }
}

/// Where and how messages are buried.
#[derive(Clone)]
pub(super) struct Graveyard {
    publisher: Arc<dyn Publisher>,
    topic: DeadLetterTopic,
    /// It takes no letter without a key: told at the start, or found out.
    keyed: Arc<AtomicBool>,
}

impl Graveyard {
    pub(super) fn new(publisher: Arc<dyn Publisher>, topic: DeadLetterTopic) -> Self {
        let keyed = Arc::new(AtomicBool::new(topic.compacts));
        Self { publisher, topic, keyed }
    }

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
        let DeadLetterTopic { max_message_bytes, max_header_bytes, .. } = self.topic;
        let fit = Fit::of(max_message_bytes, max_header_bytes, self.keyed.load(Ordering::Relaxed));
        let open = burials.iter().zip(&notes).map(|(burial, note)| Open { message: burial.message, note, fit });
        let (small, large): (Vec<_>, Vec<_>) = open.partition(|open| open.message.size() <= ALONE.min(fit.limit() / 2));
        for together in small.chunks(TOGETHER).chain(large.chunks(1)) {
            self.publish(together.to_vec(), policy, health).await?;
        }
        self.report(burials);
        Ok(())
    }

    /// Returns once the topic has every one of these letters. What it has is not sent again with the others.
    async fn publish(&self, mut open: Vec<Open<'_>>, policy: &Policy, health: &Health) -> Result<(), PipelineError> {
        let mut pauses = Pauses::new(policy.retry);
        let report = Report::new(health, PART);
        loop {
            let letters: Vec<Vec<Outgoing>> = open.iter().map(|open| open.letter(&self.topic.name)).collect();
            let undelivered = match &letters[..] {
                [parts] if parts.len() > 1 => self.publish_parts(parts).await,
                letters => self.publisher.publish(&letters.concat()).await.map(drop),
            };
            let Err(undelivered) = undelivered else {
                report.works();
                return Ok(());
            };
            let mut landings = undelivered.landings();
            let (mut left, mut waits) = (Vec::new(), None::<&BusError>);
            for (mut open, letter) in open.into_iter().zip(letters) {
                let (parts, others) = landings.split_at(letter.len().min(landings.len()));
                landings = others;
                // Of a letter in parts all go again, so that they stay beside one another.
                let error = match parts.iter().find_map(|part| part.as_ref().err()) {
                    Some(error) => error,
                    None if parts.len() == letter.len() => continue,
                    // Nothing was said of it.
                    None => undelivered.reason(),
                };
                if !self.is_changed(&mut open, error)? && !matches!(waits, Some(BusError::Denied(_))) {
                    waits = Some(error);
                }
                left.push(open);
            }
            open = left;
            if let Some(error) = waits {
                report.failed(&error.to_string(), matches!(error, BusError::Denied(_)));
                sleep(pauses.next(None)).await;
            }
        }
    }

    /// Publishes the parts of one letter. The first is as large as any: where it is too large, no other is left behind beside those
    /// of the next attempt.
    async fn publish_parts(&self, parts: &[Outgoing]) -> Result<(), Undelivered> {
        let (first, others) = parts.split_at(1);
        self.publisher.publish(first).await?;
        self.publisher.publish(others).await.map(drop)
    }

    /// Whether the next attempt sends a letter otherwise, since its topic does not take it as it is; if not, it is waited for.
    /// Ends with what no waiting mends.
    fn is_changed(&self, open: &mut Open<'_>, error: &BusError) -> Result<bool, PipelineError> {
        match error {
            // The bus may count more than we do, or its limit may have changed.
            BusError::TooLarge(_) if open.fit.halve() => Ok(true),
            // There is nowhere else to put it: whoever runs the topic has to change it.
            BusError::TooLarge(reason) => {
                Err(BusError::TooLarge(format!("{PART} {}: {reason}", self.topic.name)).into())
            }
            BusError::Keyless(_) if open.fit.give_key() => {
                self.keyed.store(true, Ordering::Relaxed);
                Ok(true)
            }
            // Dropping the message is no choice. A topic that was there at the start is waited for; where it refuses the letter, whoever
            // runs it has to change it: until then it stands here, as it would again after every start, and says why.
            BusError::Unavailable(_)
            | BusError::Denied(_)
            | BusError::NotFound(_)
            | BusError::Refused(_)
            | BusError::Keyless(_) => Ok(false),
            BusError::Gap(_) | BusError::Settings(_) | BusError::Failed(_) => Err(error.clone().into()),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::bus::{Placed, all_landed};
    use crate::dead_letter::read;
    use crate::message::{Delivery, Headers, Partition};
    use crate::runtime::{DeadLetterBudget, Retry};

    /// A topic that takes what it is told to, of each attempt.
    struct Topic {
        takes: fn(attempt: usize, letter: &Outgoing) -> Result<(), BusError>,
        attempts: Mutex<usize>,
        letters: Mutex<Vec<Outgoing>>,
    }

    #[async_trait]
    impl Publisher for Topic {
        async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
            let mut attempts = self.attempts.lock().expect("no panic");
            *attempts += 1;
            let mut letters = self.letters.lock().expect("no panic");
            let land = |letter: &Outgoing| {
                (self.takes)(*attempts, letter)?;
                letters.push(letter.clone());
                let partition = Partition { topic: "dlq".into(), number: 0 };
                Ok(Placed { partition, offset: letters.len() as i64 - 1 })
            };
            all_landed(messages.iter().map(land).collect())
        }
    }

    fn message(offset: i64, key: Option<&'static str>) -> Message {
        Message {
            delivery: Delivery(offset as u64),
            partition: Partition { topic: "results".into(), number: 0 },
            offset,
            timestamp_ms: Some(7),
            key: key.map(Into::into),
            headers: Headers::new(),
            payload: Some("bad".into()),
        }
    }

    /// Buries messages; returns the letters that the topic has, and how often they were tried.
    async fn buried(
        messages: &[Message],
        health: &Health,
        takes: fn(usize, &Outgoing) -> Result<(), BusError>,
    ) -> (Vec<Outgoing>, usize) {
        let topic = Arc::new(Topic { takes, attempts: Mutex::default(), letters: Mutex::default() });
        let name = DeadLetterTopic {
            name: "dlq".to_owned(),
            max_message_bytes: None,
            max_header_bytes: None,
            compacts: false,
        };
        let graveyard = Graveyard::new(Arc::clone(&topic) as Arc<dyn Publisher>, name);
        let policy = Policy {
            writer_type: "TEST",
            group: "test".to_owned(),
            max_rows: 10,
            max_bytes: 1000,
            max_messages: 10,
            max_age: Duration::from_secs(1),
            in_flight: 1,
            concurrency: 1,
            drain_within: Duration::from_secs(1),
            beside: false,
            eager: false,
            retry: Retry { first: Duration::from_millis(10), longest: Duration::from_secs(1) },
            budget: DeadLetterBudget { max_ratio: 1.0, max_consecutive: 10 },
        };
        let burials: Vec<Burial<'_>> = messages
            .iter()
            .map(|message| Burial {
                message,
                environment: None,
                refusal: Refusal::new(ErrorClass::Decode, "no"),
                sink: None,
                attempts: 1,
            })
            .collect();
        let burials: Vec<&Burial<'_>> = burials.iter().collect();
        graveyard.bury(&burials, "batch", &policy, health).await.expect("buried");
        let letters = topic.letters.lock().expect("no panic").clone();
        let attempts = *topic.attempts.lock().expect("no panic");
        (letters, attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn of_letters_that_did_not_all_land_only_the_others_are_sent_again() {
        let messages: Vec<Message> = (0..100).map(|offset| message(offset, None)).collect();
        let takes = |attempt: usize, letter: &Outgoing| {
            let late = letter.headers.get_str("chalk_dlq_offset").is_some_and(|offset| offset.ends_with('7'));
            if late && attempt < 3 { Err(BusError::Unavailable("away".to_owned())) } else { Ok(()) }
        };
        let (letters, attempts) = buried(&messages, &Health::default(), takes).await;
        assert_eq!((letters.len(), attempts), (100, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_topic_takes_nothing_without_a_key_a_letter_has_one_and_its_message_none() {
        let compacted = |_: usize, letter: &Outgoing| match letter.key {
            Some(_) => Ok(()),
            None => Err(BusError::Keyless("no key".to_owned())),
        };
        let messages = [message(0, None), message(1, Some("k")), message(2, None)];
        let (letters, attempts) = buried(&messages, &Health::default(), compacted).await;
        assert_eq!((letters.len(), attempts), (3, 2));
        let mut keys: Vec<_> = letters.iter().map(|letter| letter.key.clone().expect("a key")).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 3, "none removes another");
        for letter in letters {
            let offset: i64 =
                letter.headers.get_str("chalk_dlq_offset").and_then(|at| at.parse().ok()).expect("a number");
            let as_read =
                Message { key: letter.key, headers: letter.headers, payload: letter.payload, ..message(9, None) };
            let original = read(&as_read).expect("a letter").original;
            assert_eq!(original.key, messages[offset as usize].key);
            assert_eq!(original.headers.get_str("chalk_dlq_keyless"), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_letter_that_its_topic_refuses_is_waited_for_and_the_topic_named() {
        let health = Health::default();
        let strict = |attempt: usize, _: &Outgoing| {
            if attempt < 4 { Err(BusError::Refused("not the schema".to_owned())) } else { Ok(()) }
        };
        let messages = [message(0, Some("k"))];
        let burying = buried(&messages, &health, strict);
        let looking = async {
            sleep(Duration::from_millis(5)).await;
            health.state().troubles[PART].reason.clone()
        };
        let ((letters, attempts), said) = tokio::join!(burying, looking);
        assert_eq!((letters.len(), attempts, &*said), (1, 4, "message refused: not the schema"));
        assert!(health.state().troubles.is_empty());
    }
}
