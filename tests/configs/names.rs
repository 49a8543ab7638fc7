//! Names on Pub/Sub: what is of the configured project has a short and a whole one, which are one; and a subscription
//! may be called as a topic is.

use chalk_writer::config::Selection;
use serde_json::{Value, json};

use crate::{errors, loaded, with_all};

const ONLINE: &str = "/common_persistence_specs/result_bus_online_store_subscription_id";
const OFFLINE: &str = "/common_persistence_specs/result_bus_offline_store_subscription_id";
const DEAD_LETTERS: &str = "/common_persistence_specs/kafka_dlq_topic";

/// The sound one on Pub/Sub, with more changes.
fn pubsub(changes: &[(&str, Value)]) -> Value {
    let bus = [
        ("/common_persistence_specs/bus_backend", json!("PUBSUB")),
        ("/common_persistence_specs/google_cloud_project", json!("p")),
        (ONLINE, json!("online")),
        (OFFLINE, json!("offline")),
    ];
    with_all(&[&bus[..], changes].concat())
}

#[test]
fn whole_names_of_the_configured_project_are_its_short_ones() {
    let loaded = loaded(&pubsub(&[
        (ONLINE, json!("projects/p/subscriptions/online")),
        (OFFLINE, json!("projects/other/subscriptions/offline")),
        (DEAD_LETTERS, json!("projects/p/topics/dead-letters")),
        ("/parking_topic", json!("projects/p/topics/parked")),
        ("/writers/1/parking_topic", json!("projects/other/topics/parked")),
        ("/common_persistence_specs/metrics_bus_topic_id", json!("projects/p/topics/metrics")),
        ("/common_persistence_specs/result_bus_metrics_subscription_id", json!("metered")),
        ("/writers/-", json!({"bus_subscriber_type": "METRICS_WRITER"})),
    ]));
    let writer = |name: &str| loaded.writer(&Selection::Writer(name.to_owned())).expect("settings");
    let online = writer("online-writer");
    assert_eq!((&*online.subscription, &*online.group), ("online", "online"));
    assert_eq!(online.dlq_topic.as_deref(), Some("dead-letters"));
    assert_eq!(loaded.dlq_topic().as_deref(), Some("dead-letters"));
    assert_eq!(online.tuning.parking_topic.as_deref(), Some("parked"));
    let offline = writer("offline-writer");
    assert_eq!(offline.subscription, "projects/other/subscriptions/offline");
    assert_eq!(offline.group, offline.subscription);
    assert_eq!(offline.tuning.parking_topic.as_deref(), Some("projects/other/topics/parked"));
    assert_eq!(writer("metrics-writer").publishes.expect("it publishes").topic, "metrics");
}

#[test]
fn two_spellings_of_a_subscription_are_one() {
    let both = |online: &str, offline: &str| errors(&pubsub(&[(ONLINE, json!(online)), (OFFLINE, json!(offline))]));
    let shared = "writers[1]: `online-writer` and `offline-writer` both read subscription `s`, so each gets a part of \
                  the messages and loses the rest; give each its own";
    for (online, offline) in [("s", "projects/p/subscriptions/s"), ("projects/p/subscriptions/s", "s")] {
        assert_eq!(both(online, offline), [shared]);
    }
    assert_eq!(both("s", "projects/other/subscriptions/s"), Vec::<String>::new());
}

#[test]
fn a_topic_may_be_called_as_a_subscription_and_not_as_another_topic_in_any_spelling() {
    let parked = |topic: &str| errors(&pubsub(&[("/park_after", json!("1h")), ("/parking_topic", json!(topic))]));
    assert_eq!(parked("online"), Vec::<String>::new());
    assert_eq!(errors(&pubsub(&[(DEAD_LETTERS, json!("online"))])), Vec::<String>::new());
    let taken = "parking_topic: `dead-letters` is the topic of dead letters for `online-writer`: what is parked there \
                 would be taken for something else; give it another topic";
    let found = parked("projects/p/topics/dead-letters");
    assert!(found.iter().any(|error| error == taken), "{found:?}");
}
