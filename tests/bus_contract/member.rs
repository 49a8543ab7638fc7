//! A member of a consumer group that runs by itself and writes down what it sees, for cases to wait on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chalk_writer::bus::{
    Browse, BrowseFrom, BusError, Committed, Consumed, Handover, Hold, OnGap, PartitionStatus, Placed, Received,
    Source, Subscribe, Subscription, Transactions,
};
use chalk_writer::message::{Delivery, Message, Outgoing, Partition};
use tokio::sync::{Notify, mpsc, oneshot};

use super::harness::Harness;

/// How a member behaves on its own.
#[derive(Clone, Copy, Default)]
pub struct Behaviour {
    /// Acknowledges whatever it gets, at once.
    pub acknowledges: bool,
    /// Keeps handovers until it is told to release them.
    pub holds_handovers: bool,
    /// Ends at the ends that it finds when it starts.
    pub drains: bool,
}

/// What a member has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// In order of arrival.
    pub messages: Vec<Message>,
    /// How many hints came that everything was read.
    pub caught_up: usize,
    /// The end of a drain came.
    pub ended: bool,
    /// The partitions of every handover, in order.
    pub handovers: Vec<Vec<Partition>>,
    /// Messages seen when each handover was released.
    pub released: Vec<usize>,
    /// What the status said last.
    pub status: Vec<PartitionStatus>,
    /// Errors of the source.
    pub errors: Vec<BusError>,
}

impl Seen {
    /// The partitions that it has now.
    pub fn assigned(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self.status.iter().map(|status| status.partition.number).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Partition and offset of a message.
pub fn place(message: &Message) -> (i32, i64) {
    (message.partition.number, message.offset)
}

/// The body of a message as text.
pub fn body(message: &Message) -> String {
    String::from_utf8(message.body().to_vec()).expect("the suite publishes text")
}

enum Command {
    Acknowledge(Delivery, oneshot::Sender<()>),
    Release(oneshot::Sender<()>),
    Close(oneshot::Sender<Result<(), BusError>>),
}

/// A running member. Dropped without [`Member::close`] it closes by itself.
pub struct Member {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    commands: mpsc::UnboundedSender<Command>,
    transactions: Option<Arc<dyn Transactions>>,
    patience: std::time::Duration,
}

impl Member {
    /// Joins a group and starts to read.
    pub async fn join(harness: &Arc<dyn Harness>, topic: &str, group: &str, behaviour: Behaviour) -> Self {
        Self::start(harness, subscribe(topic, group, behaviour.drains), behaviour).await
    }

    /// The same, to move positions in transactions.
    pub async fn join_in_transactions(
        harness: &Arc<dyn Harness>,
        topic: &str,
        group: &str,
        behaviour: Behaviour,
    ) -> Self {
        let subscribe = Subscribe { transactional: true, ..subscribe(topic, group, behaviour.drains) };
        Self::start(harness, subscribe, behaviour).await
    }

    async fn start(harness: &Arc<dyn Harness>, subscribe: Subscribe, behaviour: Behaviour) -> Self {
        harness.make_group(&subscribe.topic, &subscribe.group).await;
        let subscription = harness.bus().subscribe(subscribe).await.expect("the group can be joined");
        let transactions = subscription.transactions.clone();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let changed = Arc::new(Notify::new());
        let (commands, receiver) = mpsc::unbounded_channel();
        let life = Life { seen: seen.clone(), changed: changed.clone(), behaviour, held: Vec::new() };
        tokio::spawn(life.run(subscription, receiver));
        Self { seen, changed, commands, transactions, patience: harness.capabilities().patience }
    }

    /// Its transactions.
    pub fn transactions(&self) -> Arc<dyn Transactions> {
        self.transactions.clone().expect("it was asked for them")
    }

    /// Publishes messages and commits the positions after what was read, in one.
    pub async fn commit(&self, messages: &[Outgoing], read: &[Message]) -> Result<Committed, BusError> {
        let transactions = self.transactions();
        tokio::time::timeout(self.patience, transactions.commit(messages, &consumed(read))).await.expect("in time")
    }

    /// Waits until what was seen is as wanted, and returns it.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let seen = self.seen();
                if wanted(&seen) {
                    return seen;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(self.patience, waiting).await {
            Ok(seen) => seen,
            Err(_) => {
                let Seen { messages, caught_up, ended, handovers, status, errors, .. } = self.seen();
                panic!(
                    "waited in vain until {what}: {} messages, {caught_up} times caught up, ended: {ended}, \
                     handovers {handovers:?}, status {status:?}, errors {errors:?}",
                    messages.len()
                )
            }
        }
    }

    /// Waits for so many messages.
    pub async fn messages(&self, count: usize) -> Vec<Message> {
        self.until(&format!("{count} messages came"), |seen| seen.messages.len() >= count).await.messages
    }

    /// Waits until it has so many partitions.
    pub async fn partitions(&self, count: usize) -> Vec<i32> {
        self.until(&format!("it has {count} partitions"), |seen| seen.status.len() == count).await.assigned()
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic while it is held").clone()
    }

    /// Acknowledges everything up to a number.
    pub async fn acknowledge(&self, last: Delivery) {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Acknowledge(last, reply));
        answer.await.expect("the member lives");
    }

    /// Releases the handovers that it holds.
    pub async fn release(&self) {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Release(reply));
        answer.await.expect("the member lives");
    }

    /// Leaves the group.
    pub async fn close(self) {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Close(reply));
        answer.await.expect("the member lives").expect("the source closes");
    }

    fn send(&self, command: Command) {
        assert!(self.commands.send(command).is_ok(), "the member lives");
    }
}

struct Life {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    behaviour: Behaviour,
    held: Vec<Handover>,
}

impl Life {
    async fn run(mut self, subscription: Subscription, mut commands: mpsc::UnboundedReceiver<Command>) {
        let Subscription { mut source, mut handovers, mut status, .. } = subscription;
        let (mut listening, mut watching, mut reading) = (true, true, true);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Acknowledge(last, reply)) => {
                        source.acknowledge(last);
                        let _ = reply.send(());
                    }
                    Some(Command::Release(reply)) => {
                        self.release();
                        let _ = reply.send(());
                    }
                    Some(Command::Close(reply)) => {
                        let _ = reply.send(source.close().await);
                        return;
                    }
                    None => {
                        let _ = source.close().await;
                        return;
                    }
                },
                handover = handovers.recv(), if listening => match handover {
                    Some(handover) => self.hand_over(handover),
                    None => listening = false,
                },
                changed = status.changed(), if watching => {
                    watching = changed.is_ok();
                    let now = status.borrow_and_update().clone();
                    self.note(|seen| seen.status = now);
                }
                received = source.next(), if reading => reading = self.receive(source.as_mut(), received),
            }
        }
    }

    fn receive(&self, source: &mut dyn Source, received: Result<Received, BusError>) -> bool {
        match received {
            Ok(Received::Messages(messages)) => {
                let last = messages.last().expect("never an empty list").delivery;
                self.note(|seen| seen.messages.extend(messages));
                if self.behaviour.acknowledges {
                    source.acknowledge(last);
                }
                true
            }
            Ok(Received::CaughtUp) => {
                self.note(|seen| seen.caught_up += 1);
                true
            }
            Ok(Received::End) => {
                self.note(|seen| seen.ended = true);
                false
            }
            Err(error) => {
                let goes_on = error.is_transient();
                self.note(|seen| seen.errors.push(error));
                goes_on
            }
        }
    }

    fn hand_over(&mut self, handover: Handover) {
        self.note(|seen| seen.handovers.push(handover.partitions.clone()));
        self.held.push(handover);
        if !self.behaviour.holds_handovers {
            self.release();
        }
    }

    fn release(&mut self) {
        for handover in std::mem::take(&mut self.held) {
            self.note(|seen| seen.released.push(seen.messages.len()));
            drop(handover);
        }
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().expect("no panic while it is held"));
        self.changed.notify_waiters();
    }
}

/// The positions after these messages.
pub fn consumed(read: &[Message]) -> Vec<Consumed> {
    let mut last = BTreeMap::new();
    for message in read {
        let Message { partition, delivery, offset, .. } = message;
        let consumed = Consumed { partition: partition.clone(), last: *delivery, next: offset + 1 };
        last.insert(partition.number, consumed);
    }
    last.into_values().collect()
}

/// The full name of a group: no other run of the suite, on the same server at the same time, has it.
pub fn group_of(topic: &str, group: &str) -> String {
    format!("{group}-of-{topic}")
}

/// What the suite may hold.
pub const HOLD: Hold = Hold { bytes: 3 << 20, messages: 60_000 };

/// What the suite subscribes with.
pub fn subscribe(topic: &str, group: &str, drain: bool) -> Subscribe {
    Subscribe {
        topic: topic.to_owned(),
        group: group_of(topic, group),
        drain,
        fetch_bytes: 1 << 20,
        hold: HOLD,
        on_gap: OnGap::Stop,
        transactional: false,
    }
}

/// Makes a topic of its own for a case.
pub async fn fresh_topic(harness: &Arc<dyn Harness>, hint: &str, partitions: u32) -> String {
    let name = format!("{hint}-{}", uuid::Uuid::new_v4().simple());
    harness.create_topic(&name, partitions).await;
    name
}

/// Publishes numbered texts (`<partition>:<number>`) to a partition.
pub async fn publish(
    harness: &Arc<dyn Harness>,
    topic: &str,
    partition: i32,
    numbers: std::ops::Range<usize>,
) -> Vec<Placed> {
    let messages: Vec<Outgoing> =
        numbers.map(|number| text(topic, partition, &format!("{partition}:{number}"))).collect();
    let publisher = harness.bus().publisher().await.expect("a publisher");
    publisher.publish(&messages).await.expect("the bus takes the messages")
}

/// A message of nothing but a text.
pub fn text(topic: &str, partition: i32, body: &str) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        partition: Some(partition),
        payload: Some(Bytes::copy_from_slice(body.as_bytes())),
        ..Outgoing::default()
    }
}

/// How many a group has left, over all partitions.
pub async fn left_in_all(harness: &Arc<dyn Harness>, topic: &str, group: &str) -> usize {
    left(harness, topic, group).await.values().sum()
}

/// Bodies, in an order of their own.
pub fn sorted_bodies(messages: &[Message]) -> Vec<String> {
    let mut bodies: Vec<String> = messages.iter().map(body).collect();
    bodies.sort();
    bodies
}

/// Numbered texts as [`publish`] makes them, in the order of [`sorted_bodies`].
pub fn texts(partition: i32, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut texts: Vec<String> = numbers.map(|number| format!("{partition}:{number}")).collect();
    texts.sort();
    texts
}

/// Reads a topic outside every group, to the end.
pub async fn browse(harness: &Arc<dyn Harness>, topic: &str, from: BrowseFrom) -> Vec<Message> {
    let mut browse: Box<dyn Browse> = harness.bus().browse(topic, from).await.expect("the topic can be read");
    let mut all = Vec::new();
    loop {
        let messages = browse.next().await.expect("the topic can be read");
        if messages.is_empty() {
            return all;
        }
        all.extend(messages);
    }
}

/// What a group has not committed yet: the number of messages left, by partition.
pub async fn left(harness: &Arc<dyn Harness>, topic: &str, group: &str) -> BTreeMap<i32, usize> {
    let mut left = BTreeMap::new();
    for message in browse(harness, topic, BrowseFrom::Group(group_of(topic, group))).await {
        *left.entry(message.partition.number).or_default() += 1;
    }
    left
}
