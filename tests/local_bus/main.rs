//! The embedded bus between real processes: made by two at once, killed, stopped and continued.

// A test has no users: `pub` here only means that the other module calls it.
#![allow(unreachable_pub)]

mod limits;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{BrowseFrom, Bus, Handover, Hold, OnGap, Received, Subscribe, Subscription};
use chalk_writer::message::{Delivery, Message, Outgoing};
use nix::sys::signal::Signal;
use process::Process;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);
const SESSION: Duration = Duration::from_millis(1500);
const PARTITIONS: u32 = 3;

fn bus(path: &Path) -> LocalBus {
    LocalBus::new(path.to_owned(), Options { session_timeout: SESSION, ..Options::default() })
}

async fn join(path: &Path, group: &str) -> Subscription {
    let subscribe = Subscribe {
        topic: "t".to_owned(),
        group: group.to_owned(),
        drain: false,
        fetch_bytes: 1 << 20,
        hold: Hold { bytes: 3 << 20, messages: 1_000 },
        on_gap: OnGap::Stop,
        transactional: false,
    };
    bus(path).subscribe(subscribe).await.expect("joined")
}

fn numbered(number: usize) -> Outgoing {
    Outgoing {
        topic: "t".to_owned(),
        partition: Some((number % PARTITIONS as usize) as i32),
        payload: Some(Bytes::from(number.to_string())),
        ..Outgoing::default()
    }
}

async fn publish(path: &Path, numbers: std::ops::Range<usize>) {
    let publisher = bus(path).publisher().await.expect("a publisher");
    publisher.publish(&numbers.map(numbered).collect::<Vec<_>>()).await.expect("published");
}

async fn browse(path: &Path, from: BrowseFrom) -> Vec<Message> {
    let mut browse = bus(path).browse("t", from).await.expect("there");
    let mut all = Vec::new();
    loop {
        let messages = browse.next().await.expect("read");
        if messages.is_empty() {
            return all;
        }
        all.extend(messages);
    }
}

fn release(handovers: &mut mpsc::Receiver<Handover>) {
    while let Ok(handover) = handovers.try_recv() {
        drop(handover);
    }
}

/// Reads, letting go what is asked for, until so many messages are there.
async fn read(subscription: &mut Subscription, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    let reading = async {
        while all.len() < count {
            release(&mut subscription.handovers);
            let next = tokio::time::timeout(Duration::from_millis(100), subscription.source.next()).await;
            match next {
                Ok(Ok(Received::Messages(messages))) => all.extend(messages),
                Ok(Err(error)) => panic!("{error}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("not {count} messages in time"));
    all
}

fn body(message: &Message) -> usize {
    std::str::from_utf8(message.body()).expect("text").parse().expect("a number")
}

/// What the other processes run; see [`process`]. On its own it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_process() {
    let Some((role, path)) = process::role() else { return };
    match role.as_str() {
        "maker" => {
            bus(&path).create_topic("t", PARTITIONS).await.expect("made");
            publish(&path, 0..30).await;
        }
        "publisher" => {
            let publisher = bus(&path).publisher().await.expect("a publisher");
            for round in 0.. {
                let numbers = round * 50..round * 50 + 50;
                publisher.publish(&numbers.map(numbered).collect::<Vec<_>>()).await.expect("published");
                process::say(&format!("published {}", round * 50 + 50));
            }
        }
        // Acknowledges all but the last fifty that it has, and says both.
        "reader" => {
            let mut subscription = join(&path, "g").await;
            let mut all: Vec<Message> = Vec::new();
            while let Received::Messages(messages) = subscription.source.next().await.expect("read") {
                all.extend(messages);
                if let Some(done) = all.len().checked_sub(50).filter(|done| *done > 0) {
                    for message in &all[..done] {
                        process::say(&format!("done {}", body(message)));
                    }
                    subscription.source.acknowledge(all[done - 1].delivery);
                    all.drain(..done);
                }
                // Small steps, so that the kill hits in the middle.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        // Reads everything and acknowledges it only when told to.
        "sleeper" => {
            let mut subscription = join(&path, "g").await;
            let messages = read(&mut subscription, 300).await;
            process::say("read");
            process::hear().await;
            subscription.source.acknowledge(messages[299].delivery);
            release(&mut subscription.handovers);
            subscription.source.close().await.expect("closed");
            process::say("closed");
        }
        other => panic!("no role {other}"),
    }
}

#[tokio::test]
async fn two_processes_may_make_the_file_at_the_same_time() {
    for round in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bus.sqlite");
        let mut makers = [Process::start("maker", &path), Process::start("maker", &path)];
        for maker in &mut makers {
            assert!(maker.wait().success(), "round {round}: {}", maker.said());
        }
        let info = bus(&path).topic("t").await.expect("there");
        assert_eq!((info.partitions, info.messages), (PARTITIONS, Some(60)));
        let mut per_partition: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for message in browse(&path, BrowseFrom::Earliest).await {
            per_partition.entry(message.partition.number).or_default().push(message.offset);
        }
        assert!(per_partition.values().all(|offsets| *offsets == (0..20).collect::<Vec<_>>()));
    }
}

#[tokio::test]
async fn what_a_killed_publisher_was_told_to_be_published_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bus.sqlite");
    bus(&path).create_topic("t", PARTITIONS).await.expect("made");
    let mut publisher = Process::start("publisher", &path);
    publisher.until(|said| said.lines().count() >= 20).await;
    publisher.signal(Signal::SIGKILL);
    publisher.wait();
    let told: usize =
        publisher.said().lines().filter_map(|line| line.strip_prefix("published ")?.parse().ok()).max().expect("some");
    let there: BTreeSet<usize> = browse(&path, BrowseFrom::Earliest).await.iter().map(body).collect();
    assert!(there.is_superset(&(0..told).collect()), "{told} were told, {} are there", there.len());
    assert_eq!(there.len() % 50, 0, "a transaction is whole or not there");
    publish(&path, 0..3).await;
}

#[tokio::test]
async fn a_member_killed_in_mid_batch_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bus.sqlite");
    bus(&path).create_topic("t", PARTITIONS).await.expect("made");
    publish(&path, 0..20_000).await;
    let mut reader = Process::start("reader", &path);
    reader.until(|said| said.lines().count() >= 3000).await;
    reader.signal(Signal::SIGKILL);
    reader.wait();
    let done: BTreeSet<usize> =
        reader.said().lines().filter_map(|line| line.strip_prefix("done ")?.parse().ok()).collect();
    let left = browse(&path, BrowseFrom::Group("g".to_owned())).await.len();
    assert!(left > 0 && left < 20_000, "{left} are left: the kill came in the middle");
    let mut subscription = join(&path, "g").await;
    let messages = read(&mut subscription, left).await;
    subscription.source.close().await.expect("closed");
    let again: BTreeSet<usize> = messages.iter().map(body).collect();
    assert_eq!(again.len(), left);
    let lost = (0..20_000).filter(|number| !done.contains(number) && !again.contains(number)).count();
    assert_eq!(lost, 0);
}

#[tokio::test]
async fn a_process_that_was_stopped_cannot_commit_for_what_it_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bus.sqlite");
    bus(&path).create_topic("t", PARTITIONS).await.expect("made");
    publish(&path, 0..300).await;
    let mut sleeper = Process::start("sleeper", &path);
    sleeper.until(|said| said.contains("read")).await;
    sleeper.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let mut subscription = join(&path, "g").await;
    let messages = read(&mut subscription, 300).await;
    assert!(stopped.elapsed() >= SESSION / 2, "the lease had to run out first");
    sleeper.signal(Signal::SIGCONT);
    sleeper.tell();
    // It comes back as a member and asks for its share; we let it have it, so that it can leave again.
    let waiting = async {
        while !sleeper.said().contains("closed") {
            release(&mut subscription.handovers);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it goes on and closes");
    let left = browse(&path, BrowseFrom::Group("g".to_owned())).await.len();
    assert_eq!(left, 300, "what the stopped process acknowledged late moved the group");
    assert!(sleeper.wait().success(), "{}", sleeper.said());
    // Whoever has it now can.
    let messages = match read_again(&mut subscription).await {
        Some(last) => last,
        None => messages[299].delivery,
    };
    subscription.source.acknowledge(messages);
    subscription.source.close().await.expect("closed");
    assert_eq!(browse(&path, BrowseFrom::Group("g".to_owned())).await.len(), 0);
}

/// Reads what comes again after the stopped process left, until everything is read.
async fn read_again(subscription: &mut Subscription) -> Option<Delivery> {
    let mut last = None;
    let reading = async {
        loop {
            release(&mut subscription.handovers);
            let whole = subscription.status.borrow().len() == PARTITIONS as usize;
            match tokio::time::timeout(Duration::from_millis(300), subscription.source.next()).await {
                Ok(Ok(Received::Messages(messages))) => last = messages.last().map(|message| message.delivery),
                Ok(Err(error)) => panic!("{error}"),
                Err(_) if whole => return,
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("all partitions come back");
    last
}
