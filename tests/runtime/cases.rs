//! Single cases that a random walk would meet too seldom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::bus::{BusError, Received, Source};
use chalk_writer::message::Delivery;
use chalk_writer::runtime::{DeadLetterBudget, Health, PipelineError};
use chalk_writer::sink::{Outcome, Sink, SinkError, Write};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::kit::{Letters, Setup, encode, policy};
use super::store::{Faults, FaultyStore, TestRow, Value};

fn row(key: u64, serial: u64) -> TestRow {
    TestRow { destination: 0, key: Some(key), value: Value { time: 0, serial }, bad: false }
}

fn broker(partitions: i32) -> (Broker, chalk_writer::bus::Subscription) {
    Broker::new(partitions, 100, Box::new(|_, _| ()))
}

fn setup(subscription: chalk_writer::bus::Subscription, sink: Arc<dyn Sink<TestRow>>) -> Setup {
    Setup {
        subscription,
        sinks: vec![sink],
        emission: None,
        letters: Some(Arc::default()),
        policy: policy(),
        health: Arc::default(),
    }
}

/// A store that never answers.
struct Silent;

#[async_trait]
impl Sink<TestRow> for Silent {
    async fn probe(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, _: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
        std::future::pending().await
    }

    fn collapse(&self, _: &u64, rows: &[&TestRow]) -> TestRow {
        rows[0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_past_its_limit_says_how_much_is_left_and_acknowledges_none_of_it() {
    let (broker, subscription) = broker(1);
    for serial in 0..7 {
        broker.append(0, encode(&Some(vec![row(serial, serial)])));
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup(subscription, Arc::new(Silent)).run(stop.clone()));
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    stop.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, PipelineError::DrainTimeout { messages: 7 }), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 4, "the last fifth is for leaving");
    assert_eq!(broker.committed()[&0], 0);
}

/// A bus that is not left, whatever it is told.
struct Clinging(Box<dyn Source>);

#[async_trait]
impl Source for Clinging {
    async fn next(&mut self) -> Result<Received, BusError> {
        self.0.next().await
    }

    fn acknowledge(&mut self, last: Delivery) {
        self.0.acknowledge(last);
    }

    async fn close(&mut self) -> Result<(), BusError> {
        std::future::pending().await
    }

    fn unsettled(&self) -> Option<String> {
        Some("what is not committed, 3 messages,".to_owned())
    }
}

// Seen to fail, by never ending, while the bus alone knew how long leaving it may take.
#[tokio::test(start_paused = true)]
async fn writing_and_leaving_share_one_limit_and_what_is_left_is_told() {
    let (broker, mut subscription) = broker(1);
    for serial in 0..7 {
        broker.append(0, encode(&Some(vec![row(serial, serial)])));
    }
    subscription.source = Box::new(Clinging(subscription.source));
    let store = Arc::new(FaultyStore::new(1, Faults::default()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup(subscription, store).run(stop.clone()));
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    stop.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 5);
    let PipelineError::Bus(BusError::Unavailable(text)) = error else { panic!("{error}") };
    assert!(text.contains("within 5s of the signal") && text.contains("3 messages, is delivered again"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_writes_and_acknowledges_what_is_in_the_batch() {
    let (broker, subscription) = broker(1);
    let store = Arc::new(FaultyStore::new(1, Faults::default()));
    let mut setup = setup(subscription, store.clone());
    setup.policy.max_age = Duration::from_secs(3600);
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup.run(stop.clone()));
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.committed()[&0], 0, "the batch is neither full nor old");
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(broker.committed()[&0], 1);
    assert_eq!(store.newest().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_heard_while_the_pipeline_is_full() {
    let (broker, subscription) = broker(1);
    for serial in 0..1000 {
        broker.append(0, encode(&Some(vec![row(serial, serial)])));
    }
    let running = tokio::spawn(setup(subscription, Arc::new(Silent)).run(CancellationToken::new()));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.revoke(&[0]).await.as_secs(), 5);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_kept_partition_is_written_on_when_another_is_taken_too_early() {
    // The store is away for longer than a revocation may take; then it comes back.
    struct Away(Instant, FaultyStore);
    #[async_trait]
    impl Sink<TestRow> for Away {
        async fn probe(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, write: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
            if Instant::now() < self.0 {
                return Err(SinkError::Transient { reason: "away".into() });
            }
            self.1.write(write).await
        }
        fn collapse(&self, key: &u64, rows: &[&TestRow]) -> TestRow {
            self.1.collapse(key, rows)
        }
    }
    let (broker, subscription) = broker(2);
    let back = Instant::now() + Duration::from_secs(30);
    let store = Arc::new(Away(back, FaultyStore::new(1, Faults::default())));
    broker.append(0, encode(&Some(vec![row(10, 1)])));
    broker.append(1, encode(&Some(vec![row(20, 2)])));
    let setup = setup(subscription, store.clone());
    let health = setup.health.clone();
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_secs(1)).await;
    broker.revoke(&[0]).await;
    sleep(Duration::from_secs(60)).await;
    assert!(store.1.newest().contains_key(&20), "the row of the kept partition is stored");
    assert_eq!(broker.committed()[&1], 1);
    assert_eq!(broker.committed()[&0], 0, "the other owner's position is not ours to move");
    assert_eq!(health.state().acknowledged, 1, "nor its message ours to count");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn one_destination_away_does_not_keep_rows_of_the_same_batch_from_another() {
    let (broker, subscription) = broker(1);
    let sound = Arc::new(FaultyStore::new(1, Faults::default()));
    let mut setup = setup(subscription, Arc::new(Silent));
    setup.sinks.push(sound.clone());
    broker.append(0, encode(&Some(vec![row(1, 1), TestRow { destination: 1, ..row(2, 2) }])));
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_secs(1)).await;
    assert!(sound.newest().contains_key(&2));
    assert_eq!(broker.committed()[&0], 0);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_budget_stops_the_writer_before_it_buries() {
    let (broker, subscription) = broker(1);
    let mut setup = setup(subscription, Arc::new(FaultyStore::new(1, Faults::default())));
    let letters: Arc<Letters> = Arc::default();
    setup.letters = Some(letters.clone());
    setup.policy.max_rows = 1000;
    setup.policy.budget = DeadLetterBudget { max_ratio: 0.1, max_consecutive: 1000 };
    for serial in 0..200 {
        broker.append(0, if serial % 5 == 0 { b"{".to_vec() } else { encode(&Some(vec![row(serial, serial)])) });
    }
    let error = setup.run(CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, PipelineError::Budget(reason) if reason.contains("40 of the last 200")), "{error}");
    assert_eq!(letters.buried().len(), 0);
    assert_eq!(broker.committed()[&0], 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_dead_letter_topic_a_bad_message_stops_the_writer_and_is_named() {
    let (broker, subscription) = broker(1);
    let mut setup = setup(subscription, Arc::new(FaultyStore::new(1, Faults::default())));
    setup.letters = None;
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    broker.append(0, b"{".to_vec());
    let error = setup.run(CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(&error, PipelineError::NoDeadLetterTopic(what) if what.starts_with("results/0/1: DECODE")),
        "{error}"
    );
    assert_eq!(broker.committed()[&0], 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_store_ends_the_pipeline_with_nothing_acknowledged() {
    struct Panics;
    #[async_trait]
    impl Sink<TestRow> for Panics {
        async fn probe(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, _: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
            panic!("an index out of range");
        }
        fn collapse(&self, _: &u64, rows: &[&TestRow]) -> TestRow {
            rows[0].clone()
        }
    }
    let (broker, subscription) = broker(1);
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    let error = setup(subscription, Arc::new(Panics)).run(CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, PipelineError::Bug(_)), "{error}");
    assert_eq!(broker.committed()[&0], 0);
}

#[tokio::test(start_paused = true)]
async fn missing_rights_are_retried_and_never_bury() {
    struct Denies(AtomicUsize);
    #[async_trait]
    impl Sink<TestRow> for Denies {
        async fn probe(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, _: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
            if self.0.fetch_add(1, Ordering::Relaxed) < 50 {
                return Err(SinkError::Denied { reason: "wrong password".into() });
            }
            Ok(Outcome { stored: 1, ..Outcome::default() })
        }
        fn collapse(&self, _: &u64, rows: &[&TestRow]) -> TestRow {
            rows[0].clone()
        }
    }
    let (broker, subscription) = broker(1);
    let health: Arc<Health> = Arc::default();
    let mut setup = setup(subscription, Arc::new(Denies(AtomicUsize::new(0))));
    setup.health = health.clone();
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(health.not_ready(), [("store 0".to_owned(), "wrong password".to_owned())]);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(health.not_ready(), []);
    assert_eq!(broker.committed()[&0], 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn the_rows_at_hand_stay_within_the_limits_while_a_store_is_away() {
    let (broker, subscription) = broker(1);
    let health: Arc<Health> = Arc::default();
    let mut setup = setup(subscription, Arc::new(Silent));
    setup.health = health.clone();
    for serial in 0..100_000 {
        broker.append(0, encode(&Some(vec![row(serial, serial)])));
    }
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_secs(10)).await;
    // One batch in flight, one filled, and the rest of one chunk.
    assert!(health.state().in_hand <= 20 + 20 + 100, "{} messages at hand", health.state().in_hand);
    running.abort();
}

/// A decoder that makes no rows, over a source that always has another message.
struct NoRows;

impl chalk_writer::decode::Decoder<TestRow> for NoRows {
    fn decode(&self, _: &chalk_writer::message::Message, _: &mut chalk_writer::decode::Decoded<TestRow>) {}
}

// Seen to fail when the tick stood behind the source in the loop.
#[tokio::test]
async fn a_source_that_always_has_more_does_not_keep_the_loop_from_reporting() {
    struct Endless(u64);
    #[async_trait]
    impl chalk_writer::bus::Source for Endless {
        async fn next(&mut self) -> Result<chalk_writer::bus::Received, chalk_writer::bus::BusError> {
            self.0 += 1;
            Ok(chalk_writer::bus::Received::Messages(vec![chalk_writer::message::Message {
                delivery: chalk_writer::message::Delivery(self.0),
                partition: super::broker::partition(0),
                offset: self.0 as i64,
                timestamp_ms: None,
                key: None,
                headers: chalk_writer::message::Headers::new(),
                payload: None,
            }]))
        }
        fn acknowledge(&mut self, _: chalk_writer::message::Delivery) {}
        async fn close(&mut self) -> Result<(), chalk_writer::bus::BusError> {
            Ok(())
        }
    }
    let (_broker, mut subscription) = broker(1);
    subscription.source = Box::new(Endless(0));
    let health: Arc<Health> = Arc::default();
    let pipeline = chalk_writer::runtime::Pipeline {
        subscription,
        decoder: Arc::new(NoRows),
        destinations: Vec::new(),
        emission: None,
        dead_letters: None,
        parking: None,
        away: Arc::default(),
        policy: policy(),
        health: health.clone(),
    };
    let stop = CancellationToken::new();
    let running = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(chalk_writer::runtime::Run::run(Box::new(pipeline), stop))
        }
    });
    let first = wait_for(|| health.state().turned).await;
    wait_for(|| health.state().turned.filter(|turned| *turned > first)).await;
    stop.cancel();
    running.join().unwrap().unwrap();
}

/// Waits in real time, at most a minute.
async fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Some(found) = look() {
            return found;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain");
}

// Seen to fail when a handover was not listened for while draining.
#[tokio::test(start_paused = true)]
async fn a_revocation_during_a_drain_is_released_at_once() {
    let (broker, subscription) = broker(1);
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup(subscription, Arc::new(Silent)).run(stop.clone()));
    sleep(Duration::from_secs(1)).await;
    stop.cancel();
    sleep(Duration::from_secs(1)).await;
    assert!(broker.revoke(&[0]).await < Duration::from_secs(1));
    // Nothing of ours is left to write.
    running.await.unwrap().unwrap();
    assert_eq!(broker.committed()[&0], 0);
}

// Seen to fail when a handover did not listen for the shutdown.
#[tokio::test(start_paused = true)]
async fn a_shutdown_during_a_revocation_is_not_kept_waiting() {
    let (broker, subscription) = broker(1);
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup(subscription, Arc::new(Silent)).run(stop.clone()));
    sleep(Duration::from_secs(1)).await;
    let revoking = tokio::spawn({
        let broker = broker.clone();
        async move { broker.revoke(&[0]).await }
    });
    sleep(Duration::from_secs(1)).await;
    stop.cancel();
    assert!(revoking.await.unwrap() < Duration::from_secs(2));
    running.await.unwrap().unwrap();
}

// Seen to fail when trouble was only ever taken back by a success.
#[tokio::test(start_paused = true)]
async fn a_cancelled_write_leaves_no_trouble_behind() {
    struct Denies;
    #[async_trait]
    impl Sink<TestRow> for Denies {
        async fn probe(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, _: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
            Err(SinkError::Denied { reason: "wrong password".into() })
        }
        fn collapse(&self, _: &u64, rows: &[&TestRow]) -> TestRow {
            rows[0].clone()
        }
    }
    let (broker, subscription) = broker(1);
    let health: Arc<Health> = Arc::default();
    let mut setup = setup(subscription, Arc::new(Denies));
    setup.health = health.clone();
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(health.not_ready().len(), 1);
    broker.revoke(&[0]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(health.not_ready(), []);
    running.abort();
}

// Seen to fail when `join_all` waited for every destination.
#[tokio::test(start_paused = true)]
async fn a_bug_in_one_store_ends_the_pipeline_though_another_is_away() {
    struct Broken;
    #[async_trait]
    impl Sink<TestRow> for Broken {
        async fn probe(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, _: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
            Err(SinkError::Bug { reason: "impossible".into() })
        }
        fn collapse(&self, _: &u64, rows: &[&TestRow]) -> TestRow {
            rows[0].clone()
        }
    }
    let (broker, subscription) = broker(1);
    let mut setup = setup(subscription, Arc::new(Silent));
    setup.sinks.push(Arc::new(Broken));
    broker.append(0, encode(&Some(vec![row(1, 1), TestRow { destination: 1, ..row(2, 2) }])));
    let error = setup.run(CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, PipelineError::Bug(reason) if reason.contains("impossible")), "{error}");
}

// Seen to fail when the limit was not halved.
#[tokio::test(start_paused = true)]
async fn a_letter_that_the_bus_finds_too_large_goes_in_smaller_parts_and_no_other_twice() {
    let (broker, subscription) = broker(1);
    let letters = Arc::new(Letters::taking(40_000));
    let mut setup = setup(subscription, Arc::new(FaultyStore::new(1, Faults::default())));
    setup.letters = Some(letters.clone());
    broker.append(0, b"small and bad".to_vec());
    broker.append(0, vec![b'x'; 300_000]);
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.committed()[&0], 2);
    let buried = letters.buried();
    assert_eq!(buried[&b"small and bad".to_vec()], 1);
    let x = |body: &[u8]| String::from_utf8_lossy(body).matches('x').count();
    let parts: usize = buried.iter().map(|(body, count)| x(body) * count).sum();
    assert_eq!(parts, 300_000);
    running.abort();
}

// Seen to fail when the loop asked again whether the bus had let go, after it had said so.
#[tokio::test(start_paused = true)]
async fn partitions_that_are_lost_already_are_not_waited_for() {
    let (broker, subscription) = broker(2);
    broker.append(0, encode(&Some(vec![row(1, 1)])));
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup(subscription, Arc::new(Silent)).run(stop.clone()));
    sleep(Duration::from_secs(1)).await;
    broker.lose(&[0]).await;
    sleep(Duration::from_secs(1)).await;
    assert!(!running.is_finished());
    stop.cancel();
    // The only batch was of the partition that is lost: nothing is left.
    running.await.unwrap().unwrap();
    assert_eq!(broker.committed()[&0], 0);
}

// Seen to fail when summaries were taken once, at the start.
#[tokio::test(start_paused = true)]
async fn what_a_destination_says_of_itself_is_known_to_health_and_kept_up_to_date() {
    struct Counts(AtomicUsize);
    #[async_trait]
    impl Sink<TestRow> for Counts {
        async fn probe(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, write: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
            self.0.fetch_add(write.rows.len(), Ordering::Relaxed);
            Ok(Outcome::default())
        }
        fn collapse(&self, _: &u64, rows: &[&TestRow]) -> TestRow {
            rows[0].clone()
        }
        fn summary(&self) -> Option<serde_json::Value> {
            Some(serde_json::json!({ "agreed": self.0.load(Ordering::Relaxed) }))
        }
    }
    let (broker, subscription) = broker(1);
    let mut setup = setup(subscription, Arc::new(Counts(AtomicUsize::new(0))));
    // One that has nothing to say is not there.
    setup.sinks.push(Arc::new(Silent));
    let health = setup.health.clone();
    let running = tokio::spawn(setup.run(CancellationToken::new()));
    for agreed in 0..3_u64 {
        sleep(Duration::from_secs(5)).await;
        let summaries: Vec<_> = health.state().summaries.into_values().collect();
        assert_eq!(summaries, [serde_json::json!({ "agreed": agreed })]);
        broker.append(0, encode(&Some(vec![row(agreed, agreed)])));
    }
    running.abort();
}
