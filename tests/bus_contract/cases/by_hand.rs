//! What people do from outside of a group: read a stretch of time again, and move a position.

use std::collections::BTreeMap;
use std::sync::Arc;

use chalk_writer::bus::reread::reread;
use chalk_writer::bus::{BusError, GroupPosition, Received, Step, Stepped, Stretch};
use chalk_writer::message::{Message, Outgoing};

use crate::harness::Harness;
use crate::member::{Behaviour, Member, body, fresh_topic, group_of, publish, text};

/// Messages of these seconds after `start_ms`, in this order, in one partition.
async fn publish_at(harness: &Arc<dyn Harness>, topic: &str, partition: i32, start_ms: i64, seconds: &[i64]) {
    let messages: Vec<Outgoing> = seconds
        .iter()
        .map(|second| Outgoing {
            timestamp_ms: Some(start_ms + second * 1_000),
            ..text(topic, partition, &format!("{partition}:{second}"))
        })
        .collect();
    harness.bus().publisher().await.expect("a publisher").publish(&messages).await.expect("published");
}

fn an_hour_ago() -> i64 {
    chrono::Utc::now().timestamp_millis() - 3_600_000
}

pub async fn a_stretch_is_found_by_time(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "times", 3).await;
    let start = an_hour_ago();
    // The second one lies out of order, as what was replayed does.
    publish_at(&harness, &topic, 0, start, &[0, 10, 20, 5, 30, 40]).await;
    publish_at(&harness, &topic, 1, start, &[100, 110]).await;
    let bus = harness.bus();
    let between = async |from: i64, until: Option<i64>| {
        let until = until.map(|until| start + until * 1_000);
        let stretches = bus.stretch(&topic, start + from * 1_000, until).await.expect("found");
        stretches.iter().map(|stretch| (stretch.partition, stretch.from, stretch.until)).collect::<Vec<_>>()
    };
    assert_eq!(between(10, Some(30)).await, [(0, 1, 4), (1, 0, 0), (2, 0, 0)]);
    assert_eq!(between(11, Some(31)).await, [(0, 2, 5), (1, 0, 0), (2, 0, 0)]);
    assert_eq!(between(15, None).await, [(0, 2, 6), (1, 0, 2), (2, 0, 0)]);
    assert_eq!(between(-86_400, Some(86_400)).await, [(0, 0, 6), (1, 0, 2), (2, 0, 0)]);
    assert_eq!(between(105, Some(106)).await, [(0, 6, 6), (1, 1, 1), (2, 0, 0)]);
    assert_eq!(between(86_400, None).await, [(0, 6, 6), (1, 2, 2), (2, 0, 0)]);
    assert_eq!(between(20, Some(10)).await, [(0, 2, 2), (1, 0, 0), (2, 0, 0)], "backwards there is nothing");
}

pub async fn a_stretch_is_read_again_to_its_end_and_groups_are_left_alone(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "again", 2).await;
    publish(&harness, &topic, 0, 0..2_000).await;
    publish(&harness, &topic, 1, 0..10).await;
    let member = Member::join(&harness, &topic, "again", Behaviour::default()).await;
    let messages = member.messages(2_010).await;
    member.acknowledge(messages[99].delivery).await;
    member.close().await;
    let bus = harness.bus();
    let group = group_of(&topic, "again");
    let before = bus.positions(&topic, &group).await.expect("told");

    let stretches = vec![
        Stretch { partition: 0, from: 500, until: 1_700, earliest: 0 },
        Stretch { partition: 1, from: 4, until: 4, earliest: 0 },
    ];
    let mut subscription = reread(harness.bus(), &topic, stretches, None);
    publish(&harness, &topic, 0, 2_000..2_010).await;
    let mut all: Vec<Message> = Vec::new();
    while let Received::Messages(messages) = subscription.source.next().await.expect("read") {
        all.extend(messages);
    }
    let bodies: Vec<String> = all.iter().map(body).collect();
    assert_eq!(bodies, (500..1_700).map(|number| format!("0:{number}")).collect::<Vec<_>>());
    let numbers: Vec<u64> = all.iter().map(|message| message.delivery.0).collect();
    assert_eq!(numbers, (0..1_200).collect::<Vec<_>>());

    let positions = |subscription: &chalk_writer::bus::Subscription| {
        let status = subscription.status.borrow().clone();
        status.iter().map(|status| (status.partition.number, status.position, status.end)).collect::<Vec<_>>()
    };
    let rest = (1, Some(4), Some(4));
    assert_eq!(positions(&subscription), [(0, Some(500), Some(1_700)), rest]);
    subscription.source.acknowledge(all[199].delivery);
    assert_eq!(positions(&subscription), [(0, Some(700), Some(1_700)), rest]);
    subscription.source.acknowledge(all[1_199].delivery);
    assert_eq!(positions(&subscription), [(0, Some(1_700), Some(1_700)), rest]);
    assert!(matches!(subscription.source.next().await, Ok(Received::End)), "the end stays the end");
    subscription.source.close().await.expect("closed");
    let ends = |positions: &[GroupPosition]| {
        positions.iter().map(|position| (position.partition, position.committed)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(ends(&bus.positions(&topic, &group).await.expect("told")), ends(&before));
}

pub async fn positions_are_told_from_outside(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "told", 2).await;
    publish(&harness, &topic, 0, 0..7).await;
    let (bus, group) = (harness.bus(), group_of(&topic, "told"));
    let positions = bus.positions(&topic, &group).await.expect("told");
    let nowhere = |partition, end| GroupPosition { partition, committed: None, earliest: 0, end };
    assert_eq!(positions, [nowhere(0, 7), nowhere(1, 0)], "nobody was ever there");
    let member = Member::join(&harness, &topic, "told", Behaviour::default()).await;
    let messages = member.messages(7).await;
    member.acknowledge(messages[3].delivery).await;
    member.close().await;
    let positions = bus.positions(&topic, &group).await.expect("told");
    assert_eq!(positions[0], GroupPosition { committed: Some(4), ..nowhere(0, 7) });
}

pub async fn positions_in_an_unknown_topic_are_not_found(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "untold", 1).await;
    let (bus, group) = (harness.bus(), group_of(&topic, "untold"));
    let missing = bus.positions(&format!("missing-{topic}"), &group).await.expect_err("it is not there");
    assert!(matches!(missing, BusError::NotFound(_)), "{missing:?}");
}

pub async fn a_position_is_not_moved_by_hand_while_somebody_is_in_the_group(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "in-use", 1).await;
    publish(&harness, &topic, 0, 0..20).await;
    let (bus, group) = (harness.bus(), group_of(&topic, "in-use"));
    let step = async |from, to| {
        let step = Step { topic: topic.clone(), partition: 0, group: group.clone(), from, to };
        bus.step(&step).await.expect("answered")
    };
    let committed = async || bus.positions(&topic, &group).await.expect("told")[0].committed;
    let member = Member::join(&harness, &topic, "in-use", Behaviour::default()).await;
    let messages = member.messages(20).await;
    member.acknowledge(messages[4].delivery).await;
    // Committed soon: waited for, so that only the member can be the reason.
    let patience = std::time::Instant::now() + harness.capabilities().patience;
    while committed().await != Some(5) {
        assert!(std::time::Instant::now() < patience, "the position is committed");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(step(5, 6).await, Stepped::InUse);
    assert_eq!(step(5, 5).await, Stepped::InUse, "a rehearsal says the same");
    member.close().await;
}

pub async fn a_position_is_moved_by_hand_once_everybody_has_left(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "moved", 1).await;
    publish(&harness, &topic, 0, 0..20).await;
    let (bus, group) = (harness.bus(), group_of(&topic, "moved"));
    let step = async |from, to| {
        let step = Step { topic: topic.clone(), partition: 0, group: group.clone(), from, to };
        bus.step(&step).await.expect("answered")
    };
    let committed = async || bus.positions(&topic, &group).await.expect("told")[0].committed;
    let member = Member::join(&harness, &topic, "moved", Behaviour::default()).await;
    let messages = member.messages(20).await;
    member.acknowledge(messages[4].delivery).await;
    member.close().await;

    assert_eq!(step(4, 6).await, Stepped::Elsewhere(5));
    assert_eq!(step(5, 5).await, Stepped::Done);
    assert_eq!(committed().await, Some(5), "a rehearsal moves nothing");
    assert_eq!(step(5, 6).await, Stepped::Done);
    assert_eq!(step(5, 6).await, Stepped::Elsewhere(6));
    let member = Member::join(&harness, &topic, "moved", Behaviour::default()).await;
    let messages = member.messages(14).await;
    assert_eq!(messages.iter().map(body).collect::<Vec<_>>(), (6..20).map(|n| format!("0:{n}")).collect::<Vec<_>>());
    member.close().await;
}

pub async fn the_position_of_a_group_that_was_never_there_can_be_moved(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "first", 1).await;
    publish(&harness, &topic, 0, 0..3).await;
    let step = |from, to| Step { topic: topic.clone(), partition: 0, group: group_of(&topic, "first"), from, to };
    let bus = harness.bus();
    assert_eq!(bus.step(&step(1, 2)).await.expect("answered"), Stepped::Elsewhere(0));
    assert_eq!(bus.step(&step(0, 1)).await.expect("answered"), Stepped::Done);
    let member = Member::join(&harness, &topic, "first", Behaviour::default()).await;
    assert_eq!(member.messages(2).await.iter().map(body).collect::<Vec<_>>(), ["0:1", "0:2"]);
    member.close().await;
    let elsewhere = Step { partition: 7, ..step(0, 0) };
    let missing = bus.step(&elsewhere).await.expect_err("there is no such partition");
    assert!(matches!(missing, BusError::NotFound(_)), "{missing:?}");
}
