//! Pipelines that publish in transactions, killed and stopped in the middle of them: what a reader of the
//! topic counts, on the real buses.
//!
//! Each process is this test's own program once more, told by its environment what to be. Seen to fail when
//! positions were committed by the consumer, beside the transaction and not in it: what was cut was lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "modules of one test")]

mod process;
mod role;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalk_writer::bus::{BrowseFrom, Bus};
use chalk_writer::message::Outgoing;
use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use process::Process;
use role::Place;

const PARTITIONS: u32 = 4;
/// Published before each process starts: more than it makes batches of before it is killed.
const MESSAGES: usize = 500;
/// The longest that one wait may take: a transaction that nobody ends, and some more.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the other processes do, where this environment asks for it.
#[test]
fn other_process() {
    role::play();
}

fn kafka() -> String {
    std::env::var("CHALK_WRITER_TEST_KAFKA").unwrap_or_else(|_| {
        panic!(
            "CHALK_WRITER_TEST_KAFKA is not set: this test needs a real Kafka; `./dev test` installs and starts one \
             and sets it"
        )
    })
}

/// Topics of its own.
async fn made(bus: &Arc<dyn Bus>, at: &str) -> Place {
    let name = |hint: &str| format!("{hint}-{}", uuid::Uuid::new_v4().simple());
    let place = Place { bus: at.to_owned(), from: name("numbers"), to: name("counted"), dlq: name("letters") };
    bus.create_topic(&place.from, PARTITIONS).await.unwrap();
    bus.create_topic(&place.to, 1).await.unwrap();
    bus.create_topic(&place.dlq, 1).await.unwrap();
    place
}

/// Numbers of which every hundredth cannot be read; returns how many there are with those before.
async fn filled(bus: &Arc<dyn Bus>, place: &Place, before: usize) -> usize {
    let numbers = before..before + MESSAGES;
    let message = |number: usize| Outgoing {
        topic: place.from.clone(),
        partition: Some((number % PARTITIONS as usize) as i32),
        payload: Some(Bytes::from(if number % 100 == 99 { format!("bad {number}") } else { number.to_string() })),
        ..Outgoing::default()
    };
    let publisher = bus.publisher().await.unwrap();
    publisher.publish(&numbers.clone().map(message).collect::<Vec<_>>()).await.unwrap();
    numbers.end
}

/// How often each number is in a topic, for who reads what was committed.
async fn counted(bus: &Arc<dyn Bus>, topic: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut browse = bus.browse(topic, BrowseFrom::Earliest).await.unwrap();
    loop {
        let messages = browse.next().await.unwrap();
        if messages.is_empty() {
            return counts;
        }
        for message in messages {
            for number in String::from_utf8(message.body().to_vec()).unwrap().split(',') {
                *counts.entry(number.to_owned()).or_default() += 1;
            }
        }
    }
}

/// Waits until the group has committed everything.
async fn until_done(bus: &Arc<dyn Bus>, place: &Place) {
    let done = async {
        loop {
            // While a transaction is open its positions are not told.
            if let Ok(positions) = bus.positions(&place.from, role::GROUP).await
                && positions.iter().all(|position| position.committed == Some(position.end))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("all is committed in time");
}

/// Every number once, and what cannot be read in the dead letter topic, before it was passed over.
async fn check(bus: &Arc<dyn Bus>, place: &Place, total: usize) {
    let counts = counted(bus, &place.to).await;
    let wrong: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).take(5).collect();
    assert!(wrong.is_empty(), "counted more than once: {wrong:?}");
    let expected: BTreeSet<String> = (0..total).filter(|number| number % 100 != 99).map(|n| n.to_string()).collect();
    let missing: Vec<_> = expected.iter().filter(|number| !counts.contains_key(*number)).take(5).collect();
    assert!(missing.is_empty(), "not counted: {missing:?}");
    assert_eq!(counts.len(), expected.len());
    let buried: BTreeSet<String> = counted(bus, &place.dlq).await.into_keys().collect();
    assert_eq!(buried, (0..total).filter(|number| number % 100 == 99).map(|n| format!("bad {n}")).collect());
}

/// A process that is killed soon after it has made a batch's messages.
async fn killed(place: &Place) {
    let process = Process::start(place);
    process.emits(fastrand::usize(2..8)).await;
    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..20_000))).await;
    process.signal(Signal::SIGKILL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_embedded_bus_counts_once_what_killed_processes_publish() {
    let folder = tempfile::TempDir::new().unwrap();
    let at = format!("local:{}", folder.path().join("bus.sqlite").display());
    let bus = role::open(&at);
    let place = made(&bus, &at).await;
    let mut total = 0;
    for _ in 0..5 {
        total = filled(&bus, &place, total).await;
        killed(&place).await;
    }
    let last = Process::start(&place);
    until_done(&bus, &place).await;
    drop(last);
    check(&bus, &place, total).await;
}

/// Bodies in a topic for who reads also what was not committed.
fn uncommitted(servers: &str, topic: &str) -> usize {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "reads-all")
        .set("isolation.level", "read_uncommitted")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut count = 0;
    loop {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(message)) => count += usize::from(message.payload().is_some()),
            Some(Err(KafkaError::PartitionEOF(_))) => return count,
            other => panic!("the topic can be read, but {other:?}"),
        }
    }
}

/// Waits until no transaction is open any more: until then its messages and all behind them are held back from
/// who reads what was committed.
async fn until_settled(bus: &Arc<dyn Bus>, servers: &str, topic: &str) {
    let asks: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("isolation.level", "read_uncommitted")
        .create()
        .unwrap();
    let settled = async {
        loop {
            let visible = bus.positions(topic, "reads").await.unwrap()[0].end;
            if asks.fetch_watermarks(topic, 0, Duration::from_secs(10)).unwrap().1 == visible {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("the broker ends what was left open");
}

/// Messages that a committed reader sees.
async fn committed(bus: &Arc<dyn Bus>, topic: &str) -> usize {
    let mut browse = bus.browse(topic, BrowseFrom::Earliest).await.unwrap();
    let mut count = 0;
    loop {
        match browse.next().await.unwrap().len() {
            0 => return count,
            more => count += more,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_kafka_counts_once_what_killed_processes_publish() {
    let servers = kafka();
    let at = format!("kafka:{servers}");
    let bus = role::open(&at);
    let place = made(&bus, &at).await;
    let mut total = 0;
    // Until one was killed after its messages had come and before they were committed.
    let mut rounds = 0;
    let mut cut = 0;
    let mut between = 0;
    while between == 0 {
        rounds += 1;
        assert!(rounds <= 30, "no process of {rounds} was killed between publishing and committing");
        total = filled(&bus, &place, total).await;
        killed(&place).await;
        // Nobody is left to commit what was open.
        until_settled(&bus, &servers, &place.to).await;
        let now = uncommitted(&servers, &place.to) - committed(&bus, &place.to).await;
        between += usize::from(now > cut);
        cut = now;
    }
    let last = Process::start(&place);
    until_done(&bus, &place).await;
    drop(last);
    until_settled(&bus, &servers, &place.to).await;
    check(&bus, &place, total).await;
    println!("{rounds} processes were killed, {between} of them between publishing and committing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_in_a_transaction_and_goes_on_counts_nothing_twice() {
    let servers = kafka();
    let at = format!("kafka:{servers}");
    let bus = role::open(&at);
    let place = made(&bus, &at).await;
    let total = filled(&bus, &place, 0).await;
    let stopped = Process::start(&place);
    stopped.emits(3).await;
    stopped.signal(Signal::SIGSTOP);
    // Another takes over once its session and its transaction have run out.
    let total = filled(&bus, &place, total).await;
    let other = Process::start(&place);
    other.emits(5).await;
    stopped.signal(Signal::SIGCONT);
    until_done(&bus, &place).await;
    drop((stopped, other));
    until_settled(&bus, &servers, &place.to).await;
    check(&bus, &place, total).await;
}
