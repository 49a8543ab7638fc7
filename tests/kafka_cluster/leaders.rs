//! Brokers of which each has what no other has: whoever reads from one that is away says so, and reads on from the others.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer as _};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::member::{DRAIN, Member, Plant};

/// Each partition on one broker: 0 on the first, 1 on the second, 2 on the third.
async fn plant(cluster: &Cluster, name: &str) -> Plant {
    let plant = Plant::new(cluster, name);
    let kafka = json!({"ssl.ca.location": cluster.authority()});
    plant.write("SCRAM-SHA-512", &kafka, &json!({"username": "writer", "password": "right"}));
    plant.run(&["publish", "--topic", "dead-letters", "--partitions", "2", "--generate", "0"]);
    cluster.topic(name, &[1, 2, 3]).await;
    plant
}

/// Values of a metric of one partition.
fn gauge(member: &Member, metric: &str, partition: i32) -> Option<f64> {
    let text = member.ask("/metrics")?;
    let label = format!("partition=\"{partition}\"}} ");
    let line = text.lines().find(|line| line.starts_with(&format!("{metric}{{")) && line.contains(&label))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn count(said: &str, words: &str) -> usize {
    said.lines().filter(|line| line.contains(words)).count()
}

// Seen to fail before: the lag was 0, and a member that joined read nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_leader_is_away_is_told_and_the_others_are_read_on() {
    let cluster = Cluster::start();
    let plant = plant(&cluster, "led").await;
    let first = Member::listening(&plant, "first");
    for partition in 0..3 {
        plant.send(&cluster, partition);
    }
    plant.has_stored(3).await;
    first
        .until("nothing is behind", |member| {
            (0..3).all(|number| member.partition(number).is_some_and(|one| one["lag_messages"] == 0))
        })
        .await;

    cluster.kill(2);
    first.until("it says so", |member| member.partition(1).is_some_and(|one| one["away"].is_string())).await;
    let told = first.partition(1).unwrap();
    assert_eq!((&told["lag_messages"], &told["lag_seconds"]), (&Value::Null, &Value::Null), "{told}");
    assert_eq!(gauge(&first, "chalk_writer_lag_messages", 1), None);
    assert!(gauge(&first, "chalk_writer_partition_away_seconds", 1) > Some(0.));
    assert_eq!(gauge(&first, "chalk_writer_partition_away_seconds", 0), Some(0.));
    plant.send(&cluster, 0);
    plant.send(&cluster, 2);
    plant.has_stored(5).await;
    first
        .until("it is not ready", |member| member.ask("/readyz").is_some_and(|why| why.contains("partition led/1: ")))
        .await;
    let found = plant.tried(&["doctor", "--type", "USAGE_BUS_WRITER"]).unwrap_err();
    assert!(found.contains("partition 1 cannot be read"), "{found}");

    // One that starts now waits for that partition alone.
    let said = first.stop();
    assert_eq!(count(&said, "partition led/1: cannot be read"), 1, "{said}");
    let second = Member::listening(&plant, "second");
    plant.send(&cluster, 0);
    plant.send(&cluster, 2);
    plant.has_stored(7).await;
    second.until("it says so as well", |member| member.partition(1).is_some_and(|one| one["away"].is_string())).await;
    second.until("and in its log", |member| member.said().contains("partition led/1: cannot be read")).await;

    cluster.again(2);
    plant.send(&cluster, 1);
    plant.has_stored(8).await;
    second.until("it is ready again", |member| member.ask("/readyz").as_deref() == Some("ok\n")).await;
    second.until("nothing is behind", |member| member.partition(1).is_some_and(|one| one["lag_messages"] == 0)).await;
    let said = second.stop();
    assert_eq!((count(&said, "cannot be read"), count(&said, "read again: partition led/1")), (1, 1), "{said}");
    let said = plant.run(&DRAIN);
    assert!(crate::acknowledged(&said, 0), "what was stored is committed: {said}");
}

// Seen to fail before: what lies behind an open transaction was nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_ends_is_told_with_what_it_holds_back() {
    let cluster = Cluster::start();
    let plant = plant(&cluster, "held-back").await;
    let producer: BaseProducer = cluster.client().set("transactional.id", "hangs").create().unwrap();
    producer.init_transactions(Duration::from_secs(60)).unwrap();
    plant.send(&cluster, 0);
    producer.begin_transaction().unwrap();
    plant.enqueue(&producer, 0);
    producer.flush(Duration::from_secs(60)).unwrap();
    plant.send(&cluster, 0);
    plant.send(&cluster, 1);
    let member = Member::listening(&plant, "member");
    plant.has_stored(2).await;
    // What lies behind its beginning nobody may read, and is not counted as behind.
    let held_back = |one: Value| one["open_transaction_messages"] == 2 && one["lag_messages"] == 0;
    member.until("it says so", |member| member.partition(0).is_some_and(held_back)).await;
    assert_eq!(gauge(&member, "chalk_writer_open_transaction_messages", 0), Some(2.));
    assert!(gauge(&member, "chalk_writer_open_transaction_seconds", 0) > Some(0.));
    assert_eq!(gauge(&member, "chalk_writer_open_transaction_messages", 1), Some(0.));
    let found = plant.run(&["doctor", "--type", "USAGE_BUS_WRITER"]);
    assert!(found.contains("partition 0: a transaction is open that began"), "{found}");
    producer.commit_transaction(Duration::from_secs(60)).unwrap();
    plant.has_stored(4).await;
    member
        .until("it is over", |member| member.partition(0).is_some_and(|one| one["open_transaction_messages"] == 0))
        .await;
    member.stop();
}
