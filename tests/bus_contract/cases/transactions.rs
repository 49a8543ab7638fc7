//! Transactions: messages and positions, both or neither, and only for who has the partitions.
//!
//! Seen to fail when: owner and generation were not looked at (LOCAL) or the ledger was not asked (Kafka); what has
//! landed was published again; positions were left out of the transaction, or followed acknowledgements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::bus::{BrowseFrom, BusError, Committed, Received, Subscription};
use chalk_writer::message::{Message, Outgoing, Partition};
use tokio::sync::oneshot;

use crate::harness::{Capability, Harness};
use crate::member::{Behaviour, Member, body, browse, consumed, fresh_topic, left, publish, subscribe, text};

const READS: Behaviour = Behaviour { acknowledges: false, holds_handovers: false, drains: false };
const HOLDS: Behaviour = Behaviour { acknowledges: false, holds_handovers: true, drains: false };

/// A topic to read with so many messages in each of its partitions, and one to publish to.
async fn topics(harness: &Arc<dyn Harness>, hint: &str, partitions: u32, each: usize) -> (String, String) {
    let (from, to) = (fresh_topic(harness, hint, partitions).await, fresh_topic(harness, hint, 2).await);
    for partition in 0..partitions as i32 {
        publish(harness, &from, partition, 0..each).await;
    }
    (from, to)
}

/// What was read, sent on.
fn copies(to: &str, read: &[Message]) -> Vec<Outgoing> {
    read.iter().map(|message| text(to, 0, &body(message))).collect()
}

/// What a reader sees in a topic, sorted.
async fn seen(harness: &Arc<dyn Harness>, topic: &str) -> Vec<String> {
    let mut bodies: Vec<String> = browse(harness, topic, BrowseFrom::Earliest).await.iter().map(body).collect();
    bodies.sort_unstable();
    bodies
}

/// Waits until a reader sees this: a broker that has committed a transaction tells its readers a moment later.
async fn comes_to(harness: &Arc<dyn Harness>, topic: &str, wanted: Vec<String>) {
    let until = tokio::time::Instant::now() + harness.capabilities().patience;
    loop {
        let found = seen(harness, topic).await;
        if found == wanted || tokio::time::Instant::now() > until {
            return assert_eq!(found, wanted);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn bodies_of(read: &[Message]) -> Vec<String> {
    let mut bodies: Vec<String> = read.iter().map(body).collect();
    bodies.sort_unstable();
    bodies
}

fn of(read: &[Message], partitions: &[i32]) -> Vec<Message> {
    read.iter().filter(|message| partitions.contains(&message.partition.number)).cloned().collect()
}

pub async fn messages_and_positions_move_together_and_in_no_other_way(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "together", 2, 20).await;
    let member = Member::join_in_transactions(&harness, &from, "together", READS).await;
    let read = member.messages(40).await;
    let first = &read[..15];
    assert_eq!(member.commit(&copies(&to, first), first).await.expect("the bus answers"), Committed::Done);
    comes_to(&harness, &to, bodies_of(first)).await;
    // Nothing to publish is no reason not to move.
    assert_eq!(member.commit(&[], &read[15..30]).await.expect("the bus answers"), Committed::Done);
    // An acknowledgement says that a message is done with; no position follows from it.
    member.acknowledge(read[39].delivery).await;
    member.close().await;
    assert_eq!(seen(&harness, &to).await.len(), 15);
}

pub async fn a_member_goes_on_where_the_last_transaction_ended(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "goes-on", 2, 20).await;
    let member = Member::join_in_transactions(&harness, &from, "goes-on", READS).await;
    let read = member.messages(40).await;
    assert_eq!(member.commit(&copies(&to, &read[..30]), &read[..30]).await.expect("the bus answers"), Committed::Done);
    // No position follows from it.
    member.acknowledge(read[39].delivery).await;
    member.close().await;
    let open = left(&harness, &from, "goes-on").await;
    assert_eq!(open.values().sum::<usize>(), 10, "{open:?}");
    let again = Member::join_in_transactions(&harness, &from, "goes-on", READS).await;
    let read_again = again.messages(10).await;
    assert_eq!(bodies_of(&read_again), bodies_of(&read[30..]));
    again.close().await;
}

pub async fn a_transaction_that_is_asked_for_again_lands_once(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "again", 1, 10).await;
    let member = Member::join_in_transactions(&harness, &from, "again", READS).await;
    let read = member.messages(10).await;
    for _ in 0..3 {
        assert_eq!(member.commit(&copies(&to, &read), &read).await.expect("the bus answers"), Committed::Done);
    }
    member.close().await;
    comes_to(&harness, &to, bodies_of(&read)).await;
}

pub async fn a_transaction_with_a_message_that_is_refused_does_nothing(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "refused", 1, 4).await;
    let limit = harness.bus().topic(&to).await.expect("the bus answers").max_message_bytes.expect("it tells its limit");
    let member = Member::join_in_transactions(&harness, &from, "refused", READS).await;
    let read = member.messages(4).await;
    let mut messages = copies(&to, &read);
    // Random, so that no compression makes it fit.
    let large: Vec<u8> = (0..=limit).map(|_| fastrand::u8(..)).collect();
    messages.insert(2, Outgoing { payload: Some(large.into()), ..text(&to, 0, "") });
    let error = member.commit(&messages, &read).await.expect_err("it is too large");
    assert!(matches!(error, BusError::TooLarge(_)), "{error:?}");
    assert_eq!(seen(&harness, &to).await, Vec::<String>::new());
    assert_eq!(left(&harness, &from, "refused").await, BTreeMap::from([(0, 4)]));
    // Several that are too large together only.
    let half: Vec<u8> = (0..limit / 2).map(|_| fastrand::u8(..)).collect();
    let halves = vec![Outgoing { payload: Some(half.into()), ..text(&to, 1, "") }; 4];
    assert_eq!(member.commit(&halves, &read).await.expect("the bus answers"), Committed::Done);
    member.close().await;
    assert_eq!(browse(&harness, &to, BrowseFrom::Earliest).await.len(), 4);
    assert_eq!(left(&harness, &from, "refused").await, BTreeMap::new());
}

pub async fn a_lost_partition_keeps_all_of_a_transaction_from_landing(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "lost", 4, 10).await;
    let old = Member::join_in_transactions(&harness, &from, "lost", READS).await;
    let read = old.messages(40).await;
    let new = Member::join_in_transactions(&harness, &from, "lost", READS).await;
    let got = new.partitions(2).await;
    let kept = old.partitions(2).await;
    let Committed::Lost(lost) = old.commit(&copies(&to, &read), &read).await.expect("the bus answers") else {
        panic!("it landed for partitions that another member has");
    };
    let mut lost: Vec<i32> = lost.into_iter().map(|partition| partition.number).collect();
    lost.sort_unstable();
    let eager = !harness.capabilities().has(Capability::PartialHandover);
    // Where all partitions go and some come back, those are read anew as well.
    assert!(if eager { lost == [0, 1, 2, 3] } else { lost == got }, "lost {lost:?} and has {kept:?}");
    assert_eq!(seen(&harness, &to).await, Vec::<String>::new());
    let still = if eager { of(&old.messages(60).await[40..], &kept) } else { of(&read, &kept) };
    assert_eq!(old.commit(&copies(&to, &still), &still).await.expect("the bus answers"), Committed::Done);
    let theirs = new.until("it reads its own", |seen| seen.messages.len() >= 20).await.messages;
    assert_eq!(new.commit(&copies(&to, &theirs), &theirs).await.expect("the bus answers"), Committed::Done);
    old.close().await;
    new.close().await;
    comes_to(&harness, &to, bodies_of(&read)).await;
    if harness.capabilities().has(Capability::KeepsPositionsOfTransactions) {
        assert_eq!(left(&harness, &from, "lost").await, BTreeMap::new());
    }
}

pub async fn a_partition_that_is_being_let_go_can_still_be_committed(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "last", 2, 10).await;
    let old = Member::join_in_transactions(&harness, &from, "last", HOLDS).await;
    let read = old.messages(20).await;
    let new = Member::join_in_transactions(&harness, &from, "last", READS).await;
    old.until("a handover comes", |seen| !seen.handovers.is_empty()).await;
    // Whoever waits for the release must not be waited for.
    assert_eq!(old.commit(&copies(&to, &read), &read).await.expect("the bus answers"), Committed::Done);
    old.release().await;
    let got = new.partitions(1).await;
    publish(&harness, &from, got[0], 10..11).await;
    let theirs = new.messages(1).await;
    assert_eq!(body(&theirs[0]), format!("{}:10", got[0]), "nothing that was committed comes again");
    assert_eq!(new.commit(&copies(&to, &theirs), &theirs).await.expect("the bus answers"), Committed::Done);
    old.close().await;
    new.close().await;
    let mut all = bodies_of(&read);
    all.extend(bodies_of(&theirs));
    all.sort_unstable();
    comes_to(&harness, &to, all).await;
}

pub async fn a_closed_member_commits_nothing(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "closed", 1, 5).await;
    let member = Member::join_in_transactions(&harness, &from, "closed", READS).await;
    let read = member.messages(5).await;
    let transactions = member.transactions();
    member.close().await;
    let late = transactions.commit(&copies(&to, &read), &consumed(&read)).await;
    assert!(!matches!(late, Ok(Committed::Done)), "{late:?}");
    assert_eq!(seen(&harness, &to).await, Vec::<String>::new());
    assert_eq!(left(&harness, &from, "closed").await, BTreeMap::from([(0, 5)]));
}

/// Sends on whatever it reads, as a pipeline does, until it is told to end.
async fn work(subscription: Subscription, to: String, mut stop: oneshot::Receiver<()>) {
    let Subscription { mut source, mut handovers, transactions, .. } = subscription;
    let transactions = transactions.expect("it was asked for");
    loop {
        let received = tokio::select! {
            _ = &mut stop => break,
            Some(handover) = handovers.recv() => {
                drop(handover.release);
                let _ = handover.gone.await;
                continue;
            }
            received = source.next() => received,
        };
        match received {
            Ok(Received::Messages(read)) => {
                let mut lost: BTreeSet<Partition> = BTreeSet::new();
                loop {
                    let ours: Vec<Message> =
                        read.iter().filter(|message| !lost.contains(&message.partition)).cloned().collect();
                    if ours.is_empty() {
                        break;
                    }
                    match transactions.commit(&copies(&to, &ours), &consumed(&ours)).await {
                        Ok(Committed::Done) => break,
                        Ok(Committed::Lost(more)) => lost.extend(more),
                        Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(50)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
                source.acknowledge(read.last().expect("never an empty list").delivery);
            }
            Ok(_) => {}
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    source.close().await.expect("it closes");
}

pub async fn members_that_come_and_go_count_every_message_once(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "once", 4, 300).await;
    let mut workers = Vec::new();
    let join = |from: String, to: String, harness: Arc<dyn Harness>| async move {
        let mut subscribe = subscribe(&from, "once", false);
        subscribe.transactional = true;
        // Small, so that there are many transactions.
        subscribe.fetch_bytes = 1 << 14;
        let subscription = harness.bus().subscribe(subscribe).await.expect("the group can be joined");
        let (stop, stopped) = oneshot::channel();
        (stop, tokio::spawn(work(subscription, to, stopped)))
    };
    for round in 1..=3 {
        workers.push(join(from.clone(), to.clone(), harness.clone()).await);
        for partition in 0..4 {
            publish(&harness, &from, partition, round * 300..(round + 1) * 300).await;
        }
        if round == 2 {
            let (stop, worker) = workers.remove(0);
            let _ = stop.send(());
            worker.await.expect("it ends");
        }
    }
    let all = async {
        while left(&harness, &from, "once").await.values().sum::<usize>() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(harness.capabilities().patience * 3, all).await.expect("all is committed in time");
    for (stop, worker) in workers {
        let _ = stop.send(());
        worker.await.expect("it ends");
    }
    let mut expected: Vec<String> =
        (0..4).flat_map(|partition| (0..1200).map(move |number| format!("{partition}:{number}"))).collect();
    expected.sort_unstable();
    let seen = seen(&harness, &to).await;
    let twice: Vec<&[String]> = seen.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{} of {} are counted twice, as {:?}", twice.len(), seen.len(), twice[0]);
    drop(seen);
    comes_to(&harness, &to, expected).await;
}

pub async fn a_drain_in_transactions_ends_where_transactions_left_marks(harness: Arc<dyn Harness>) {
    let (from, to) = topics(&harness, "marks", 1, 5).await;
    let member = Member::join_in_transactions(&harness, &from, "marks", READS).await;
    let read = member.messages(5).await;
    assert_eq!(member.commit(&copies(&to, &read), &read).await.expect("the bus answers"), Committed::Done);
    member.close().await;
    // One partition ends in a mark that is no message, the other is empty.
    let behaviour = Behaviour { drains: true, ..READS };
    let member = Member::join_in_transactions(&harness, &to, "marks", behaviour).await;
    let read = member.messages(5).await;
    assert!(!member.seen().ended, "nothing is committed yet");
    assert_eq!(member.commit(&[], &read).await.expect("the bus answers"), Committed::Done);
    member.acknowledge(read[4].delivery).await;
    member.until("the drain ends", |seen| seen.ended).await;
    member.close().await;
    assert_eq!(left(&harness, &to, "marks").await, BTreeMap::new());
}
