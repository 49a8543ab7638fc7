//! Sending messages: of one key one after the other, all else together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use google_cloud_pubsub::client::Publisher as TopicPublisher;
use google_cloud_pubsub::error::PublishError;

use super::client::Clients;
use super::{errors, message, topics};
use crate::bus::{BusError, Placed, Publisher};
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

#[async_trait]
impl Publisher for PubsubPublisher {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, BusError> {
        // All are looked at before the first is sent.
        let given = messages.iter().map(message::outgoing).collect::<Result<Vec<_>, _>>()?;
        // The client keeps a task and a queue for every key that it ever saw, and holds a key back after a failure. So those with
        // keys are sent by one that ends with this call.
        let mut keyed: HashMap<&str, TopicPublisher> = HashMap::new();
        let mut sent = Vec::with_capacity(messages.len());
        for (message, given) in messages.iter().zip(given) {
            if given.ordering_key.is_empty() {
                sent.push(self.of(&message.topic).await?.publish(given));
                continue;
            }
            if !keyed.contains_key(&*message.topic) {
                keyed.insert(&message.topic, self.make(&message.topic).await?);
            }
            sent.push(keyed[&*message.topic].publish(given));
        }
        let mut placed = Vec::with_capacity(messages.len());
        let mut failed: Option<(u8, &str, PublishError)> = None;
        for (message, outcome) in messages.iter().zip(join_all(sent).await) {
            match outcome {
                Ok(id) => placed.push(Placed {
                    partition: Partition { topic: message.topic.as_str().into(), number: 0 },
                    offset: message::offset(&id),
                }),
                // Of what was only held back another one's failure is the reason, and trouble that passes is told first: what
                // is refused for good is so again.
                Err(error) => {
                    let weight = weight(&error);
                    if failed.as_ref().is_none_or(|(heavier, ..)| *heavier < weight) {
                        failed = Some((weight, &*message.topic, error));
                    }
                }
            }
        }
        match failed {
            None => Ok(placed),
            Some((_, topic, error)) => Err(self.explain(topic, &error).await),
        }
    }
}

/// Which of several failures is told.
fn weight(error: &PublishError) -> u8 {
    match error {
        PublishError::OrderingKeyPaused => 0,
        PublishError::Rpc(error) if errors::is_about_an_argument(error) => 1,
        _ => 2,
    }
}

impl PubsubPublisher {
    async fn explain(&self, topic: &str, error: &PublishError) -> BusError {
        let what = format!("a message to topic {topic} was not taken");
        let error = match error {
            PublishError::Rpc(error) => error,
            other => return BusError::Unavailable(format!("{what}: {other}")),
        };
        match self.clients.classify(&what, error) {
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
