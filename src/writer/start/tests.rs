//! A writer starts when everything that it needs is there, and says what is not.

mod third;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::bus::{
    Browse, BrowseFrom, Bus, BusError, GroupPosition, Keeping, Publisher, Received, Source, Step, Stepped, Stretch,
    Subscribe, Subscription, Subscriptions, TopicInfo,
};
use crate::config::StoreKind;
use crate::config::settings::Environment;
use crate::message::{Delivery, Outgoing};
use crate::row::feature::{Entity, FeatureRow};
use crate::runtime::Retry;
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::StoreError;
use crate::store::StoreLimits;
use crate::value::time::now;
use crate::writer::destinations::Opener;
use crate::writer::destinations::{Destinations, Stores};
use crate::writer::online;
use crate::writer::plan::{Reads, policy};
use crate::writer::testing::{NOW, settings, store};
use crate::writer::{AnyPlan, WriterType};

struct NoSink;

#[async_trait]
impl Sink<FeatureRow> for NoSink {
    async fn probe(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, _: Write<'_, FeatureRow>) -> Result<Outcome, SinkError> {
        Ok(Outcome::default())
    }

    fn collapse(&self, _: &Entity, rows: &[&FeatureRow]) -> FeatureRow {
        rows[0].clone()
    }
}

const STORE: Stores<FeatureRow> = Stores {
    name: "online store",
    kind: StoreKind::Online,
    uri: "uri",
    open: Opener::Store(|options| {
        if crate::config::secret::expose(&options.fetched).starts_with("faulty") {
            return Err(StoreError("no such option `x`".to_owned()));
        }
        Ok(Arc::new(NoSink))
    }),
    absorbs_repeats: |uri| Ok(!uri.starts_with("doubling")),
    has_keyless_rows: false,
};

/// A bus that answers `topic` from a list, the last answer for ever.
#[derive(Default)]
struct ScriptedBus {
    topics: Mutex<VecDeque<Result<TopicInfo, BusError>>>,
    /// Answers of `create_topic`; none are left over.
    made: Mutex<VecDeque<Result<(), BusError>>>,
    subscribed: Mutex<Option<Subscribe>>,
    stretched: Mutex<Option<(i64, Option<i64>)>>,
    published: Arc<Mutex<Vec<Outgoing>>>,
    /// Where it has subscriptions, the topic of all of them.
    topic_of: Option<String>,
    is_filtered: bool,
}

struct NoSource;

#[async_trait]
impl Source for NoSource {
    async fn next(&mut self) -> Result<Received, BusError> {
        Ok(Received::End)
    }

    fn acknowledge(&mut self, _: Delivery) {}

    async fn close(&mut self) -> Result<(), BusError> {
        Ok(())
    }
}

struct Remembers(Arc<Mutex<Vec<Outgoing>>>);

#[async_trait]
impl Publisher for Remembers {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<crate::bus::Placed>, crate::bus::Undelivered> {
        self.0.lock().expect("no panic").extend_from_slice(messages);
        Ok(Vec::new())
    }
}

#[async_trait]
impl Bus for ScriptedBus {
    fn addressed_by(&self) -> Option<String> {
        Some("it is from `bus_address`".to_owned())
    }

    async fn subscribe(&self, subscription: Subscribe) -> Result<Subscription, BusError> {
        *self.subscribed.lock().expect("no panic") = Some(subscription);
        let (_, handovers) = mpsc::channel(1);
        Ok(Subscription {
            source: Box::new(NoSource),
            handovers,
            status: watch::channel(Vec::new()).1,
            transactions: None,
        })
    }

    async fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
        Ok(Arc::new(Remembers(Arc::clone(&self.published))))
    }

    async fn browse(&self, _: &str, _: BrowseFrom) -> Result<Box<dyn Browse>, BusError> {
        Err(BusError::Failed("not in this test".to_owned()))
    }

    fn subscriptions(&self) -> Option<&dyn Subscriptions> {
        if self.topic_of.is_some() { Some(self) } else { None }
    }

    async fn topic(&self, _: &str) -> Result<TopicInfo, BusError> {
        let mut topics = self.topics.lock().expect("no panic");
        if topics.len() > 1 { topics.pop_front().expect("two or more") } else { topics[0].clone() }
    }

    async fn create_topic(&self, _: &str, _: u32) -> Result<(), BusError> {
        self.made.lock().expect("no panic").pop_front().expect("nothing more is made")
    }

    async fn stretch(&self, _: &str, from_ms: i64, until_ms: Option<i64>) -> Result<Vec<Stretch>, BusError> {
        *self.stretched.lock().expect("no panic") = Some((from_ms, until_ms));
        Ok(vec![Stretch { partition: 0, from: 5, until: 5, earliest: 5 }])
    }

    async fn positions(&self, _: &str, _: &str) -> Result<Vec<GroupPosition>, BusError> {
        Err(BusError::Failed("not in this test".to_owned()))
    }

    async fn step(&self, _: &Step) -> Result<Stepped, BusError> {
        Err(BusError::Failed("not in this test".to_owned()))
    }
}

#[async_trait]
impl Subscriptions for ScriptedBus {
    async fn topic_of(&self, _: &str) -> Result<String, BusError> {
        self.topic_of.clone().ok_or_else(|| BusError::Failed("it has none".to_owned()))
    }

    async fn info(&self, _: &str) -> Result<TopicInfo, BusError> {
        self.topic("").await
    }

    async fn is_filtered(&self, _: &str) -> Result<bool, BusError> {
        Ok(self.is_filtered)
    }

    async fn create(&self, _: &str, _: &str) -> Result<(), BusError> {
        Err(BusError::Failed("not in this test".to_owned()))
    }
}

fn there(max_message_bytes: Option<usize>) -> Result<TopicInfo, BusError> {
    Ok(TopicInfo {
        partitions: 1,
        max_message_bytes,
        size_setting: None,
        max_header_bytes: None,
        messages: Some(0),
        keeping: Keeping::default(),
        untold: None,
    })
}

fn plan(uri: &str) -> Box<dyn AnyPlan> {
    let environment = Environment { online_store: Some(store(uri)), ..Environment::default() };
    let settings = settings(WriterType::ONLINE, &[("prod", environment)]);
    let destinations = Destinations::plan(&settings.environments, &STORE).expect("a store");
    let decoder = online::decoder(&settings, &destinations, Arc::new(|| NOW)).expect("sound settings");
    Box::new(Plan {
        reads: Reads { embedded: false, ..Reads::new(&settings) },
        dead_letter_topic: settings.dlq_topic.clone(),
        publishes: None,
        decoder: Arc::new(decoder),
        store_limits: StoreLimits::new(&settings.tuning, 1),
        parking: None,
        destinations: destinations.planned,
        policy: policy(&settings),
    })
}

fn with(topics: Vec<Result<TopicInfo, BusError>>) -> (Start, Arc<ScriptedBus>) {
    let bus = Arc::new(ScriptedBus { topics: Mutex::new(topics.into()), ..ScriptedBus::default() });
    let start = Start {
        bus: bus.clone(),
        health: Arc::default(),
        drain: true,
        again: None,
        shutdown: CancellationToken::new(),
        may_come: None,
    };
    (start, bus)
}

async fn configuration(uri: &str, start: Start) -> String {
    let starting = plan(uri).start(start);
    let result = tokio::time::timeout(Duration::from_secs(10), starting).await.expect("it does not wait");
    match result.err() {
        Some(StartError::Configuration(reason)) => reason,
        other => panic!("a configuration that cannot work, not {other:?}"),
    }
}

#[tokio::test]
async fn a_writer_subscribes_once_its_topics_are_there() {
    let (start, bus) = with(vec![there(None)]);
    plan("sound:x").start(start).await.map(drop).expect("everything is there");
    let subscribed = bus.subscribed.lock().expect("no panic").clone().expect("it subscribed");
    assert_eq!((&*subscribed.topic, &*subscribed.group, subscribed.drain), ("results", "chalk-writer", true));
}

#[tokio::test]
async fn a_missing_topic_is_a_configuration_that_cannot_work() {
    let missing = |found: &str| Err(BusError::NotFound(found.to_owned()));
    let (dead_letters, _) = with(vec![there(None), missing("dlq")]);
    assert_eq!(
        configuration("sound:x", dead_letters).await,
        "dead letter topic `dlq`, which `kafka_dlq_topic` names, is not there; make it with the broker's tools, or with \
         `chalk-writer publish --config FILE --topic dlq --generate 0 --partitions N`"
    );
    let (results, bus) = with(vec![missing("results; there are a, b")]);
    assert_eq!(
        configuration("sound:x", results).await,
        "topic `results`, which `result_bus_topic_id` or `result_bus_online_store_subscription_id` names, is not there; \
         there are a, b; make it with the broker's tools, or with \
         `chalk-writer publish --config FILE --topic results --generate 0 --partitions N`"
    );
    assert!(bus.subscribed.lock().expect("no panic").is_none());
}

#[tokio::test]
async fn a_topic_that_the_writers_own_subscription_would_bring_back_is_refused() {
    let reading = |topic: &str, is_filtered| {
        let (start, _) = with(vec![there(None)]);
        let topics = Mutex::new(VecDeque::from([there(None)]));
        let topic_of = Some(topic.to_owned());
        let bus = Arc::new(ScriptedBus { topics, topic_of, is_filtered, ..ScriptedBus::default() });
        (Start { bus: bus.clone(), ..start }, bus)
    };
    let (start, bus) = reading("dlq", false);
    assert_eq!(
        configuration("sound:x", start).await,
        "dead letter topic `dlq`, which `kafka_dlq_topic` names, is the topic of subscription `results` \
         (`result_bus_topic_id` or `result_bus_online_store_subscription_id`), which this writer reads: each of its dead \
         letters would be given to it again, and buried again, without end; give it another topic"
    );
    assert!(bus.subscribed.lock().expect("no panic").is_none());
    for (topic, is_filtered) in [("projects/other/topics/dlq", false), ("dlq", true)] {
        let (start, bus) = reading(topic, is_filtered);
        plan("sound:x").start(start).await.map(drop).expect("another project's, or left out by a filter");
        assert!(bus.subscribed.lock().expect("no panic").is_some());
    }
}

#[tokio::test]
async fn a_dead_letter_topic_that_takes_next_to_nothing_is_refused() {
    let (start, _) = with(vec![there(Some(1_000))]);
    let reason = configuration("sound:x", start).await;
    assert!(reason.contains("at most 1000 bytes; it needs 16384 or more"), "{reason}");
}

#[tokio::test]
async fn a_dead_letter_topic_whose_limit_is_not_told_is_taken_to_have_kafkas() {
    for (told, used) in [(None, 1 << 20), (Some(2 << 20), 2 << 20), (Some(128 << 20), 16 << 20)] {
        let (start, _) = with(vec![there(told)]);
        let connect = Connect { with: &start, retry: Retry { first: Duration::ZERO, longest: Duration::ZERO } };
        let (_, topic) = connect.dead_letters("dlq".to_owned(), false).await.expect("it is there");
        assert_eq!(crate::dead_letter::Fit::of(topic.max_message_bytes, None, false).limit(), used);
    }
}

#[tokio::test(start_paused = true)]
async fn the_embedded_bus_gets_its_dead_letter_topic_once_its_disk_has_room() {
    let missing = || Err(BusError::NotFound("dlq".to_owned()));
    let (start, bus) = with(vec![missing(), missing(), there(None)]);
    let full = Err(BusError::Unavailable("bus.sqlite: database or disk is full".to_owned()));
    bus.made.lock().expect("no panic").extend([full, Ok(())]);
    let connect = Connect { with: &start, retry: Retry { first: Duration::ZERO, longest: Duration::ZERO } };
    connect.dead_letters("dlq".to_owned(), true).await.expect("it is made in the end");
    assert!(bus.made.lock().expect("no panic").is_empty());
    assert!(start.health.state().troubles.is_empty());
}

#[test]
fn a_dead_letter_topic_that_loses_letters_is_warned_of() {
    let day = 86_400_000;
    let sound = Keeping { for_ms: Some(14 * day), refuses_beyond_ms: Some(3_600_000), ..Keeping::default() };
    for keeping in [sound, Keeping::default()] {
        assert_eq!(worries(&keeping), [""; 0], "{keeping:?}");
    }
    let word = |keeping: Keeping| worries(&keeping).join("; ");
    assert!(word(Keeping { compacts: true, ..sound }).contains("LOSES DEAD LETTERS"));
    assert!(word(Keeping { for_ms: Some(day), ..sound }).contains("24 h only (`retention.ms`)"));
    assert!(word(Keeping { for_ms: Some(5_000), ..sound }).contains("5 s only"));
    assert!(word(Keeping { refuses_beyond_ms: Some(1_000), ..sound }).contains("1000 ms from the broker's"));
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_names_itself() {
    let (start, _) = with(vec![there(None)]);
    assert_eq!(configuration("faulty:x", start).await, "online store of prod: no such option `x`");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_away_is_asked_again_until_it_answers() {
    let away = || Err(BusError::Unavailable("connection refused".to_owned()));
    let denied = Err(BusError::Denied("wrong password".to_owned()));
    let (start, bus) = with(vec![away(), away(), denied, there(None)]);
    let health = start.health.clone();
    plan("sound:x").start(start).await.map(drop).expect("it answers in the end");
    assert!(bus.subscribed.lock().expect("no panic").is_some());
    assert!(health.state().troubles.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_wait_for_a_bus_that_denies_and_health_says_why_it_waits() {
    let (start, _) = with(vec![Err(BusError::Denied("wrong password".to_owned()))]);
    let (health, shutdown) = (start.health.clone(), start.shutdown.clone());
    let waiting = tokio::spawn(plan("sound:x").start(start));
    while health.state().troubles.is_empty() {
        tokio::task::yield_now().await;
    }
    let expected = ("topic `results`".to_owned(), "bus denies access: wrong password".to_owned());
    let unreached = ("online store of prod".to_owned(), "not reached yet".to_owned());
    assert_eq!(health.not_ready(), [expected, unreached]);
    shutdown.cancel();
    let result = waiting.await.expect("no panic");
    assert!(matches!(result.err(), Some(StartError::Stopped(_))));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_away_is_told_with_the_setting_of_its_address() {
    let (start, _) = with(vec![Err(BusError::Unavailable("connection refused".to_owned()))]);
    let (health, shutdown) = (start.health.clone(), start.shutdown.clone());
    let waiting = tokio::spawn(plan("sound:x").start(start));
    while health.state().troubles.is_empty() {
        tokio::task::yield_now().await;
    }
    let reasons: Vec<String> = health.state().troubles.into_values().map(|trouble| trouble.reason).collect();
    assert_eq!(reasons, ["bus not available: connection refused (it is from `bus_address`)"]);
    shutdown.cancel();
    let _ = waiting.await.expect("no panic");
}

fn again(from_ms: i64, force: bool) -> Option<Again> {
    Some(Again::Between { from_ms, until_ms: Some(from_ms + 1_000), force })
}

#[tokio::test]
async fn a_stretch_is_read_again_without_subscribing() {
    let (mut start, bus) = with(vec![there(None)]);
    let from_ms = now() / 1_000 - 60_000;
    start.again = again(from_ms, false);
    plan("sound:x").start(start).await.map(drop).expect("it starts");
    assert_eq!(*bus.stretched.lock().expect("no panic"), Some((from_ms, Some(from_ms + 1_000))));
    assert!(bus.subscribed.lock().expect("no panic").is_none(), "the group is left alone");
}

#[tokio::test]
async fn what_reading_again_would_double_or_bring_back_is_refused_unless_it_is_forced() {
    let long_ago = now() / 1_000 - 8 * 86_400_000;
    for (uri, from_ms, word) in [("doubling:x", now() / 1_000, "twice"), ("sound:x", long_ago, "`tombstone_retention`")]
    {
        let (mut start, bus) = with(vec![there(None)]);
        start.again = again(from_ms, false);
        let refused = plan(uri).start(start).await.err();
        let Some(StartError::Harmful(reason)) = refused else { panic!("{uri} is refused, not {refused:?}") };
        assert!(reason.contains(word) && reason.contains("online store of prod"), "{reason}");
        assert!(bus.stretched.lock().expect("no panic").is_none(), "nothing was read");

        let (mut start, _) = with(vec![there(None)]);
        start.again = again(from_ms, true);
        plan(uri).start(start).await.map(drop).expect("it is forced");
    }
}

#[test]
fn a_batch_is_as_large_as_the_store_that_gains_most_by_it_asks_for() {
    assert_eq!(enough([Some(8), Some(20)].into_iter()), Some(20));
    assert_eq!(enough([Some(8), None].into_iter()), None, "a lake beside it wants all there is");
    assert_eq!(enough(std::iter::empty()), None);
}
