//! One member: order, completeness, positions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::Received;

use crate::harness::{Capability, Harness};
use crate::member::{Behaviour, Member, body, fresh_topic, left, publish, sorted_bodies, subscribe, texts};

const ACKNOWLEDGES: Behaviour = Behaviour { acknowledges: true, holds_handovers: false, drains: false };
const ONLY_READS: Behaviour = Behaviour { acknowledges: false, holds_handovers: false, drains: false };

pub async fn each_partition_arrives_in_order_and_each_message_once(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "order", 3).await;
    for partition in 0..3 {
        publish(&harness, &topic, partition, 0..700).await;
    }
    let member = Member::join(&harness, &topic, "order", ACKNOWLEDGES).await;
    member.messages(2100).await;
    publish(&harness, &topic, 1, 700..800).await;
    let messages = member.messages(2200).await;
    member.close().await;
    assert_eq!(messages.len(), 2200);
    let mut by_partition: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for message in &messages {
        by_partition.entry(message.partition.number).or_default().push(body(message));
        assert_eq!(&*message.partition.topic, topic);
    }
    for (partition, bodies) in by_partition {
        let count = if partition == 1 { 800 } else { 700 };
        assert_eq!(bodies, (0..count).map(|number| format!("{partition}:{number}")).collect::<Vec<_>>());
    }
}

pub async fn delivery_numbers_count_up_by_one(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "numbers", 2).await;
    publish(&harness, &topic, 0, 0..300).await;
    publish(&harness, &topic, 1, 0..300).await;
    let member = Member::join(&harness, &topic, "numbers", ONLY_READS).await;
    let messages = member.messages(600).await;
    member.close().await;
    for pair in messages.windows(2) {
        assert_eq!(pair[1].delivery.0, pair[0].delivery.0 + 1);
    }
}

pub async fn a_new_group_starts_at_the_earliest_message(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "earliest", 1).await;
    publish(&harness, &topic, 0, 0..10).await;
    let member = Member::join(&harness, &topic, "late-comer", ONLY_READS).await;
    let messages = member.messages(10).await;
    member.close().await;
    assert_eq!(body(&messages[0]), "0:0");
}

pub async fn two_groups_both_get_everything(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "groups", 2).await;
    publish(&harness, &topic, 0, 0..50).await;
    publish(&harness, &topic, 1, 0..50).await;
    let one = Member::join(&harness, &topic, "groups-one", ACKNOWLEDGES).await;
    let two = Member::join(&harness, &topic, "groups-two", ACKNOWLEDGES).await;
    let (of_one, of_two) = tokio::join!(one.messages(100), two.messages(100));
    one.close().await;
    two.close().await;
    for messages in [of_one, of_two] {
        assert_eq!(sorted_bodies(&messages), [texts(0, 0..50), texts(1, 0..50)].concat());
    }
}

pub async fn closing_commits_what_was_acknowledged_and_a_restart_goes_on_there(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "restart", 2).await;
    publish(&harness, &topic, 0, 0..40).await;
    publish(&harness, &topic, 1, 0..40).await;
    let member = Member::join(&harness, &topic, "restart", ONLY_READS).await;
    let messages = member.messages(80).await;
    member.acknowledge(messages[79].delivery).await;
    member.close().await;
    publish(&harness, &topic, 1, 40..45).await;
    let member = Member::join(&harness, &topic, "restart", ONLY_READS).await;
    let messages = member.messages(5).await;
    member.close().await;
    assert_eq!(sorted_bodies(&messages), texts(1, 40..45));
}

pub async fn what_was_not_acknowledged_comes_again(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "again", 1).await;
    publish(&harness, &topic, 0, 0..20).await;
    let member = Member::join(&harness, &topic, "again", ONLY_READS).await;
    let messages = member.messages(20).await;
    member.acknowledge(messages[11].delivery).await;
    member.close().await;
    let member = Member::join(&harness, &topic, "again", ONLY_READS).await;
    let again = member.messages(8).await;
    member.close().await;
    let mut wanted = sorted_bodies(&messages[12..]);
    wanted.sort();
    assert_eq!(sorted_bodies(&again), wanted);
}

pub async fn an_acknowledged_number_covers_every_partition_before_it(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "covers", 3).await;
    for partition in 0..3 {
        publish(&harness, &topic, partition, 0..100).await;
    }
    let member = Member::join(&harness, &topic, "covers", ONLY_READS).await;
    let messages = member.messages(300).await;
    member.acknowledge(messages[30].delivery).await;
    member.acknowledge(messages[170].delivery).await;
    // A number from before moves nothing back.
    member.acknowledge(messages[60].delivery).await;
    member.close().await;
    let mut wanted: BTreeMap<i32, usize> = BTreeMap::new();
    for message in &messages[171..] {
        *wanted.entry(message.partition.number).or_default() += 1;
    }
    assert_eq!(left(&harness, &topic, "covers").await, wanted);
}

pub async fn an_acknowledgement_becomes_durable_without_closing(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "durable", 1).await;
    publish(&harness, &topic, 0, 0..10).await;
    let member = Member::join(&harness, &topic, "durable", ACKNOWLEDGES).await;
    member.messages(10).await;
    let patience = harness.capabilities().patience;
    let waiting = async {
        while !left(&harness, &topic, "durable").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, waiting).await.expect("the acknowledgement is committed soon");
    member.close().await;
}

pub async fn a_dropped_wait_loses_nothing(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "dropped", 1).await;
    let subscribe = subscribe(&topic, "dropped", false);
    harness.make_group(&topic, &subscribe.group).await;
    let mut subscription = harness.bus().subscribe(subscribe).await.expect("joined");
    let publishing = tokio::spawn({
        let (harness, topic) = (harness.clone(), topic.clone());
        async move {
            for round in 0..20 {
                publish(&harness, &topic, 0, round * 10..round * 10 + 10).await;
            }
        }
    });
    let mut read = Vec::new();
    let reading = async {
        let mut pause = 0;
        while read.len() < 200 {
            pause = (pause + 7) % 23;
            let next = tokio::time::timeout(Duration::from_millis(pause), subscription.source.next()).await;
            if let Ok(Ok(Received::Messages(messages))) = next {
                read.extend(messages);
            }
        }
    };
    tokio::time::timeout(harness.capabilities().patience, reading).await.expect("everything comes");
    publishing.await.expect("publishing works");
    subscription.source.close().await.expect("closed");
    assert_eq!(sorted_bodies(&read), texts(0, 0..200));
    if harness.capabilities().has(Capability::Positions) {
        assert_eq!(read.iter().map(|message| message.offset).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    }
}

pub async fn reading_up_to_the_end_is_said(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "hint", 2).await;
    publish(&harness, &topic, 0, 0..10).await;
    let member = Member::join(&harness, &topic, "hint", ONLY_READS).await;
    member.until("it says that it is caught up", |seen| seen.messages.len() == 10 && seen.caught_up > 0).await;
    let before = member.seen().caught_up;
    publish(&harness, &topic, 1, 0..10).await;
    let seen = member.until("it says so again", |seen| seen.messages.len() == 20 && seen.caught_up > before).await;
    member.acknowledge(seen.messages[19].delivery).await;
    member.close().await;
}
