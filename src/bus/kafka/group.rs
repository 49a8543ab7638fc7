//! Places in a topic by time, and a group's positions as a person sees and moves them from outside
//! the group.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::access::Access;
use super::client::{self, Asking};
use super::positions::{self, ANSWER_WITHIN};
use super::{properties, topics};
use crate::bus::{BusError, GroupPosition, Step, Stepped, Stretch};
use crate::config::settings::KafkaSettings;

/// What lies between two times, partition by partition.
pub(super) async fn stretch(
    settings: &KafkaSettings,
    topic: &str,
    from_ms: i64,
    until_ms: Option<i64>,
) -> Result<Vec<Stretch>, BusError> {
    let access = Access::fetch(settings).await?;
    let name = topic.to_owned();
    let stretches = topics::ask(settings, &access, move |consumer| {
        let partitions = positions::partitions(consumer, &name, ANSWER_WITHIN)?;
        let from = since(consumer, &name, &partitions, from_ms)?;
        let until = until_ms.map_or_else(|| Ok(BTreeMap::new()), |time| since(consumer, &name, &partitions, time))?;
        let stretches = partitions.into_iter().map(|partition| {
            let (earliest, end) = consumer.fetch_watermarks(&name, partition, ANSWER_WITHIN)?;
            let at = |found: &BTreeMap<i32, i64>| found.get(&partition).copied().unwrap_or(end).min(end);
            let from = at(&from).max(earliest);
            Ok(Stretch { partition, from, until: at(&until).max(from), earliest })
        });
        stretches.collect::<Result<Vec<_>, KafkaError>>()
    });
    stretches.await.map_err(|error| topics::naming(topic, error))
}

/// Offsets of the first message of a time or later, by partition; none where there is no such message.
fn since(
    consumer: &BaseConsumer<Asking>,
    topic: &str,
    partitions: &[i32],
    time_ms: i64,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let mut times = TopicPartitionList::new();
    for partition in partitions {
        // The protocol has other meanings for negative ones; no message is older than 1970.
        times.add_partition_offset(topic, *partition, Offset::Offset(time_ms.max(0)))?;
    }
    let mut found = BTreeMap::new();
    for element in consumer.offsets_for_times(times, ANSWER_WITHIN)?.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            found.insert(element.partition(), offset);
        }
    }
    Ok(found)
}

/// How far a group is, partition by partition.
pub(super) async fn positions(
    settings: &KafkaSettings,
    topic: &str,
    group: &str,
) -> Result<Vec<GroupPosition>, BusError> {
    let access = Access::fetch(settings).await?;
    let name = topic.to_owned();
    let config = properties::browser(settings, &access, group);
    let positions = topics::ask_as(config, &access, move |consumer| {
        let partitions = positions::partitions(consumer, &name, ANSWER_WITHIN)?;
        let committed = committed(consumer, &name, &partitions)?;
        let positions = partitions.into_iter().map(|partition| {
            let (earliest, end) = consumer.fetch_watermarks(&name, partition, ANSWER_WITHIN)?;
            Ok(GroupPosition { partition, committed: committed.get(&partition).copied(), earliest, end })
        });
        positions.collect::<Result<Vec<_>, KafkaError>>()
    });
    positions.await.map_err(|error| topics::naming(topic, error))
}

/// The positions that a group has committed in some partitions, transactions included that end only now.
pub(super) async fn reached(
    settings: &KafkaSettings,
    access: &Access,
    topic: &str,
    group: &str,
    partitions: Vec<i32>,
) -> Result<BTreeMap<i32, i64>, BusError> {
    let topic = topic.to_owned();
    let config = properties::browser(settings, access, group);
    topics::ask_as(config, access, move |consumer| committed(consumer, &topic, &partitions)).await
}

/// The positions that the consumer's group has committed, by partition.
pub(super) fn committed(
    consumer: &BaseConsumer<Asking>,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    let mut committed = BTreeMap::new();
    for element in consumer.committed_offsets(list, ANSWER_WITHIN)?.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            committed.insert(element.partition(), offset);
        }
    }
    Ok(committed)
}

/// Moves a position. The broker itself refuses it while the group has members.
pub(super) async fn step(settings: &KafkaSettings, step: &Step) -> Result<Stepped, BusError> {
    let access = Access::fetch(settings).await?;
    let config = properties::browser(settings, &access, &step.group);
    let wanted = step.clone();
    let stepped = topics::ask_as(config, &access, move |consumer| {
        let Step { topic, partition, from, to, .. } = &wanted;
        if !positions::partitions(consumer, topic, ANSWER_WITHIN)?.contains(partition) {
            return Err(KafkaError::MetadataFetch(Code::UnknownTopicOrPartition));
        }
        let committed = committed(consumer, topic, &[*partition])?.get(partition).copied();
        let position = committed
            .map_or_else(|| Ok::<_, KafkaError>(consumer.fetch_watermarks(topic, *partition, ANSWER_WITHIN)?.0), Ok)?;
        if position != *from {
            return Ok(Stepped::Elsewhere(position));
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, *partition, Offset::Offset(*to))?;
        match consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => Ok(Stepped::Done),
            Err(error) if client::code_of(&error).is_some_and(is_of_members) => Ok(Stepped::InUse),
            Err(error) => Err(error),
        }
    });
    stepped.await.map_err(|error| match error {
        BusError::NotFound(_) => BusError::NotFound(format!("{}/{}", step.topic, step.partition)),
        other => other,
    })
}

/// What a broker answers to a commit from outside of a group that has members.
fn is_of_members(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::StaleMemberEpoch
    )
}
