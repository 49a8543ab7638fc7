//! Sends messages and waits until every replica that must have them has them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use tokio::sync::Mutex;

use super::access::Access;
use super::client::{self, Asking, Complaints, code_of};
use super::properties;
use super::tokens::Tokens;
use crate::bus::{BusError, Landing, Placed, Publisher, Undelivered, all_landed};
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
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        let client = self.client.lock().await.clone();
        let mut heard: Vec<Option<Landing>> = vec![None; messages.len()];
        let unheard = tokio::select! {
            () = publish(&client, messages, &mut heard) => BusError::Unavailable("no answer came".to_owned()),
            refusal = refused(&client) => refusal,
        };
        let landings: Vec<Landing> =
            heard.into_iter().map(|landing| landing.unwrap_or_else(|| Err(unheard.clone()))).collect();
        let denied = landings.iter().any(|landing| matches!(landing, Err(BusError::Denied(_))));
        let result = all_landed(landings);
        if result.is_ok() {
            client.complaints.clear();
        }
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

/// Sends messages, and notes what became of each as soon as it is known.
async fn publish(client: &Client, messages: &[Outgoing], heard: &mut [Option<Landing>]) {
    let mut sent = FuturesUnordered::new();
    for (at, message) in messages.iter().enumerate() {
        match enqueue(client, message).await {
            Ok(delivery) => sent.push(delivery.map(move |outcome| (at, flatten(outcome)))),
            // The next one would wait as long for room, and in vain.
            Err(error) if error.is_transient() => {
                heard[at..].fill(Some(Err(error)));
                break;
            }
            Err(error) => heard[at] = Some(Err(error)),
        }
    }
    let mut again = Vec::new();
    while let Some((at, outcome)) = sent.next().await {
        match outcome {
            // What is refused is the request: this one may have been refused for its neighbours.
            Err(error) if messages.len() > 1 && code_of(&error).is_some_and(client::is_of_a_request) => again.push(at),
            outcome => heard[at] = Some(landing(client, &messages[at], outcome)),
        }
    }
    again.sort_unstable();
    for (turn, &at) in again.iter().enumerate() {
        let message = &messages[at];
        let landed = match enqueue(client, message).await {
            Ok(delivery) => landing(client, message, flatten(delivery.await)),
            Err(error) => Err(error),
        };
        match landed {
            // Each of the others would wait as long, and nobody would be told meanwhile.
            Err(error) if !error.is_verdict() => {
                for &at in &again[turn..] {
                    heard[at] = Some(Err(error.clone()));
                }
                break;
            }
            landed => heard[at] = Some(landed),
        }
    }
}

fn landing(client: &Client, message: &Outgoing, outcome: Result<(i32, i64), KafkaError>) -> Landing {
    match outcome {
        Ok((number, offset)) => {
            Ok(Placed { partition: Partition { topic: Arc::from(message.topic.as_str()), number }, offset })
        }
        Err(error) => Err(explain(client, message, &error)),
    }
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

/// Why a message was not taken.
pub(super) fn explain(client: &Client, message: &Outgoing, error: &KafkaError) -> BusError {
    let what = format!("a message to topic {} was not taken", message.topic);
    match client.complaints.explain(&what, error) {
        BusError::NotFound(_) => BusError::NotFound(message.topic.clone()),
        // A fatal state of this producer is not one of the next.
        BusError::Failed(text) => BusError::Unavailable(text),
        BusError::Refused(text) => of_a_refusal(message, code_of(error), text),
        other => other,
    }
}

/// What a refusal is about, which a broker does not say in its code.
fn of_a_refusal(message: &Outgoing, code: Option<Code>, text: String) -> BusError {
    let limits = "`message.timestamp.before.max.ms`, `.after.max.ms`";
    match (code, message.timestamp_ms) {
        // It was stamped when it was sent: what is wrong is a clock or the topic, which may pass, and not the message.
        (Some(Code::InvalidTimestamp), None) => BusError::Unavailable(format!(
            "{text}: its time is that of its sending, so the clocks of this machine and of the broker differ by more than the \
             topic takes ({limits})"
        )),
        (Some(Code::InvalidTimestamp), Some(millis)) => {
            let time = DateTime::<Utc>::from_timestamp_millis(millis)
                .map_or_else(|| format!("{millis} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
            BusError::Refused(format!("{text}: its time, {time}, is further from now than the topic takes ({limits})"))
        }
        (Some(Code::InvalidRecord), _) if message.key.is_none() => {
            BusError::Keyless(format!("{text}: a compacted topic takes none without"))
        }
        _ => BusError::Refused(text),
    }
}
