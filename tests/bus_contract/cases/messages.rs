//! One message: what of it survives the way over the bus, and where it lands.

use std::sync::Arc;

use bytes::Bytes;
use chalk_writer::bus::{BrowseFrom, BusError, Landing};
use chalk_writer::dead_letter::{Fit, Note, again, read};
use chalk_writer::message::{Headers, Message, Outgoing};
use chalk_writer::sink::{ErrorClass, Refusal};

use crate::harness::{Capability, Harness};
use crate::member::{Behaviour, Member, body, browse, fresh_topic, text};

/// Publishes messages to one partition and reads them back through a group and past it.
async fn there_and_back(harness: &Arc<dyn Harness>, hint: &str, outgoing: Vec<Outgoing>) -> Vec<Message> {
    let topic = fresh_topic(harness, hint, 1).await;
    let outgoing: Vec<Outgoing> =
        outgoing.into_iter().map(|message| Outgoing { topic: topic.clone(), ..message }).collect();
    let publisher = harness.bus().publisher().await.expect("a publisher");
    publisher.publish(&outgoing).await.expect("published");
    let member = Member::join(harness, &topic, hint, Behaviour::default()).await;
    let messages = member.messages(outgoing.len()).await;
    member.close().await;
    let browsed = browse(harness, &topic, BrowseFrom::Earliest).await;
    for (one, other) in messages.iter().zip(&browsed) {
        assert_eq!(
            (&one.key, &one.payload, &one.headers, one.timestamp_ms),
            (&other.key, &other.payload, &other.headers, other.timestamp_ms),
        );
    }
    assert_eq!(messages.len(), browsed.len());
    messages
}

pub async fn headers_keep_order_repetition_and_null(harness: Arc<dyn Harness>) {
    let given: Vec<(&str, Option<&[u8]>)> = vec![
        ("ce_type", Some(b"chalk.result.v1")),
        ("twice", Some(b"1")),
        ("null", None),
        ("empty", Some(b"")),
        ("twice", Some(b"2")),
        ("binary", Some(&[0, 0xff, 0xc3, 0x28])),
        ("größe", Some("äöü".as_bytes())),
    ];
    let with = Outgoing { headers: given.iter().copied().collect(), ..Outgoing::default() };
    let messages = there_and_back(&harness, "headers", vec![with, Outgoing::default()]).await;
    assert_eq!(messages[0].headers.iter().collect::<Vec<_>>(), given);
    assert_eq!(messages[1].headers, Headers::new());
}

pub async fn a_null_body_is_not_an_empty_one(harness: Arc<dyn Harness>) {
    let with = |payload, key| Outgoing { payload, key, ..Outgoing::default() };
    let key = || Some(Bytes::from_static(b"k"));
    let messages = there_and_back(
        &harness,
        "null",
        vec![with(None, key()), with(Some(Bytes::new()), key()), with(Some(Bytes::from_static(b"x")), None)],
    )
    .await;
    assert_eq!(messages[0].payload, None);
    assert_eq!(messages[1].payload, Some(Bytes::new()));
    assert_eq!(messages[2].payload.as_deref(), Some(&b"x"[..]));
    assert_eq!(messages[2].key, None);
}

pub async fn key_and_timestamp_survive(harness: Arc<dyn Harness>) {
    // A recent time: servers refuse or delete what is far from now.
    let then = now_ms() - 60_000;
    let message = Outgoing {
        key: Some(Bytes::from_static(&[0, 1, 0xff])),
        payload: Some(Bytes::from_static(b"x")),
        timestamp_ms: Some(then),
        ..Outgoing::default()
    };
    let before = now_ms();
    let messages =
        there_and_back(&harness, "key", vec![message.clone(), Outgoing { timestamp_ms: None, ..message }]).await;
    assert_eq!(messages[0].key.as_deref(), Some(&[0, 1, 0xff][..]));
    assert_eq!(messages[0].timestamp_ms, Some(then));
    let stamped = messages[1].timestamp_ms.expect("the bus gives a time");
    assert!((before..=now_ms()).contains(&stamped), "{stamped} is not now");
}

pub async fn publishing_tells_where_each_message_landed(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "placed", 3).await;
    let outgoing: Vec<Outgoing> = (0..90)
        .map(|number| Outgoing {
            partition: (number % 3 == 0).then_some(number % 2),
            ..text(&topic, 0, &number.to_string())
        })
        .collect();
    let publisher = harness.bus().publisher().await.expect("a publisher");
    let placed = publisher.publish(&outgoing).await.expect("published");
    assert_eq!(placed.len(), 90);
    let stored = browse(&harness, &topic, BrowseFrom::Earliest).await;
    for (number, placed) in placed.iter().enumerate() {
        let at = stored
            .iter()
            .find(|message| message.partition == placed.partition && message.offset == placed.offset)
            .expect("a message is where it is said to be");
        assert_eq!(at.body(), number.to_string().as_bytes());
        if let Some(wanted) = outgoing[number].partition.filter(|_| harness.capabilities().has(Capability::Positions)) {
            assert_eq!(placed.partition.number, wanted);
        }
    }
}

pub async fn one_key_stays_in_one_partition(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "keys", 4).await;
    let of_key = |key: u8| Outgoing {
        topic: topic.clone(),
        key: Some(Bytes::copy_from_slice(&[b'k', key])),
        payload: Some(Bytes::from_static(b"x")),
        ..Outgoing::default()
    };
    let mut rounds: Vec<Vec<i32>> = Vec::new();
    for _ in 0..2 {
        // Another publisher, as after a restart.
        let publisher = harness.bus().publisher().await.expect("a publisher");
        let placed = publisher.publish(&(0..40).map(of_key).collect::<Vec<_>>()).await.expect("published");
        rounds.push(placed.iter().map(|placed| placed.partition.number).collect());
    }
    assert_eq!(rounds[0], rounds[1]);
    let used: std::collections::BTreeSet<_> = rounds[0].iter().collect();
    assert_eq!(used.len(), 4, "forty keys reach every partition");
}

pub async fn many_publishers_at_once_get_places_of_their_own(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "many", 2).await;
    let shared = harness.bus().publisher().await.expect("a publisher");
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (harness, topic, shared) = (harness.clone(), topic.clone(), shared.clone());
            tokio::spawn(async move {
                let publisher = if task % 2 == 0 { shared } else { harness.bus().publisher().await.expect("one") };
                let mut all = Vec::new();
                for round in 0..5 {
                    let messages: Vec<Outgoing> =
                        (0..20).map(|number| text(&topic, task % 2, &format!("{task}:{round}:{number}"))).collect();
                    let placed = publisher.publish(&messages).await.expect("published");
                    all.extend(placed.into_iter().map(|placed| (placed.partition.number, placed.offset)));
                }
                all
            })
        })
        .collect();
    let mut places = Vec::new();
    for task in tasks {
        places.extend(task.await.expect("no panic"));
    }
    places.sort_unstable();
    if harness.capabilities().has(Capability::Positions) {
        let wanted: Vec<_> = (0..2).flat_map(|partition| (0..400).map(move |offset| (partition, offset))).collect();
        assert_eq!(places, wanted);
    }
    places.dedup();
    assert_eq!(places.len(), 800, "each has a place of its own");
    assert_eq!(browse(&harness, &topic, BrowseFrom::Earliest).await.len(), 800);
}

pub async fn publishing_nothing_is_nothing(harness: Arc<dyn Harness>) {
    let publisher = harness.bus().publisher().await.expect("a publisher");
    assert_eq!(publisher.publish(&[]).await.expect("nothing is fine"), []);
}

pub async fn a_message_above_the_limit_is_too_large(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "large", 1).await;
    let limit = harness.bus().topic(&topic).await.expect("known").max_message_bytes.expect("a limit is told");
    let publisher = harness.bus().publisher().await.expect("a publisher");
    // Bytes that no compression makes small.
    let mut noise = vec![0; limit + 1];
    let mut random = fastrand::Rng::with_seed(7);
    random.fill(&mut noise);
    let large = Outgoing { payload: Some(Bytes::from(noise)), ..text(&topic, 0, "") };
    let error = publisher.publish(&[large]).await.expect_err("it is above the limit");
    assert!(matches!(error.reason(), BusError::TooLarge(_)), "{error:?}");
    publisher.publish(&[text(&topic, 0, "small")]).await.expect("the publisher still works");
    let half = Outgoing { payload: Some(Bytes::from(vec![b'x'; limit / 2])), ..text(&topic, 0, "") };
    publisher.publish(&[half]).await.expect("half the limit is taken");
    assert_eq!(browse(&harness, &topic, BrowseFrom::Earliest).await.len(), 2);
}

/// Of many messages, some of which are above the limit, each of the others lands, once.
pub async fn a_message_that_is_not_taken_keeps_no_other_from_landing(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "beside", 2).await;
    let limit = harness.bus().topic(&topic).await.expect("known").max_message_bytes.expect("a limit is told");
    let mut noise = vec![0; limit + 1];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    let noise = Bytes::from(noise);
    let outgoing: Vec<Outgoing> = (0..100)
        .map(|number: i32| {
            let message = text(&topic, number % 2, &number.to_string());
            let message = Outgoing { partition: message.partition.filter(|_| number < 50), ..message };
            if matches!(number, 30 | 99) { Outgoing { payload: Some(noise.clone()), ..message } } else { message }
        })
        .collect();
    let publisher = harness.bus().publisher().await.expect("a publisher");
    let undelivered = publisher.publish(&outgoing).await.expect_err("two are above the limit");
    assert!(matches!(undelivered.reason(), BusError::TooLarge(_)), "{undelivered:?}");
    let is_too_large = |landing: &Landing| matches!(landing, Err(BusError::TooLarge(_)));
    let stored = browse(&harness, &topic, BrowseFrom::Earliest).await;
    assert_eq!((undelivered.landings().len(), stored.len()), (100, 98), "each of the others once");
    for (number, landing) in undelivered.landings().iter().enumerate() {
        assert_eq!(is_too_large(landing), matches!(number, 30 | 99), "{number}: {landing:?}");
        let Ok(placed) = landing else { continue };
        let is_there = |message: &&Message| message.partition == placed.partition && message.offset == placed.offset;
        assert_eq!(body(stored.iter().find(is_there).expect("it is where it is said to be")), number.to_string());
    }
    let left = undelivered.left(outgoing);
    assert!(left.len() == 2 && left.iter().all(|message| message.payload.as_ref() == Some(&noise)));
    publisher.publish(&[text(&topic, 0, "small")]).await.expect("the publisher still works");
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// A hundred is the most that Pub/Sub takes; what is buried or sent again has others beside them.
pub async fn a_message_with_many_headers_is_buried_and_sent_again_with_all_of_them(harness: Arc<dyn Harness>) {
    let topic = fresh_topic(&harness, "many", 1).await;
    let dead = fresh_topic(&harness, "many-dead", 1).await;
    let (bus, publisher) = (harness.bus(), harness.bus().publisher().await.expect("a publisher"));
    let mut given: Vec<(String, String)> = (0..99).map(|at| (format!("own-{at}"), "x".repeat(10 * at))).collect();
    given.push(("ce_id".to_owned(), "e-1".to_owned()));
    given.sort();
    let headers = given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    publisher.publish(&[Outgoing { headers, ..text(&topic, 0, "body") }]).await.expect("published");
    let message = browse(&harness, &topic, BrowseFrom::Earliest).await.remove(0);

    let info = bus.topic(&dead).await.expect("it is there");
    let note = Note {
        writer_type: "ONLINE_WRITER",
        group: "group".to_owned(),
        environment: None,
        sink: None,
        refusal: Refusal::new(ErrorClass::Decode, "no"),
        failed_at_ms: 0,
        attempts: 1,
        batch_id: "b".to_owned(),
    };
    let letters = Fit::of(info.max_message_bytes, info.max_header_bytes, false).letter(&message, &note, &dead);
    publisher.publish(&letters).await.expect("buried");
    let letter = browse(&harness, &dead, BrowseFrom::Earliest).await.remove(0);
    assert_eq!(letter.headers.get_str("chalk_dlq_error_class"), Some("DECODE"));
    let letter = read(&letter).expect("a letter, and whole");
    assert_eq!(letter.part, None);
    let text_of = |headers: &Headers| {
        let of = |(name, value): (&str, Option<&[u8]>)| {
            (name.to_owned(), String::from_utf8(value.expect("there").to_vec()).expect("text"))
        };
        let mut all: Vec<(String, String)> = headers.iter().map(of).collect();
        all.sort();
        all
    };
    assert_eq!(text_of(&letter.original.headers), given);
    assert_eq!(letter.original.payload.as_deref(), Some(&b"body"[..]));

    let placed = publisher.publish(&[again(&letter, "group")]).await.expect("sent again");
    let all = browse(&harness, &topic, BrowseFrom::Earliest).await;
    let back = all.iter().find(|message| message.offset == placed[0].offset).expect("it is there");
    assert_eq!(back.headers.get_str("chalk_target_group"), Some("group"));
    assert_eq!(body(back), "body");
    let of_message: Headers = back.headers.iter().filter(|(name, _)| !name.starts_with("chalk_")).collect();
    // It brought no time: the one that the bus gave it is its own from then on.
    let first = message.timestamp_ms.and_then(chrono::DateTime::from_timestamp_millis).expect("a time");
    given.push(("ce_time".to_owned(), first.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)));
    given.sort();
    assert_eq!(text_of(&of_message), given);
}
