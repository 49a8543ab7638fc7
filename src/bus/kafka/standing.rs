//! Which partitions stand still, as somebody outside the group finds it: those that nobody can be asked for, and those with
//! an open transaction, whose age is that of its first message.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::access::Access;
use super::client::Asking;
use super::positions::{self, ANSWER_WITHIN};
use super::{properties, topics};
use crate::bus::BusError;
use crate::bus::inspect::HeldUpBy;
use crate::config::settings::KafkaSettings;

/// How long one leader may take to answer, and one message to come.
const WITHIN: Duration = Duration::from_secs(5);

/// Nothing is committed and nothing joined under this name.
const NO_GROUP: &str = "chalk-writer-doctor";

/// What stands still of a topic.
pub(super) async fn held_up(settings: &KafkaSettings, topic: &str) -> Result<Vec<(i32, HeldUpBy)>, BusError> {
    let access = Access::fetch(settings).await?;
    let mut config = properties::browser(settings, &access, NO_GROUP);
    config.set("isolation.level", "read_uncommitted");
    let name = topic.to_owned();
    // What is there first, what may be read then: what was committed in between is not taken for open.
    let all = topics::ask_as(config.clone(), &access, move |consumer| {
        let partitions = positions::partitions(consumer, &name, ANSWER_WITHIN)?;
        let all = positions::watermarks(consumer, &name, &partitions, WITHIN)?;
        Ok((partitions, all))
    });
    let (partitions, all) = all.await.map_err(|error| topics::naming(topic, error))?;
    let (name, asked) = (topic.to_owned(), partitions.clone());
    let stable =
        topics::ask(settings, &access, move |consumer| positions::watermarks(consumer, &name, &asked, WITHIN)).await?;
    let open: BTreeMap<i32, (i64, u64)> = all
        .iter()
        .filter_map(|(partition, (_, end))| {
            let (_, stable) = stable.get(partition)?;
            let behind = u64::try_from(end - stable).ok().filter(|behind| *behind > 0)?;
            Some((*partition, (*stable, behind)))
        })
        .collect();
    let began = if open.is_empty() {
        BTreeMap::new()
    } else {
        let (name, places) = (topic.to_owned(), open.clone());
        topics::ask_as(config, &access, move |consumer| first_messages(consumer, &name, &places)).await?
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    let found = partitions.into_iter().filter_map(|partition| {
        if let Some((_, messages)) = open.get(&partition) {
            let age = |time: &i64| Duration::from_millis(u64::try_from(now - time).unwrap_or(0));
            let by = HeldUpBy::Transaction { messages: *messages, age: began.get(&partition).map(age) };
            return Some((partition, by));
        }
        let away = "no broker leads it, or the one that does has not answered";
        (!all.contains_key(&partition) || !stable.contains_key(&partition))
            .then(|| (partition, HeldUpBy::Away(away.to_owned())))
    });
    Ok(found.collect())
}

/// When the first message behind each place was sent, in milliseconds since 1970, as far as they come in time.
fn first_messages(
    consumer: &BaseConsumer<Asking>,
    topic: &str,
    places: &BTreeMap<i32, (i64, u64)>,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, (stable, _)) in places {
        list.add_partition_offset(topic, *partition, Offset::Offset(*stable))?;
    }
    consumer.assign(&list)?;
    let (mut began, until) = (BTreeMap::new(), Instant::now() + WITHIN);
    while began.len() < places.len() && Instant::now() < until {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            // What comes first of each.
            let time = message.timestamp().to_millis().unwrap_or_default();
            began.entry(message.partition()).or_insert(time);
        }
    }
    Ok(began)
}
