//! No input makes a decoder panic, and none makes it take more than the message's size explains.

use chalk_writer::proto::writer::v1;
use chalk_writer::result::QueryResult;
use chalk_writer::result::encode::person_json;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::round_trip::result;
use super::{plain, read};

fn encodings(result: &QueryResult) -> [Vec<u8>; 3] {
    let message = v1::QueryResult::from(result);
    [message.encode_to_vec(), serde_json::to_vec(&message).expect("JSON"), person_json(&message).expect("JSON")]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read(bytes);
    }

    #[test]
    fn anything_like_json_is_read_or_refused(text in r#"[\[\]{}",:a-c0-9.eE+\\ u-]{0,80}"#) {
        let _ = read(format!("{{\"tables\": {text}"));
        let _ = read(format!("{{\"tables\": [{{\"namespace\": \"u\", \"rows\": {{\"rows\": [{{\"id\": 1, \"features\": {{\"a\": {text}"));
    }

    #[test]
    fn a_message_cut_anywhere_is_read_or_refused(result in result(), at in any::<prop::sample::Index>()) {
        for encoding in encodings(&result) {
            let _ = read(encoding[..at.index(encoding.len() + 1)].to_vec());
        }
    }

    #[test]
    fn a_message_with_bytes_changed_is_read_or_refused(
        result in result(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for mut encoding in encodings(&result) {
            for (at, byte) in &changes {
                if let Some(place) = encoding.len().checked_sub(1).map(|last| at.index(last + 1)) {
                    encoding[place] = *byte;
                }
            }
            let _ = read(encoding);
        }
    }

    /// Our reader of the wire and the generated one agree on what is well formed, and what it says.
    #[test]
    fn two_messages_on_the_wire_are_merged_as_the_generated_reader_merges_them(one in result(), two in result()) {
        let mut both = v1::QueryResult::from(&one).encode_to_vec();
        both.extend(v1::QueryResult::from(&two).encode_to_vec());
        let merged = v1::QueryResult::decode(&both[..]).expect("sound");
        let ours = read(both).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
        let theirs = read(merged.encode_to_vec()).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
        prop_assert_eq!(plain(&ours), plain(&theirs));
    }
}

#[test]
fn a_message_cut_at_every_byte_is_refused_or_a_shorter_message() {
    let example = include_bytes!("../../proto/example.json");
    for length in 0..example.len() {
        let cut = read(example[..length].to_vec());
        assert!(cut.is_err() || example[length..].trim_ascii().is_empty(), "cut at {length}");
    }
    let message = v1::QueryResult::from(&super::read_json(std::str::from_utf8(example).expect("text")));
    let bytes = message.encode_to_vec();
    for length in 0..bytes.len() {
        let ours = read(bytes[..length].to_vec()).is_ok();
        let theirs = length > 0 && v1::QueryResult::decode(&bytes[..length]).is_ok();
        assert_eq!(ours, theirs, "cut at {length}");
    }
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // Two gigabytes of text in six bytes.
    assert!(read(vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]).is_err());
}

#[test]
fn many_columns_and_many_keys_are_read_in_linear_time() {
    let features: Vec<String> = (0..100_000).map(|at| format!("\"u.f{at}\": {at}")).collect();
    let reversed: Vec<String> = features.iter().rev().cloned().collect();
    let (features, reversed) = (features.join(","), reversed.join(","));
    let meta = features.replace(": ", ": {\"source_type\": ").replace(',', "},") + "}";
    let text = format!(
        r#"{{"tables": [{{"namespace": "u", "rows": {{"rows": [{{"id": 1, "features": {{{features}}}}},
           {{"id": 2, "meta": {{{meta}}}, "features": {{{reversed}}}}}]}}}}], "other": {{{features}}}}}"#
    );
    let started = std::time::Instant::now();
    let result = read(text).expect("sound");
    // Quadratic, this would be 10^10 comparisons: minutes.
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(plain(&result).lines().count(), 200_004);
}
