//! Where reading starts and where a drain ends, asked of the broker.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::client::is_denied;
use crate::bus::OnGap;

/// How long one question may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where reading starts.
pub(super) struct Starts {
    /// What to assign: all of them.
    pub(super) list: TopicPartitionList,
    /// The same, partition by partition, as far as their leaders have answered.
    pub(super) starts: Vec<Start>,
    /// Those whose leaders have not. The others need not wait for them.
    pub(super) unanswered: Vec<i32>,
}

/// Where reading of one partition starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The group has this position already. A position that it does not have is committed before
    /// anything is read, so that messages which expire from here on are known to be lost.
    pub(super) committed: bool,
    /// The group's position, where that lies before the earliest message that is left: what was between is lost.
    pub(super) lost_from: Option<i64>,
}

impl Starts {
    /// Has some partitions wait as if their leaders had not answered.
    pub(super) fn wait_for(&mut self, partitions: &[i32]) {
        let waits = |start: &Start| partitions.contains(&start.partition);
        self.unanswered.extend(self.starts.extract_if(.., |start| waits(start)).map(|start| start.partition));
    }
}

/// Why there is no start.
pub(super) enum NoStart {
    /// The broker did not say; asking again may help.
    Unanswered(KafkaError),
    /// Messages are lost, or the topic is another one.
    Gap(String),
}

impl From<KafkaError> for NoStart {
    fn from(error: KafkaError) -> Self {
        Self::Unanswered(error)
    }
}

/// Starts each partition at the group's committed position, and where it has none, at the earliest
/// message. A position before the earliest message has lost what lay between: counted, or the end.
/// A position beyond the end was made in another topic of the same name, or before the log was cut.
pub(super) fn starts<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    group: &str,
    assigned: &TopicPartitionList,
    on_gap: OnGap,
    within: Duration,
) -> Result<Starts, NoStart> {
    let list = consumer.committed_offsets(assigned.clone(), within)?;
    let numbers: Vec<i32> = list.elements().iter().map(TopicPartitionListElem::partition).collect();
    let known = watermarks(consumer, topic, &numbers, within)?;
    let mut unanswered = Vec::new();
    let mut starts = Vec::new();
    let mut lost = None;
    let mut unread = Vec::new();
    for mut element in list.elements() {
        element.error()?;
        let partition = element.partition();
        let Some(&(low, end)) = known.get(&partition) else {
            unanswered.push(partition);
            if !matches!(element.offset(), Offset::Offset(_)) {
                element.set_offset(Offset::Beginning)?;
            }
            continue;
        };
        let mut lost_from = None;
        let (offset, committed) = match element.offset() {
            Offset::Offset(committed) if committed > end => {
                return Err(NoStart::Gap(format!(
                    "position {committed} of group {group} in {topic}/{partition} lies beyond its end {end}: the topic \
                     was made anew, or its log was cut. To read what is there now, stop the group's writers and run \
                     `kafka-consumer-groups.sh --bootstrap-server SERVER --group {group} --topic {topic} \
                     --reset-offsets --to-earliest --execute`"
                )));
            }
            Offset::Offset(committed) if committed < low => {
                lost.get_or_insert((partition, committed, low));
                lost_from = Some(committed);
                element.set_offset(Offset::Beginning)?;
                (low, false)
            }
            Offset::Offset(committed) => (committed, true),
            _ => {
                element.set_offset(Offset::Beginning)?;
                if low < end {
                    unread.push((partition, end - low));
                }
                (low, false)
            }
        };
        starts.push(Start { partition, offset, committed, lost_from });
    }
    if on_gap == OnGap::Stop
        && let Some((partition, committed, low)) = lost
    {
        let messages = low - committed;
        return Err(NoStart::Gap(format!(
            "{topic}/{partition} starts at {low} now and the group was at {committed}: up to {messages} messages expired \
             before they were read, and `on_gap` is `stop`"
        )));
    }
    if !unread.is_empty() {
        tracing::warn!(topic, group, "{}", without_position(&unread, elsewhere(consumer, topic, assigned)));
    }
    Ok(Starts { list, starts, unanswered })
}

/// The earliest offset and the end of each partition whose leader tells them in time.
///
/// Every leader is asked on a thread of its own, and not for another partition once it has not answered for one: what all of
/// it takes is hardly longer than what one question may.
pub(super) fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    within: Duration,
) -> Result<BTreeMap<i32, (i64, i64)>, KafkaError> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let metadata = consumer.fetch_metadata(Some(topic), within)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let mut led: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in found.map_or(&[][..], MetadataTopic::partitions) {
        // Of a partition without a leader nobody can be asked.
        if partition.leader() >= 0 && partitions.contains(&partition.id()) {
            led.entry(partition.leader()).or_default().push(partition.id());
        }
    }
    let ask = |partitions: &[i32]| {
        let mut told = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            match consumer.fetch_watermarks(topic, partition, within) {
                Ok(marks) => told.push((partition, marks)),
                // That concerns everyone, and another client may do better.
                Err(error) if error.rdkafka_error_code().is_some_and(is_denied) => return Err(error),
                Err(error) => {
                    tracing::debug!(topic, partition, %error, "its leader does not tell where it begins and ends");
                    // One that answers so may tell it of the next.
                    if error.rdkafka_error_code().is_none_or(|code| (code as i32) < 0) {
                        break;
                    }
                }
            }
        }
        Ok(told)
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = led.values().map(|partitions| scope.spawn(|| ask(partitions))).collect();
        let mut all = BTreeMap::new();
        for told in asked {
            // A panic ends the process.
            all.extend(told.join().unwrap_or_else(|_| Ok(Vec::new()))?);
        }
        Ok(all)
    })
}

/// Partitions of the topic in which the group has a position, where that can be found out.
fn elsewhere<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    assigned: &TopicPartitionList,
) -> Option<usize> {
    let mut all = assigned.clone();
    for partition in partitions(consumer, topic, ANSWER_WITHIN).ok()? {
        if all.find_partition(topic, partition).is_none() {
            all.add_partition(topic, partition);
        }
    }
    let committed = consumer.committed_offsets(all, ANSWER_WITHIN).ok()?;
    Some(committed.elements().iter().filter(|element| matches!(element.offset(), Offset::Offset(_))).count())
}

/// What it means that a group has no position where there is something to read.
fn without_position(unread: &[(i32, i64)], elsewhere: Option<usize>) -> String {
    let numbers: Vec<String> = unread.iter().map(|(partition, _)| partition.to_string()).collect();
    let messages: i64 = unread.iter().map(|(_, messages)| messages).sum();
    let count = unread.len();
    let what = format!(
        "the group has no position in {count} partitions ({}); starting at the earliest, up to {messages} messages",
        numbers.join(", ")
    );
    match elsewhere {
        Some(0) => format!(
            "{what}: right for a new group; a writer whose `name` or `kafka_consumer_group_override` was changed is a \
             new group, and reads all of the topic again"
        ),
        Some(known) => format!(
            "{what}. IT HAS A POSITION IN {known} OTHERS: right where these partitions are new or the group has just \
             begun; otherwise its positions in them expired (`offsets.retention.minutes`), and what it had read is read again"
        ),
        None => what,
    }
}

/// The end of every partition of a topic: what a reader of committed transactions can see now.
pub(super) fn ends<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> Result<Vec<(i32, i64)>, KafkaError> {
    let mut ends = Vec::new();
    for partition in partitions(consumer, topic, ANSWER_WITHIN)? {
        ends.push((partition, consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN)?.1));
    }
    Ok(ends)
}

/// The numbers of a topic's partitions.
pub(super) fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    within: Duration,
) -> Result<Vec<i32>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), within)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let unknown = KafkaError::MetadataFetch(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition);
    let found = found.ok_or(unknown.clone())?;
    if let Some(error) = found.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    if found.partitions().is_empty() {
        return Err(unknown);
    }
    Ok(found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
}

/// Whether a group has committed everything before the given ends. A partition without a message
/// before its end counts as read.
pub(super) fn all_committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    ends: &[(i32, i64)],
) -> Result<bool, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(ends.len());
    for (partition, _) in ends {
        list.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(list, ANSWER_WITHIN)?;
    for element in committed.elements() {
        element.error()?;
        let Some((partition, end)) = ends.iter().find(|(partition, _)| *partition == element.partition()) else {
            continue;
        };
        let reached = matches!(element.offset(), Offset::Offset(offset) if offset >= *end);
        if !reached && consumer.fetch_watermarks(topic, *partition, ANSWER_WITHIN)?.0 < *end {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_a_position_is_new_or_has_lost_some() {
        let unread = [(0, 40), (3, 2)];
        let new = without_position(&unread, Some(0));
        assert!(new.contains("no position in 2 partitions (0, 3)") && new.contains("up to 42 messages"), "{new}");
        assert!(new.contains("new group") && !new.contains("OTHERS"), "{new}");
        let partly = without_position(&unread, Some(5));
        assert!(partly.contains("A POSITION IN 5 OTHERS") && partly.contains("offsets.retention.minutes"), "{partly}");
    }
}
