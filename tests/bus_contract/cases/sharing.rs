//! Several members of one group: who has what, and what happens when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chalk_writer::bus::{Received, Subscription};
use chalk_writer::message::Message;

use crate::harness::{Capability, Harness};
use crate::member::{Behaviour, Member, Seen, fresh_topic, left, place, publish, subscribe};

const HOLDS: Behaviour = Behaviour { acknowledges: false, holds_handovers: true, drains: false };
const ONLY_READS: Behaviour = Behaviour { acknowledges: false, holds_handovers: false, drains: false };
const ACKNOWLEDGES: Behaviour = Behaviour { acknowledges: true, holds_handovers: false, drains: false };

const PARTITIONS: u32 = 4;
const EACH: usize = 50;
const ALL: usize = PARTITIONS as usize * EACH;

/// A topic of four partitions with fifty messages each.
async fn filled(harness: &Arc<dyn Harness>, hint: &str) -> String {
    let topic = fresh_topic(harness, hint, PARTITIONS).await;
    for partition in 0..PARTITIONS as i32 {
        publish(harness, &topic, partition, 0..EACH).await;
    }
    topic
}

fn places(messages: &[Message]) -> BTreeSet<(i32, i64)> {
    messages.iter().map(place).collect()
}

fn handed_over(seen: &Seen) -> BTreeSet<i32> {
    seen.handovers.iter().flatten().map(|partition| partition.number).collect()
}

pub async fn a_member_that_joins_gets_a_share_and_only_after_the_release(harness: Arc<dyn Harness>) {
    let topic = filled(&harness, "join").await;
    let old = Member::join(&harness, &topic, "join", HOLDS).await;
    let messages = old.messages(ALL).await;
    old.acknowledge(messages[99].delivery).await;
    let new = Member::join(&harness, &topic, "join", ONLY_READS).await;
    let seen = old.until("a handover comes", |seen| !seen.handovers.is_empty()).await;
    let going = handed_over(&seen);
    assert!(!going.is_empty() && going.len() <= PARTITIONS as usize, "{going:?}");
    assert!(seen.handovers.iter().flatten().all(|partition| *partition.topic == *topic));
    // What is acknowledged while the handover is held counts.
    old.acknowledge(messages[149].delivery).await;
    assert!(new.seen().messages.is_empty(), "the new member waits for the release");
    old.release().await;
    let got = new.partitions(2).await;
    let acknowledged = places(&messages[..150]);
    let open: BTreeSet<(i32, i64)> = places(&messages[150..]);
    let wanted: BTreeSet<_> = open.iter().copied().filter(|(partition, _)| got.contains(partition)).collect();
    let seen =
        new.until("what was not acknowledged comes again", |seen| places(&seen.messages).is_superset(&wanted)).await;
    if harness.capabilities().has(Capability::TakesLastPositions) {
        assert!(places(&seen.messages).is_disjoint(&acknowledged), "nothing that was acknowledged comes again");
    }
    // The other half stays with, or comes back to, the old member: nothing is lost.
    let old_now = old.partitions(2).await;
    assert!(old_now.iter().all(|partition| !got.contains(partition)), "{old_now:?} and {got:?} overlap");
    for partition in 0..PARTITIONS as i32 {
        publish(&harness, &topic, partition, EACH..EACH + 5).await;
    }
    let fresh = |seen: &Seen, of: &[i32]| {
        seen.messages.iter().filter(|m| m.offset >= EACH as i64 && of.contains(&m.partition.number)).count()
    };
    old.until("its half goes on", |seen| fresh(seen, &old_now) == 10).await;
    new.until("its half goes on", |seen| fresh(seen, &got) == 10).await;
    old.close().await;
    new.close().await;
}

pub async fn nothing_of_a_lost_partition_comes_after_its_release(harness: Arc<dyn Harness>) {
    let topic = filled(&harness, "after").await;
    let old = Member::join(&harness, &topic, "after", ACKNOWLEDGES).await;
    old.messages(ALL).await;
    let new = Member::join(&harness, &topic, "after", ACKNOWLEDGES).await;
    let got = new.partitions(2).await;
    old.partitions(2).await;
    for partition in 0..PARTITIONS as i32 {
        publish(&harness, &topic, partition, EACH..EACH + 200).await;
    }
    let fresh = |seen: &Seen| seen.messages.iter().filter(|m| m.offset >= EACH as i64).count();
    let seen_by_new = new.until("400 messages came", |seen| fresh(seen) >= 400).await;
    let seen_by_old = old.until("400 messages came", |seen| fresh(seen) >= 400).await;
    let released = *seen_by_old.released.last().expect("a handover was released");
    assert!(seen_by_old.messages[released..].iter().all(|message| !got.contains(&message.partition.number)));
    assert_eq!((fresh(&seen_by_old), fresh(&seen_by_new)), (400, 400));
    old.close().await;
    new.close().await;
    assert_eq!(left(&harness, &topic, "after").await, BTreeMap::new());
}

pub async fn a_handover_is_heard_unread_and_what_was_fetched_ahead_is_dropped(harness: Arc<dyn Harness>) {
    let topic = filled(&harness, "unread").await;
    let subscribed = harness.bus().subscribe(subscribe(&topic, "unread", false)).await.expect("joined");
    let Subscription { mut source, mut handovers, mut status, .. } = subscribed;
    let patience = harness.capabilities().patience;
    // Kafka assigns only to who polls; one message is enough to be a holder.
    let first = tokio::time::timeout(patience, source.next()).await.expect("in time").expect("read");
    let Received::Messages(first) = first else { panic!("messages are there, but it says {first:?}") };
    let whole = status.wait_for(|status| status.len() == PARTITIONS as usize);
    drop(tokio::time::timeout(patience, whole).await.expect("in time").expect("the source lives"));
    let new = Member::join(&harness, &topic, "unread", ONLY_READS).await;
    let handover = tokio::time::timeout(patience, handovers.recv()).await.expect("heard in time").expect("there");
    let going = handover.partitions.len();
    drop(handover);
    let got = new.partitions(2).await;
    assert!(going >= got.len());
    new.until("it reads what it got", |seen| seen.messages.len() >= 2 * EACH).await;
    let mut seen = places(&first);
    seen.retain(|(partition, _)| !got.contains(partition));
    let reading = async {
        while seen.len() < ALL - got.len() * EACH {
            if let Received::Messages(messages) = source.next().await.expect("read") {
                let lost = messages.iter().find(|message| got.contains(&message.partition.number));
                assert!(lost.is_none(), "a message of a lost partition: {lost:?}");
                seen.extend(places(&messages));
            }
        }
    };
    tokio::time::timeout(patience, reading).await.expect("the rest of what it kept comes");
    source.close().await.expect("closed");
    new.close().await;
}

pub async fn a_late_acknowledgement_does_not_move_a_lost_partition(harness: Arc<dyn Harness>) {
    let topic = filled(&harness, "late").await;
    let old = Member::join(&harness, &topic, "late", ONLY_READS).await;
    let messages = old.messages(ALL).await;
    let new = Member::join(&harness, &topic, "late", ONLY_READS).await;
    let got = new.partitions(2).await;
    old.partitions(2).await;
    // Nothing was acknowledged before the release: everything that moved belongs to the new member.
    old.acknowledge(messages[ALL - 1].delivery).await;
    old.close().await;
    new.close().await;
    let left = left(&harness, &topic, "late").await;
    for partition in got {
        assert_eq!(left.get(&partition), Some(&EACH), "partition {partition} was moved by who had lost it: {left:?}");
    }
}

pub async fn kept_partitions_go_on_untouched(harness: Arc<dyn Harness>) {
    let topic = filled(&harness, "kept").await;
    let old = Member::join(&harness, &topic, "kept", ONLY_READS).await;
    old.messages(ALL).await;
    let new = Member::join(&harness, &topic, "kept", ONLY_READS).await;
    let got = new.partitions(2).await;
    let kept = old.partitions(2).await;
    for partition in &kept {
        publish(&harness, &topic, *partition, EACH..EACH + 10).await;
    }
    let seen = old.until("the kept partitions go on", |seen| seen.messages.len() >= ALL + 20).await;
    assert_eq!(handed_over(&seen), got.iter().copied().collect());
    assert_eq!(seen.messages.len(), places(&seen.messages).len(), "no message came twice");
    // Acknowledging a number from after the handover covers what the kept ones had before it.
    old.acknowledge(seen.messages[ALL + 19].delivery).await;
    old.close().await;
    new.close().await;
    let left = left(&harness, &topic, "kept").await;
    assert_eq!(left, got.iter().map(|partition| (*partition, EACH)).collect());
}

pub async fn a_member_that_leaves_gives_its_share_back(harness: Arc<dyn Harness>) {
    let topic = filled(&harness, "leave").await;
    let one = Member::join(&harness, &topic, "leave", ACKNOWLEDGES).await;
    one.messages(ALL).await;
    let two = Member::join(&harness, &topic, "leave", ACKNOWLEDGES).await;
    two.partitions(2).await;
    one.partitions(2).await;
    one.close().await;
    assert_eq!(two.partitions(4).await, [0, 1, 2, 3]);
    for partition in 0..PARTITIONS as i32 {
        publish(&harness, &topic, partition, EACH..EACH + 5).await;
    }
    let fresh = |seen: &Seen| seen.messages.iter().filter(|m| m.offset >= EACH as i64).count();
    let seen = two.until("all four go on", |seen| fresh(seen) >= 20).await;
    if harness.capabilities().has(Capability::TakesLastPositions) {
        assert_eq!(seen.messages.len(), 20, "nothing that was acknowledged comes again");
    }
    two.close().await;
}

pub async fn more_members_than_partitions_do_no_harm(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "crowd", 1).await;
    publish(&harness, &topic, 0, 0..10).await;
    let one = Member::join(&harness, &topic, "crowd", ACKNOWLEDGES).await;
    one.messages(10).await;
    let two = Member::join(&harness, &topic, "crowd", ACKNOWLEDGES).await;
    publish(&harness, &topic, 0, 10..20).await;
    let patience = harness.capabilities().patience;
    let both = async {
        loop {
            let mut offsets: Vec<i64> =
                [one.seen(), two.seen()].iter().flat_map(|seen| &seen.messages).map(|m| m.offset).collect();
            offsets.sort_unstable();
            offsets.dedup();
            if offsets.len() == 20 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, both).await.expect("everything comes to one of them");
    one.close().await;
    two.close().await;
    assert_eq!(left(&harness, &topic, "crowd").await, BTreeMap::new());
}
