//! Faults of a real Kafka: killed in mid-run, logs cut short, topics made anew, transactions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chalk_writer::bus::{BrowseFrom, BusError, OnGap, Received, Subscription};
use chalk_writer::message::Outgoing;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::reader::{PATIENCE, drain, number, open, open_as, publish, read, subscribe, unique};

fn servers() -> String {
    std::env::var("CHALK_WRITER_TEST_KAFKA").unwrap_or_else(|_| {
        panic!(
            "CHALK_WRITER_TEST_KAFKA is not set: this test needs a real Kafka; `./dev test` installs and starts one \
             and sets it"
        )
    })
}

fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", servers).create().expect("an admin client")
}

/// Deletes everything before an offset, as retention would.
async fn expire(servers: &str, topic: &str, before: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(before)).expect("an offset");
    let deleted = admin(servers).delete_records(&list, &AdminOptions::new()).await;
    deleted.expect("the records are deleted");
}

#[tokio::test]
async fn expired_messages_are_passed_over_or_end_the_run() {
    let servers = servers();
    let bus = open(&servers, &[]);
    let topic = unique("gap");
    bus.create_topic(&topic, 1).await.expect("made");
    publish(&bus, &topic, 0..100).await;
    let mut subscription = bus.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
    read(&mut subscription, &mut BTreeSet::new(), 100).await;
    subscription.source.close().await.expect("closed");
    publish(&bus, &topic, 100..200).await;
    expire(&servers, &topic, 150).await;

    let mut stops = bus.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
    let error = tokio::time::timeout(PATIENCE, stops.source.next()).await.expect("in time").unwrap_err();
    assert!(matches!(&error, BusError::Gap(text) if text.contains("50 messages")), "{error}");
    stops.source.close().await.expect("closed");

    let mut goes_on = bus.subscribe(subscribe(&topic, false, OnGap::Continue)).await.expect("joined");
    let mut seen = BTreeSet::new();
    read(&mut goes_on, &mut seen, 50).await;
    assert_eq!(seen, (150..200).collect());
    goes_on.source.close().await.expect("closed");
}

#[tokio::test]
async fn messages_that_expire_under_a_stalled_reader_are_noticed() {
    let servers = servers();
    // So small a buffer that most of the topic is still to be fetched when it expires.
    let small = [("queued.min.messages", "10"), ("fetch.message.max.bytes", "20000")];
    let bus = open(&servers, &small);
    let topic = unique("stalled");
    bus.create_topic(&topic, 1).await.expect("made");
    publish(&bus, &topic, 0..60_000).await;
    let mut subscription = bus.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
    assert!(matches!(subscription.source.next().await, Ok(Received::Messages(_))));
    expire(&servers, &topic, 59_990).await;
    let reading = async {
        loop {
            tokio::select! {
                handover = subscription.handovers.recv() => drop(handover),
                received = subscription.source.next() => match received {
                    Ok(Received::Messages(messages)) => {
                        let last = messages.last().expect("never empty");
                        assert!(last.offset < 59_990, "read on beyond the gap");
                        subscription.source.acknowledge(last.delivery);
                    }
                    Ok(_) => {}
                    Err(error) => return error,
                },
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, reading).await.expect("in time");
    assert!(matches!(error, BusError::Gap(_)), "{error}");
    subscription.source.close().await.expect("closed");
}

#[tokio::test]
async fn a_topic_made_anew_ends_the_run() {
    let servers = servers();
    let bus = open(&servers, &[]);
    let topic = unique("anew");
    bus.create_topic(&topic, 1).await.expect("made");
    publish(&bus, &topic, 0..100).await;
    let mut subscription = bus.subscribe(subscribe(&topic, false, OnGap::Continue)).await.expect("joined");
    read(&mut subscription, &mut BTreeSet::new(), 100).await;
    subscription.source.close().await.expect("closed");
    // Kafka forgets the positions together with the topic; a mirrored or restored cluster does not.
    expire(&servers, &topic, 100).await;
    let consumer: rdkafka::consumer::BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &servers)
        .set("group.id", format!("of-{topic}"))
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(500)).expect("an offset");
    rdkafka::consumer::Consumer::commit(&consumer, &list, rdkafka::consumer::CommitMode::Sync).expect("committed");
    drop(list);
    let mut subscription = bus.subscribe(subscribe(&topic, false, OnGap::Continue)).await.expect("joined");
    let error = tokio::time::timeout(PATIENCE, subscription.source.next()).await.expect("in time").unwrap_err();
    assert!(matches!(&error, BusError::Gap(text) if text.contains("made anew")), "{error}");
    subscription.source.close().await.expect("closed");
}

#[tokio::test]
async fn markers_of_transactions_do_not_hold_up_a_drain_or_a_reading() {
    let servers = servers();
    let bus = open(&servers, &[]);
    let topic = unique("markers");
    bus.create_topic(&topic, 2).await.expect("made");
    tokio::task::spawn_blocking({
        let (servers, topic) = (servers.clone(), topic.clone());
        move || transactions(&servers, &topic, &[(0..20, true), (20..40, false)], 2)
    })
    .await
    .expect("published");
    let mut browse = bus.browse(&topic, BrowseFrom::Earliest).await.expect("read");
    let mut read = 0;
    loop {
        let messages = tokio::time::timeout(PATIENCE, browse.next()).await.expect("in time").expect("read");
        if messages.is_empty() {
            break;
        }
        read += messages.len();
    }
    assert_eq!(read, 20);
    assert_eq!(drain(&bus, &topic).await, (0..20).collect());
    // The group's positions are at the very end, behind the last marker.
    assert_eq!(drain(&bus, &topic).await, BTreeSet::new());
}

/// Members come and go while the one that stays is slow, so that much of what it drops with each rebalance is fetched ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_before_markers_of_transactions_is_read_whoever_comes_and_goes() {
    const MESSAGES: usize = 24_000;
    let servers = servers();
    let bus = open(&servers, &[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "200")]);
    let topic = unique("markers-moved");
    bus.create_topic(&topic, 8).await.expect("made");
    tokio::task::spawn_blocking({
        let (servers, topic) = (servers.clone(), topic.clone());
        let of: Vec<_> = (0..MESSAGES as i32).step_by(40).map(|first| (first..first + 40, true)).collect();
        move || transactions(&servers, &topic, &of, 8)
    })
    .await
    .expect("published");
    let mut stays = bus.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
    let mut seen = BTreeSet::new();
    let mut others = BTreeSet::new();
    let coming_and_going = async {
        for _ in 0..6 {
            let mut other = bus.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
            let _ = tokio::time::timeout(Duration::from_secs(4), read_slowly(&mut other, &mut others, MESSAGES)).await;
            other.source.close().await.expect("closed");
        }
    };
    // Slow for as long as somebody comes and goes, and then to the end.
    let reading = async {
        tokio::select! {
            () = read_slowly(&mut stays, &mut seen, MESSAGES) => {}
            () = coming_and_going => {}
        }
    };
    reading.await;
    seen.extend(others);
    read(&mut stays, &mut seen, MESSAGES).await;
    stays.source.close().await.expect("closed");
}

/// Reads and acknowledges, with pauses.
async fn read_slowly(subscription: &mut Subscription, seen: &mut BTreeSet<usize>, wanted: usize) {
    while seen.len() < wanted {
        tokio::select! {
            handover = subscription.handovers.recv() => drop(handover),
            received = subscription.source.next() => {
                if let Received::Messages(messages) = received.expect("no trouble") {
                    seen.extend(messages.iter().map(|message| number(message.body())));
                    subscription.source.acknowledge(messages.last().expect("never empty").delivery);
                    tokio::time::sleep(Duration::from_millis(700)).await;
                }
            }
        }
    }
}

/// Transactions of numbered messages, each spread over partitions, committed or not; each ends in a marker.
fn transactions(servers: &str, topic: &str, of: &[(std::ops::Range<i32>, bool)], partitions: i32) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("transactional.id", topic)
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENCE).expect("ready");
    for (numbers, commits) in of.iter().cloned() {
        producer.begin_transaction().expect("begun");
        for number in numbers {
            let text = number.to_string();
            let record = BaseRecord::<(), String>::to(topic).partition(number % partitions).payload(&text);
            producer.send(record).map_err(|(error, _)| error).expect("queued");
        }
        producer.flush(PATIENCE).expect("sent");
        if commits {
            producer.commit_transaction(PATIENCE).expect("committed");
        } else {
            producer.abort_transaction(PATIENCE).expect("aborted");
        }
    }
}

#[tokio::test]
async fn a_static_member_comes_back_to_its_partitions_without_a_rebalance() {
    let servers = servers();
    let topic = unique("static");
    let member = |name: &'static str| {
        open(&servers, &[("group.instance.id", name), ("session.timeout.ms", "30000"), ("client.id", name)])
    };
    let (one, two) = (member("one"), member("two"));
    one.create_topic(&topic, 4).await.expect("made");
    let mut first = one.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
    let mut second = two.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
    let (before, of_second) = tokio::join!(two_partitions(&mut first), two_partitions(&mut second));
    first.source.close().await.expect("closed");
    let mut first = one.subscribe(subscribe(&topic, false, OnGap::Stop)).await.expect("joined");
    assert_eq!(two_partitions(&mut first).await, before);
    let now: BTreeSet<i32> = second.status.borrow().iter().map(|status| status.partition.number).collect();
    assert_eq!(now, of_second, "the other member kept what it had");
    first.source.close().await.expect("closed");
    second.source.close().await.expect("closed");
}

/// The partitions of a member, once they are two.
async fn two_partitions(subscription: &mut Subscription) -> BTreeSet<i32> {
    let waiting = async {
        loop {
            tokio::select! {
                handover = subscription.handovers.recv() => drop(handover),
                status = subscription.status.wait_for(|status| status.len() == 2) => {
                    return status.expect("it lives").iter().map(|status| status.partition.number).collect();
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it has two partitions")
}

/// A broker of this test's own, because it is killed.
struct Broker {
    folder: PathBuf,
}

impl Broker {
    fn script(command: &str, folder: &Path) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/kafka/kafka.sh");
        let output = Command::new(script).arg(command).arg(folder).output().expect("the script runs");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        Self::script("kill", &self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_is_killed_and_started_again_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker { folder: folder.path().to_owned() };
    let servers = Broker::script("start", &broker.folder);
    let bus = open(&servers, &[]);
    bus.create_topic("killed", 3).await.expect("made");
    let publishing = tokio::spawn({
        let bus = bus.clone();
        async move {
            for round in 0..40 {
                publish(&bus, "killed", round * 100..round * 100 + 100).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let mut subscription = bus.subscribe(subscribe("killed", false, OnGap::Stop)).await.expect("joined");
    let mut seen = BTreeSet::new();
    read(&mut subscription, &mut seen, 500).await;
    Broker::script("kill", &broker.folder);
    let trouble = async {
        loop {
            match subscription.source.next().await {
                Ok(Received::Messages(messages)) => {
                    let last = messages.last().expect("never empty").delivery;
                    seen.extend(messages.iter().map(|m| String::from_utf8_lossy(m.body()).parse::<usize>().unwrap()));
                    subscription.source.acknowledge(last);
                }
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, trouble).await.expect("it is said");
    assert!(matches!(error, BusError::Unavailable(_)), "{error}");
    assert_eq!(Broker::script("start", &broker.folder), servers);
    read(&mut subscription, &mut seen, 4000).await;
    publishing.await.expect("everything was taken");
    subscription.source.close().await.expect("closed");
    assert_eq!(drain(&bus, "killed").await, BTreeSet::new(), "everything was committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_messages_are_broken_is_told_and_the_others_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker { folder: folder.path().to_owned() };
    let servers = Broker::script("start", &broker.folder);
    let bus = open(&servers, &[]);
    bus.create_topic("broken", 2).await.expect("made");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &servers)
        .set("compression.type", "zstd")
        .set("linger.ms", "200")
        .create()
        .expect("a producer");
    for number in 0..200 {
        let text = format!("{number:0100}");
        let record = BaseRecord::<(), String>::to("broken").partition(i32::from(number >= 100)).payload(&text);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(PATIENCE).expect("sent");
    // A disk that returns something else than was written: behind the head of the batch nothing is as it was.
    let log = folder.path().join("data/broken-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).expect("the partition's log");
    bytes[61..].fill(0x55);
    std::fs::write(&log, bytes).expect("broken");

    let mut subscription = bus.subscribe(subscribe("broken", false, OnGap::Stop)).await.expect("joined");
    let mut seen = BTreeSet::new();
    read(&mut subscription, &mut seen, 100).await;
    assert_eq!(seen, (100..200).collect());
    let mut status = subscription.status.clone();
    let told = status.wait_for(|status| status.iter().any(|known| known.held_up.away.is_some()));
    let told = tokio::time::timeout(PATIENCE, told).await.expect("in time").expect("it lives").clone();
    for known in &told {
        let why = known.held_up.away.as_ref().map(|(_, why)| why.as_str());
        assert_eq!(why.is_some(), known.partition.number == 0, "{told:?}");
        assert!(why.is_none_or(|why| why.contains("compress")), "{why:?}");
    }
    assert!(told.iter().all(|known| known.end.is_some() == (known.partition.number == 1)), "{told:?}");
    subscription.source.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_denied_and_tried_on_and_the_right_one_is_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker { folder: folder.path().to_owned() };
    let plain = open(&Broker::script("start", &broker.folder), &[]);
    plain.create_topic("secured", 1).await.expect("made");
    let port = std::fs::read_to_string(broker.folder.join("sasl-port")).expect("the port");
    let servers = format!("127.0.0.1:{}", port.trim());

    let right = open_as(&servers, "right");
    publish(&right, "secured", 0..10).await;
    assert_eq!(drain(&right, "secured").await, (0..10).collect());

    let wrong = open_as(&servers, "wrong");
    let denied = |error: &BusError| matches!(error, BusError::Denied(text) if !text.contains("wrong"));
    let error = wrong.topic("secured").await.unwrap_err();
    assert!(denied(&error), "{error}");
    let mut subscription = wrong.subscribe(subscribe("secured", false, OnGap::Stop)).await.expect("tried on");
    let error = tokio::time::timeout(PATIENCE, subscription.source.next()).await.expect("in time").unwrap_err();
    assert!(denied(&error), "{error}");
    subscription.source.close().await.expect("closed");
    let publisher = wrong.publisher().await.expect("a publisher");
    let message = [Outgoing { topic: "secured".to_owned(), ..Outgoing::default() }];
    let refused = tokio::time::timeout(PATIENCE, publisher.publish(&message)).await.expect("in time");
    let error = BusError::from(refused.unwrap_err());
    assert!(denied(&error), "{error}");
}
