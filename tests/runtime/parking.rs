//! One destination of two is away for long: what is for the other goes on, and nothing of either is lost.
//!
//! Seen to fail when messages were acknowledged without being parked, when a destination that had answered again was
//! never tried, and when what was parked was judged by the dead letter budget as well.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::bus::{Placed, Publisher, Undelivered};
use chalk_writer::message::Outgoing;
use chalk_writer::runtime::{
    Away, Beside, DeadLetterTopic, Destination, Health, Parking, Pipeline, PipelineError, Policy, Run,
};
use chalk_writer::sink::{Outcome, Sink, SinkError, Write};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, partition};
use super::kit::{Letters, TestDecoder, encode, policy};
use super::store::{Faults, FaultyStore, TestRow, Value};

const AFTER: Duration = Duration::from_secs(60);

/// A store that can be reached or not.
struct Door {
    open: AtomicBool,
    store: FaultyStore,
    /// When it was asked in vain.
    knocks: std::sync::Mutex<Vec<Instant>>,
}

#[async_trait]
impl Sink<TestRow> for Door {
    async fn probe(&self) -> Result<(), SinkError> {
        if self.open.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(SinkError::Transient { reason: "nobody answers".into() })
    }

    async fn write(&self, write: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
        if !self.open.load(Ordering::Relaxed) {
            self.knocks.lock().unwrap().push(Instant::now());
            return Err(SinkError::Transient { reason: "nobody answers".into() });
        }
        self.store.write(write).await
    }

    fn collapse(&self, key: &u64, rows: &[&TestRow]) -> TestRow {
        self.store.collapse(key, rows)
    }
}

/// The parking topic, which fails now and then.
struct Lot {
    broker: Broker,
    letters: Letters,
    headers: std::sync::Mutex<Vec<Option<Vec<u8>>>>,
}

#[async_trait]
impl Publisher for Lot {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        self.letters.publish(messages).await?;
        for message in messages {
            let group = message.headers.get("chalk_target_group").map(<[u8]>::to_vec);
            self.headers.lock().unwrap().push(group);
            self.broker.append(0, message.payload.clone().unwrap());
        }
        Ok(messages.iter().map(|_| Placed { partition: partition(0), offset: 0 }).collect())
    }
}

struct Plant {
    broker: Broker,
    lot: Arc<Lot>,
    letters: Arc<Letters>,
    /// Store 1 of the two.
    door: Arc<Door>,
    sound: Arc<FaultyStore>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), PipelineError>>,
}

impl Plant {
    fn start() -> Self {
        let (broker, subscription) = Broker::new(2, 7, Box::new(|_, _| ()));
        let (parked, back) = Broker::new(1, 7, Box::new(|_, _| ()));
        let lot = Arc::new(Lot { broker: parked, letters: Letters::failing(3), headers: std::sync::Mutex::default() });
        let door = Arc::new(Door {
            open: AtomicBool::new(true),
            store: FaultyStore::new(1, Faults::default()),
            knocks: std::sync::Mutex::default(),
        });
        let sound = Arc::new(FaultyStore::new(2, Faults::default()));
        let letters: Arc<Letters> = Arc::default();
        let sinks: [Arc<dyn Sink<TestRow>>; 2] = [sound.clone(), door.clone()];
        let (away, health): (Arc<Away>, Arc<Health>) = Default::default();
        let pipeline = |subscription, parking, policy| Pipeline {
            subscription,
            decoder: Arc::new(TestDecoder),
            destinations: sinks
                .iter()
                .enumerate()
                .map(|(at, sink)| Destination { name: format!("store {at}"), sink: sink.clone() })
                .collect(),
            emission: None,
            dead_letters: Some((
                letters.clone() as Arc<dyn Publisher>,
                DeadLetterTopic {
                    name: "dlq".into(),
                    max_message_bytes: None,
                    max_header_bytes: None,
                    compacts: false,
                },
            )),
            parking,
            away: away.clone(),
            policy,
            health: health.clone(),
        };
        let parking = Parking { after: AFTER, topic: "parked".to_owned(), publisher: lot.clone() };
        let main = pipeline(subscription, Some(parking), policy());
        let parked = pipeline(back, None, Policy { beside: true, ..policy() });
        let stop = CancellationToken::new();
        let running = tokio::spawn(Box::new(Beside { main, parked }).run(stop.clone()));
        Self { broker, lot, letters, door, sound, stop, running }
    }

    /// Messages of one row each, for the stores in turns; one in twenty is bad, and stands alone.
    fn send(&self, serials: std::ops::Range<u64>) {
        for serial in serials {
            let destination = (serial % 2) as usize;
            let value = Value { time: serial as i64, serial };
            let row = TestRow { destination, key: key(serial), value, bad: serial % 20 == 13 };
            self.broker.append((serial % 3 == 0).into(), encode(&Some(vec![row])));
        }
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let waiting = async {
            while !done() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(3_600), waiting).await.unwrap_or_else(|_| panic!("{what}"));
    }
}

/// Half of the rows stand alone, and those of a key leave its newest.
fn key(serial: u64) -> Option<u64> {
    (serial % 4 >= 2).then_some(1_000_000 + serial % 8)
}

/// Whether a store has all that was sent to it up to some serial.
fn complete(store: &FaultyStore, sent: u64, destination: u64) -> bool {
    let good: HashSet<u64> = (0..sent).filter(|serial| serial % 2 == destination && serial % 20 != 13).collect();
    let alone = good.iter().filter(|serial| key(**serial).is_none());
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for serial in good.iter().filter(|serial| key(**serial).is_some()) {
        let of_key = newest.entry(key(*serial).unwrap()).or_default();
        *of_key = (*of_key).max(*serial);
    }
    let (accepted, stored) = (store.accepted(), store.newest());
    alone.into_iter().all(|serial| accepted.contains(serial))
        && newest.iter().all(|(key, serial)| stored.get(key).is_some_and(|value| value.serial == *serial))
}

#[tokio::test(start_paused = true)]
async fn what_is_for_a_store_that_is_away_is_parked_and_comes_back_and_the_rest_goes_on() {
    let plant = Plant::start();
    plant.door.open.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    plant.send(0..200);
    plant.until("the others go on", || complete(&plant.sound, 200, 0)).await;
    assert!(begun.elapsed() >= AFTER, "it is waited for before");
    plant.until("all of it is acknowledged", || plant.broker.acknowledged() == 200).await;
    assert!(plant.door.store.accepted().is_empty());
    // What is bad in a parked message is found later; nothing of store 1 is judged before.
    assert!(plant.letters.buried().is_empty());
    assert!(plant.lot.headers.lock().unwrap().iter().all(|group| group.as_deref() == Some(b"chalk-online-writer")));

    // As long as it is away nothing else waits for it any more.
    let begun = Instant::now();
    plant.send(200..260);
    plant.until("these as well", || plant.broker.acknowledged() == 260).await;
    assert!(begun.elapsed() < AFTER);

    plant.door.open.store(true, Ordering::Relaxed);
    plant.until("everything is back", || complete(&plant.door.store, 260, 1)).await;
    plant.until("the bad ones are buried", || plant.letters.buried().len() == 13).await;
    assert!(plant.letters.buried().values().all(|times| *times == 1));

    // It is written to directly again.
    let parked = plant.lot.headers.lock().unwrap().len();
    plant.send(260..300);
    plant.until("as before", || complete(&plant.door.store, 300, 1)).await;
    assert_eq!(plant.lot.headers.lock().unwrap().len(), parked);
    plant.stop.cancel();
    plant.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_whose_parked_messages_another_process_reads_is_tried_again_all_the_same() {
    let plant = Plant::start();
    plant.lot.broker.revoke(&[0]).await;
    plant.door.open.store(false, Ordering::Relaxed);
    plant.send(0..100);
    plant.until("all of it is parked", || plant.broker.acknowledged() == 100).await;
    let knocks = plant.door.knocks.lock().unwrap().len();
    plant.door.open.store(true, Ordering::Relaxed);
    let (mut serial, begun) = (100, Instant::now());
    while plant.door.store.accepted().is_empty() {
        assert!(begun.elapsed() < AFTER, "it answers, and is not asked; {knocks} attempts before");
        plant.send(serial..serial + 2);
        serial += 2;
        sleep(Duration::from_secs(1)).await;
    }
    plant.stop.cancel();
    plant.running.await.unwrap().unwrap();
}
