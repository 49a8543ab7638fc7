//! Pipelines that publish: what a reader of the topic sees, against random messages, faults and revocations.
//!
//! Seen to fail, each when the runtime was broken by hand so: a batch was published before its burials were
//! confirmed; the next batch was judged before this one was published; a batch that was cancelled let those behind
//! it pass those before it (in earnest: so it was, and nobody had minded); it was acknowledged without a
//! transaction; rows of a refused message were published; the position of a partition was that of its first
//! message; an error was taken for landed; so was the loss of a partition; messages of a lost partition were
//! published with the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chalk_writer::bus::{BusError, Placed, Publisher, Subscription, Undelivered, all_landed};
use chalk_writer::message::{Outgoing, Partition};
use chalk_writer::runtime::{Emission, Emit, Emitted, PipelineError};
use chalk_writer::sink::{ErrorClass, Refusal};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, Published, TransactionFaults, partition};
use super::kit::{Body, HALF, Letters, Setup, encode, policy, rows_of};
use super::store::{TestRow, Value};
use super::{PARTITIONS, Step, steps};

/// Publishes the serials of its rows, so many a message. A message with a bad row is refused.
struct Serials(usize);

impl Emit<TestRow> for Serials {
    fn emit(&self, id: &str, partition: &Partition, rows: &[(usize, &TestRow)]) -> Emitted {
        let refused: BTreeSet<usize> = rows.iter().filter(|(_, row)| row.bad).map(|(at, _)| *at).collect();
        let serials = rows.iter().filter(|(at, _)| !refused.contains(at)).map(|(_, row)| row.value.serial);
        let serials: Vec<u64> = serials.collect();
        let message = |serials: &[u64]| Outgoing {
            topic: "counted".to_owned(),
            key: Some(Bytes::from(format!("{id}/{}", partition.number))),
            payload: Some(Bytes::from(serde_json::to_vec(serials).unwrap())),
            ..Outgoing::default()
        };
        let refusal = |at| (at, Refusal::new(ErrorClass::TooLarge, "bad row"));
        Emitted {
            messages: serials.chunks(self.0).map(message).collect(),
            refused: refused.into_iter().map(refusal).collect(),
        }
    }
}

/// A topic without transactions.
#[derive(Default)]
struct Plain {
    published: Published,
    /// One publish in so many fails, after it landed; 0 is none.
    fails_one_in: usize,
    /// Of a publish of several messages the first time only every other one lands.
    takes_half: bool,
    /// So many publishes it refuses first, for what is in them.
    refuses: usize,
    attempts: Mutex<usize>,
    slow: Duration,
}

#[async_trait]
impl Publisher for Plain {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        sleep(self.slow).await;
        if self.takes_half && messages.len() > 1 {
            let land = |(at, message): (usize, &Outgoing)| {
                if at % 2 == 1 {
                    return Err(BusError::Unavailable("no broker".into()));
                }
                let mut published = self.published.lock().unwrap();
                published.push(message.clone());
                Ok(Placed { partition: partition(0), offset: published.len() as i64 })
            };
            return all_landed(messages.iter().enumerate().map(land).collect());
        }
        let mut attempts = self.attempts.lock().unwrap();
        *attempts += 1;
        if *attempts <= self.refuses {
            return Err(Undelivered::all(BusError::Refused("not of its schema".into()), messages.len()));
        }
        self.published.lock().unwrap().extend_from_slice(messages);
        if self.fails_one_in > 0 && attempts.is_multiple_of(self.fails_one_in) {
            return Err(Undelivered::all(BusError::Unavailable("no broker".into()), messages.len()));
        }
        Ok(Vec::new())
    }
}

/// How often a reader has counted each serial.
fn counted(published: &Published) -> HashMap<u64, usize> {
    let mut counts = HashMap::new();
    for message in published.lock().unwrap().iter() {
        for serial in serde_json::from_slice::<Vec<u64>>(message.payload.as_deref().unwrap()).unwrap() {
            *counts.entry(serial).or_default() += 1;
        }
    }
    counts
}

/// Of a message that is dealt with: counted once, or buried and not counted.
fn dealt_with(body: &Body, counts: &HashMap<u64, usize>, buried: &BTreeMap<Vec<u8>, usize>) -> Result<(), String> {
    let bad = body.as_ref().is_none_or(|rows| rows.iter().any(|row| row.bad));
    let times = usize::from(!bad);
    if bad && !buried.contains_key(&encode(body)) {
        return Err(format!("{body:?} is bad and not buried"));
    }
    for row in body.iter().flatten() {
        let found = counts.get(&row.value.serial).copied().unwrap_or(0);
        if found != times {
            return Err(format!("{row:?} is counted {found} times, not {times}"));
        }
    }
    Ok(())
}

fn setup(subscription: Subscription, split: usize, plain: Plain) -> Setup {
    Setup {
        subscription,
        sinks: Vec::new(),
        emission: Some(Emission {
            name: "topic counted".to_owned(),
            emit: Arc::new(Serials(split)),
            publisher: Arc::new(plain),
        }),
        letters: Some(Arc::default()),
        policy: policy(),
        health: Arc::default(),
    }
}

#[derive(Clone, Copy, Debug)]
struct World {
    in_flight: usize,
    max_rows: usize,
    chunk: usize,
    split: usize,
    faults: TransactionFaults,
    letters_fail_one_in: u64,
}

fn worlds() -> impl Strategy<Value = World> {
    let shape = (1..4usize, 1..30usize, 1..40usize, 1..6usize);
    let faults = (0..60u64, 0..8u64, 0..4u64, any::<u64>());
    (shape, faults).prop_map(|((in_flight, max_rows, chunk, split), (percent, slow, letters, seed))| World {
        in_flight,
        max_rows,
        chunk,
        split,
        faults: TransactionFaults { percent, slow: Duration::from_millis(slow), seed, away_until: None },
        letters_fail_one_in: if letters == 1 { 2 } else { letters },
    })
}

type Logs = Arc<Mutex<BTreeMap<i32, Vec<Body>>>>;

fn check(world: World, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async move {
        let letters = Arc::new(Letters::failing(world.letters_fail_one_in));
        let (published, logs) = (Published::default(), Logs::default());
        let on_commit = {
            let (letters, published, logs) = (letters.clone(), published.clone(), logs.clone());
            Box::new(move |partition: i32, committed: i64| {
                let (buried, counts) = (letters.buried(), counted(&published));
                for (offset, body) in logs.lock().unwrap()[&partition].iter().take(committed as usize).enumerate() {
                    if let Err(reason) = dealt_with(body, &counts, &buried) {
                        panic!("committed {partition}@{committed}, but of message {offset}: {reason}");
                    }
                }
            })
        };
        let (broker, subscription) =
            Broker::transactional(PARTITIONS, world.chunk, world.faults, published.clone(), on_commit);
        let mut setup = setup(subscription, world.split, Plain::default());
        setup.letters = Some(letters.clone());
        setup.policy.in_flight = world.in_flight;
        setup.policy.max_rows = world.max_rows;
        let (drain_within, health) = (setup.policy.drain_within, setup.health.clone());
        let running = tokio::spawn(setup.run(CancellationToken::new()));
        let mut serial = 0;
        for step in steps {
            match step {
                Step::Message { partition, rows, readable } => {
                    let mut row = |(_, _, time, bad)| {
                        serial += 1;
                        TestRow { destination: 0, key: None, value: Value { time, serial }, bad }
                    };
                    let body: Body = readable.then(|| rows.into_iter().map(&mut row).collect());
                    let encoded = encode(&body);
                    logs.lock().unwrap().entry(partition).or_default().push(body);
                    broker.append(partition, encoded);
                }
                Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
                Step::Revoke(partitions) => {
                    let took = broker.revoke(&partitions).await;
                    assert!(took <= drain_within + Duration::from_millis(50), "a revocation took {took:?}");
                }
                Step::Lose(partitions) => broker.lose(&partitions).await,
                Step::Assign(partitions) => broker.assign(&partitions),
                Step::Elsewhere { partition, count } => broker.elsewhere(partition, count, |body| {
                    let serials = match rows_of(body) {
                        Some(rows) if rows.iter().all(|row| !row.bad) => {
                            rows.iter().map(|row| row.value.serial).collect()
                        }
                        _ => {
                            letters.bury_elsewhere(body);
                            Vec::new()
                        }
                    };
                    let payload = Some(Bytes::from(serde_json::to_vec::<Vec<u64>>(&serials).unwrap()));
                    published.lock().unwrap().push(Outgoing { payload, ..Outgoing::default() });
                }),
            }
        }
        broker.assign(&[0, 1, 2]);
        broker.complete();
        running.await.unwrap().expect("nothing in this world stops a pipeline");

        assert_eq!(broker.committed(), broker.ends(), "everything is committed in the end");
        let (buried, counts) = (letters.buried(), counted(&published));
        let logs = logs.lock().unwrap();
        for body in logs.values().flatten() {
            dealt_with(body, &counts, &buried).unwrap();
        }
        let good = |body: &&Body| body.as_ref().is_some_and(|rows| rows.iter().all(|row| !row.bad));
        let good: BTreeSet<_> = logs.values().flatten().filter(good).map(encode).collect();
        assert!(buried.keys().all(|body| !good.contains(body)), "a good message was buried");
        assert_eq!(health.not_ready(), [], "nothing is in trouble at the end");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_counts_each_message_once_and_bad_ones_are_buried_before(world in worlds(), steps in steps()) {
        check(world, steps);
    }
}

fn row(serial: u64) -> TestRow {
    TestRow { destination: 0, key: None, value: Value { time: 0, serial }, bad: false }
}

/// Transactions that do not land for so long, and then do.
fn away(seconds: u64) -> (Broker, Subscription, Published) {
    let away_until = Some(Instant::now() + Duration::from_secs(seconds));
    let faults = TransactionFaults { away_until, ..TransactionFaults::default() };
    let published = Published::default();
    let (broker, subscription) = Broker::transactional(2, 100, faults, published.clone(), Box::new(|_, _| ()));
    (broker, subscription, published)
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_goes_in_mid_air_is_left_out_and_the_others_land() {
    let (broker, subscription, published) = away(30);
    broker.append(0, encode(&Some(vec![row(1)])));
    broker.append(1, encode(&Some(vec![row(2)])));
    let setup = setup(subscription, 10, Plain::default());
    let health = setup.health.clone();
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(broker.revoke(&[1]).await.as_secs(), 5);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(counted(&published), HashMap::from([(1, 1)]));
    assert_eq!(broker.committed(), BTreeMap::from([(0, 1), (1, 0)]));
    assert_eq!((health.state().stored, health.state().acknowledged), (1, 1), "what went is not ours to count");
    broker.assign(&[1]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(counted(&published), HashMap::from([(1, 1), (2, 1)]));
    assert_eq!(broker.committed()[&1], 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn without_transactions_a_batch_is_published_again_until_it_is_confirmed_and_then_acknowledged() {
    let (broker, subscription) = Broker::new(1, 100, Box::new(|_, _| ()));
    let published = Published::default();
    let plain = Plain { published: published.clone(), fails_one_in: 2, attempts: Mutex::new(1), ..Plain::default() };
    broker.append(0, encode(&Some(vec![row(1), row(2)])));
    broker.append(0, encode(&Some(vec![TestRow { bad: true, ..row(3) }])));
    let setup = setup(subscription, 10, plain);
    let (letters, health) = (setup.letters.clone().unwrap(), setup.health.clone());
    broker.complete();
    setup.run(CancellationToken::new()).await.unwrap();
    assert_eq!(counted(&published), HashMap::from([(1, 2), (2, 2)]), "once for each attempt");
    assert_eq!((letters.buried().len(), broker.committed()[&0]), (1, 2));
    let state = health.state();
    assert_eq!((state.stored, state.buried, state.acknowledged), (2, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn without_transactions_what_landed_of_a_publish_is_not_published_again() {
    let (broker, subscription) = Broker::new(2, 100, Box::new(|_, _| ()));
    let published = Published::default();
    let plain = Plain { published: published.clone(), takes_half: true, ..Plain::default() };
    for serial in 1..=9 {
        broker.append(serial as i32 % 2, encode(&Some(vec![row(serial)])));
    }
    let setup = setup(subscription, 1, plain);
    broker.complete();
    setup.run(CancellationToken::new()).await.unwrap();
    assert_eq!(counted(&published), (1..=9).map(|serial| (serial, 1)).collect());
    assert_eq!(broker.committed(), BTreeMap::from([(0, 4), (1, 5)]));
}

/// What is emitted comes from many messages: to bury them all for one would be no answer, and to end would be none either.
#[tokio::test(start_paused = true)]
async fn what_its_topic_refuses_is_named_and_lands_once_the_topic_takes_it() {
    let (broker, subscription) = Broker::new(1, 100, Box::new(|_, _| ()));
    let published = Published::default();
    let plain = Plain { published: published.clone(), refuses: 50, ..Plain::default() };
    broker.append(0, encode(&Some(vec![row(1)])));
    let setup = setup(subscription, 1, plain);
    let health = setup.health.clone();
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(health.state().troubles["topic counted"].reason, "message refused: not of its schema");
    assert_eq!(broker.committed()[&0], 0);
    broker.complete();
    running.await.unwrap().unwrap();
    assert_eq!((counted(&published), broker.committed()[&0]), (HashMap::from([(1, 1)]), 1));
    assert!(health.state().troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_away_is_named_and_a_drain_past_its_limit_commits_nothing() {
    let (broker, subscription, published) = away(3600);
    broker.append(0, encode(&Some(vec![row(1)])));
    let setup = setup(subscription, 10, Plain::default());
    let health = setup.health.clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup.run(stop.clone()));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(health.state().troubles["topic counted"].reason, "bus not available: no coordinator");
    stop.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, PipelineError::DrainTimeout { messages: 1 }), "{error}");
    assert_eq!((counted(&published), broker.committed()[&0]), (HashMap::new(), 0));
    assert!(health.state().troubles.is_empty(), "nobody would be left to say that it works again");
}

#[tokio::test(start_paused = true)]
async fn positions_that_move_in_transactions_only_need_something_to_publish() {
    let (_broker, subscription, _) = away(0);
    let mut setup = setup(subscription, 10, Plain::default());
    setup.emission = None;
    let error = setup.run(CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, PipelineError::Bug(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_half_cannot_be_read_is_buried_whole_and_adds_nothing() {
    let (broker, subscription, published) = away(0);
    broker.append(0, [HALF, &encode(&Some(vec![row(1)]))].concat());
    broker.append(0, encode(&Some(vec![row(2)])));
    let setup = setup(subscription, 10, Plain::default());
    let letters = setup.letters.clone().unwrap();
    broker.complete();
    setup.run(CancellationToken::new()).await.unwrap();
    assert_eq!(counted(&published), HashMap::from([(2, 1)]));
    assert_eq!((letters.buried().len(), broker.committed()[&0]), (1, 2));
}
