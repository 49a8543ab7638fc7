//! What the thread does every second: store positions, tell how far it is, see whether a drain is done.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::{ALLOWED_AFTER, Poller, TICK, Trouble};
use crate::bus::kafka::chunk::Item;
use crate::bus::kafka::positions;
use crate::bus::kafka::rebalance::Member;

impl Poller {
    pub(super) fn tick(&mut self, consumer: &BaseConsumer<Member>) {
        self.pass_gaps(consumer);
        match &self.transactions {
            None => consumer.context().store(consumer),
            Some(transactions) => transactions.pass(),
        }
        if consumer.context().connected.load(Ordering::Acquire) {
            // A refusal ends a client soon; one that has nothing to read has no other way to see that it is over.
            let spare = self.shared.ledger.held().is_empty() && self.client_since.elapsed() > ALLOWED_AFTER;
            let over = [Trouble::Connection, Trouble::Denied];
            self.is_over(consumer, if spare { &over } else { &over[..1] });
        }
        self.tell_status();
        if self.subscribe.drain && !self.ended && self.is_drained(consumer) {
            self.ended = true;
            self.outbox.push_back(Item::End);
        }
    }

    /// How far each partition is now.
    pub(super) fn tell_status(&self) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
        self.status.send_replace(self.shared.ledger.status(&self.topic, now_ms));
    }

    /// Where everything read is dealt with and the end is reached, what lies before the end and is
    /// no message counts as read: markers of transactions, records that were compacted away.
    fn pass_gaps(&self, consumer: &BaseConsumer<Member>) {
        let passed = self.shared.ledger.idle_at_end();
        if passed.is_empty() {
            return;
        }
        if let Ok(positions) = consumer.position() {
            for element in positions.elements().iter().filter(|element| passed.contains(&element.partition())) {
                if let Offset::Offset(position) = element.offset() {
                    self.shared.ledger.pass(element.partition(), position);
                }
            }
        }
        // The ends were noted before these partitions were fetched from: an end that was reached since is not before them.
        for (partition, end) in self.shared.ends().unwrap_or_default() {
            if passed.contains(&partition) {
                self.shared.ledger.pass(partition, end);
            }
        }
    }

    /// Whether the group has committed all that a drain must read.
    fn is_drained(&self, consumer: &BaseConsumer<Member>) -> bool {
        let Some(ends) = self.shared.ends() else { return false };
        let positions = self.shared.ledger.positions();
        let done = ends.iter().all(|(partition, end)| positions.get(partition).is_none_or(|position| position >= end));
        done && positions::all_committed(consumer, &self.topic, &ends).unwrap_or_else(|error| {
            tracing::debug!(topic = &*self.topic, %error, "the group's positions could not be had");
            false
        })
    }

    /// Asks for the ends of partitions that are paused: nothing is fetched that would tell them.
    /// Returns whether all of them were told.
    pub(super) fn ask_ends(&self, consumer: &BaseConsumer<Member>) -> bool {
        for partition in self.shared.ledger.held() {
            // A broker that does not answer at once is not asked for the other partitions.
            let Ok((_, end)) = consumer.fetch_watermarks(&self.topic, partition, TICK) else { return false };
            self.shared.ledger.set_end(partition, end);
        }
        true
    }

    /// Stops or goes on fetching.
    pub(super) fn set_paused(&self, consumer: &BaseConsumer<Member>, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
        let held = self.shared.ledger.held();
        if held.is_empty() {
            return;
        }
        let list = consumer.context().list(&held);
        let result = if paused { consumer.pause(&list) } else { consumer.resume(&list) };
        if let Err(error) = result {
            tracing::debug!(topic = &*self.topic, %error, paused, "pausing or resuming failed for some partitions");
        }
    }
}
