//! Subscriptions with a retry policy and with a filter, which Google's emulator passes over.

use std::time::Instant;

use chalk_writer::bus::{Received, Subscription};
use chalk_writer::message::Message;

use super::queue::{Retry, Stored};
use super::server::Set;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const RETRY: Retry = Retry { minimum: Duration::from_secs(3), maximum: Duration::from_secs(4) };

/// A subscription with a retry policy, and messages of one age.
async fn slow(retry: Retry, age: Duration, messages: &[(&str, &str)]) -> Fake {
    let stored: Vec<Stored<'_>> =
        messages.iter().map(|(key, id)| Stored { key, id, age: Some(age), ..Stored::default() }).collect();
    Fake::start_set(Set { retry: Some(retry), ..Set::default() }, &stored).await
}

/// Reads until the reading ends by itself, and acknowledges everything.
async fn drain(fake: &Fake) -> Vec<Message> {
    let idle = Duration::from_secs(1);
    let mut subscription = join_to(&bus_with(PubsubSettings { drain_idle: idle, ..settings(fake) }), true).await;
    let mut all: Vec<Message> = Vec::new();
    let draining = async {
        loop {
            match subscription.source.next().await.expect("read") {
                Received::Messages(messages) => {
                    subscription.source.acknowledge(messages.last().expect("at least one").delivery);
                    all.extend(messages);
                }
                Received::End => return,
                Received::CaughtUp => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), draining).await.expect("it ends");
    subscription.source.close().await.expect("closed");
    all
}

fn bodies(messages: &[Message]) -> Vec<String> {
    messages.iter().map(body).collect()
}

fn lag(subscription: &Subscription) -> Duration {
    subscription.status.borrow()[0].lag
}

/// A reader that stops hands back what it has; with a retry policy the service keeps that from everybody for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_what_a_retry_policy_keeps_back() {
    let fake = slow(RETRY, SECOND, &[("", "1"), ("", "2"), ("", "3")]).await;
    let mut stopped = join(&fake).await;
    let first = read(&mut stopped, 3).await;
    stopped.source.acknowledge(first[0].delivery);
    stopped.source.close().await.expect("closed");
    let kept = body(&first[0]);
    until("the rest is handed back", || fake.leased() == 0).await;
    let begun = Instant::now();
    let mut rest = bodies(&drain(&fake).await);
    rest.sort();
    let expected: Vec<&str> = ["1", "2", "3"].into_iter().filter(|id| *id != kept).collect();
    assert_eq!(rest, expected, "a drain that ends before them leaves them behind");
    for id in &expected {
        let pauses = fake.look(|queue| queue.pauses(id));
        assert!(pauses.len() == 1 && pauses[0] >= RETRY.minimum, "{id}: {pauses:?}");
    }
    let mut acknowledged = fake.acknowledged();
    acknowledged.sort();
    assert_eq!(acknowledged, ["1", "2", "3"]);
    // It waits no longer than it has to: the longest pause of the policy, and its own, after the last message.
    assert!(begun.elapsed() < RETRY.minimum + RETRY.maximum + 10 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_of_a_key_comes_in_its_order_and_is_as_late_as_it_is() {
    const AGE: Duration = Duration::from_secs(1000);
    let retry = Retry { minimum: Duration::from_secs(2), maximum: Duration::from_secs(8) };
    let numbers: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
    let messages: Vec<(&str, &str)> = numbers.iter().map(|number| ("key", number.as_str())).collect();
    let fake = slow(retry, AGE, &messages).await;
    let mut stopped = join(&fake).await;
    let first = read(&mut stopped, 40).await;
    assert!(lag(&stopped) >= AGE, "{:?}", lag(&stopped));
    stopped.source.acknowledge(first[14].delivery);
    stopped.source.close().await.expect("closed");
    until("the rest is handed back", || fake.leased() == 0).await;

    let mut second = join(&fake).await;
    // While the service keeps them back nothing is at work: nothing is known to be late.
    assert_eq!(lag(&second), Duration::ZERO);
    let rest = read(&mut second, 25).await;
    assert_eq!(bodies(&rest), numbers[15..]);
    assert_eq!(rest[0].headers.get_str("googclient_deliveryattempt"), Some("2"));
    assert!(lag(&second) >= AGE, "{:?}", lag(&second));
    let pauses = fake.look(|queue| queue.pauses("16"));
    assert!(pauses.len() == 1 && pauses[0] >= retry.minimum, "{pauses:?}");

    // What is held is leased on, however late it came.
    let before = fake.look(|queue| queue.extensions("40"));
    until("its lease is extended", || fake.look(|queue| queue.extensions("40")) > before).await;
    second.source.acknowledge(rest[9].delivery);
    until("ten are acknowledged", || fake.acknowledged().len() == 25).await;
    // Leases that end have the same pause before them, longer each time; and the order of the key holds.
    fake.expire();
    let again = read(&mut second, 15).await;
    assert_eq!(bodies(&again), numbers[25..]);
    let pauses = fake.look(|queue| queue.pauses("26"));
    assert!(pauses.len() == 2 && pauses[1] >= 2 * retry.minimum, "{pauses:?}");
    second.source.acknowledge(again[14].delivery);
    until("all are acknowledged", || fake.acknowledged().len() == 40).await;
    assert_eq!(lag(&second), Duration::ZERO);
    second.source.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_filter_does_not_let_through_is_nobodys_and_holds_up_nothing() {
    let set =
        Set { filter: Some(r#"attributes.env = "prod" AND hasPrefix(attributes.kind, "online")"#), ..Set::default() };
    let ours: &[(&str, &str)] = &[("env", "prod"), ("kind", "online-v2")];
    let others: [&[(&str, &str)]; 3] = [&[("env", "dev"), ("kind", "online")], &[("env", "prod")], &[]];
    let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let stored: Vec<Stored<'_>> = numbers
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let attributes = if number % 4 == 0 { ours } else { others[number % 4 - 1] };
            Stored { key: "key", id, attributes, age: Some(SECOND) }
        })
        .collect();
    let fake = Fake::start_set(set, &stored).await;
    let expected: Vec<String> = numbers.iter().step_by(4).cloned().collect();
    let messages = drain(&fake).await;
    assert_eq!(bodies(&messages), expected, "in the order of the key, though there are gaps in it");
    assert!(messages.iter().all(|message| message.headers.get_str("kind") == Some("online-v2")));
    assert_eq!(fake.acknowledged().len(), expected.len());
    assert_eq!(fake.look(|queue| queue.passed_over().len()), 30);

    // One of which nothing gets through is an empty one.
    let fake = Fake::start_set(Set { filter: Some("attributes:absent"), ..set }, &stored).await;
    assert_eq!(bodies(&drain(&fake).await), [""; 0]);
    assert_eq!((fake.look(|queue| queue.passed_over().len()), fake.leased()), (40, 0));
}
