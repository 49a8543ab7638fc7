//! Topics and reading them outside every group.

use std::collections::BTreeMap;
use std::sync::Arc;

use chalk_writer::bus::{BrowseFrom, BusError};

use crate::harness::Harness;
use crate::member::{
    Behaviour, Member, body, browse, fresh_topic, group_of, left, publish, sorted_bodies, subscribe, text,
};

pub async fn an_unknown_topic_is_not_found(harness: Arc<dyn Harness>) {
    let known = fresh_topic(&harness, "known", 1).await;
    let missing = format!("missing-{known}");
    let bus = harness.bus();
    let publisher = bus.publisher().await.expect("a publisher");
    let errors = [
        bus.subscribe(subscribe(&missing, "g", false)).await.err(),
        bus.topic(&missing).await.err(),
        bus.browse(&missing, BrowseFrom::Earliest).await.err(),
        publisher.publish(&[text(&missing, 0, "x")]).await.err(),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("call {number} finds a topic that nobody made"));
        assert!(matches!(&error, BusError::NotFound(text) if text.contains(&missing)), "call {number}: {error:?}");
    }
}

pub async fn a_topic_that_exists_is_left_as_it_is(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "twice", 2).await;
    publish(&harness, &topic, 1, 0..7).await;
    let before = harness.bus().topic(&topic).await.expect("known");
    harness.bus().create_topic(&topic, 5).await.expect("making it again is fine");
    let after = harness.bus().topic(&topic).await.expect("known");
    assert_eq!((after.partitions, after.messages), (before.partitions, before.messages));
    assert_eq!(browse(&harness, &topic, BrowseFrom::Earliest).await.len(), 7);
}

pub async fn a_topic_tells_its_partitions_and_how_many_messages_it_has(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "told", 2).await;
    publish(&harness, &topic, 1, 0..7).await;
    let info = harness.bus().topic(&topic).await.expect("known");
    assert_eq!((info.partitions, info.messages), (2, Some(7)));
}

pub async fn browsing_starts_where_it_is_told(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "browse", 2).await;
    publish(&harness, &topic, 0, 0..1500).await;
    publish(&harness, &topic, 1, 0..3).await;
    let all = browse(&harness, &topic, BrowseFrom::Earliest).await;
    assert_eq!(all.len(), 1503);
    let last: Vec<String> = browse(&harness, &topic, BrowseFrom::Last(2)).await.iter().map(body).collect();
    assert_eq!(sorted(last), ["0:1498", "0:1499", "1:1", "1:2"]);
    let more = browse(&harness, &topic, BrowseFrom::Last(1000)).await;
    assert_eq!(more.len(), 1003);
    let one = browse(&harness, &topic, BrowseFrom::Position(1, 1)).await;
    assert_eq!(one.iter().map(body).collect::<Vec<_>>(), ["1:1", "1:2"]);
    let at_the_end = browse(&harness, &topic, BrowseFrom::Position(1, 3)).await;
    assert!(at_the_end.is_empty());
    assert_eq!(browse(&harness, &topic, BrowseFrom::Group("nobody".to_owned())).await.len(), 1503);
}

pub async fn browsing_ends_at_the_end_it_found_and_leaves_groups_alone(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "aside", 1).await;
    publish(&harness, &topic, 0, 0..20).await;
    let member = Member::join(&harness, &topic, "aside", Behaviour::default()).await;
    let messages = member.messages(20).await;
    member.acknowledge(messages[4].delivery).await;
    member.close().await;
    let mut browse = harness.bus().browse(&topic, BrowseFrom::Group(group_of(&topic, "aside"))).await.expect("read");
    publish(&harness, &topic, 0, 20..25).await;
    let mut bodies = Vec::new();
    loop {
        let messages = browse.next().await.expect("read");
        if messages.is_empty() {
            break;
        }
        bodies.extend(messages.iter().map(body));
    }
    bodies.sort();
    assert_eq!(bodies, sorted_bodies(&messages[5..]));
    assert_eq!(left(&harness, &topic, "aside").await, BTreeMap::from([(0, 20)]));
}

fn sorted(mut bodies: Vec<String>) -> Vec<String> {
    bodies.sort();
    bodies
}
