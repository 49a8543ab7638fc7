//! What was read before makes reading faster and changes nothing: messages alike are read as the first one was.

use std::thread;

use chalk_writer::proto::writer::v1;
use chalk_writer::result::QueryResult;
use chalk_writer::result::encode::person_json;
use chalk_writer::sink::Refusal;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::round_trip::result;
use super::{plain, read, read_json};

/// More messages than it takes for columns to be remembered, whatever was read in the thread before.
const OFTEN: usize = 9;

/// The message as text, or why it is refused.
fn said(read: Result<QueryResult, Refusal>) -> String {
    read.map_or_else(|refusal| refusal.to_string(), |result| plain(&result))
}

/// The message as a thread reads it that has read `before`, so often that it remembers.
fn read_after(before: Option<&[u8]>, message: &[u8]) -> String {
    let before = before.map(<[u8]>::to_vec);
    let message = message.to_vec();
    let reader = thread::spawn(move || {
        for _ in 0..OFTEN {
            if let Some(before) = &before {
                drop(read(before.clone()));
            }
        }
        said(read(message))
    });
    reader.join().expect("no panic")
}

/// A message in every encoding: as ours are, and as Python's `json.dumps` writes them.
fn encodings(result: &QueryResult) -> [Vec<u8>; 4] {
    let message = v1::QueryResult::from(result);
    let person = person_json(&message).expect("JSON");
    let value: serde_json::Value = serde_json::from_slice(&person).expect("JSON");
    let spaced = serde_json::to_vec_pretty(&value).expect("JSON");
    [message.encode_to_vec(), serde_json::to_vec(&message).expect("JSON"), person, spaced]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_message_says_the_same_whatever_was_read_before(
        result in result(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        for encoding in encodings(&result) {
            let mut changed = encoding.clone();
            for (at, byte) in &changes {
                let at = at.index(changed.len());
                changed[at] = *byte;
            }
            if let Some(cut) = &cut {
                changed.truncate(cut.index(changed.len()));
            }
            let fresh = read_after(None, &changed);
            prop_assert_eq!(&read_after(Some(&encoding), &changed), &fresh);
        }
    }
}

/// Messages that begin as the ones before them and go on otherwise.
#[test]
fn columns_that_are_more_or_fewer_or_others_than_before_are_read_as_they_are() {
    let json = |features: &str| {
        let table = format!(r#"{{"namespace": "u", "rows": {{"rows": [{{"id": 1, "features": {{{features}}}}}]}}}}"#);
        format!(r#"{{"environment_id": "prod", "tables": [{table}]}}"#)
    };
    let known = json(r#""u.a": 1, "u.b": 2, "u.c": 3"#);
    for features in [
        r#""u.a": 1, "u.b": 2, "u.c": 3"#,
        r#""u.a":1,"u.b":2,"u.c":3"#,
        r#""u.a" : 1 ,  "u.b" : 2 , "u.c" : 3 "#,
        r#""u.a": 1, "u.b": 2"#,
        r#""u.a": 1, "u.b": 2, "u.c": 3, "u.d": 4"#,
        r#""u.a": 1, "u.c": 2, "u.b": 3"#,
        r#""u.a": 1, "u.bb": 2, "u.c": 3"#,
        r#""u.a": 1, "u.b": 2, "u.a": 3"#,
        r#""u.a": 1, "u.b": 2, "u.b": 3"#,
        r#""u.a": 1, "u.b": {"x": }, "u.c": 3"#,
        r#""u.a": 1, "u.b", "u.c": 3"#,
        r#""u.a": 1 "u.b": 2"#,
        r#""u.a": 1,, "u.b": 2"#,
        r#""u.a": 1,"#,
        "",
    ] {
        let message = json(features);
        let fresh = read_after(None, message.as_bytes());
        assert_eq!(read_after(Some(known.as_bytes()), message.as_bytes()), fresh, "{features}");
        // The same in protobuf, where it is a message at all.
        if let Ok(result) = read(message) {
            let wire = |result: &QueryResult| v1::QueryResult::from(result).encode_to_vec();
            let fresh = read_after(None, &wire(&result));
            assert_eq!(read_after(Some(&wire(&read_json(known.clone()))), &wire(&result)), fresh, "{features}");
        }
    }
}

/// A name that is written with escapes is not to be found in a text that has its bytes without them.
#[test]
fn a_name_with_quotes_in_it_is_told_from_two_names() {
    let json = |features: &str| {
        format!(
            r#"{{"tables": [{{"namespace": "u", "rows": {{"rows": [{{"id": 1, "features": {{{features}}}}}]}}}}]}}"#
        )
    };
    let one = json(r#""u.a": 1, "u.x\":1,\"u.y": 2"#);
    let two = json(r#""u.a": 1,"u.x":1,"u.y": 2"#);
    let said = read_after(Some(one.as_bytes()), two.as_bytes());
    assert_eq!(said, read_after(None, two.as_bytes()));
    assert_eq!(said.lines().filter(|line| line.starts_with("  u.")).count(), 3, "{said}");
}
