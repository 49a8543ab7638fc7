//! Reads a topic outside every group, on a thread of its own, up to the end that it had at the start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use super::access::Access;
use super::chunk::Filling;
use super::client::{self, Asking};
use super::positions::{self, ANSWER_WITHIN};
use super::{group, properties, topics};
use crate::bus::{Browse, BrowseFrom, BusError};
use crate::config::settings::KafkaSettings;
use crate::message::{Delivery, Message};

/// The longest time without a message before the broker is taken to be away.
const SILENCE: Duration = Duration::from_secs(30);
/// Where no group is asked for. Nothing is committed and nothing joined under this name.
const NO_GROUP: &str = "chalk-writer-browse";

type Chunks = mpsc::Sender<Result<Vec<Message>, BusError>>;

/// Starts reading; an error where the topic, the partition or an answer is missing.
pub(super) async fn start(
    settings: &KafkaSettings,
    topic: &str,
    from: BrowseFrom,
) -> Result<Box<dyn Browse>, BusError> {
    let access = Access::fetch(settings).await?;
    let group = if let BrowseFrom::Group(group) = &from { group } else { NO_GROUP };
    let config = properties::browser(settings, &access, group);
    let context = Asking::of(&access);
    let (chunks_in, chunks) = mpsc::channel(2);
    let (ready_in, ready) = oneshot::channel();
    let topic: Arc<str> = Arc::from(topic);
    std::thread::Builder::new()
        .name("kafka-browse".to_owned())
        .spawn(move || {
            let consumer = BaseConsumer::from_config_and_context(&config, context);
            let consumer = match consumer.map_err(|error| properties::unfit(&error)) {
                Ok(consumer) => consumer,
                Err(error) => return drop(ready_in.send(Err(error))),
            };
            match client::admit(&consumer).and_then(|()| plan(&consumer, &topic, &from)) {
                Ok(stretches) => {
                    let _ = ready_in.send(Ok(()));
                    read(&consumer, &topic, stretches, &chunks_in);
                }
                Err(error) => drop(ready_in.send(Err(topics::naming(&topic, error)))),
            }
        })
        .map_err(|error| BusError::Failed(format!("no thread for reading: {error}")))?;
    // Bounded: every question of the thread is.
    ready.await.map_err(|_| BusError::Failed("the reading thread ended at once".to_owned()))??;
    Ok(Box::new(KafkaBrowse { chunks, delivered: 0, ended: false }))
}

struct KafkaBrowse {
    /// The end is said by a chunk of no messages: without it the thread died on the way.
    chunks: mpsc::Receiver<Result<Vec<Message>, BusError>>,
    delivered: u64,
    ended: bool,
}

#[async_trait]
impl Browse for KafkaBrowse {
    async fn next(&mut self) -> Result<Vec<Message>, BusError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let died = || Err(BusError::Failed("the reading thread ended on the way".to_owned()));
        let mut messages = self.chunks.recv().await.unwrap_or_else(died)?;
        self.ended = messages.is_empty();
        for message in &mut messages {
            message.delivery = Delivery(self.delivered);
            self.delivered += 1;
        }
        Ok(messages)
    }
}

/// Per partition: where to begin and the first offset that is not read.
type Stretches = BTreeMap<i32, (i64, i64)>;

fn plan(consumer: &BaseConsumer<Asking>, topic: &str, from: &BrowseFrom) -> Result<Stretches, BusError> {
    let explain = |error: KafkaError| {
        for _ in 0..100 {
            let _ = consumer.poll(Duration::ZERO);
        }
        consumer.context().complaints.explain("no answer", &error)
    };
    let mut partitions = positions::partitions(consumer, topic, ANSWER_WITHIN).map_err(explain)?;
    if let BrowseFrom::Position(wanted, _) = from {
        if !partitions.contains(wanted) {
            return Err(BusError::NotFound(format!("{topic}/{wanted}")));
        }
        partitions.retain(|partition| partition == wanted);
    }
    let committed = match from {
        BrowseFrom::Group(_) => group::committed(consumer, topic, &partitions).map_err(explain)?,
        _ => BTreeMap::new(),
    };
    let mut stretches = BTreeMap::new();
    for partition in partitions {
        let (low, mut end) = consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN).map_err(explain)?;
        let begin = match from {
            BrowseFrom::Earliest => low,
            BrowseFrom::Group(_) => committed.get(&partition).copied().unwrap_or(low),
            BrowseFrom::Last(count) => end.saturating_sub_unsigned(*count),
            BrowseFrom::Position(_, offset) => *offset,
            BrowseFrom::Stretches(stretches) => {
                let Some(stretch) = stretches.iter().find(|stretch| stretch.partition == partition) else { continue };
                end = end.min(stretch.until);
                stretch.from
            }
        };
        if begin.max(low) < end {
            stretches.insert(partition, (begin.max(low), end));
        }
    }
    Ok(stretches)
}

fn read(consumer: &BaseConsumer<Asking>, topic: &Arc<str>, mut stretches: Stretches, chunks: &Chunks) {
    let mut list = TopicPartitionList::new();
    for (partition, (begin, _)) in &stretches {
        // Only a negative offset is refused, and none is.
        let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*begin));
    }
    if let Err(error) = consumer.assign(&list) {
        let _ = chunks.blocking_send(Err(BusError::Failed(format!("{topic} cannot be read: {error}"))));
        return;
    }
    drop(list);
    let mut filling = Filling::new(Arc::clone(topic));
    let mut heard = Instant::now();
    while !stretches.is_empty() && !chunks.is_closed() {
        match consumer.poll(if filling.is_empty() { Duration::from_millis(100) } else { Duration::ZERO }) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if let Some((_, end)) = stretches.get(&message.partition()).copied() {
                    if message.offset() < end {
                        filling.push(&message, 0);
                    }
                    // The end may be a marker of a transaction, which is no message: then the next one, or EOF, tells.
                    if message.offset() + 1 >= end {
                        stretches.remove(&message.partition());
                    }
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                stretches.remove(&partition);
            }
            Some(Err(error)) => tracing::debug!(topic = &**topic, %error, "librdkafka is busy with an error"),
            None if heard.elapsed() > SILENCE => {
                let error = KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::OperationTimedOut);
                let error = consumer.context().complaints.explain(&format!("nothing comes from {topic}"), &error);
                let _ = chunks.blocking_send(Err(error));
                return;
            }
            None if filling.is_empty() => continue,
            None => {
                if chunks.blocking_send(Ok(filling.seal().messages(0))).is_err() {
                    return;
                }
                // A reader that takes its time is no silence of the broker.
                heard = Instant::now();
            }
        }
        if filling.is_full() {
            if chunks.blocking_send(Ok(filling.seal().messages(0))).is_err() {
                return;
            }
            heard = Instant::now();
        }
    }
    if !filling.is_empty() && chunks.blocking_send(Ok(filling.seal().messages(0))).is_err() {
        return;
    }
    let _ = chunks.blocking_send(Ok(Vec::new()));
}
