//! What Google's service does and its emulator does not, on a fake.

mod server;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::{Bus, OnGap, Received, Subscribe, Subscription};
use chalk_writer::config::settings::{BusSettings, PubsubSettings};
use chalk_writer::google::Identity;
use chalk_writer::message::Message;

use crate::member::body;
use server::Fake;

fn bus(fake: &Fake) -> Arc<dyn Bus> {
    let settings = PubsubSettings {
        project: "p".to_owned(),
        emulator: Some(fake.address.clone()),
        streams: 1,
        drain_idle: Duration::from_secs(10),
        browse_idle: Duration::from_secs(1),
        identity: Identity::default(),
    };
    chalk_writer::bus::open(&BusSettings::Pubsub(settings)).expect("the settings are right")
}

async fn join(fake: &Fake) -> Subscription {
    let subscribe = Subscribe {
        topic: "s".to_owned(),
        group: "s".to_owned(),
        drain: false,
        fetch_bytes: 1 << 20,
        on_gap: OnGap::Stop,
        transactional: false,
    };
    bus(fake).subscribe(subscribe).await.expect("joined")
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
