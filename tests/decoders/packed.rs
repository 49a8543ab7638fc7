//! Bodies with headers: what is packed says what it said before, and no header or body makes a decoder panic or
//! unpack more than it may.

use chalk_writer::message::{Envelope, EventType, Headers, Message};
use chalk_writer::proto::writer::v1;
use chalk_writer::result::arrow::encode::{self, Form};
use chalk_writer::result::encode::person_json;
use chalk_writer::result::unpack::Compression;
use chalk_writer::result::{Cell, EntityRow, FeatureTable, QueryResult, Source, TableBody, Wanted, decode};
use chalk_writer::sink::Refusal;
use chalk_writer::value::Value;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::round_trip::result;
use super::{message, plain};

const LIMIT: usize = 1 << 20;

const TYPES: [&str; 5] = [
    "application/json",
    "application/protobuf",
    "application/vnd.apache.arrow.file",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
];

/// How packages and files begin.
const BEGINNINGS: [&[u8]; 7] =
    [b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"\x04\x22\x4d\x18", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"PAR1"];

/// The result, and how many bytes were unpacked for it.
fn read(
    body: Vec<u8>,
    content_type: Option<&str>,
    content_encoding: Option<&str>,
) -> Result<(QueryResult, usize), Refusal> {
    let named = [("content-type", content_type), ("content-encoding", content_encoding)];
    let headers: Headers = named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let message = Message { headers, ..message(body) };
    let envelope = Envelope::read(&message, EventType::Result)?;
    let mut result = QueryResult::default();
    let unpacked = decode(&message, &envelope, Wanted::ALL, LIMIT, &mut result)?;
    assert!(unpacked <= LIMIT, "{unpacked} bytes unpacked");
    Ok((result, unpacked))
}

fn compression() -> impl Strategy<Value = (&'static str, Compression)> {
    prop::sample::select(Compression::ALL.to_vec())
}

/// A table in which every column has values of one type, or none.
fn typed() -> impl Strategy<Value = FeatureTable> {
    let column = |rows: usize| {
        prop_oneof![
            vec(option::of(any::<i64>().prop_map(Value::Int)), rows),
            vec(option::of((-1e300..1e300_f64).prop_map(Value::Double)), rows),
            vec(option::of(any::<bool>().prop_map(Value::Bool)), rows),
            vec(option::of(any::<String>().prop_map(Value::text)), rows),
            vec(option::of(vec(any::<i64>().prop_map(Value::Int), 1..4).prop_map(Value::List)), rows),
        ]
    };
    (1..9_usize, 1..6_usize).prop_flat_map(move |(rows, width)| {
        (vec(any::<i64>(), rows), vec(column(rows), width)).prop_map(|(ids, columns)| {
            let names: Vec<_> = (0..columns.len()).map(|at| format!("user.f{at}").into()).collect();
            let cells = |row: usize| {
                let cells = columns.iter().enumerate().map(move |(column, values)| Cell {
                    column,
                    value: values[row].clone().unwrap_or(Value::Null),
                    source: Source::Unknown,
                    source_id: None,
                });
                cells.collect()
            };
            let row = |(row, id): (usize, i64)| EntityRow {
                id: Value::Int(id),
                observed_at: None,
                cells: cells(row),
                fault: None,
            };
            let rows = ids.into_iter().enumerate().map(row).collect();
            FeatureTable { namespace: "user".into(), body: TableBody::Rows { columns: names.into(), rows } }
        })
    })
}

/// A result in every encoding, each with the content type that it has.
fn encodings(result: &QueryResult, table: &FeatureTable) -> Vec<(Vec<u8>, &'static str)> {
    let message = v1::QueryResult::from(result);
    let arrow = QueryResult { tables: vec![table.clone()], ..result.clone() };
    let mut all = vec![
        (serde_json::to_vec(&message).expect("JSON"), TYPES[0]),
        (person_json(&message).expect("JSON"), TYPES[0]),
        (message.encode_to_vec(), TYPES[1]),
    ];
    for (form, content_type) in [(Form::File, TYPES[2]), (Form::Stream, TYPES[3])] {
        all.push((encode::message(&arrow, form).expect("encoded"), content_type));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_says_what_it_said(
        result in result(), table in typed(), (name, compression) in compression(), says_its_type in any::<bool>(),
    ) {
        for (body, content_type) in encodings(&result, &table) {
            let content_type = says_its_type.then_some(content_type);
            let (plainly, nothing) = read(body.clone(), content_type, None).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
            let packed = compression.pack(&body).expect("packed");
            let (packed, unpacked) = read(packed, content_type, Some(name)).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
            prop_assert_eq!(plain(&packed), plain(&plainly));
            prop_assert_eq!((unpacked, nothing), (body.len(), 0));
        }
    }

    #[test]
    fn a_table_is_read_back_from_either_form_of_arrow(table in typed()) {
        let TableBody::Rows { rows, .. } = &table.body else { panic!("rows") };
        let batch = encode::batch(&table).expect("columns of one type");
        for form in [Form::File, Form::Stream] {
            let ipc = encode::ipc(&batch, std::collections::BTreeMap::new(), form).expect("encoded").into();
            let mut budget = chalk_writer::result::arrow::Budget::new(LIMIT);
            let found = chalk_writer::result::arrow::table(&ipc, &mut budget)
                .and_then(|table| table.entities(|_| true, &mut budget))
                .map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
            prop_assert_eq!(format!("{found:?}"), format!("{rows:?}"));
        }
    }

    #[test]
    fn any_bytes_under_any_header_are_read_or_refused(
        bytes in vec(any::<u8>(), 0..300),
        begins in prop::sample::select(BEGINNINGS.to_vec()),
        content_type in option::of(prop_oneof![prop::sample::select(TYPES.to_vec()).prop_map(str::to_owned), any::<String>()]),
        content_encoding in option::of(prop_oneof![compression().prop_map(|(name, _)| name.to_owned()), any::<String>()]),
    ) {
        let _ = read([begins, &bytes].concat(), content_type.as_deref(), content_encoding.as_deref());
    }

    #[test]
    fn packed_bodies_changed_and_cut_are_read_or_refused(
        result in result(),
        table in typed(),
        (name, compression) in compression(),
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
        before in any::<bool>(),
    ) {
        let mut encodings = encodings(&result, &table);
        let (body, content_type) = encodings.swap_remove(which.index(encodings.len()));
        let spoil = |mut bytes: Vec<u8>| {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            bytes
        };
        // Either what is packed, or the package.
        let packed = if before { compression.pack(&spoil(body)).expect("packed") } else { spoil(compression.pack(&body).expect("packed")) };
        let _ = read(packed, Some(content_type), Some(name));
    }
}
