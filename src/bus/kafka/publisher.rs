//! Sends messages and waits until every replica that must have them has them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use tokio::sync::Mutex;

use super::access::Access;
use super::client::{self, Asking, Complaints};
use super::properties;
use super::tokens::Tokens;
use crate::bus::{BusError, Placed, Publisher};
use crate::config::settings::KafkaSettings;
use crate::message::{Headers, Outgoing, Partition};

/// Between two attempts to enter a full queue; librdkafka's own `message.timeout.ms` empties it.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);
/// What a full queue is waited for beyond `message.timeout.ms`, after which it must have been emptied.
const QUEUE_GRACE: Duration = Duration::from_secs(10);

/// Between two looks at whether brokers refuse us.
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);

/// A producer, and what it complains of.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) producer: FutureProducer<Asking>,
    pub(super) complaints: Arc<Complaints>,
    tokens: Option<Tokens>,
    /// Bytes that the queue takes; a larger payload would wait for room for ever.
    queue_bytes: usize,
    /// How long a full queue is waited for.
    queue_patience: Duration,
}

/// One idempotent producer. After a refusal it is replaced by one with credentials read again.
pub(super) struct KafkaPublisher {
    settings: Arc<KafkaSettings>,
    client: Mutex<Client>,
}

impl KafkaPublisher {
    /// Makes the producer; no broker is contacted before something is sent.
    pub(super) async fn connect(settings: Arc<KafkaSettings>) -> Result<Self, BusError> {
        let client = connect(&settings).await?;
        Ok(Self { settings, client: Mutex::new(client) })
    }

    /// Replaces a client that is refused or beyond repair.
    async fn renew(&self, useless: Client, denied: bool) {
        if denied {
            useless.forget_token();
        }
        let connected = match Access::fetch_again(&self.settings).await {
            Ok(access) => Client::new(&properties::producer(&self.settings, &access), &access),
            Err(error) => Err(error),
        };
        match connected {
            Ok(fresh) => *self.client.lock().await = fresh,
            Err(error) => tracing::warn!(%error, "the credentials for Kafka could not be read again"),
        }
        // Ending a producer waits for its threads.
        tokio::task::spawn_blocking(move || drop(useless));
    }
}

async fn connect(settings: &KafkaSettings) -> Result<Client, BusError> {
    let access = Access::fetch(settings).await?;
    Client::new(&properties::producer(settings, &access), &access)
}

impl Client {
    /// A token that was refused is not shown again.
    pub(super) fn forget_token(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.forget();
        }
    }

    pub(super) fn new(config: &ClientConfig, access: &Access) -> Result<Self, BusError> {
        let context = Asking::of(access);
        let complaints = Arc::clone(&context.complaints);
        let producer =
            FutureProducer::from_config_and_context(config, context).map_err(|error| properties::unfit(&error))?;
        let (queue_bytes, queue_patience) = properties::queue(config);
        let tokens = access.tokens.clone();
        Ok(Self { producer, complaints, tokens, queue_bytes, queue_patience: queue_patience + QUEUE_GRACE })
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, BusError> {
        let client = self.client.lock().await.clone();
        let result = tokio::select! {
            result = publish(&client, messages) => result,
            refusal = refused(&client) => Err(refusal),
        };
        if result.is_ok() {
            client.complaints.clear();
        }
        let denied = matches!(result, Err(BusError::Denied(_)));
        if denied || client.producer.client().fatal_error().is_some() {
            self.renew(client, denied).await;
        }
        result
    }
}

/// Ends when brokers refuse the credentials: nothing else would tell before the messages time out.
pub(super) async fn refused(client: &Client) -> BusError {
    loop {
        tokio::time::sleep(REFUSAL_PAUSE).await;
        if let Some((code, reason)) = client.complaints.last()
            && client::is_denied(code)
        {
            return client.complaints.denied(&format!("messages were not taken: {reason}"));
        }
    }
}

async fn publish(client: &Client, messages: &[Outgoing]) -> Result<Vec<Placed>, BusError> {
    let mut sent = Vec::with_capacity(messages.len());
    for message in messages {
        sent.push(enqueue(client, message).await?);
    }
    let mut placed = Vec::with_capacity(messages.len());
    for (message, outcome) in messages.iter().zip(join_all(sent).await) {
        let outcome = flatten(outcome);
        // What is refused is the request: a message that fits may have been refused for its neighbours.
        let outcome = match outcome {
            Err(KafkaError::MessageProduction(Code::MessageSizeTooLarge)) if messages.len() > 1 => {
                flatten(enqueue(client, message).await?.await)
            }
            outcome => outcome,
        };
        placed.push(outcome.map_err(|error| explain(client, message, &error))?);
    }
    let topics = messages.iter().map(|message| Arc::<str>::from(message.topic.as_str()));
    Ok(topics
        .zip(placed)
        .map(|(topic, (number, offset))| Placed { partition: Partition { topic, number }, offset })
        .collect())
}

/// Hands a message to librdkafka, waiting while its queue is full.
pub(super) async fn enqueue(client: &Client, message: &Outgoing) -> Result<DeliveryFuture, BusError> {
    let size = message.payload.as_ref().map_or(0, bytes::Bytes::len);
    if size > client.queue_bytes {
        return Err(BusError::TooLarge(format!(
            "a message to topic {} has {size} bytes and the producer's queue takes {}; raise the kafka property \
             `queue.buffering.max.kbytes`",
            message.topic, client.queue_bytes
        )));
    }
    let until = tokio::time::Instant::now() + client.queue_patience;
    loop {
        let mut record = FutureRecord::<[u8], [u8]>::to(&message.topic);
        record.partition = message.partition;
        record.key = message.key.as_deref();
        record.payload = message.payload.as_deref();
        record.timestamp = message.timestamp_ms;
        record.headers = (!message.headers.is_empty()).then(|| headers(&message.headers));
        match client.producer.send_result(record) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(Code::QueueFull), _)) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
            Err((error, _)) => return Err(explain(client, message, &error)),
        }
    }
}

fn headers(given: &Headers) -> OwnedHeaders {
    given.iter().fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value }))
}

/// Partition and offset of a message that was delivered.
pub(super) fn flatten<E>(
    outcome: Result<rdkafka::producer::future_producer::OwnedDeliveryResult, E>,
) -> Result<(i32, i64), KafkaError> {
    match outcome {
        Ok(Ok(delivery)) => Ok((delivery.partition, delivery.offset)),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(KafkaError::Canceled),
    }
}

pub(super) fn explain(client: &Client, message: &Outgoing, error: &KafkaError) -> BusError {
    let what = format!("a message to topic {} was not taken", message.topic);
    match client.complaints.explain(&what, error) {
        BusError::NotFound(_) => BusError::NotFound(message.topic.clone()),
        // A fatal state of this producer is not one of the next.
        BusError::Failed(text) => BusError::Unavailable(text),
        other => other,
    }
}
