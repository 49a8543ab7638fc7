//! The embedded bus at its limits: holes, recreated topics, handovers that nobody releases, memory.

use std::time::Duration;

use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{BrowseFrom, Bus, BusError, Hold, OnGap, Received, Source, Subscribe, Subscription};
use chalk_writer::message::Message;
use tempfile::TempDir;

use super::{PARTITIONS, PATIENCE, browse, bus, join, publish, read};

fn subscribe(on_gap: OnGap, drain: bool) -> Subscribe {
    Subscribe {
        topic: "t".to_owned(),
        group: "g".to_owned(),
        drain,
        fetch_bytes: 1 << 20,
        hold: Hold { bytes: 3 << 20, messages: 1_000 },
        on_gap,
        transactional: false,
    }
}

/// Three hundred messages, a third in each partition; and SQL by hand.
async fn filled(sql: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bus.sqlite");
    bus(&path).create_topic("t", PARTITIONS).await.expect("made");
    publish(&path, 0..300).await;
    rusqlite::Connection::open(&path).expect("opened").execute_batch(sql).expect("done");
    folder
}

fn in_folder(folder: &TempDir) -> LocalBus {
    bus(&folder.path().join("bus.sqlite"))
}

/// Reads and acknowledges up to the end of a drain.
async fn drain(source: &mut dyn Source) -> Result<usize, BusError> {
    let mut count = 0;
    let reading = async {
        loop {
            match source.next().await? {
                Received::Messages(messages) => {
                    count += messages.len();
                    source.acknowledge(messages[messages.len() - 1].delivery);
                }
                Received::CaughtUp => {}
                Received::End => return Ok::<(), BusError>(()),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the drain ends in time")?;
    Ok(count)
}

#[tokio::test]
async fn a_drain_goes_past_messages_that_someone_deleted() {
    // A beginning, a middle and an end are gone.
    let folder = filled(
        "DELETE FROM messages WHERE (place >> 40 = 1 AND place & 0xff < 10)
         OR (place >> 40 = 2 AND place & 0xff BETWEEN 50 AND 59) OR (place >> 40 = 3 AND place & 0xff >= 90)",
    )
    .await;
    let mut subscription = in_folder(&folder).subscribe(subscribe(OnGap::Continue, true)).await.expect("joined");
    assert_eq!(drain(subscription.source.as_mut()).await.expect("drained"), 270);
    subscription.source.close().await.expect("closed");
    let path = folder.path().join("bus.sqlite");
    assert_eq!(browse(&path, BrowseFrom::Group("g".to_owned())).await.len(), 0);
}

#[tokio::test]
async fn a_gap_stops_who_asked_for_it() {
    let folder = filled("DELETE FROM messages WHERE place >> 40 = 2 AND place & 0xff < 7").await;
    let mut subscription = in_folder(&folder).subscribe(subscribe(OnGap::Stop, true)).await.expect("joined");
    let error = drain(subscription.source.as_mut()).await.expect_err("there is a gap");
    assert!(matches!(&error, BusError::Gap(text) if text.contains("7 messages of t/1")), "{error:?}");
}

#[tokio::test]
async fn a_position_beyond_the_end_is_a_recreated_topic() {
    let folder = filled("UPDATE partitions SET next_offset = 5; DELETE FROM messages WHERE place & 0xff >= 5").await;
    let path = folder.path().join("bus.sqlite");
    let sql = "INSERT INTO positions (partition, group_name, position) VALUES (1, 'g', 40)";
    rusqlite::Connection::open(&path).expect("opened").execute_batch(sql).expect("done");
    let error = bus(&path).subscribe(subscribe(OnGap::Continue, false)).await.err().expect("refused");
    assert!(matches!(&error, BusError::Gap(text) if text.contains("recreated")), "{error:?}");
}

#[tokio::test]
async fn a_handover_that_nobody_releases_ends_by_itself() {
    let folder = filled("").await;
    let path = folder.path().join("bus.sqlite");
    let options = Options { handover_timeout: Duration::from_millis(200), ..Options::default() };
    let holder = LocalBus::new(path.clone(), options).subscribe(subscribe(OnGap::Stop, false)).await;
    let Subscription { mut source, mut handovers, .. } = holder.expect("joined");
    let mut taken: Vec<Message> = Vec::new();
    while taken.len() < 300 {
        if let Received::Messages(messages) = source.next().await.expect("read") {
            taken.extend(messages);
        }
    }
    let mut new = join(&path, "g").await;
    let held = tokio::time::timeout(PATIENCE, handovers.recv()).await.expect("in time").expect("there");
    assert_eq!(held.partitions.len(), 1);
    let messages = read(&mut new, 100).await;
    // Too late: the messages belong to the other one now.
    source.acknowledge(taken[299].delivery);
    drop(held);
    source.close().await.expect("closed");
    let left = browse(&path, BrowseFrom::Group("g".to_owned())).await;
    assert_eq!(left.len(), 100);
    assert!(left.iter().all(|message| message.partition == messages[0].partition));
}

#[tokio::test]
async fn what_is_read_ahead_stays_within_its_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bus.sqlite");
    bus(&path).create_topic("t", PARTITIONS).await.expect("made");
    publish(&path, 0..3000).await;
    let subscribe = Subscribe { fetch_bytes: 20_000, ..subscribe(OnGap::Stop, false) };
    let mut subscription = bus(&path).subscribe(subscribe).await.expect("joined");
    let mut count = 0;
    while count < 3000 {
        if let Received::Messages(messages) = subscription.source.next().await.expect("read") {
            let bytes: usize = messages.iter().map(Message::size).sum();
            assert!(bytes <= 5000, "{bytes} in one chunk");
            count += messages.len();
        }
    }
    subscription.source.close().await.expect("closed");
}

#[tokio::test]
async fn a_partition_that_was_lost_is_handed_over_without_waiting() {
    let folder = filled("").await;
    let path = folder.path().join("bus.sqlite");
    let mut subscription = join(&path, "g").await;
    let messages = read(&mut subscription, 300).await;
    // As another member does once our lease has run out.
    let sql = "INSERT INTO members (id, topic, group_name, lease_until_ms, session_ms)
                   SELECT 'other', 1, 'g', lease_until_ms, 600000 FROM members;
               UPDATE members SET lease_until_ms = lease_until_ms + 60000 WHERE id = 'other';
               UPDATE positions SET owner = 'other', wanted = 'other', generation = generation + 1 WHERE partition = 2";
    rusqlite::Connection::open(&path).expect("opened").execute_batch(&format!("BEGIN; {sql}; COMMIT")).expect("done");
    let handover =
        tokio::time::timeout(PATIENCE, subscription.handovers.recv()).await.expect("in time").expect("there");
    assert_eq!(handover.partitions.iter().map(|partition| partition.number).collect::<Vec<_>>(), [1]);
    assert!(handover.release.is_closed(), "nobody waits for it");
    handover.gone.await.expect_err("it is gone already");
    subscription.source.acknowledge(messages[299].delivery);
    subscription.source.close().await.expect("closed");
    assert_eq!(browse(&path, BrowseFrom::Group("g".to_owned())).await.len(), 100);
}

#[tokio::test]
async fn the_last_status_is_true() {
    for is_drain in [true, false] {
        let folder = filled("").await;
        let mut subscription = in_folder(&folder).subscribe(subscribe(OnGap::Stop, is_drain)).await.expect("joined");
        if is_drain {
            drain(subscription.source.as_mut()).await.expect("drained");
        } else {
            let messages = read(&mut subscription, 300).await;
            subscription.source.acknowledge(messages[299].delivery);
            subscription.source.close().await.expect("closed");
        }
        let status = subscription.status.borrow().clone();
        let ends: Vec<_> = status.iter().map(|status| (status.position, status.lag)).collect();
        assert_eq!(ends, [(Some(100), Duration::ZERO); PARTITIONS as usize], "drain: {is_drain}");
    }
}
