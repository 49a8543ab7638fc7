//! What the thread does every second: store positions, tell how far it is, see whether a drain is done.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{ALLOWED_AFTER, Poller, TICK, Trouble};
use crate::bus::kafka::chunk::Item;
use crate::bus::kafka::positions::{self, NoStart};
use crate::bus::kafka::rebalance::Member;
use crate::bus::kafka::waiting::Ends;
use crate::bus::{HeldUp, PartitionStatus};
use crate::message::Partition;

impl Poller {
    pub(super) fn tick(&mut self, consumer: &BaseConsumer<Member>) {
        self.shared.ledger.pass_gaps();
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
        self.ask_waiting(consumer);
        self.forget_unfetched(consumer);
        self.tell_status(consumer);
        if self.subscribe.drain && !self.ended && self.is_drained(consumer) {
            self.ended = true;
            self.outbox.push_back(Item::End);
        }
    }

    /// How far each partition is now. Of one that cannot be read nobody knows where it ends: not being behind is no more
    /// than not having heard.
    pub(super) fn tell_status(&self, consumer: &BaseConsumer<Member>) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
        let mut status = self.shared.ledger.status(&self.topic, now_ms);
        let away = self.shared.away.lock().unwrap_or_else(PoisonError::into_inner);
        for known in &mut status {
            let unfetched = || self.unfetched.of(known.partition.number);
            known.held_up.away = away.of(known.partition.number).or_else(unfetched);
            if known.held_up.away.is_some() {
                known.end = None;
            }
        }
        for (number, since) in consumer.context().waiting().since() {
            let why = || (since, "its leader does not tell where it begins and ends".to_owned());
            status.push(PartitionStatus {
                partition: Partition { topic: Arc::clone(&self.topic), number },
                position: None,
                end: None,
                lag: Duration::ZERO,
                held_up: HeldUp { away: Some(away.of(number).unwrap_or_else(why)), open: None },
            });
        }
        drop(away);
        self.status.send_replace(status);
    }

    /// Asks once more for what could not be told when partitions came.
    fn ask_waiting(&self, consumer: &BaseConsumer<Member>) {
        let member = consumer.context();
        let ends = self.shared.ends().is_some_and(|ends| !ends.missing.is_empty());
        let partitions = !member.waiting().partitions().is_empty();
        if !(ends || partitions) || self.failed || !member.waiting().is_due() {
            return;
        }
        let asked = if partitions {
            member.go_on(consumer, TICK)
        } else {
            member.note_ends(consumer, TICK).map_err(NoStart::from)
        };
        match asked {
            Ok(()) => {}
            Err(NoStart::Unanswered(error)) => {
                tracing::debug!(topic = &*self.topic, %error, "partitions wait on");
            }
            Err(gap) => *member.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(gap),
        }
    }

    /// Whether the group has committed all that a drain must read.
    fn is_drained(&self, consumer: &BaseConsumer<Member>) -> bool {
        let Some(Ends { known: ends, missing }) = self.shared.ends() else { return false };
        if !missing.is_empty() || !consumer.context().waiting().partitions().is_empty() {
            return false;
        }
        let positions = self.shared.ledger.positions();
        let done = ends.iter().all(|(partition, end)| positions.get(partition).is_none_or(|position| position >= end));
        done && positions::all_committed(consumer, &self.topic, &ends).unwrap_or_else(|error| {
            tracing::debug!(topic = &*self.topic, %error, "the group's positions could not be had");
            false
        })
    }

    /// Asks for the ends of partitions: while there is no room nothing is fetched that would tell them.
    /// Returns whether all of them were told.
    pub(super) fn ask_ends(&self, consumer: &BaseConsumer<Member>) -> bool {
        let held = self.shared.ledger.held();
        let Ok(told) = positions::watermarks(consumer, &self.topic, &held, TICK) else { return held.is_empty() };
        for (partition, (_, end)) in &told {
            self.shared.ledger.set_end(*partition, *end);
        }
        told.len() == held.len()
    }
}
