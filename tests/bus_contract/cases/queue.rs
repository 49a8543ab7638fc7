//! A bus without positions: each message is acknowledged by itself, and held until then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalk_writer::bus::{BrowseFrom, BusError, Received, Step};
use chalk_writer::message::{Message, Outgoing};

use crate::harness::Harness;
use crate::member::{
    Behaviour, HOLD, Member, body, browse, fresh_topic, group_of, left_in_all, publish, sorted_bodies, text, texts,
};

const READS: Behaviour = Behaviour { acknowledges: false, holds_handovers: false, drains: false };

/// Longer than a message is held for whose reader has fallen silent, as the bus has it when nobody renews.
const BEYOND_A_LEASE: Duration = Duration::from_secs(25);

pub async fn messages_of_one_key_come_in_order(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "keyed", 1).await;
    harness.bus().create_subscription(&group_of(&topic, "keyed"), &topic).await.expect("made, in order");
    let messages: Vec<Outgoing> = (0..600)
        .map(|number| Outgoing {
            key: Some(Bytes::from(format!("key-{}", number % 3))),
            ..text(&topic, 0, &format!("{}:{number}", number % 3))
        })
        .collect();
    harness.bus().publisher().await.expect("a publisher").publish(&messages).await.expect("published");
    let member = Member::join(&harness, &topic, "keyed", Behaviour { acknowledges: true, ..READS }).await;
    let read = member.messages(600).await;
    member.close().await;
    for key in 0..3 {
        let of_key: Vec<String> = read.iter().map(body).filter(|body| body.starts_with(&format!("{key}:"))).collect();
        let wanted: Vec<String> = (0..200).map(|number| format!("{key}:{}", number * 3 + key)).collect();
        assert_eq!(of_key, wanted);
    }
    assert_eq!(read[0].key.as_deref().map(|key| &key[..4]), Some(&b"key-"[..]));
}

pub async fn what_is_held_is_not_delivered_again(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "held", 1).await;
    publish(&harness, &topic, 0, 0..50).await;
    let member = Member::join(&harness, &topic, "held", READS).await;
    let other = Member::join(&harness, &topic, "held", READS).await;
    let both = async || {
        let (mut one, other) = (member.seen().messages, other.seen().messages);
        one.extend(other);
        one
    };
    let patience = tokio::time::Instant::now() + harness.capabilities().patience;
    while both().await.len() < 50 {
        assert!(tokio::time::Instant::now() < patience, "all are read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(BEYOND_A_LEASE).await;
    assert_eq!(sorted_bodies(&both().await), texts(0, 0..50), "each is there once, though nobody has acknowledged it");
    for member in [member, other] {
        if let Some(last) = member.seen().messages.last() {
            member.acknowledge(last.delivery).await;
        }
        member.close().await;
    }
    assert_eq!(left_in_all(&harness, &topic, "held").await, 0);
}

pub async fn what_a_member_has_not_acknowledged_goes_to_another_when_it_closes(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "back", 1).await;
    publish(&harness, &topic, 0, 0..30).await;
    let first = Member::join(&harness, &topic, "back", READS).await;
    let read = first.messages(30).await;
    first.acknowledge(read[9].delivery).await;
    first.close().await;
    // Well before a lease would end.
    let second = Member::join(&harness, &topic, "back", READS).await;
    let again = second.messages(20).await;
    second.close().await;
    assert_eq!(sorted_bodies(&again), sorted_bodies(&read[10..]));
}

pub async fn lag_is_the_age_of_the_oldest_message_that_is_held(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "lag", 1).await;
    publish(&harness, &topic, 0, 0..2).await;
    let member = Member::join(&harness, &topic, "lag", READS).await;
    member.messages(2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    publish(&harness, &topic, 0, 2..3).await;
    let seen = member.until("a third has come", |seen| seen.messages.len() == 3).await;
    assert!(seen.status.len() == 1 && seen.status[0].position.is_none() && seen.status[0].end.is_none());
    member.until("it is behind", |seen| seen.status[0].lag >= Duration::from_secs(2)).await;
    member.acknowledge(seen.messages[2].delivery).await;
    member.until("nothing is held", |seen| seen.status[0].lag == Duration::ZERO).await;
    member.close().await;
}

pub async fn a_stretch_of_time_is_read_again_and_subscriptions_are_left_alone(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "stretch", 1).await;
    let (bus, group) = (harness.bus(), group_of(&topic, "stretch"));
    harness.make_group(&topic, &group).await;
    publish(&harness, &topic, 0, 0..10).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let from = chrono::Utc::now().timestamp_millis();
    tokio::time::sleep(Duration::from_millis(50)).await;
    publish(&harness, &topic, 0, 10..1_500).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let until = chrono::Utc::now().timestamp_millis();
    tokio::time::sleep(Duration::from_millis(50)).await;
    publish(&harness, &topic, 0, 1_500..1_510).await;

    // The topic is in use meanwhile: what comes later is none of it, and does not keep it from ending.
    let publishing = tokio::spawn({
        let (harness, topic) = (Arc::clone(&harness), topic.clone());
        async move {
            for number in 0.. {
                publish(&harness, &topic, 1, number..number + 1).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let stretches = bus.stretch(&topic, from, Some(until)).await.expect("found");
    let mut subscription = bus.reread(&topic, &stretches, HOLD).await.expect("its own way").expect("it reads");
    let mut all: Vec<Message> = Vec::new();
    loop {
        match subscription.source.next().await.expect("read") {
            Received::Messages(messages) => {
                subscription.source.acknowledge(messages.last().expect("never empty").delivery);
                all.extend(messages);
            }
            Received::CaughtUp => {}
            Received::End => break,
        }
    }
    subscription.source.close().await.expect("closed");
    assert_eq!(sorted_bodies(&all), texts(0, 10..1_500));
    let last = browse(&harness, &topic, BrowseFrom::Last(5)).await;
    assert_eq!(last.len(), 5, "the last messages are found too, though more come");
    publishing.abort();
    let _ = publishing.await;
    assert!(left_in_all(&harness, &topic, "stretch").await >= 1_510);
}

pub async fn the_last_messages_and_one_by_its_id_are_found(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "found", 1).await;
    let placed = publish(&harness, &topic, 0, 0..30).await;
    let last = browse(&harness, &topic, BrowseFrom::Last(5)).await;
    assert_eq!(sorted_bodies(&last), texts(0, 25..30));
    let one = browse(&harness, &topic, BrowseFrom::Position(0, placed[17].offset)).await;
    assert_eq!(body(&one[0]), "0:17");
    let none = browse(&harness, &topic, BrowseFrom::Position(0, i64::MAX)).await;
    assert!(none.is_empty());
}

pub async fn positions_cannot_be_moved(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "moved", 1).await;
    let step = Step { topic: topic.clone(), partition: 0, group: group_of(&topic, "moved"), from: 0, to: 1 };
    let refused = harness.bus().step(&step).await.expect_err("there are none");
    assert!(matches!(refused, BusError::Settings(_)), "{refused:?}");
}

pub async fn what_cannot_be_carried_is_refused_and_holds_up_no_other(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "refused", 1).await;
    let publisher = harness.bus().publisher().await.expect("a publisher");
    let long = vec![b'x'; 70_000];
    for (what, bad) in [
        (
            "a header that is not text",
            Outgoing { headers: [("a", Some(&[0xff_u8][..]))].into_iter().collect(), ..text(&topic, 0, "bad") },
        ),
        (
            "a header that is long",
            Outgoing { headers: [("a", Some(&long[..]))].into_iter().collect(), ..text(&topic, 0, "bad") },
        ),
        ("a key that is not text", Outgoing { key: Some(Bytes::from_static(&[0xff])), ..text(&topic, 0, "bad") }),
    ] {
        let refused = publisher.publish(&[text(&topic, 0, "good"), bad]).await.expect_err(what);
        assert!(matches!(refused.landings(), [Ok(_), Err(BusError::Refused(_))]), "{what}: {refused:?}");
    }
    let sent = browse(&harness, &topic, BrowseFrom::Earliest).await;
    assert_eq!(sent.iter().map(body).collect::<Vec<_>>(), ["good"; 3]);
}
