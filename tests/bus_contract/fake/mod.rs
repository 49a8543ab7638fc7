//! What Google's service does and its emulator does not, on a fake.

mod faults;
mod filter;
mod policies;
mod queue;
mod server;
mod troubles;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalk_writer::bus::{Bus, BusError, Hold, OnGap, Received, Subscribe, Subscription};
use chalk_writer::config::settings::{BusSettings, PubsubSettings};
use chalk_writer::google::Identity;
use chalk_writer::message::{Message, Outgoing};

use crate::member::{body, text};
use server::{Fake, NO_NAME, REFUSED};

/// More than any constant would be.
const HOLD: Hold = Hold { bytes: 70 << 20, messages: 123_456 };

fn bus(fake: &Fake) -> Arc<dyn Bus> {
    bus_of(fake, None)
}

fn bus_of(fake: &Fake, stale_after: Option<Duration>) -> Arc<dyn Bus> {
    bus_with(PubsubSettings { stale_after, ..settings(fake) })
}

fn bus_with(settings: PubsubSettings) -> Arc<dyn Bus> {
    chalk_writer::bus::open(&BusSettings::Pubsub(settings)).expect("the settings are right")
}

fn settings(fake: &Fake) -> PubsubSettings {
    PubsubSettings {
        project: "p".to_owned(),
        emulator: Some(fake.address.clone()),
        endpoint: None,
        streams: 1,
        drain_idle: Duration::from_secs(10),
        browse_idle: Duration::from_secs(1),
        stale_after: None,
        identity: Identity::default(),
    }
}

async fn join(fake: &Fake) -> Subscription {
    join_by(&bus(fake)).await
}

async fn join_by(bus: &Arc<dyn Bus>) -> Subscription {
    join_to(bus, false).await
}

async fn join_to(bus: &Arc<dyn Bus>, drain: bool) -> Subscription {
    let subscribe = Subscribe {
        topic: "s".to_owned(),
        group: "s".to_owned(),
        drain,
        fetch_bytes: 1 << 20,
        hold: HOLD,
        on_gap: OnGap::Stop,
        transactional: false,
    };
    bus.subscribe(subscribe).await.expect("joined")
}

async fn read(subscription: &mut Subscription, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    let reading = async {
        while all.len() < count {
            if let Received::Messages(messages) = subscription.source.next().await.expect("read") {
                all.extend(messages);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("they come");
    all
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_acknowledgement_is_refused_and_the_message_comes_again() {
    let fake = Fake::start(true, &[("", "1"), ("", "2")]).await;
    let mut subscription = join(&fake).await;
    let first = read(&mut subscription, 2).await;
    fake.expire();
    subscription.source.acknowledge(first[1].delivery);
    until("both are refused", || fake.refused() == 2).await;
    assert!(fake.acknowledged().is_empty());
    let again = read(&mut subscription, 2).await;
    assert_eq!(again.iter().map(body).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(again[0].headers.get_str("googclient_deliveryattempt"), Some("2"));
    assert_eq!(again[0].headers.get_str("ce_id"), Some("1"), "the store knows it by the same id");
    subscription.source.acknowledge(again[1].delivery);
    subscription.source.close().await.expect("closed");
    // Closing has waited for the confirmation; acknowledgements go together, in no order.
    let mut acknowledged = fake.acknowledged();
    acknowledged.sort();
    assert_eq!(acknowledged, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_back_of_a_key_comes_to_the_next_reader_in_its_order() {
    let numbers: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
    let messages: Vec<(&str, &str)> = numbers.iter().map(|number| ("key", number.as_str())).collect();
    let fake = Fake::start(false, &messages).await;
    let mut first = join(&fake).await;
    let read_first = read(&mut first, 40).await;
    first.source.acknowledge(read_first[14].delivery);
    first.source.close().await.expect("closed");
    let acknowledged: BTreeSet<String> = fake.acknowledged().into_iter().collect();
    assert_eq!(acknowledged, numbers[..15].iter().cloned().collect());
    until("the rest is handed back", || fake.leased() == 0).await;
    let mut second = join(&fake).await;
    let rest = read(&mut second, 25).await;
    assert_eq!(rest.iter().map(body).collect::<Vec<_>>(), numbers[15..]);
    second.source.acknowledge(rest[24].delivery);
    second.source.close().await.expect("closed");
    assert_eq!(fake.acknowledged().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_finds_wrong_with_a_message_is_a_verdict_and_with_a_topic_an_error() {
    let fake = Fake::start(false, &[]).await;
    let publisher = bus(&fake).publisher().await.expect("a publisher");
    let refused = publisher.publish(&[text("t", 0, "good"), text("t", 0, REFUSED)]).await.expect_err("one is bad");
    let [Ok(_), Err(BusError::Refused(why))] = refused.landings() else { panic!("{refused:?}") };
    assert!(why.contains("schema of the topic"), "{why}");
    assert_eq!(fake.published(), 1, "the service refuses all of a request, and each has its own answer all the same");
    let setup = publisher.publish(&[text(NO_NAME, 0, "good")]).await.expect_err("there can be no such topic");
    assert!(matches!(setup.reason(), BusError::Failed(_)), "{setup:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_refused_holds_up_none_of_its_key() {
    let fake = Fake::start(false, &[]).await;
    let publisher = bus(&fake).publisher().await.expect("a publisher");
    let bodies = ["1", "2", REFUSED, "3", "4", REFUSED, "5"];
    let keyed = bodies.map(|body| Outgoing { key: Some(Bytes::from_static(b"k")), ..text("t", 0, body) });
    let refused = publisher.publish(&keyed).await.expect_err("two are bad");
    for (body, landing) in bodies.iter().zip(refused.landings()) {
        assert_eq!(landing.is_err(), *body == REFUSED, "{body}: {landing:?}");
    }
    assert_eq!(fake.published(), 5);
    let offsets: Vec<_> = refused.landings().iter().flatten().map(|placed| placed.offset).collect();
    assert!(offsets.is_sorted(), "in their order: {offsets:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_silent_is_opened_anew_over_another_connection() {
    let fake = Fake::start(false, &[("", "1")]).await;
    fake.forget();
    let mut subscription = join_by(&bus_of(&fake, Some(Duration::from_millis(300)))).await;
    let messages = read(&mut subscription, 1).await;
    assert_eq!(body(&messages[0]), "1");
    // While one is held the stream that brought it is kept, however long nothing comes by it.
    let opened = fake.opened().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fake.opened().len(), opened);
    subscription.source.acknowledge(messages[0].delivery);
    until("it is silent again", || fake.opened().len() > opened).await;
    until("it is acknowledged", || fake.acknowledged() == ["1"]).await;
    subscription.source.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_is_told_what_may_be_held() {
    let fake = Fake::start(false, &[("", "1")]).await;
    let mut subscription = join(&fake).await;
    read(&mut subscription, 1).await;
    assert_eq!(fake.opened(), [(HOLD.messages as i64, HOLD.bytes as i64)]);
    subscription.source.close().await.expect("closed");
}
