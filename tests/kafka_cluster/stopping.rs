//! A writer that is to stop while no broker answers any more.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::acknowledged;
use crate::cluster::Cluster;
use crate::member::{DRAIN, Member, Plant};

/// What everything after SIGTERM shares here, and what Kubernetes would wait for by default.
const WITHIN: Duration = Duration::from_secs(10);
const KILLED_AFTER: Duration = Duration::from_secs(30);

// Seen to fail before: leaving alone took 20 seconds, whatever had gone by, and nothing said what was left.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_fall_silent_in_a_drain_do_not_keep_a_writer_from_ending_in_time() {
    let cluster = Cluster::start();
    let plant = Plant::new(&cluster, "stopped");
    let kafka = json!({"ssl.ca.location": cluster.authority()});
    let settings = [("drain_timeout", json!("10s")), ("batch", json!({"max_age": "1h"}))];
    plant.write_and(&kafka, &settings);
    for topic in ["dead-letters", "stopped"] {
        plant.run(&["publish", "--topic", topic, "--partitions", "3", "--generate", "0"]);
    }
    // Its tables are there.
    plant.publish(10).unwrap();
    assert!(acknowledged(&plant.run(&DRAIN), 10));

    let member = Member::listening(&plant, "member");
    plant.publish(90).unwrap();
    member
        .until("all of it is at hand", |member| {
            member.ask("/status.json").is_some_and(|status| status.contains(r#""in_hand":90,"#))
        })
        .await;
    let locked = plant.lock_store();
    let asked = Instant::now();
    member.terminate();
    member
        .until("it writes what is at hand", |member| member.said().contains("stopping: writing what is at hand"))
        .await;
    for broker in 1..=3 {
        cluster.freeze(broker);
    }
    drop(locked);
    let (code, said) = member.ended().await;
    let took = asked.elapsed();
    for broker in 1..=3 {
        cluster.thaw(broker);
    }
    println!("it took {took:?} of {WITHIN:?}");
    assert!(took < KILLED_AFTER, "{took:?}");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("up to 90 messages of") && said.contains("delivered again"), "{said}");
    assert_eq!(plant.rows(), 100, "what was at hand is written");
    // What they were sent before they stood still they may take when they go on: then nothing is read again.
    plant.run(&DRAIN);
    assert!(acknowledged(&plant.run(&DRAIN), 0), "all of it is committed");
    assert_eq!(plant.rows(), 100, "and are there once");
}
