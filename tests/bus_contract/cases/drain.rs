//! Draining: the run that ends at the ends it found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::harness::Harness;
use crate::member::{Behaviour, Member, body, fresh_topic, left, publish};

const DRAINS: Behaviour = Behaviour { acknowledges: true, holds_handovers: false, drains: true };
const DRAINS_BY_HAND: Behaviour = Behaviour { acknowledges: false, holds_handovers: false, drains: true };

pub async fn a_drain_ends_with_empty_partitions(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "sparse", 4).await;
    publish(&harness, &topic, 2, 0..30).await;
    let member = Member::join(&harness, &topic, "sparse", DRAINS).await;
    let seen = member.until("the drain ends", |seen| seen.ended).await;
    member.close().await;
    assert_eq!(seen.messages.len(), 30);
}

pub async fn a_drain_of_an_empty_topic_ends(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "empty", 2).await;
    let member = Member::join(&harness, &topic, "empty", DRAINS).await;
    let seen = member.until("the drain ends", |seen| seen.ended).await;
    member.close().await;
    assert_eq!(seen.messages.len(), 0);
}

pub async fn a_drain_waits_for_the_acknowledgement(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "waits", 1).await;
    publish(&harness, &topic, 0, 0..30).await;
    let member = Member::join(&harness, &topic, "waits", DRAINS_BY_HAND).await;
    let messages = member.messages(30).await;
    member.acknowledge(messages[28].delivery).await;
    let seen = member.until("it is caught up", |seen| seen.caught_up > 0).await;
    assert!(!seen.ended, "one message is open");
    member.acknowledge(messages[29].delivery).await;
    member.until("the drain ends", |seen| seen.ended).await;
    // The end is of committed positions, so nothing is left although nothing was closed.
    assert_eq!(left(&harness, &topic, "waits").await, BTreeMap::new());
    member.close().await;
}

pub async fn a_drain_ends_at_the_ends_it_found(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "found", 2).await;
    publish(&harness, &topic, 0, 0..50).await;
    publish(&harness, &topic, 1, 0..50).await;
    let member = Member::join(&harness, &topic, "found", DRAINS_BY_HAND).await;
    let messages = member.messages(100).await;
    publish(&harness, &topic, 0, 50..70).await;
    member.acknowledge(messages[99].delivery).await;
    member.until("the drain ends", |seen| seen.ended).await;
    member.close().await;
    assert_eq!(left(&harness, &topic, "found").await, BTreeMap::from([(0, 20)]));
}

pub async fn a_drain_of_what_is_done_already_ends(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "done", 2).await;
    publish(&harness, &topic, 0, 0..20).await;
    for messages in [20, 0] {
        let member = Member::join(&harness, &topic, "done", DRAINS).await;
        let seen = member.until("the drain ends", |seen| seen.ended).await;
        member.close().await;
        assert_eq!(seen.messages.len(), messages);
    }
}

pub async fn two_members_drain_together(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "together", 4).await;
    for partition in 0..4 {
        publish(&harness, &topic, partition, 0..500).await;
    }
    let (one, two) = tokio::join!(
        Member::join(&harness, &topic, "together", DRAINS),
        Member::join(&harness, &topic, "together", DRAINS)
    );
    let (of_one, of_two) =
        tokio::join!(one.until("it ends", |seen| seen.ended), two.until("it ends", |seen| seen.ended));
    let both: BTreeSet<_> = of_one.messages.iter().chain(&of_two.messages).map(body).collect();
    assert_eq!(both.len(), 2000);
    assert_eq!(left(&harness, &topic, "together").await, BTreeMap::new());
    one.close().await;
    two.close().await;
}
