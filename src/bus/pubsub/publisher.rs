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

/// Topics that were asked about in one call, and what is wrong with them.
type Asked<'a> = HashMap<&'a str, Option<BusError>>;

#[async_trait]
impl Publisher for PubsubPublisher {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        let (mut keyed, mut sent) = (Keyed::new(), Vec::with_capacity(messages.len()));
        let mut landings: Vec<Option<Landing>> = vec![None; messages.len()];
        for (at, message) in messages.iter().enumerate() {
            match self.send(&mut keyed, message).await {
                Ok(answer) => sent.push(answer.map(move |answer| (at, answer))),
                Err(error) if error.is_verdict() => landings[at] = Some(Err(error)),
                // Each of the others would wait as long.
                Err(error) => {
                    landings[at..].fill(Some(Err(error)));
                    break;
                }
            }
        }
        let (mut again, mut held_back, mut asked) = (Vec::new(), HashSet::new(), Asked::new());
        for (at, answer) in join_all(sent).await {
            let message = &messages[at];
            let key = message.key.as_ref().map(|key| (&*message.topic, key));
            match answer {
                // The service refuses a request: this one may have been refused for its neighbours, and those that follow it in its
                // key were held back for it.
                Err(error) if messages.len() > 1 && is_of_a_request(&error) => {
                    held_back.extend(key);
                    again.push(at);
                }
                Err(PublishError::OrderingKeyPaused) if key.is_some_and(|key| held_back.contains(&key)) => {
                    again.push(at);
                }
                answer => landings[at] = Some(self.landing(&mut asked, message, answer).await),
            }
        }
        // What saw one of a key fail holds the others back. It could be told to go on, but would pass over that where it has not come to
        // hold them back yet (`google-cloud-pubsub` 1.7): another one takes its place.
        keyed.clear();
        for (turn, &at) in again.iter().enumerate() {
            let message = &messages[at];
            let landed = match self.send(&mut keyed, message).await {
                Ok(answer) => self.landing(&mut asked, message, answer.await).await,
                Err(error) => Err(error),
            };
            match landed {
                Err(error) if !error.is_verdict() => {
                    for &at in &again[turn..] {
                        landings[at] = Some(Err(error.clone()));
                    }
                    break;
                }
                landed => {
                    if landed.is_err() {
                        keyed.remove(&*message.topic);
                    }
                    landings[at] = Some(landed);
                }
            }
        }
        let unheard = || Err(BusError::Unavailable("no answer came".to_owned()));
        all_landed(landings.into_iter().map(|landing| landing.unwrap_or_else(unheard)).collect())
    }
}

/// Whether the service finds something wrong with what it was given in one request.
fn is_of_a_request(error: &PublishError) -> bool {
    matches!(error, PublishError::Rpc(error) if errors::is_about_an_argument(error))
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

    async fn landing<'a>(
        &self,
        asked: &mut Asked<'a>,
        message: &'a Outgoing,
        answer: Result<String, PublishError>,
    ) -> Landing {
        match answer {
            Ok(id) => Ok(Placed {
                partition: Partition { topic: message.topic.as_str().into(), number: 0 },
                offset: message::offset(&id),
            }),
            Err(error) => Err(self.explain(asked, &message.topic, &error).await),
        }
    }

    async fn explain<'a>(&self, asked: &mut Asked<'a>, topic: &'a str, error: &PublishError) -> BusError {
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
                if !asked.contains_key(topic) {
                    let told = match topics::topic(&self.clients, topic).await {
                        Ok(_) | Err(BusError::Denied(_)) => None,
                        Err(other) => Some(other),
                    };
                    asked.insert(topic, told);
                }
                asked[topic].clone().unwrap_or(BusError::Refused(text))
            }
            other => other,
        }
    }
}
