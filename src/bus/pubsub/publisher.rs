//! Sending messages: of one key one after the other, all else together.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join_all;
use google_cloud_pubsub::client::Publisher as TopicPublisher;
use google_cloud_pubsub::error::PublishError;
use google_cloud_pubsub::publisher::PublishFuture;

use super::client::Clients;
use super::{errors, message, topics};
use crate::bus::{BusError, Landing, Placed, Publisher, Undelivered, all_landed};
use crate::message::{Outgoing, Partition};

/// Messages that wait for others to go with them do so for no longer: whoever publishes many has them all there at once.
const DELAY: Duration = Duration::from_millis(2);
/// Bytes of one request; Google's limit is 10 MB.
const REQUEST_BYTES: u32 = 4 << 20;
/// Messages of one request: Google's limit.
const REQUEST_MESSAGES: u32 = 1000;

/// Sends to any topic of the bus.
pub(super) struct PubsubPublisher {
    clients: Arc<Clients>,
    /// By topic, as people name it.
    topics: Mutex<HashMap<String, TopicPublisher>>,
}

impl PubsubPublisher {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        Self { clients, topics: Mutex::new(HashMap::new()) }
    }

    async fn make(&self, topic: &str) -> Result<TopicPublisher, BusError> {
        let base = self.clients.publisher().await?;
        Ok(base
            .publisher(self.clients.topic_name(topic))
            .set_delay_threshold(DELAY)
            .set_byte_threshold(REQUEST_BYTES)
            .set_message_count_threshold(REQUEST_MESSAGES)
            .build())
    }

    /// What sends the messages of a topic that have no key, and is kept.
    async fn of(&self, topic: &str) -> Result<TopicPublisher, BusError> {
        if let Some(known) = self.topics.lock().unwrap_or_else(PoisonError::into_inner).get(topic) {
            return Ok(known.clone());
        }
        let made = self.make(topic).await?;
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(topics.entry(topic.to_owned()).or_insert(made).clone())
    }
}

/// What sends the messages of one call that have a key, by topic. The client keeps a task and a queue for every key that it ever
/// saw, and holds a key back after a failure: so these end with the call.
type Keyed<'a> = HashMap<&'a str, TopicPublisher>;

#[async_trait]
impl Publisher for PubsubPublisher {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        let (mut keyed, mut sent) = (Keyed::new(), Vec::with_capacity(messages.len()));
        let mut landings: Vec<Option<Landing>> = vec![None; messages.len()];
        for (at, message) in messages.iter().enumerate() {
            match self.send(&mut keyed, message).await {
                Ok(answer) => sent.push(answer.map(move |answer| (at, answer))),
                Err(error) => landings[at] = Some(Err(error)),
            }
        }
        let (mut again, mut freed) = (Vec::new(), HashSet::new());
        for (at, answer) in join_all(sent).await {
            let message = &messages[at];
            let key = message.key.as_ref().map(|key| (&*message.topic, key));
            match answer {
                // The service refuses a request: this one may have been refused for its neighbours, and those that follow it in its
                // key were held back for it.
                Err(error) if messages.len() > 1 && is_of_a_request(&error) => {
                    freed.extend(key);
                    again.push(at);
                }
                Err(PublishError::OrderingKeyPaused) if key.is_some_and(|key| freed.contains(&key)) => again.push(at),
                answer => landings[at] = Some(self.landing(message, answer).await),
            }
        }
        for (topic, key) in freed {
            resume(&keyed, topic, key);
        }
        for at in again {
            let message = &messages[at];
            landings[at] = Some(match self.send(&mut keyed, message).await {
                Ok(answer) => {
                    let answer = answer.await;
                    // What is refused for itself holds up no other; after any other failure the key's order does.
                    if let (Err(error), Some(key)) = (&answer, &message.key)
                        && is_of_a_request(error)
                    {
                        resume(&keyed, &message.topic, key);
                    }
                    self.landing(message, answer).await
                }
                Err(error) => Err(error),
            });
        }
        let unheard = || Err(BusError::Unavailable("no answer came".to_owned()));
        all_landed(landings.into_iter().map(|landing| landing.unwrap_or_else(unheard)).collect())
    }
}

/// Whether the service finds something wrong with what it was given in one request.
fn is_of_a_request(error: &PublishError) -> bool {
    matches!(error, PublishError::Rpc(error) if errors::is_about_an_argument(error))
}

/// Lets the messages of a key go on that are held back since one of them failed.
fn resume(keyed: &Keyed<'_>, topic: &str, key: &[u8]) {
    if let (Some(publisher), Ok(key)) = (keyed.get(topic), std::str::from_utf8(key)) {
        publisher.resume_publish(key);
    }
}

impl PubsubPublisher {
    /// Hands a message to the client, where Pub/Sub can carry it.
    async fn send<'a>(&self, keyed: &mut Keyed<'a>, message: &'a Outgoing) -> Result<PublishFuture, BusError> {
        let given = message::outgoing(message)?;
        if given.ordering_key.is_empty() {
            return Ok(self.of(&message.topic).await?.publish(given));
        }
        if !keyed.contains_key(&*message.topic) {
            keyed.insert(&message.topic, self.make(&message.topic).await?);
        }
        Ok(keyed[&*message.topic].publish(given))
    }

    async fn landing(&self, message: &Outgoing, answer: Result<String, PublishError>) -> Landing {
        match answer {
            Ok(id) => Ok(Placed {
                partition: Partition { topic: message.topic.as_str().into(), number: 0 },
                offset: message::offset(&id),
            }),
            Err(error) => Err(self.explain(&message.topic, &error).await),
        }
    }

    async fn explain(&self, topic: &str, error: &PublishError) -> BusError {
        let what = format!("a message to topic {topic} was not taken");
        let error = match error {
            PublishError::Rpc(error) => error,
            other => return BusError::Unavailable(format!("{what}: {other}")),
        };
        match errors::classify(&what, error) {
            BusError::NotFound(_) => BusError::NotFound(topic.to_owned()),
            // The service says the same of a message that it never takes and of a topic whose name is none. Who may publish may
            // not be allowed to ask; then there is a topic at least.
            BusError::Failed(text) if errors::is_about_an_argument(error) => {
                match topics::topic(&self.clients, topic).await {
                    Ok(_) | Err(BusError::Denied(_)) => BusError::Refused(text),
                    Err(other) => other,
                }
            }
            other => other,
        }
    }
}
