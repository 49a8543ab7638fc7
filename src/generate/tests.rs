use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::message::{Delivery, Envelope, EventType, Message, Outgoing, Partition};
use crate::result::arrow;
use crate::result::{QueryResult, Source, TableBody, Wanted, decode};
use crate::value::Value;

fn read(outgoing: &Outgoing) -> QueryResult {
    let message = Message {
        delivery: Delivery(0),
        partition: Partition { topic: Arc::from(outgoing.topic.as_str()), number: 0 },
        offset: 0,
        timestamp_ms: outgoing.timestamp_ms,
        key: outgoing.key.clone(),
        headers: outgoing.headers.clone(),
        payload: outgoing.payload.clone(),
    };
    let envelope = Envelope::read(&message, EventType::Result).expect("an envelope");
    let mut result = QueryResult::default();
    decode(&message, &envelope, Wanted::ALL, 64 << 20, &mut result).expect("a result");
    result
}

fn some(seed: u64, options: &Options) -> Vec<Outgoing> {
    Generator::new(seed, options.clone()).take(500).collect()
}

#[test]
fn one_seed_gives_the_same_bytes_and_another_seed_others() {
    let bytes = |seed, encoding| {
        let messages = some(seed, &Options { encoding, ..Options::default() });
        messages.into_iter().map(|message| (message.key, message.headers, message.payload)).collect::<Vec<_>>()
    };
    for encoding in [BodyEncoding::Json, BodyEncoding::Arrow] {
        assert_eq!(bytes(1, encoding), bytes(1, encoding));
        assert_ne!(bytes(1, encoding), bytes(2, encoding));
    }
}

#[test]
fn every_encoding_says_the_same() {
    let read_all = |encoding| {
        let options = Options { encoding, ..Options::default() };
        let results: Vec<_> = some(7, &options).iter().map(read).collect();
        format!("{results:?}")
    };
    let protobuf = read_all(BodyEncoding::Protobuf);
    assert_eq!(read_all(BodyEncoding::Json), protobuf);
    assert_eq!(read_all(BodyEncoding::CompactJson), protobuf);
}

#[test]
fn results_in_arrow_form_are_whole_messages_or_tables_of_one() {
    let of = |encoding| some(7, &Options { encoding, ..Options::default() });
    let (mut whole, mut inside) = (0, 0);
    for (arrow, plain) in of(BodyEncoding::Arrow).iter().zip(of(BodyEncoding::Protobuf)) {
        let (arrow, plain) = (read(arrow), read(&plain));
        assert_eq!(format!("{:?}", arrow.query), format!("{:?}", plain.query));
        assert_eq!(
            (arrow.environment_id, arrow.operation_id, arrow.observed_at, arrow.persistence),
            (plain.environment_id, plain.operation_id, plain.observed_at, plain.persistence)
        );
        *(if plain.tables.len() == 1 { &mut whole } else { &mut inside }) += 1;
        for (arrow, plain) in arrow.tables.iter().zip(&plain.tables) {
            assert_eq!(arrow.namespace, plain.namespace);
            let (TableBody::Arrow(ipc), TableBody::Rows { columns, rows }) = (&arrow.body, &plain.body) else {
                panic!("a table in Arrow form, and its rows")
            };
            let mut budget = arrow::Budget::new(1 << 20);
            let table = arrow::table(ipc, &mut budget).expect("sound");
            assert_eq!(table.columns(), &**columns);
            let entities = table.entities(|_| true, &mut budget).expect("sound");
            assert_eq!(format!("{entities:?}"), format!("{rows:?}"));
        }
    }
    assert!(whole > 0 && inside > 0);
}

#[test]
fn results_are_of_several_kinds_and_none_has_a_fault() {
    let options = Options { entities: 20, ..Options::default() };
    let (mut namespaces, mut sources, mut nulls, mut many) = (BTreeSet::new(), BTreeSet::new(), 0, 0);
    let mut last = options.start - 1;
    for message in some(3, &options) {
        let result = read(&message);
        assert_eq!((&*result.environment_id, &*result.deployment_id), ("prod", "dep-1"));
        assert!(result.query.is_some());
        assert!(result.observed_at > Some(last), "event times advance");
        last = result.observed_at.unwrap_or_default();
        many += usize::from(result.tables.len() > 1);
        assert_eq!(message.key.is_some(), result.tables.len() == 1);
        for table in result.tables {
            namespaces.insert(table.namespace.to_string());
            let TableBody::Rows { rows, .. } = table.body else { panic!("rows") };
            for row in rows {
                assert_eq!(row.fault, None);
                for cell in row.cells {
                    nulls += usize::from(cell.value == Value::Null);
                    sources.insert(cell.source.as_str());
                }
            }
        }
    }
    assert_eq!(namespaces.len(), 3);
    assert_eq!(sources.len(), 3);
    assert!(sources.contains(Source::OnlineStore.as_str()));
    assert!(nulls > 0 && many > 0);
}

#[test]
fn a_numbered_message_carries_its_number_and_its_time() {
    let options = Options { shape: Shape::Numbered, entities: 5, envelope: false, ..Options::default() };
    for (number, message) in some(9, &options).iter().enumerate() {
        assert!(message.headers.is_empty());
        let result = read(message);
        let TableBody::Rows { columns, rows } = &result.tables[0].body else { panic!("rows") };
        let Value::Int(entity @ 0..5) = rows[0].id else { panic!("an entity") };
        assert_eq!(**columns, ["user.seq"]);
        assert_eq!(rows[0].cells[0].value, Value::Int(number as i64));
        assert_eq!(rows[0].observed_at, Some(options.start + number as i64));
        assert_eq!(message.key.as_deref(), Some(format!("prod/user/{entity}").as_bytes()));
    }
}

#[test]
fn one_seed_makes_the_same_messages_and_files_of_every_kind_and_another_seed_others() {
    for kind in Kind::ALL {
        let made = |seed, encoding| {
            let options = Options { encoding, ..Options::default() };
            let messages = Messages::new(kind, seed, options, "/files".into()).take(20);
            let bytes = |made: Made| (made.message.key, made.message.headers, made.message.payload, made.files);
            messages.map(bytes).collect::<Vec<_>>()
        };
        for encoding in [BodyEncoding::Json, BodyEncoding::Protobuf] {
            let messages = made(1, encoding);
            assert_eq!(messages, made(1, encoding), "{kind:?}");
            assert_ne!(messages, made(2, encoding), "{kind:?}");
            assert_eq!(messages.iter().any(|(.., files)| !files.is_empty()), kind == Kind::BulkInsert);
            for (_, headers, body, _) in &messages {
                assert_eq!(headers.get_str("ce_type"), Some(kind.event_type().as_str()));
                assert!(body.as_ref().is_some_and(|body| !body.is_empty()), "{kind:?}");
            }
        }
    }
}
