//! What the fake's subscription holds: messages that wait, those that are out, and when what was handed back may come again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::filter::Filter;
use super::wire::{PubsubMessage, ReceivedMessage, Timestamp};

/// How long a message that was handed back, or whose lease ended, is kept from readers: twice as long each time, between
/// the two. Google says that its service keeps to it as well as it can; the fake does exactly.
#[derive(Clone, Copy)]
pub struct Retry {
    pub minimum: Duration,
    pub maximum: Duration,
}

/// A message that is there from the start.
#[derive(Default)]
pub struct Stored<'a> {
    pub key: &'a str,
    /// Its id, a number, and its body.
    pub id: &'a str,
    pub attributes: &'a [(&'a str, &'a str)],
    /// How long ago it was published.
    pub age: Option<Duration>,
}

/// The messages of one subscription.
#[derive(Default)]
pub struct Queue {
    pub filter: Option<Filter>,
    pub retry: Option<Retry>,
    /// Not delivered, by key; messages without one have an empty key and no order.
    waiting: BTreeMap<String, VecDeque<Waiting>>,
    /// Delivered, by ack id.
    leased: HashMap<String, PubsubMessage>,
    deliveries: HashMap<String, i32>,
    next: u64,
    /// When each message was delivered, in order.
    delivered: Vec<(String, Instant)>,
    /// When each message was handed back, or its lease ended, in order.
    handed_back: Vec<(String, Instant)>,
    /// How often the lease of each message was extended.
    extended: HashMap<String, u32>,
    passed_over: Vec<String>,
}

struct Waiting {
    message: PubsubMessage,
    due: Option<Instant>,
}

impl Waiting {
    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }
}

impl Queue {
    /// Takes a message in; one that the filter does not let through counts as acknowledged at once.
    pub fn add(&mut self, message: PubsubMessage) {
        if self.filter.as_ref().is_some_and(|filter| !filter.matches(&message.attributes)) {
            self.passed_over.push(message.message_id);
            return;
        }
        self.waiting.entry(message.ordering_key.clone()).or_default().push_back(Waiting { message, due: None });
    }

    /// Everything that waits and is due, key by key in order, but keys of which something that came before is still out,
    /// or not due.
    pub fn take(&mut self, now: Instant) -> Vec<ReceivedMessage> {
        let out: Vec<String> = self.leased.values().map(|message| message.ordering_key.clone()).collect();
        let mut taken = Vec::new();
        for (key, messages) in &mut self.waiting {
            if key.is_empty() {
                let (due, later): (VecDeque<_>, _) = messages.drain(..).partition(|waiting| waiting.is_due(now));
                *messages = later;
                taken.extend(due);
            } else if !out.contains(key) {
                while messages.front().is_some_and(|waiting| waiting.is_due(now))
                    && let Some(waiting) = messages.pop_front()
                {
                    taken.push(waiting);
                }
            }
        }
        taken.into_iter().map(|Waiting { message, .. }| self.deliver(message, now)).collect()
    }

    fn deliver(&mut self, message: PubsubMessage, now: Instant) -> ReceivedMessage {
        self.next += 1;
        let ack_id = format!("ack-{}", self.next);
        let deliveries = self.deliveries.entry(message.message_id.clone()).or_default();
        *deliveries += 1;
        self.delivered.push((message.message_id.clone(), now));
        self.leased.insert(ack_id.clone(), message.clone());
        ReceivedMessage { ack_id, message: Some(message), delivery_attempt: *deliveries }
    }

    /// When the next message is due that is not yet.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.values().flatten().filter_map(|waiting| waiting.due).min()
    }

    /// Takes a message off for good, where its lease still holds.
    pub fn acknowledge(&mut self, ack_id: &str) -> Option<String> {
        self.leased.remove(ack_id).map(|message| message.message_id)
    }

    pub fn extend(&mut self, ack_id: &str) {
        if let Some(message) = self.leased.get(ack_id) {
            *self.extended.entry(message.message_id.clone()).or_default() += 1;
        }
    }

    /// Back to its place: before everything of its key that came after it.
    pub fn hand_back(&mut self, ack_id: &str, now: Instant) {
        let Some(message) = self.leased.remove(ack_id) else { return };
        let attempts = self.deliveries.get(&message.message_id).copied().unwrap_or(1);
        let due = self.retry.map(|retry| now + retry.after(attempts));
        self.handed_back.push((message.message_id.clone(), now));
        let waiting = self.waiting.entry(message.ordering_key.clone()).or_default();
        let number = |message: &PubsubMessage| message.message_id.parse::<u64>().expect("ids are numbers");
        let at = waiting.partition_point(|other| number(&other.message) < number(&message));
        waiting.insert(at, Waiting { message, due });
    }

    /// Everything that is out comes back.
    pub fn expire(&mut self, now: Instant) {
        let expired: Vec<String> = self.leased.keys().cloned().collect();
        for id in expired {
            self.hand_back(&id, now);
        }
    }

    pub fn leased(&self) -> usize {
        self.leased.len()
    }

    /// How long a message was kept back before each of its deliveries but the first.
    pub fn pauses(&self, id: &str) -> Vec<Duration> {
        let of = |events: &[(String, Instant)]| -> Vec<Instant> {
            events.iter().filter(|(other, _)| other == id).map(|(_, at)| *at).collect()
        };
        let (back, delivered) = (of(&self.handed_back), of(&self.delivered));
        back.into_iter().zip(delivered.into_iter().skip(1)).map(|(from, to)| to - from).collect()
    }

    /// Ids of messages that the filter did not let through.
    pub fn passed_over(&self) -> Vec<String> {
        self.passed_over.clone()
    }

    /// How often the lease of a message was extended.
    pub fn extensions(&self, id: &str) -> u32 {
        self.extended.get(id).copied().unwrap_or_default()
    }
}

impl Retry {
    /// After so many deliveries.
    fn after(self, attempts: i32) -> Duration {
        let doublings = u32::try_from(attempts - 1).unwrap_or_default().min(16);
        (self.minimum * 2_u32.pow(doublings)).min(self.maximum)
    }
}

impl Stored<'_> {
    pub fn message(&self) -> PubsubMessage {
        let published = self.age.map(|age| {
            let since = (SystemTime::now() - age).duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
        });
        let attributes = self.attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        PubsubMessage {
            data: self.id.into(),
            attributes: attributes.collect(),
            message_id: self.id.to_owned(),
            publish_time: published,
            ordering_key: self.key.to_owned(),
        }
    }
}
