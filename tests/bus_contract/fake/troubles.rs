//! That nothing comes from Pub/Sub may mean that nothing is there, and may mean something else, which is told and never taken for an end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::bus::{BusError, Received, Subscription};
use chalk_writer::config::settings::PubsubSettings;
use chalk_writer::decode::{Decoded, Decoder};
use chalk_writer::message::Message;
use chalk_writer::runtime::{DeadLetterBudget, Destination, Health, Pipeline, Policy, Retry, Run};
use chalk_writer::sink::{Outcome, Row, Sink, SinkError, Write};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::faults::Asked;
use super::server::Fake;
use super::{bus_with, join, join_to, read, settings, until};

/// How long nothing comes before a drain is at its end, if nothing else is the matter.
const IDLE: Duration = Duration::from_secs(2);

/// Joins to read everything that there is.
async fn drain(fake: &Fake) -> Subscription {
    join_to(&bus_with(PubsubSettings { drain_idle: IDLE, ..settings(fake) }), true).await
}

/// What comes next beside that everything was read for now.
async fn next(subscription: &mut Subscription) -> Result<Received, BusError> {
    let waiting = async {
        loop {
            match subscription.source.next().await {
                Ok(Received::CaughtUp) => {}
                other => return other,
            }
        }
    };
    timeout(Duration::from_secs(60), waiting).await.expect("something is told")
}

/// A message as a row.
struct Line;

impl Row for Line {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        0
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        1
    }
}

struct Lines;

impl Decoder<Line> for Lines {
    fn decode(&self, _: &Message, decoded: &mut Decoded<Line>) {
        decoded.rows.push(Line);
    }
}

#[async_trait]
impl Sink<Line> for Lines {
    async fn write(&self, write: Write<'_, Line>) -> Result<Outcome, SinkError> {
        Ok(Outcome { stored: write.rows.len() as u64, ..Outcome::default() })
    }

    async fn probe(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn collapse(&self, key: &Infallible, _: &[&Line]) -> Line {
        match *key {}
    }
}

fn pipeline(subscription: Subscription, health: &Arc<Health>) -> Box<Pipeline<Line>> {
    Box::new(Pipeline {
        subscription,
        decoder: Arc::new(Lines),
        destinations: vec![Destination { name: "store".to_owned(), sink: Arc::new(Lines) }],
        emission: None,
        dead_letters: None,
        parking: None,
        away: Arc::default(),
        policy: Policy {
            writer_type: "ONLINE_WRITER",
            group: "s".to_owned(),
            max_rows: 10,
            max_bytes: 1 << 20,
            max_messages: 100,
            max_age: Duration::from_millis(30),
            in_flight: 1,
            concurrency: 1,
            drain_within: Duration::from_secs(5),
            beside: false,
            eager: false,
            retry: Retry { first: Duration::from_millis(10), longest: Duration::from_secs(1) },
            budget: DeadLetterBudget { max_ratio: 1.0, max_consecutive: u64::MAX },
        },
        health: Arc::clone(health),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_is_told_by_a_writer_and_a_drain_waits_for_it() {
    let fake = Fake::start(false, &[("", "1")]).await;
    let subscription = drain(&fake).await;
    fake.faults.asked(Asked::Fails(503, "UNAVAILABLE"));
    let health = Arc::new(Health::default());
    let running = tokio::spawn(pipeline(subscription, &health).run(CancellationToken::new()));
    until("its message is written", || fake.acknowledged() == ["1"]).await;
    // The question is tried for a quarter of a minute, and the loop turns once a second meanwhile.
    let told = || health.state().troubles.get("bus").is_some_and(|trouble| trouble.reason.contains("UNAVAILABLE"));
    until("the bus is in trouble", told).await;
    assert!(!running.is_finished(), "silence says nothing");
    fake.faults.asked(Asked::Answers);
    let ended = timeout(Duration::from_secs(60), running).await.expect("it ends once the service is there");
    ended.expect("no panic").expect("drained");
    assert!(health.state().troubles.is_empty(), "{:?}", health.state().troubles);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_exhausted_is_told_and_what_waits_behind_it_is_read_later() {
    let fake = Fake::start(false, &[("", "1")]).await;
    fake.faults.streams(Some(Status::resource_exhausted("StreamingPull")));
    let mut subscription = drain(&fake).await;
    let told = next(&mut subscription).await;
    assert!(matches!(&told, Err(BusError::Unavailable(text)) if text.contains("quota")), "{told:?}");
    fake.faults.streams(None);
    let messages = loop {
        match next(&mut subscription).await {
            Ok(Received::Messages(messages)) => break messages,
            // A stream that was opened before may tell it once more.
            Err(BusError::Unavailable(_)) => {}
            other => panic!("expected the message, found {other:?}"),
        }
    };
    subscription.source.acknowledge(messages[0].delivery);
    assert!(matches!(next(&mut subscription).await, Ok(Received::End)));
    subscription.source.close().await.expect("closed");
    assert_eq!(fake.acknowledged(), ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_has_not_read_everything_and_who_may_not_ask_may_have() {
    for (asked, ends) in [(Asked::Fails(401, "UNAUTHENTICATED"), false), (Asked::Fails(403, "PERMISSION_DENIED"), true)]
    {
        let fake = Fake::start(false, &[]).await;
        let mut subscription = drain(&fake).await;
        fake.faults.asked(asked);
        let told = next(&mut subscription).await;
        assert_eq!(matches!(told, Ok(Received::End)), ends, "{told:?}");
        assert_eq!(matches!(told, Err(BusError::Denied(_))), !ends, "{told:?}");
        subscription.source.close().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_stops_the_reading_once_what_is_held_is_done() {
    for made_anew in [false, true] {
        let fake = Fake::start(false, &[("", "1")]).await;
        let mut subscription = drain(&fake).await;
        let messages = read(&mut subscription, 1).await;
        fake.faults.delete_topic(made_anew);
        let waited = timeout(2 * IDLE, next(&mut subscription)).await;
        assert!(waited.is_err(), "{waited:?}");
        subscription.source.acknowledge(messages[0].delivery);
        let told = next(&mut subscription).await;
        match &told {
            Err(BusError::Settings(text)) => assert!(!made_anew && text.contains("`s` has lost its topic"), "{text}"),
            Err(BusError::Gap(text)) => {
                assert!(made_anew && text.contains("topic `t` was deleted and made anew"), "{text}");
            }
            _ => panic!("{told:?}"),
        }
        subscription.source.close().await.expect("closed");
        assert_eq!(fake.acknowledged(), ["1"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_is_told_until_it_is_given_and_no_longer() {
    let fake = Fake::start(false, &[]).await;
    let mut subscription = join(&fake).await;
    fake.faults.streams(Some(Status::permission_denied("pubsub.subscriptions.consume")));
    let begun = Instant::now();
    let mut denied = 0;
    while begun.elapsed() < Duration::from_secs(5) {
        match timeout(Duration::from_secs(1), subscription.source.next()).await {
            Ok(Err(BusError::Denied(_))) => denied += 1,
            Ok(Ok(Received::CaughtUp)) => assert_eq!(denied, 0, "it looks as if it could read"),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    assert!(denied >= 3, "told {denied} times");
    fake.faults.streams(None);
    let works = async {
        loop {
            match subscription.source.next().await {
                Ok(Received::CaughtUp) => return,
                // Of the moment before.
                Err(BusError::Denied(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(Duration::from_secs(30), works).await.expect("it can read, though nothing is there");
    subscription.source.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_waits_for_the_acknowledgements_of_a_stream_that_failed_many_streams_ago() {
    let fake = Fake::start(false, &[("", "1")]).await;
    let mut subscription = join(&fake).await;
    let messages = read(&mut subscription, 1).await;
    fake.faults.streams(Some(Status::permission_denied("pubsub.subscriptions.consume")));
    until("many are refused", || fake.opened().len() >= 12).await;
    fake.faults.acknowledges_after(Duration::from_millis(700));
    subscription.source.acknowledge(messages[0].delivery);
    subscription.source.close().await.expect("closed");
    assert_eq!(fake.acknowledged(), ["1"]);
}
