//! Faults of a cluster that can be told to err.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chalk_writer::bus::{BusError, OnGap, Received};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

use crate::reader::{PATIENCE, drain, open, publish, read, subscribe};

/// The mock's groups wait for a session's length at every rebalance.
const QUICK: &[(&str, &str)] = &[("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "500")];

fn cluster(topic: &str, partitions: i32) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(3).expect("a mock cluster");
    cluster.create_topic(topic, partitions, 1).expect("the topic is made");
    cluster
}

#[tokio::test]
async fn requests_that_fail_lose_nothing() {
    let cluster = cluster("errors", 4);
    let bus = open(&cluster.bootstrap_servers(), QUICK);
    let mut subscription = bus.subscribe(subscribe("errors", false, OnGap::Stop)).await.expect("joined");
    let mut seen = BTreeSet::new();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 1..=12 {
        let faults = [
            (Api::Fetch, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
            (Api::Fetch, Code::RD_KAFKA_RESP_ERR__TRANSPORT),
            (Api::Produce, Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS),
            (Api::OffsetCommit, Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
            (Api::OffsetCommit, Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
            (Api::OffsetFetch, Code::RD_KAFKA_RESP_ERR__TRANSPORT),
            (Api::JoinGroup, Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE),
            (Api::Heartbeat, Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS),
            (Api::ListOffsets, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        ];
        for _ in 0..3 {
            let (request, code) = faults[random.usize(..faults.len())];
            cluster.request_errors(request, &[code]);
        }
        let wanted = round * 500;
        publish(&bus, "errors", wanted - 500..wanted).await;
        read(&mut subscription, &mut seen, wanted).await;
    }
    subscription.source.close().await.expect("closed");
    // A drain that finds nothing left, or reads it again, and comes to its end.
    let again = drain(&bus, "errors").await;
    assert!(again.is_subset(&seen));
    assert_eq!(seen, (0..6000).collect());
}

#[tokio::test]
async fn a_reader_that_stalls_longer_than_patience_gets_everything_in_order() {
    let cluster = cluster("stall", 1);
    let bus = open(&cluster.bootstrap_servers(), QUICK);
    publish(&bus, "stall", 0..20_000).await;
    let mut subscription = bus.subscribe(subscribe("stall", false, OnGap::Stop)).await.expect("joined");
    let mut offsets = Vec::new();
    let reading = async {
        while offsets.len() < 20_000 {
            let Received::Messages(messages) = subscription.source.next().await.expect("no error") else { continue };
            let first = offsets.is_empty();
            offsets.extend(messages.iter().map(|message| message.offset));
            if first {
                // The stall is what is tried here: longer than the two seconds after which partitions are paused.
                tokio::time::sleep(Duration::from_secs(4)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("everything comes");
    assert_eq!(offsets, (0..20_000).collect::<Vec<_>>());
    subscription.source.close().await.expect("closed");
}

#[tokio::test]
async fn a_member_whose_handovers_nobody_takes_still_lets_go() {
    let cluster = cluster("deaf", 4);
    let bus = open(&cluster.bootstrap_servers(), QUICK);
    publish(&bus, "deaf", 0..100).await;
    let mut deaf = bus.subscribe(subscribe("deaf", false, OnGap::Stop)).await.expect("joined");
    let (_, closed) = tokio::sync::mpsc::channel(1);
    drop(std::mem::replace(&mut deaf.handovers, closed));
    while !matches!(deaf.source.next().await, Ok(Received::Messages(_))) {}
    let mut other = bus.subscribe(subscribe("deaf", false, OnGap::Stop)).await.expect("joined");
    let assigned = other.status.wait_for(|status| status.len() == 2);
    tokio::time::timeout(PATIENCE, assigned).await.expect("it gets its share").expect("it lives");
    deaf.source.close().await.expect("closed");
    other.source.close().await.expect("closed");
}

#[tokio::test]
async fn a_wrong_address_is_said_once_and_closing_is_quick() {
    let bus = open("127.0.0.1:1", &[]);
    let mut subscription = bus.subscribe(subscribe("any", false, OnGap::Stop)).await.expect("tried on in the back");
    let error = tokio::time::timeout(PATIENCE, subscription.source.next()).await.expect("in time").unwrap_err();
    assert!(matches!(&error, BusError::Unavailable(text) if text.contains("127.0.0.1:1")), "{error}");
    let more = tokio::time::timeout(Duration::from_secs(3), subscription.source.next()).await;
    assert!(more.is_err(), "the same trouble is not said again: {more:?}");
    let start = Instant::now();
    subscription.source.close().await.expect("nothing was left to commit");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let error = bus.topic("any").await.unwrap_err();
    assert!(matches!(&error, BusError::Unavailable(text) if text.contains("127.0.0.1:1")), "{error}");
}

#[tokio::test]
async fn brokers_that_went_and_came_back_are_read_on() {
    let cluster = cluster("away", 3);
    let bus = open(&cluster.bootstrap_servers(), QUICK);
    publish(&bus, "away", 0..300).await;
    let mut subscription = bus.subscribe(subscribe("away", false, OnGap::Stop)).await.expect("joined");
    let mut seen = BTreeSet::new();
    read(&mut subscription, &mut seen, 300).await;
    cluster.broker_down(-1).expect("down");
    let trouble = async {
        loop {
            if let Err(error) = subscription.source.next().await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, trouble).await.expect("it is said");
    assert!(matches!(error, BusError::Unavailable(_)), "{error}");
    cluster.broker_up(-1).expect("up");
    publish(&bus, "away", 300..600).await;
    read(&mut subscription, &mut seen, 600).await;
    subscription.source.close().await.expect("closed");
}
