//! What goes into a dead letter comes out of it.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::message::Message;
use crate::message::{Delivery, Headers, Outgoing, Partition};
use crate::sink::ErrorClass;

fn message(key: Option<&[u8]>, headers: Headers, payload: Option<Vec<u8>>) -> Message {
    Message {
        delivery: Delivery(1),
        partition: Partition { topic: "results".into(), number: 3 },
        offset: 41,
        timestamp_ms: Some(1_700_000_000_000),
        key: key.map(Bytes::copy_from_slice),
        headers,
        payload: payload.map(Bytes::from),
    }
}

fn note(text: &str) -> Note {
    Note {
        writer_type: "ONLINE_WRITER",
        group: "chalk-online".to_owned(),
        environment: Some("prod".to_owned()),
        sink: None,
        refusal: Refusal::new(ErrorClass::TypeMismatch, text).row("user/42").table("user"),
        failed_at_ms: 1_700_000_001_500,
        attempts: 2,
        batch_id: "b-1".to_owned(),
    }
}

/// The record as the dead letter topic gives it back.
fn delivered(outgoing: &Outgoing, offset: i64) -> Message {
    Message {
        delivery: Delivery(offset as u64),
        partition: Partition { topic: Arc::from(outgoing.topic.as_str()), number: 0 },
        offset,
        timestamp_ms: outgoing.timestamp_ms,
        key: outgoing.key.clone(),
        headers: outgoing.headers.clone(),
        payload: outgoing.payload.clone(),
    }
}

fn record_size(outgoing: &Outgoing) -> usize {
    outgoing.key.as_ref().map_or(0, Bytes::len)
        + outgoing.payload.as_ref().map_or(0, Bytes::len)
        + outgoing.headers.size()
        + 10 * outgoing.headers.iter().count()
        + 100
}

fn round_trip(message: &Message, limit: Option<usize>) -> DeadLetter {
    let records = compose(message, &note("x"), "dlq", limit);
    let mut assembler = Assembler::new(usize::MAX);
    let mut whole = None;
    for (offset, record) in records.iter().enumerate() {
        assert!(whole.is_none(), "whole before the last part");
        whole = assembler.push(read(&delivered(record, offset as i64)).expect("it is a letter"));
    }
    assert!(assembler.incomplete().is_empty());
    whole.expect("all parts are there")
}

#[test]
fn a_letter_says_where_the_message_was_and_what_was_wrong_with_it() {
    let headers: Headers =
        [("ce_id", "e-1"), ("other", "x"), ("googclient_deliveryattempt", "4")].into_iter().collect();
    let records = compose(&message(Some(b"k"), headers.clone(), Some(b"body".to_vec())), &note("no"), "dlq", None);
    let [record] = &records[..] else { panic!("one record, not {}", records.len()) };
    let header = |name: &str| record.headers.get_str(name).map(str::to_owned);
    for (name, value) in [
        ("chalk_dlq_schema_version", "1"),
        ("chalk_dlq_topic", "results"),
        ("chalk_dlq_partition", "3"),
        ("chalk_dlq_offset", "41"),
        ("chalk_dlq_timestamp_ms", "1700000000000"),
        ("chalk_dlq_writer_type", "ONLINE_WRITER"),
        ("chalk_dlq_group", "chalk-online"),
        ("chalk_dlq_environment", "prod"),
        ("chalk_dlq_table", "user"),
        ("chalk_dlq_error_class", "TYPE_MISMATCH"),
        ("chalk_dlq_error_message", "no"),
        ("chalk_dlq_error_row", "user/42"),
        ("chalk_dlq_first_failed_at", "2023-11-14T22:13:21.500Z"),
        ("chalk_dlq_failed_at", "2023-11-14T22:13:21.500Z"),
        ("chalk_dlq_attempts", "2"),
        ("chalk_dlq_delivery_attempt", "4"),
        ("chalk_dlq_batch_id", "b-1"),
        ("chalk_dlq_redrive_count", "0"),
        ("__connect.errors.topic", "results"),
        ("__connect.errors.partition", "3"),
        ("__connect.errors.offset", "41"),
        ("__connect.errors.stage", "VALUE_CONVERTER"),
        ("__connect.errors.exception.class.name", "TYPE_MISMATCH"),
        ("__connect.errors.exception.message", "no"),
    ] {
        assert_eq!(header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(header("chalk_dlq_part"), None);
    assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(record.payload.as_deref(), Some(&b"body"[..]));
    assert_eq!(record.timestamp_ms, None, "the time of burial, so that retention counts from there");
    let letter = read(&delivered(record, 0)).expect("a letter");
    assert_eq!((letter.original.headers, letter.notes.delivery_attempt), (headers, Some(4)));
}

#[test]
fn the_timestamp_of_a_message_is_read_from_the_note_and_of_older_letters_from_the_record() {
    for timestamp_ms in [Some(1_700_000_000_000), Some(i64::MAX), Some(-1), None] {
        let message = Message { timestamp_ms, ..message(None, Headers::new(), None) };
        let mut record = delivered(&compose(&message, &note("x"), "dlq", None)[0], 0);
        record.timestamp_ms = Some(1_800_000_000_000);
        assert_eq!(read(&record).expect("a letter").original.timestamp_ms, timestamp_ms);
        record.headers = record.headers.iter().filter(|(name, _)| *name != headers::TIMESTAMP_MS).collect();
        assert_eq!(read(&record).expect("a letter").original.timestamp_ms, Some(1_800_000_000_000));
    }
}

#[test]
fn a_message_without_an_id_is_given_the_one_it_is_known_by() {
    let letter = round_trip(&message(None, Headers::new(), None), None);
    assert_eq!(letter.original.headers.get_str("ce_id"), Some("results/3/41/1700000000000"));
    assert_eq!(letter.original.payload, None);
    assert_eq!(letter.original.key, None);
}

#[test]
fn a_second_burial_keeps_the_count_of_rounds_and_the_first_failure_and_replaces_the_other_notes() {
    let headers: Headers = [
        ("ce_id", "e"),
        ("chalk_dlq_redrive_count", "3"),
        ("chalk_dlq_first_failed_at", "2023-11-13T22:13:20.000Z"),
        ("chalk_dlq_failed_at", "2023-11-13T22:13:20.000Z"),
        ("chalk_dlq_error_message", "old"),
        ("__connect.errors.topic", "old"),
    ]
    .into_iter()
    .collect();
    let letter = round_trip(&message(None, headers, Some(vec![1])), None);
    assert_eq!(letter.notes.redrive_count, 3);
    assert_eq!(letter.notes.first_failed_at, "2023-11-13T22:13:20.000Z");
    assert_eq!(letter.notes.failed_at, "2023-11-14T22:13:21.500Z");
    assert_eq!(letter.notes.error_message, "x");
    assert_eq!(letter.original.headers.iter().count(), 1);
}

#[test]
fn a_first_failure_that_is_no_time_is_not_carried_over() {
    let headers: Headers = [("chalk_dlq_first_failed_at", "yesterday")].into_iter().collect();
    let letter = round_trip(&message(None, headers, Some(vec![1])), None);
    assert_eq!(letter.notes.first_failed_at, letter.notes.failed_at);
}

#[test]
fn the_error_text_is_cut_before_the_body_is() {
    let body = vec![7; SMALLEST_LIMIT - 6_000];
    let long = "ü".repeat(9_000);
    let records =
        compose(&message(None, Headers::new(), Some(body.clone())), &note(&long), "dlq", Some(SMALLEST_LIMIT));
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].payload.as_deref(), Some(&body[..]));
    let text = records[0].headers.get_str("chalk_dlq_error_message").expect("UTF-8 in spite of the cut");
    assert!(text.ends_with('…') && text.len() <= 512, "{} bytes", text.len());
}

#[test]
fn a_body_too_large_is_cut_into_parts_that_share_a_key_and_each_fit() {
    let body: Vec<u8> = (0..100_000_u32).map(|byte| byte as u8).collect();
    for key in [Some(&b"prod/user/42"[..]), None] {
        let records =
            compose(&message(key, Headers::new(), Some(body.clone())), &note("x"), "dlq", Some(SMALLEST_LIMIT));
        assert!(records.len() > 5);
        assert!(records.iter().all(|record| record_size(record) <= SMALLEST_LIMIT));
        assert!(records.iter().all(|record| record.key.is_some() && record.key == records[0].key));
    }
}

#[test]
fn parts_are_joined_out_of_order_repeated_and_mixed() {
    let first = message(Some(b"k"), Headers::new(), Some(vec![1; 40_000]));
    let mut second = message(Some(b"k"), Headers::new(), Some(vec![2; 40_000]));
    second.offset = 42;
    let mut records: Vec<_> = [&first, &second]
        .into_iter()
        .flat_map(|message| compose(message, &note("x"), "dlq", Some(SMALLEST_LIMIT)))
        .collect();
    records.push(records[0].clone());
    records.reverse();
    let mut assembler = Assembler::new(usize::MAX);
    let wholes: Vec<_> = records
        .iter()
        .enumerate()
        .filter_map(|(offset, record)| assembler.push(read(&delivered(record, offset as i64)).expect("a letter")))
        .collect();
    let bodies: Vec<_> = wholes.iter().map(|whole| whole.original.payload.clone().expect("a body")).collect();
    assert_eq!(bodies, [Bytes::from(vec![2; 40_000]), Bytes::from(vec![1; 40_000])]);
}

#[test]
fn a_letter_whose_parts_are_missing_is_shown_as_incomplete_and_memory_stays_bounded() {
    let mut assembler = Assembler::new(20_000);
    for offset in 0..50 {
        let mut message = message(Some(b"k"), Headers::new(), Some(vec![1; 40_000]));
        message.offset = offset;
        let records = compose(&message, &note("x"), "dlq", Some(SMALLEST_LIMIT));
        assert_eq!(assembler.push(read(&delivered(&records[0], 0)).expect("a letter")), None);
    }
    assert_eq!(assembler.incomplete().len(), 50);
}

#[test]
fn what_is_no_dead_letter_is_not_read_as_one() {
    assert_eq!(read(&message(None, Headers::new(), Some(b"{}".to_vec()))), None);
}

#[test]
fn letters_are_chosen_by_writer_class_table_and_time() {
    let letter = round_trip(&message(None, Headers::new(), Some(b"{}".to_vec())), None);
    let at = |text: &str| Some(text.parse().expect("a time"));
    let matching = [
        Filter::default(),
        Filter { writer: Some("online_writer".to_owned()), ..Filter::default() },
        Filter { group: Some("chalk-online".to_owned()), ..Filter::default() },
        Filter { environment: Some("prod".to_owned()), ..Filter::default() },
        Filter { class: Some("TYPE_MISMATCH".to_owned()), table: Some("user".to_owned()), ..Filter::default() },
        Filter { from: at("2023-11-14T22:13:21.5Z"), until: at("2023-11-14T22:13:22Z"), ..Filter::default() },
    ];
    let other = [
        Filter { writer: Some("OFFLINE_WRITER".to_owned()), ..Filter::default() },
        Filter { group: Some("chalk-other".to_owned()), ..Filter::default() },
        Filter { class: Some("DECODE".to_owned()), ..Filter::default() },
        Filter { table: Some("card".to_owned()), ..Filter::default() },
        Filter { environment: Some("dev".to_owned()), ..Filter::default() },
        Filter { from: at("2023-11-14T22:13:22Z"), ..Filter::default() },
        Filter { until: at("2023-11-14T22:13:21.5Z"), ..Filter::default() },
    ];
    assert!(matching.iter().all(|filter| filter.matches(&letter)));
    assert!(!other.iter().any(|filter| filter.matches(&letter)));
}

#[test]
fn a_listing_names_the_place_the_origin_and_the_reason() {
    let letter = round_trip(&message(Some(&[0xff]), Headers::new(), Some(b"{}".to_vec())), None);
    let shown = serde_json::to_value(Details::from(&letter)).expect("plain data");
    assert_eq!(shown["place"], "0/0");
    assert_eq!(shown["origin"], "results/3/41");
    assert_eq!(shown["class"], "TYPE_MISMATCH");
    assert_eq!(shown["body"]["text"], "{}");
    assert_eq!(shown["key"]["base64"], "/w==");
}

#[test]
fn a_replay_has_the_message_back_for_one_group_and_counts_its_rounds() {
    let headers: Headers =
        [("ce_id", "e-1"), ("other", "x"), ("chalk_target_group", "someone"), ("null", "")].into_iter().collect();
    let mut sent = message(Some(b"k"), headers, Some(b"body".to_vec()));
    for round in 1..=3 {
        let letter = round_trip(&sent, None);
        let again = again(&letter, "chalk-online");
        let (topic, round) = ("results".to_owned(), round.to_string());
        assert_eq!((again.topic, again.partition, again.timestamp_ms), (topic, None, sent.timestamp_ms));
        assert_eq!((again.key, again.payload), (sent.key.clone(), sent.payload.clone()));
        let expected: Headers = [
            ("ce_id", "e-1"),
            ("other", "x"),
            ("null", ""),
            ("ce_time", "2023-11-14T22:13:20.000Z"),
            ("chalk_target_group", "chalk-online"),
            ("chalk_dlq_redrive_count", &round),
            ("chalk_dlq_first_failed_at", "2023-11-14T22:13:21.500Z"),
        ]
        .into_iter()
        .collect();
        assert_eq!(again.headers, expected, "no note of the burial goes back, and nothing else is missing");
        sent.headers = again.headers;
        // A bus that does not keep times.
        sent.timestamp_ms = sent.timestamp_ms.map(|time| time + 3_600_000);
    }
}

#[test]
fn a_replay_has_the_time_that_the_message_brought_or_else_the_one_that_the_bus_gave_it() {
    let ours = "2020-01-01T00:00:00Z";
    for (brought, expected) in [
        (&[("ce_time", ours)][..], ours),
        (&[("ce-time", ours)], ours),
        (&[("ce_time", ""), ("ce-time", "")], "2023-11-14T22:13:20.000Z"),
        (&[], "2023-11-14T22:13:20.000Z"),
    ] {
        let sent = message(None, brought.iter().copied().collect(), None);
        let again = again(&round_trip(&sent, None), "g");
        let times: Vec<&str> = ["ce_time", "ce-time"].iter().filter_map(|name| again.headers.get_str(name)).collect();
        assert_eq!(times, [expected], "{brought:?}");
    }
    let mut timeless = message(None, Headers::new(), None);
    timeless.timestamp_ms = None;
    assert_eq!(again(&round_trip(&timeless, None), "g").headers.get("ce_time"), None);
}

#[test]
fn a_mark_is_read_back_and_is_no_letter_and_counts_only_for_the_letter_that_it_names() {
    let letter = round_trip(&message(Some(b"k"), Headers::new(), Some(b"body".to_vec())), None);
    let mark = Mark::new(&letter, 1_700_000_002_000, "results/1/99".to_owned());
    let record = mark.record("dlq", 4);
    assert_eq!((&*record.topic, record.partition), ("dlq", Some(4)));
    let record = delivered(&record, 7);
    assert_eq!(read(&record), None);
    assert_eq!(Mark::read(&record), Some(mark.clone()));
    let of_letter = &compose(&message(None, Headers::new(), None), &note("x"), "dlq", None)[0];
    assert_eq!(Mark::read(&delivered(of_letter, 0)), None);

    let mut marks = Marks::default();
    marks.add(mark);
    let entry = Entry::from(&letter).marked(&marks);
    assert_eq!(entry.replayed_at.as_deref(), Some("2023-11-14T22:13:22.000Z"));
    assert_eq!(entry.replayed_to.as_deref(), Some("results/1/99"));
    let elsewhere = DeadLetter { offset: letter.offset + 1, ..letter.clone() };
    let mut another = letter;
    another.notes.offset = Some(40);
    for other in [elsewhere, another] {
        assert_eq!(Entry::from(&other).marked(&marks).replayed_at, None, "{other:?}");
    }
}

fn headers() -> impl Strategy<Value = Headers> {
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    prop::collection::vec(("[a-z_]{0,20}", value), 0..60)
        .prop_map(|headers| headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect())
}

proptest! {
    /// Seen to fail with the fold's header block left out, and with the last part dropped.
    #[test]
    fn the_original_comes_back_whatever_its_size_and_the_limit(
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..30_000)),
        headers in headers(),
        payload in prop::option::of(prop::collection::vec(any::<u8>(), 0..80_000)),
        limit in prop::option::of(0..200_000_usize),
        error in "\\PC{0,3000}",
    ) {
        let message = message(key.as_deref(), headers, payload);
        for record in compose(&message, &note(&error), "dlq", limit) {
            prop_assert!(limit.is_none_or(|limit| record_size(&record) <= limit.max(SMALLEST_LIMIT)));
        }
        let letter = round_trip(&message, limit);
        prop_assert_eq!(&letter.original.key, &message.key);
        prop_assert_eq!(&letter.original.payload, &message.payload);
        prop_assert_eq!(letter.original.timestamp_ms, message.timestamp_ms);
        let added = usize::from(message.headers.get("ce_id").is_none());
        let back: Vec<_> = letter.original.headers.iter().collect();
        let sent: Vec<_> = message.headers.iter().collect();
        prop_assert_eq!(&back[..back.len() - added], &sent[..]);
    }

    #[test]
    fn a_record_of_any_headers_is_read_without_a_panic(headers in headers(), payload in prop::option::of(prop::collection::vec(any::<u8>(), 0..100)), part in 0..5_u32, of in 0..5_u32, folded in 0..200_usize) {
        let noted = [("chalk_dlq_schema_version", "1".to_owned()), ("chalk_dlq_part", part.to_string()), ("chalk_dlq_parts", of.to_string()), ("chalk_dlq_folded_bytes", folded.to_string())];
        let all: Headers = headers.iter().chain(noted.iter().map(|(name, value)| (*name, Some(value.as_bytes())))).collect();
        let letter = read(&message(None, all, payload)).expect("it says it is a letter");
        let mut assembler = Assembler::new(1_000);
        let _ = assembler.push(letter);
    }
}
