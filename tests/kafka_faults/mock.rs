//! Faults of a cluster that can be told to err.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chalk_writer::bus::{BusError, OnGap, Received};
use chalk_writer::message::Outgoing;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
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
    // Faults that nobody met yet may meet the last commit, which has a bound: then that is told, and what
    // was not committed is read again.
    let closed = subscription.source.close().await;
    assert!(matches!(closed, Ok(()) | Err(BusError::Unavailable(_))), "{closed:?}");
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
                // The stall is what is tried here: longer than the two seconds after which nothing more is fetched.
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

#[tokio::test]
async fn a_partition_that_went_while_there_was_no_room_is_read_again_when_it_comes_back() {
    let cluster = cluster("full", 4);
    let bus = open(&cluster.bootstrap_servers(), QUICK);
    publish(&bus, "full", 0..20_000).await;
    let mut first = bus.subscribe(subscribe("full", false, OnGap::Stop)).await.expect("joined");
    let Ok(Received::Messages(_)) = first.source.next().await else { panic!("messages come first") };
    // Longer than the two seconds after which it counts as full.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut other = bus.subscribe(subscribe("full", false, OnGap::Stop)).await.expect("joined");
    let sharing = async {
        tokio::select! {
            status = other.status.wait_for(|status| status.len() == 2) => drop(status.expect("it lives")),
            () = async { while first.handovers.recv().await.is_some() {} } => {}
        }
    };
    tokio::time::timeout(PATIENCE, sharing).await.expect("the other gets its share");
    // Makes room, so that what is left to the first is read on.
    let reading = async { while !matches!(first.source.next().await, Ok(Received::CaughtUp)) {} };
    tokio::time::timeout(PATIENCE, reading).await.expect("its own partitions are read to their ends");
    other.source.close().await.expect("closed");
    // Nothing was acknowledged: what the other had comes from its beginning.
    let mut offsets = [0; 4];
    let reading = async {
        while offsets.iter().filter(|read| **read > 0).count() < 2 {
            match first.source.next().await {
                Ok(Received::Messages(messages)) => {
                    for message in &messages {
                        offsets[message.partition.number as usize] += 1;
                    }
                }
                Ok(_) => {}
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("what came back is read");
    first.source.close().await.expect("closed");
}

/// librdkafka takes up each partition anew after a rebalance, at the position that it remembers.
#[tokio::test]
async fn what_comes_to_a_partition_that_was_read_to_its_end_is_read_after_every_rebalance() {
    const PARTITIONS: i64 = 6;
    let cluster = cluster("idle", PARTITIONS as i32);
    let bus = open(&cluster.bootstrap_servers(), QUICK);
    let mut first = bus.subscribe(subscribe("idle", false, OnGap::Stop)).await.expect("joined");
    let mut seen = BTreeSet::new();
    let mut published = 0;
    let at_ends = async { while !matches!(first.source.next().await, Ok(Received::CaughtUp)) {} };
    tokio::time::timeout(PATIENCE, at_ends).await.expect("the ends are reached");
    for round in 0..4 {
        // All ends were reached, and one more member comes and goes.
        let mut other = bus.subscribe(subscribe("idle", false, OnGap::Stop)).await.expect("joined");
        let sharing = async {
            tokio::select! {
                status = other.status.wait_for(|status| status.len() == 3) => drop(status.expect("it lives")),
                () = async { while first.handovers.recv().await.is_some() {} } => {}
            }
        };
        tokio::time::timeout(PATIENCE, sharing).await.expect("the other gets its share");
        other.source.close().await.expect("closed");
        // While partitions come back, and nothing was read since.
        publish(&bus, "idle", published..published + PARTITIONS as usize * 10).await;
        published += PARTITIONS as usize * 10;
        tokio::time::timeout(PATIENCE, async {
            while seen.len() < published {
                match first.source.next().await.expect("the client is never made anew") {
                    Received::Messages(messages) => {
                        for message in &messages {
                            seen.insert((message.partition.number, message.offset));
                        }
                        first.source.acknowledge(messages.last().expect("there is one").delivery);
                    }
                    Received::CaughtUp | Received::End => {}
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("round {round}: {} of {published} were read: {seen:?}", seen.len()));
    }
    first.source.close().await.expect("closed");
}

/// Where this is set, the test below is the process that it starts.
const INNER: &str = "CHALK_WRITER_TEST_INNER";

/// In a process of its own, which has the hook that ends it on a panic.
#[tokio::test]
async fn a_header_whose_name_is_not_utf_8_is_left_out_and_its_message_comes() {
    if std::env::var_os(INNER).is_none() {
        let name = "mock::a_header_whose_name_is_not_utf_8_is_left_out_and_its_message_comes";
        let mut inner = std::process::Command::new(std::env::current_exe().expect("this test"));
        let output = inner.args(["--exact", name]).env(INNER, "1").output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    chalk_writer::telemetry::logs::end_on_panic();
    let cluster = cluster("headers", 1);
    let servers = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().expect("a producer");
    // Other clients send such names; this one takes text only, and copies its bytes.
    #[allow(unsafe_code)]
    let name = unsafe { String::from_utf8_unchecked(b"bad\xff".to_vec()) };
    let headers = OwnedHeaders::new()
        .insert(Header { key: "first", value: Some("1") })
        .insert(Header { key: &name, value: Some("2") })
        .insert(Header { key: "last", value: Some("3") });
    let record = BaseRecord::<str, str>::to("headers").payload("body").headers(headers);
    producer.send(record).map_err(|(error, _)| error).expect("queued");
    producer.flush(PATIENCE).expect("sent");
    let bus = open(&servers, QUICK);
    let mut subscription = bus.subscribe(subscribe("headers", false, OnGap::Stop)).await.expect("joined");
    let reading = async {
        loop {
            if let Ok(Received::Messages(messages)) = subscription.source.next().await {
                return messages;
            }
        }
    };
    let messages = tokio::time::timeout(PATIENCE, reading).await.expect("it comes");
    assert_eq!(messages[0].body(), b"body");
    let names: Vec<&str> = messages[0].headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["first", "last"]);
    subscription.source.close().await.expect("closed");
}

#[tokio::test]
async fn a_message_larger_than_the_queue_is_too_large_at_once() {
    let cluster = cluster("large", 1);
    let bus = open(&cluster.bootstrap_servers(), &[("queue.buffering.max.kbytes", "64")]);
    let publisher = bus.publisher().await.expect("a publisher");
    let message =
        Outgoing { topic: "large".to_owned(), payload: Some(vec![b'x'; 65 << 10].into()), ..Outgoing::default() };
    let sent = tokio::time::timeout(PATIENCE, publisher.publish(&[message])).await.expect("it is said");
    let error = BusError::from(sent.expect_err("it is"));
    assert!(matches!(&error, BusError::TooLarge(text) if text.contains("queue.buffering.max.kbytes")), "{error:?}");
}
