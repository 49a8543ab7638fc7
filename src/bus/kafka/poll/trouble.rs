//! What does not work: heard from librdkafka, said once, ended by a new client or by itself.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::{DENIED_FOR, Parting, Poller, Trouble, unfetched};
use crate::bus::BusError;
use crate::bus::kafka::chunk::Item;
use crate::bus::kafka::client;
use crate::bus::kafka::positions::NoStart;
use crate::bus::kafka::rebalance::Member;

impl Poller {
    /// Looks at what the callbacks left behind.
    pub(super) fn judge(&mut self, consumer: &BaseConsumer<Member>) -> Option<Parting> {
        // First: after it all else fails as well.
        if let Some((code, reason)) = consumer.client().fatal_error() {
            let error = consumer.context().complaints.classify(code, format!("{code}: {reason}"));
            self.complain(Trouble::Client, error);
            return Some(Parting::Again { at_once: false });
        }
        let refused = consumer.context().refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        match refused {
            Some(NoStart::Gap(text)) => {
                self.failed = true;
                self.outbox.push_back(Item::Failed(BusError::Gap(text)));
            }
            Some(NoStart::Unanswered(error)) => {
                let error = consumer.context().complaints.explain("positions could not be had", &error);
                self.complain(Trouble::Positions, error);
                return Some(Parting::Again { at_once: false });
            }
            None if consumer.context().assigned.swap(false, Ordering::AcqRel) => self.joined(consumer),
            None => {}
        }
        if self.denied_since.is_some_and(|since| since.elapsed() > DENIED_FOR) {
            self.denied_since = None;
            if let Some(tokens) = &consumer.context().tokens {
                tokens.forget();
            }
            return Some(Parting::Again { at_once: false });
        }
        if std::mem::take(&mut self.astray) {
            return Some(Parting::Again { at_once: false });
        }
        if std::mem::take(&mut self.out_of_range) {
            return Some(Parting::Again { at_once: true });
        }
        None
    }

    /// Takes an error that came instead of a message, and of which partition, where it is told of one.
    pub(super) fn hear(&mut self, consumer: &BaseConsumer<Member>, partition: Option<i32>, error: &KafkaError) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let context = consumer.context();
        match code {
            // The log went past us, or was cut: the next assignment finds out which.
            Code::AutoOffsetReset => self.out_of_range = true,
            Code::AllBrokersDown => {
                context.connected.store(false, Ordering::Release);
                let what = format!("no broker of {} answers", self.brokers);
                let explained = context.complaints.explain(&what, error);
                // Refused on the way in: that a broker listens does not end it.
                let denied = matches!(explained, BusError::Denied(_));
                self.complain(if denied { Trouble::Denied } else { Trouble::Connection }, explained);
            }
            code if client::is_denied(code) => {
                self.denied_since.get_or_insert_with(Instant::now);
                let reason = context.complaints.last().map_or_else(String::new, |(_, reason)| reason);
                self.complain(Trouble::Denied, context.complaints.denied(&format!("{code}: {reason}")));
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                let error = BusError::Unavailable(format!("topic {} is not there: {code}", self.topic));
                self.complain(Trouble::Missing, error);
            }
            code if unfetched::is_of_messages(code) => self.cannot_fetch(partition, code),
            code => tracing::debug!(topic = &*self.topic, %code, "librdkafka is busy with an error"),
        }
    }

    /// Says once what is wrong, until it is over.
    pub(super) fn complain(&mut self, trouble: Trouble, error: BusError) {
        if self.troubles.contains(&trouble) {
            return;
        }
        let check = match trouble {
            Trouble::Missing => {
                "the topic has to be made again, with as many partitions as before; a restart does not help"
            }
            Trouble::Denied => "check the credentials, and the rights of their user on topic and group",
            Trouble::Answers => "the brokers' logs say more; what can be read is read on",
            _ => "check `bootstrap_servers`, `security_protocol` and credentials",
        };
        tracing::error!(
            topic = &*self.topic, group = self.subscribe.group, %error,
            "cannot read from Kafka; trying on ({check})"
        );
        if !matches!(self.outbox.back(), Some(Item::Trouble(_))) {
            self.outbox.push_back(Item::Trouble(error));
        }
        self.troubles.push(trouble);
    }

    /// A message or the end of a partition came: nothing is wrong any more.
    pub(super) fn works(&mut self, consumer: &BaseConsumer<Member>) {
        self.worked = true;
        self.denied_since = None;
        self.is_over(
            consumer,
            &[Trouble::Connection, Trouble::Positions, Trouble::Client, Trouble::Missing, Trouble::Denied],
        );
    }

    /// An assignment could be used. Without partitions it shows nothing of the topic, and is all
    /// that a member gets for which there are none.
    fn joined(&mut self, consumer: &BaseConsumer<Member>) {
        let over = [Trouble::Connection, Trouble::Positions, Trouble::Client, Trouble::Missing];
        let nothing = self.shared.ledger.held().is_empty();
        self.is_over(consumer, if nothing { &over[..3] } else { &over });
    }

    /// Some kinds of trouble are over, and where that was all, it is said.
    pub(super) fn is_over(&mut self, consumer: &BaseConsumer<Member>, over: &[Trouble]) {
        let before = self.troubles.len();
        self.troubles.retain(|trouble| !over.contains(trouble));
        if before == self.troubles.len() || !self.troubles.is_empty() {
            return;
        }
        tracing::info!(topic = &*self.topic, group = self.subscribe.group, "Kafka answers again");
        consumer.context().complaints.clear();
        // Whoever heard of the trouble hears of its end, even where there is nothing to read.
        self.announced = self.shared.ledger.held().is_empty();
        if self.announced {
            self.outbox.push_back(Item::CaughtUp);
        }
    }
}
