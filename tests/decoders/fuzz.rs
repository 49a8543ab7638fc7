//! No input makes a decoder panic, and none makes it take more than the message's size explains.

use chalk_writer::proto::writer::v1;
use chalk_writer::result::encode::person_json;
use chalk_writer::result::{QueryResult, TableBody};
use chalk_writer::value::Value;
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
        let _ = read(format!("{{\"errors\": [{{\"exception\": {{\"kind\": {text}"));
        let _ = read(format!("{{\"resolver_runs\": [{{\"rows\": {text}"));
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
    // Quadratic, this would be 10^10 comparisons: minutes.
    let result = read(text).expect("sound");
    assert_eq!(plain(&result).lines().count(), 200_004);
}

#[test]
fn rows_with_next_to_nothing_in_them_take_next_to_nothing() {
    // Sixty-four columns, then rows of two bytes on the wire and of sixteen in JSON.
    let columns: Vec<String> = (0..64).map(|at| format!("u.f{at}")).collect();
    let rows = v1::Rows { columns: columns.clone(), rows: vec![v1::Row::default(); 10_000] };
    let body = Some(v1::feature_table::Body::Rows(rows));
    let table = v1::FeatureTable { namespace: "u".to_owned(), body };
    let message = v1::QueryResult { tables: vec![table], ..v1::QueryResult::default() };
    let rows = vec![r#"{"features":{}}"#; 10_000].join(",");
    let text = format!(r#"{{"tables": [{{"namespace": "u", "rows": {{"columns": {columns:?}, "rows": [{rows}]}}}}]}}"#);
    for body in [message.encode_to_vec(), text.into_bytes()] {
        let result = read(body).expect("rows with faults");
        let TableBody::Rows { rows, .. } = &result.tables[0].body else { panic!("rows") };
        assert_eq!(rows.len(), 10_000);
        assert!(rows.iter().all(|row| row.cells.capacity() == 0));
    }
}

#[test]
fn a_struct_in_a_million_pieces_is_merged_in_linear_time() {
    // `struct_value` again and again in one value, each with one field of its own name.
    let mut value = Vec::new();
    for at in 0..200_000 {
        let fields = vec![v1::StructField { name: at.to_string(), value: None }];
        let kind = Some(v1::value::Kind::StructValue(v1::StructValue { fields }));
        value.extend(v1::Value { kind }.encode_to_vec());
    }
    let wrap = |number: u32, content: &[u8]| {
        let mut field = Vec::new();
        prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut field);
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        field.extend(content);
        field
    };
    let mut row = wrap(4, &value);
    row.extend(wrap(1, b"id"));
    let mut rows = wrap(1, b"u.a");
    rows.extend(wrap(2, &row));
    let mut table = wrap(1, b"u");
    table.extend(wrap(2, &rows));
    let started = std::time::Instant::now();
    let result = read(wrap(6, &table)).expect("sound");
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    let TableBody::Rows { rows, .. } = &result.tables[0].body else { panic!("rows") };
    assert!(matches!(&rows[0].cells[0].value, Value::Struct(fields) if fields.len() == 200_000));
}
