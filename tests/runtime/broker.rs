//! A scripted broker for one consumer under test: partitions, committed positions, revocations in
//! part or whole, and another owner who goes on from what was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chalk_writer::bus::{BusError, Committed, Consumed, Handover, Received, Source, Subscription, Transactions};
use chalk_writer::message::{Delivery, Headers, Message, Outgoing, Partition};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

/// What is checked whenever a position becomes durable: partition and committed position.
pub type OnCommit = Box<dyn Fn(i32, i64) + Send + Sync>;

#[derive(Default)]
struct Log {
    messages: Vec<Bytes>,
    committed: i64,
    /// `Some` while the consumer under test owns it.
    owned: Option<Owned>,
    generation: u64,
}

struct Owned {
    /// The next offset to be delivered.
    position: i64,
    /// Everything below is acknowledged.
    acknowledged: i64,
    /// Being taken away: nothing more is delivered.
    leaving: bool,
}

struct State {
    logs: BTreeMap<i32, Log>,
    next_delivery: u64,
    outstanding: Vec<(Delivery, i32, i64, u64)>,
    /// Messages whose acknowledgement was taken.
    acknowledged: u64,
    /// No more messages and no more rebalances will come.
    complete: bool,
    said_caught_up: bool,
    chunk: usize,
    on_commit: OnCommit,
    transactions: Option<TransactionFaults>,
    /// What readers of the topic see that transactions publish to.
    published: Published,
}

/// Messages that were published, in order.
pub type Published = Arc<Mutex<Vec<Outgoing>>>;

/// How transactions misbehave.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransactionFaults {
    /// Out of a hundred, how many fail; half of them after they have landed.
    pub percent: u64,
    /// Longest time before and after one lands; one in twenty takes a thousand times as long.
    pub slow: Duration,
    pub seed: u64,
    /// None lands before.
    pub away_until: Option<Instant>,
}

/// The broker; clones share it.
#[derive(Clone)]
pub struct Broker {
    state: Arc<Mutex<State>>,
    handovers: mpsc::Sender<Handover>,
}

impl Broker {
    /// A broker with partitions `0..count`, all owned by the consumer that the subscription is for.
    pub fn new(count: i32, chunk: usize, on_commit: OnCommit) -> (Self, Subscription) {
        let (handovers, receiver) = mpsc::channel(1);
        let logs = (0..count)
            .map(|number| {
                let owned = Some(Owned { position: 0, acknowledged: 0, leaving: false });
                (number, Log { owned, ..Log::default() })
            })
            .collect();
        let state = State {
            logs,
            next_delivery: 0,
            outstanding: Vec::new(),
            acknowledged: 0,
            complete: false,
            said_caught_up: false,
            chunk,
            on_commit,
            transactions: None,
            published: Published::default(),
        };
        let broker = Self { state: Arc::new(Mutex::new(state)), handovers };
        let (_, status) = watch::channel(Vec::new());
        let source = Box::new(Consumer { broker: broker.clone() });
        (broker, Subscription { source, handovers: receiver, status, transactions: None })
    }

    /// The same where positions move in transactions only. Returns what is published in them too.
    pub fn transactional(
        count: i32,
        chunk: usize,
        faults: TransactionFaults,
        published: Published,
        on_commit: OnCommit,
    ) -> (Self, Subscription) {
        let (broker, mut subscription) = Self::new(count, chunk, on_commit);
        {
            let mut state = broker.lock();
            state.transactions = Some(faults);
            state.published = published;
        }
        subscription.transactions = Some(Arc::new(broker.clone()));
        (broker, subscription)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the broker")
    }

    pub fn append(&self, partition: i32, payload: impl Into<Bytes>) {
        let mut state = self.lock();
        state.said_caught_up = false;
        state.logs.get_mut(&partition).expect("a partition of the broker").messages.push(payload.into());
    }

    pub fn complete(&self) {
        self.lock().complete = true;
    }

    pub fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    pub fn committed(&self) -> BTreeMap<i32, i64> {
        self.lock().logs.iter().map(|(number, log)| (*number, log.committed)).collect()
    }

    pub fn ends(&self) -> BTreeMap<i32, i64> {
        self.lock().logs.iter().map(|(number, log)| (*number, log.messages.len() as i64)).collect()
    }

    /// Takes partitions away: the consumer hears of it, may finish within its limit, and what it
    /// has acknowledged by then is committed. Returns how long it took.
    pub async fn revoke(&self, partitions: &[i32]) -> Duration {
        let begun = Instant::now();
        let going: BTreeSet<i32> = {
            let mut state = self.lock();
            let owned = |number: &i32| state.logs[number].owned.is_some();
            let going: BTreeSet<i32> = partitions.iter().copied().filter(owned).collect();
            for number in &going {
                let log = state.logs.get_mut(number).expect("known");
                log.generation += 1;
                log.owned.as_mut().expect("filtered").leaving = true;
            }
            going
        };
        if going.is_empty() {
            return Duration::ZERO;
        }
        let (release, released) = oneshot::channel();
        let partitions = going.iter().map(|number| partition(*number)).collect();
        let (_letting_go, gone) = oneshot::channel();
        if self.handovers.send(Handover { partitions, release, gone }).await.is_ok() {
            let _ = released.await;
        }
        // Another task may run before the broker hears that it was released.
        tokio::task::yield_now().await;
        let mut state = self.lock();
        for number in going {
            state.commit(number);
            state.logs.get_mut(&number).expect("known").owned = None;
        }
        begun.elapsed()
    }

    /// Takes partitions away without asking: another owner has them already.
    pub async fn lose(&self, partitions: &[i32]) {
        let (release, _) = oneshot::channel();
        let (_, gone) = oneshot::channel();
        {
            let mut state = self.lock();
            for number in partitions {
                let log = state.logs.get_mut(number).expect("known");
                log.generation += 1;
                log.owned = None;
            }
        }
        let partitions = partitions.iter().map(|number| partition(*number)).collect();
        let _ = self.handovers.send(Handover { partitions, release, gone }).await;
    }

    /// Gives partitions (back) to the consumer, from what is committed.
    pub fn assign(&self, partitions: &[i32]) {
        let mut state = self.lock();
        for number in partitions {
            let log = state.logs.get_mut(number).expect("known");
            if log.owned.is_none() {
                log.generation += 1;
                log.owned = Some(Owned { position: log.committed, acknowledged: log.committed, leaving: false });
            }
        }
    }

    /// Another owner reads up to `count` messages of a partition that the consumer does not own.
    pub fn elsewhere(&self, partition: i32, count: usize, mut store: impl FnMut(&[u8])) {
        let mut state = self.lock();
        let log = state.logs.get_mut(&partition).expect("known");
        if log.owned.is_none() {
            let from = log.committed as usize;
            let to = (from + count).min(log.messages.len());
            for message in &log.messages[from..to] {
                store(message);
            }
            log.committed = to as i64;
        }
    }
}

pub fn partition(number: i32) -> Partition {
    Partition { topic: "results".into(), number }
}

impl State {
    fn commit(&mut self, number: i32) {
        let log = self.logs.get_mut(&number).expect("known");
        if let Some(owned) = &log.owned
            && owned.acknowledged > log.committed
        {
            log.committed = owned.acknowledged;
            (self.on_commit)(number, log.committed);
        }
    }
}

impl State {
    fn random(&mut self) -> u64 {
        let faults = self.transactions.as_mut().expect("a broker with transactions");
        faults.seed = faults.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (faults.seed ^ (faults.seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A time that a transaction takes.
    fn pause(&mut self) -> Duration {
        let slow = self.transactions.expect("a broker with transactions").slow.as_micros() as u64;
        let dice = self.random();
        let longest = slow * if dice.is_multiple_of(20) { 1000 } else { 1 };
        Duration::from_micros((dice >> 8) % longest.max(1))
    }

    /// All of it or nothing, for the owner under the assignment in which it was delivered.
    fn land(&mut self, messages: &[Outgoing], consumed: &[Consumed]) -> Committed {
        let delivered = |last: Delivery| self.outstanding.iter().find(|entry| entry.0 == last).copied();
        let entries: Vec<_> =
            consumed.iter().map(|consumed| delivered(consumed.last).expect("delivered and not acknowledged")).collect();
        let mut lost = Vec::new();
        let mut reached = 0;
        for (consumed, (_, number, offset, generation)) in consumed.iter().zip(&entries) {
            assert_eq!((consumed.partition.number, consumed.next), (*number, offset + 1));
            let log = &self.logs[number];
            let ours = log.owned.as_ref().is_some_and(|owned| {
                log.generation == *generation || (owned.leaving && log.generation == generation + 1)
            });
            if !ours {
                lost.push(consumed.partition.clone());
            } else if log.committed >= consumed.next {
                reached += 1;
            }
        }
        if !lost.is_empty() {
            return Committed::Lost(lost);
        }
        // An earlier attempt has landed, whatever was said of it.
        if reached < consumed.len() {
            self.published.lock().expect("held").extend_from_slice(messages);
            for Consumed { partition, next, .. } in consumed {
                let log = self.logs.get_mut(&partition.number).expect("known");
                log.committed = *next;
                log.owned.as_mut().expect("ours").acknowledged = *next;
            }
            for Consumed { partition, next, .. } in consumed {
                (self.on_commit)(partition.number, *next);
            }
        }
        Committed::Done
    }
}

#[async_trait]
impl Transactions for Broker {
    async fn commit(&self, messages: &[Outgoing], consumed: &[Consumed]) -> Result<Committed, BusError> {
        let before = self.lock().pause();
        sleep(before).await;
        let (answer, after) = {
            let mut state = self.lock();
            let fault = state.random();
            let TransactionFaults { percent, away_until, .. } = state.transactions.expect("it has them");
            let fails = fault % 100 < percent;
            let away = away_until.is_some_and(|until| Instant::now() < until);
            if away || (fails && (fault >> 8).is_multiple_of(2)) {
                return Err(BusError::Unavailable("no coordinator".into()));
            }
            let committed = state.land(messages, consumed);
            (if fails { Err(BusError::Unavailable("time-out".into())) } else { Ok(committed) }, state.pause())
        };
        sleep(after).await;
        answer
    }
}

struct Consumer {
    broker: Broker,
}

#[async_trait]
impl Source for Consumer {
    async fn next(&mut self) -> Result<Received, BusError> {
        loop {
            {
                let mut state = self.broker.lock();
                let chunk = state.chunk;
                let mut messages = Vec::new();
                let State { logs, next_delivery, outstanding, .. } = &mut *state;
                for (number, log) in logs.iter_mut() {
                    let Some(owned) = &mut log.owned else { continue };
                    while messages.len() < chunk
                        && !owned.leaving
                        && let Some(payload) = log.messages.get(owned.position as usize)
                    {
                        let delivery = Delivery(*next_delivery);
                        *next_delivery += 1;
                        outstanding.push((delivery, *number, owned.position, log.generation));
                        messages.push(Message {
                            delivery,
                            partition: partition(*number),
                            offset: owned.position,
                            timestamp_ms: None,
                            key: None,
                            headers: Headers::new(),
                            payload: Some(payload.clone()),
                        });
                        owned.position += 1;
                    }
                }
                if !messages.is_empty() {
                    return Ok(Received::Messages(messages));
                }
                let done = state.logs.values().all(|log| log.committed == log.messages.len() as i64);
                if state.complete && done {
                    return Ok(Received::End);
                }
                if !state.said_caught_up {
                    state.said_caught_up = true;
                    return Ok(Received::CaughtUp);
                }
            }
            // Nothing is held here, so that a dropped call loses nothing.
            sleep(Duration::from_millis(7)).await;
        }
    }

    fn acknowledge(&mut self, last: Delivery) {
        let mut state = self.broker.lock();
        let done: Vec<_> = state.outstanding.extract_if(.., |entry| entry.0 <= last).collect();
        let transactional = state.transactions.is_some();
        for (_, number, offset, generation) in done {
            let log = state.logs.get_mut(&number).expect("known");
            if transactional {
                let ours = log.owned.is_some() && (log.generation == generation || log.generation == generation + 1);
                assert!(!ours || log.committed > offset, "partition {number}: {offset} acknowledged, not committed");
                continue;
            }
            // A revocation that waits for us has raised the generation, and still takes what we
            // delivered before it; what was delivered before an earlier one is nobody's.
            if let Some(owned) = &mut log.owned
                && (log.generation == generation || log.generation == generation + 1)
            {
                assert_eq!(owned.acknowledged, offset, "partition {number}: acknowledged out of order");
                owned.acknowledged = offset + 1;
                state.acknowledged += 1;
            }
            state.commit(number);
        }
    }

    async fn close(&mut self) -> Result<(), BusError> {
        Ok(())
    }
}
