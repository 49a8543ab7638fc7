//! Partitions come: where reading of each starts is asked of its leader. Those whose leaders do not answer are taken and wait;
//! the others are read meanwhile.

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::positions::{self, NoStart, Start};
use super::rebalance::{Member, numbers};
use super::waiting::Ends;

/// How long a new assignment asks for its positions before the consumer is made anew.
const ASK_WITHIN: Duration = Duration::from_secs(60);
/// How long each question of it may take. A leader that takes longer is asked again, and its partitions alone wait for it.
const START_WITHIN: Duration = Duration::from_secs(5);

impl Member {
    pub(super) fn assigned(&self, consumer: &BaseConsumer<Self>, assigned: &TopicPartitionList) {
        let starts = if self.shared.is_closing() { Err(None) } else { self.find_starts(consumer, assigned) };
        let (result, starts, unanswered, usable) = match starts {
            Ok(found) => (self.assign(consumer, &found.list), found.starts, found.unanswered, true),
            Err(refused) => {
                // The group goes on only after an answer; nothing is read under it, what was under way is thrown away.
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
                (self.assign(consumer, assigned), Vec::new(), Vec::new(), false)
            }
        };
        if let Err(error) = result {
            tracing::warn!(topic = &*self.topic, %error, "an assignment was outdated when it came");
            return;
        }
        found_lost(&self.topic, &starts);
        self.shared.ledger.take(&starts);
        // One that waits is resumed once it may be read, and all are before they go. Nothing was read of them.
        let paused = if usable { unanswered.clone() } else { numbers(assigned) };
        if !paused.is_empty() {
            let _ = consumer.pause(&self.list(&paused));
        }
        self.waiting().add(&unanswered);
        self.assigned.fetch_or(usable, Ordering::AcqRel);
        let partitions = starts.iter().map(|start| start.partition).collect::<Vec<_>>();
        let offsets = starts.iter().map(|start| start.offset).collect::<Vec<_>>();
        if unanswered.is_empty() {
            tracing::info!(topic = &*self.topic, ?partitions, ?offsets, "partitions assigned");
        } else {
            tracing::info!(topic = &*self.topic, ?partitions, ?offsets, waiting = ?unanswered, "partitions assigned");
        }
    }

    /// Gives librdkafka its assignment, and has what is fetched under it come to where it is read.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let queue = self.fetched.get().and_then(Weak::upgrade);
        let take_over = || queue.iter().for_each(|queue| queue.take_over(&numbers(list)));
        // Before: what is fetched at once would come among the group's events. After: the end of an earlier assignment of
        // the same partition, which librdkafka is done with by now, undid it.
        take_over();
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(list),
        }?;
        take_over();
        Ok(())
    }

    fn find_starts(
        &self,
        consumer: &BaseConsumer<Self>,
        assigned: &TopicPartitionList,
    ) -> Result<positions::Starts, Option<NoStart>> {
        let until = Instant::now() + ASK_WITHIN;
        loop {
            self.shared.turns();
            match self.ask_starts(consumer, assigned, START_WITHIN) {
                Err(NoStart::Unanswered(_)) if self.shared.is_closing() => return Err(None),
                Err(NoStart::Unanswered(_)) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                found => return found.map_err(Some),
            }
        }
    }

    fn ask_starts(
        &self,
        consumer: &BaseConsumer<Self>,
        assigned: &TopicPartitionList,
        within: Duration,
    ) -> Result<positions::Starts, NoStart> {
        self.note_ends(consumer, within)?;
        let mut found = positions::starts(consumer, &self.topic, &self.group, assigned, self.on_gap, within)?;
        // Where a drain ends has to be known before anything is read: an end that is told later may lie behind what nobody read.
        let missing = self.shared.ends().unwrap_or_default().missing;
        found.wait_for(&missing);
        Ok(found)
    }

    /// Notes where a drain ends, of every partition of the topic; those whose leaders do not answer are asked again later.
    pub(super) fn note_ends(&self, consumer: &BaseConsumer<Self>, within: Duration) -> KafkaResult<()> {
        if !self.drain {
            return Ok(());
        }
        let mut ends = match self.shared.ends() {
            Some(ends) => ends,
            None => Ends::of(positions::partitions(consumer, &self.topic, within)?),
        };
        if !ends.missing.is_empty() {
            ends.found(&positions::watermarks(consumer, &self.topic, &ends.missing, within)?);
            *self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
        }
        Ok(())
    }

    /// Asks for partitions that wait, and goes on with those whose leaders answer now.
    pub(super) fn go_on(&self, consumer: &BaseConsumer<Self>, within: Duration) -> Result<(), NoStart> {
        let waiting = self.waiting().partitions();
        let found = self.ask_starts(consumer, &self.list(&waiting), within)?;
        let mut places = TopicPartitionList::new();
        for Start { partition, offset, .. } in &found.starts {
            places.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))?;
        }
        if found.starts.is_empty() {
            return Ok(());
        }
        let moved = consumer.seek_partitions(places, within)?;
        let there = |start: &Start| {
            moved.find_partition(&self.topic, start.partition).is_some_and(|element| element.error().is_ok())
        };
        let starts: Vec<Start> = found.starts.into_iter().filter(there).collect();
        let partitions: Vec<i32> = starts.iter().map(|start| start.partition).collect();
        let offsets: Vec<i64> = starts.iter().map(|start| start.offset).collect();
        found_lost(&self.topic, &starts);
        self.shared.ledger.take(&starts);
        self.waiting().forget(&partitions);
        if !partitions.is_empty() {
            consumer.resume(&self.list(&partitions))?;
        }
        tracing::info!(topic = &*self.topic, ?partitions, ?offsets, "partitions that had to wait are read");
        Ok(())
    }
}

/// Counts what expired before it was read: once, where reading begins behind it.
fn found_lost(topic: &str, starts: &[Start]) {
    for &Start { partition, offset, lost_from, .. } in starts {
        let Some(committed) = lost_from else { continue };
        let lost = (offset - committed) as u64;
        metrics::counter!("chalk_writer_source_gap_messages_total").increment(lost);
        tracing::error!(
            topic,
            partition,
            committed,
            earliest = offset,
            lost,
            "messages expired before they were read; going on at the earliest that is left"
        );
    }
}
