//! What is published of rows, and that the second writer makes the same rows of it.

use std::sync::Mutex;

use ::arrow::array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;

use super::*;
use crate::bus::{BusError, Placed, Publisher, Undelivered, all_landed};
use crate::config::settings::Environment;
use crate::decode::{Decoded, Decoder};
use crate::message::{Envelope, Partition};
use crate::row::table::{Column, ColumnData, TableColumns, TableRow, When};
use crate::store::StoreLimits;
use crate::value::dtype::DataType;
use crate::value::{Value, Vector};
use crate::writer::destinations::{Destinations, OFFLINE};
use crate::writer::streaming_insert;
use crate::writer::testing::{NOW, SECOND, message, publishes, settings, store};
use crate::writer::{WriterType, outlet::Publishes};

/// Keeps what is published.
#[derive(Default)]
struct Kept {
    kept: Mutex<Vec<Outgoing>>,
    /// What is of this table is not taken now.
    away: Option<&'static str>,
    /// What has this in its body is never taken.
    bad: Option<&'static str>,
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|part| part == text.as_bytes())
}

#[async_trait]
impl Publisher for Kept {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        let mut kept = self.kept.lock().expect("no panic");
        let land = |message: &Outgoing| {
            let is = |topic: &str| message.headers.get_str("ce_id").is_some_and(|id| id.contains(topic));
            if self.away.is_some_and(is) {
                return Err(BusError::Unavailable("away".to_owned()));
            }
            if message.payload.as_ref().is_some_and(|body| self.bad.is_some_and(|bad| contains(body, bad))) {
                return Err(BusError::Refused("not this one".to_owned()));
            }
            kept.push(message.clone());
            Ok(Placed { partition: Partition { topic: "inserts".into(), number: 0 }, offset: kept.len() as i64 - 1 })
        };
        all_landed(messages.iter().map(land).collect())
    }
}

struct Stage {
    _folder: tempfile::TempDir,
    sink: Republish,
    kept: Arc<Kept>,
}

/// A first writer in front of a lake, whose topic takes messages of so many bytes.
fn stage(limit: Option<usize>, most_unpacked: usize) -> Stage {
    stage_before(limit, most_unpacked, Kept::default())
}

fn stage_before(limit: Option<usize>, most_unpacked: usize, kept: Kept) -> Stage {
    let folder = tempfile::tempdir().expect("a folder");
    let uri = format!("file://{}", folder.path().join("lake").display());
    let limits = StoreLimits { concurrency: 1, memory_limit: 64 << 20, ..StoreLimits::default() };
    let kept = Arc::new(kept);
    let publishes = Publishes { most_unpacked, ..publishes("inserts") };
    let outlet = Outlet::new(Arc::clone(&kept) as Arc<dyn Publisher>, publishes, limit);
    let sink = Republish { store: store::OFFLINE.open(&StoreOptions::of(&uri, limits)).expect("a lake"), outlet };
    Stage { _folder: folder, sink, kept }
}

impl Stage {
    async fn write(&self, rows: &[TableRows]) -> Outcome {
        let rows: Vec<&TableRows> = rows.iter().collect();
        self.sink.write(Write { id: "w", rows: &rows, concurrency: 1 }).await.expect("published")
    }

    fn messages(&self) -> Vec<Outgoing> {
        self.kept.kept.lock().expect("no panic").clone()
    }

    /// What the second writer makes of them: rows by column, nulls left out.
    fn inserted(&self) -> Vec<(String, Vec<(String, Value)>)> {
        self.messages().iter().flat_map(inserted).collect()
    }
}

fn decoded(published: &Outgoing) -> Decoded<TableRows> {
    let environment = Environment { offline_store: Some(store("file:./lake")), ..Environment::default() };
    let settings = settings(WriterType::OFFLINE_STORE_STREAMING_INSERT, &[("*", environment)]);
    let destinations = Destinations::plan(&settings.environments, &OFFLINE).expect("a store");
    let mut decoded = Decoded::default();
    let mut message = message(&[]);
    (message.headers, message.payload) = (published.headers.clone(), published.payload.clone());
    streaming_insert::decoder(&settings, &destinations, Arc::new(|| NOW)).decode(&message, &mut decoded);
    assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
    decoded
}

fn inserted(published: &Outgoing) -> Vec<(String, Vec<(String, Value)>)> {
    let row = |row: TableRow| {
        let named = row.shape.columns.iter().zip(&row.values).filter(|(_, value)| **value != Value::Null);
        let named = named.map(|(column, value)| (column.name.to_string(), value.clone()));
        (row.shape.table.to_string(), named.collect())
    };
    let rows = decoded(published).rows.into_iter();
    rows.flat_map(|rows| match rows {
        TableRows::Row(one) => vec![row(one)],
        TableRows::Columns(columns) => columns.each(0, columns.rows).map(row).collect(),
    })
    .collect()
}

/// A table as the decoder of results makes them, of these columns.
fn shape(table: &'static str, columns: &[(&'static str, Option<&str>)]) -> Arc<Shape> {
    let system =
        [("__observation_id__", Some("string")), ("__environment__", Some("string")), ("__ts__", Some("timestamp"))];
    let columns = system.iter().chain(columns).map(|(name, data_type)| Column {
        name: (*name).into(),
        data_type: data_type.map(|text| text.parse::<DataType>().expect("a type")),
    });
    Arc::new(Shape {
        schema: None,
        table: table.into(),
        columns: columns.collect(),
        time: When::Column(2),
        name: 0,
        key: vec![0],
        repeats: Repeats::First,
        create: true,
        of: crate::row::table::Of::History,
    })
}

fn row(shape: &Arc<Shape>, id: &str, environment: &'static str, values: impl IntoIterator<Item = Value>) -> TableRows {
    let system = [Value::text(id.to_owned()), Value::text(environment), Value::Timestamp(NOW)];
    TableRows::Row(TableRow {
        destination: 0,
        shape: Arc::clone(shape),
        values: system.into_iter().chain(values).collect(),
    })
}

fn envelope(published: &Outgoing) -> (String, String, Option<i64>) {
    let mut message = message(&[]);
    message.headers = published.headers.clone();
    let envelope = Envelope::read(&message, EventType::Usage).expect("sound");
    assert_eq!(
        (envelope.event_type(), envelope.source),
        (Some(EventType::StreamingInsert), Some("chalk-writer/chalk-writer"))
    );
    (envelope.id().into_owned(), envelope.environment.unwrap_or_default().to_owned(), envelope.time)
}

#[tokio::test]
async fn each_table_of_each_environment_is_one_body_and_a_repetition_has_the_same_ids() {
    let (user, card) = (shape("user", &[("n", None)]), shape("card.v2", &[("n", None)]));
    let rows = [
        row(&user, "1", "prod", [Value::Int(1)]),
        row(&card, "2", "prod", [Value::Int(2)]),
        row(&user, "3", "dev", [Value::Int(3)]),
        row(&user, "4", "prod", [Value::Int(4)]),
    ];
    let stage = stage(None, 64 << 20);
    let outcome = stage.write(&rows).await;
    assert_eq!((outcome.stored, outcome.refused.len()), (4, 0));
    let said: Vec<_> = stage.messages().iter().map(envelope).collect();
    let id = |environment: &str, table: &str| (format!("w/{environment}/{table}/0"), environment.to_owned(), Some(NOW));
    assert_eq!(said, [id("prod", "user"), id("dev", "user"), id("prod", "card.v2")]);
    let attributes: Vec<_> =
        stage.messages().iter().map(|message| InsertAttributes::read(&message.headers).expect("sound")).collect();
    assert_eq!(
        (attributes[0].mode, attributes[0].create, &*attributes[2].table.table),
        (WriteMode::Append, true, "card.v2")
    );
    assert_eq!(attributes[0].schema_hash, attributes[1].schema_hash);
    let tables: Vec<_> = stage.inserted().into_iter().map(|(table, _)| table).collect();
    assert_eq!(tables, ["user", "user", "user", "card.v2"]);
    stage.write(&rows).await;
    let again: Vec<_> = stage.messages()[3..].iter().map(envelope).collect();
    assert_eq!(again, said);
}

#[tokio::test]
async fn of_a_write_whose_messages_did_not_all_land_only_the_others_are_to_be_repeated() {
    let (user, card) = (shape("user", &[("n", None)]), shape("card", &[("n", None)]));
    let rows = [
        row(&user, "1", "prod", [Value::Int(1)]),
        row(&card, "2", "prod", [Value::Int(2)]),
        row(&user, "3", "dev", [Value::Int(3)]),
    ];
    let stage = stage_before(None, 64 << 20, Kept { away: Some("card"), ..Kept::default() });
    let outcome = stage.write(&rows).await;
    assert_eq!((outcome.stored, outcome.again, outcome.refused.len()), (2, vec![1], 0));
    assert!(outcome.reason.is_some_and(|reason| reason.contains("away")));
    assert_eq!(stage.messages().len(), 2);
    let all_away = stage_before(None, 64 << 20, Kept { away: Some("/"), ..Kept::default() });
    let rows: Vec<&TableRows> = rows.iter().collect();
    let error = all_away.sink.write(Write { id: "w", rows: &rows, concurrency: 1 }).await.expect_err("nothing landed");
    assert!(matches!(error, SinkError::Transient { .. }), "{error}");
}

#[tokio::test]
async fn a_row_whose_message_is_never_taken_is_found_and_no_other_is_published_twice() {
    let user = shape("user", &[("text", None)]);
    let text = |at: usize| if at == 5 { "unspeakable".to_owned() } else { format!("t-{at}") };
    let rows: Vec<_> = (0..8).map(|at| row(&user, &at.to_string(), "prod", [Value::text(text(at))])).collect();
    let stage = stage_before(None, 64 << 20, Kept { bad: Some("unspeakable"), ..Kept::default() });
    let outcome = stage.write(&rows).await;
    assert_eq!((outcome.stored, outcome.again.len()), (7, 0));
    let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
    assert_eq!(refused, [(5, ErrorClass::ValueRefused)]);
    let ids = |messages: &[Outgoing]| messages.iter().map(|message| envelope(message).0).collect::<BTreeSet<_>>();
    assert_eq!((stage.inserted().len(), ids(&stage.messages()).len()), (7, stage.messages().len()));
}

#[tokio::test]
async fn a_query_is_upserted_by_what_names_it() {
    let log = crate::writer::offline::query_log::shape();
    let mut values = vec![Value::Null; log.columns.len()];
    (values[0], values[1], values[4]) = (Value::text("op"), Value::text("prod"), Value::Timestamp(NOW));
    let stage = stage(None, 64 << 20);
    stage.write(&[TableRows::Row(TableRow { destination: 0, shape: Arc::clone(&log), values })]).await;
    let attributes = InsertAttributes::read(&stage.messages()[0].headers).expect("sound");
    assert_eq!(
        (attributes.mode, attributes.keys),
        (WriteMode::Upsert, vec!["environment_id".into(), "operation_id".into()])
    );
    assert_eq!(attributes.order.as_deref(), Some("query_timestamp"));
    let decoded = decoded(&stage.messages()[0]);
    let shape = decoded.rows[0].shape();
    let named = |at: &usize| shape.columns[*at].name.to_string();
    assert_eq!(shape.key.iter().map(named).collect::<Vec<_>>(), ["environment_id", "operation_id"]);
    assert_eq!(shape.time.column().map(|at| named(&at)).as_deref(), Some("query_timestamp"));
}

/// Every type of value, alone and with others of its column, in rows and in columns.
#[tokio::test]
async fn every_value_arrives_as_its_table_keeps_it() {
    let columns = [
        ("whole", None),
        ("mixed", None),
        ("text", None),
        ("bytes", None),
        ("day", None),
        ("free", None),
        ("decimal", Some("decimal(10,2)")),
        ("list", None),
        ("struct", None),
        ("half", None),
        ("single", Some("vector<fp32, 2>")),
        ("nothing", None),
        ("date", None),
        ("declared", Some("list<string>")),
    ];
    let open = shape("user", &columns);
    let half = Value::Vector(Arc::new(Vector::Fp16(vec![0x3c00, 0xc000])));
    let single = Value::Vector(Arc::new(Vector::Fp32(vec![0.1, -2.5])));
    let field = |name: &'static str, value: Value| (name.into(), value);
    let one = [
        Value::Int(i64::MIN),
        Value::Int(7),
        Value::text("a"),
        Value::Bytes(Bytes::from_static(b"\0\xff")),
        Value::Date(-1),
        Value::Decimal("1.5".into()),
        Value::Decimal("12.30".into()),
        Value::List(vec![Value::Int(1), Value::Null]),
        Value::Struct(vec![field("a", Value::Int(1))]),
        half.clone(),
        single.clone(),
        Value::Null,
        Value::text("hidden"),
        Value::List(vec![Value::text("x")]),
    ];
    let two = [
        Value::Int(i64::MAX),
        Value::Double(0.5),
        Value::text(""),
        Value::Bytes(Bytes::new()),
        Value::Date(20_000),
        Value::Decimal("-0.001".into()),
        Value::Int(5),
        Value::List(vec![]),
        Value::Struct(vec![field("b", Value::List(vec![Value::Double(f64::NAN)]))]),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::List(vec![]),
    ];
    let stage = stage(None, 64 << 20);
    let outcome = stage.write(&[row(&open, "1", "prod", one), row(&open, "2", "prod", two)]).await;
    assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
    assert_eq!(stage.messages().len(), 1);
    let rows = stage.inserted();
    let found = |at: usize, name: &str| {
        let value = rows[at].1.iter().find(|(known, _)| known == name);
        value.map_or(Value::Null, |(_, value)| value.clone())
    };
    assert_eq!((found(0, "whole"), found(1, "whole")), (Value::Int(i64::MIN), Value::Int(i64::MAX)));
    assert_eq!((found(0, "mixed"), found(1, "mixed")), (Value::Double(7.0), Value::Double(0.5)));
    assert_eq!(
        (found(0, "bytes"), found(1, "bytes")),
        (Value::Bytes(Bytes::from_static(b"\0\xff")), Value::Bytes(Bytes::new()))
    );
    assert_eq!((found(0, "day"), found(0, "date")), (Value::Date(-1), Value::text("hidden")));
    assert_eq!(found(1, "free"), Value::Decimal("-0.001000000000000000".into()));
    assert_eq!(
        (found(0, "decimal"), found(1, "decimal")),
        (Value::Decimal("12.30".into()), Value::Decimal("5.00".into()))
    );
    assert_eq!(
        (found(0, "list"), found(1, "list")),
        (Value::List(vec![Value::Int(1), Value::Null]), Value::List(vec![]))
    );
    assert_eq!(found(0, "struct"), Value::Struct(vec![field("a", Value::Int(1)), field("b", Value::Null)]));
    assert_eq!((found(0, "half"), found(0, "single")), (half, single));
    assert_eq!(found(0, "declared"), Value::List(vec![Value::text("x")]));
    assert!(rows.iter().all(|(_, columns)| columns.iter().all(|(name, _)| name != "nothing")), "{rows:?}");
}

fn in_columns(count: i64) -> TableRows {
    let ids: ArrayRef = Arc::new((0..count).map(|n| Some(format!("c-{n}"))).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let data = vec![
        ColumnData::Array(ids),
        ColumnData::Constant(Value::text("prod")),
        ColumnData::Values((0..count).map(|n| Value::Timestamp(NOW - n * SECOND)).collect()),
        ColumnData::Array(numbers),
    ];
    let shape = shape("user", &[("n", None)]);
    TableRows::Columns(Box::new(TableColumns { destination: 0, shape, rows: count as usize, columns: data }))
}

#[tokio::test]
async fn a_body_that_is_too_large_goes_in_parts_and_a_row_that_is_goes_nowhere() {
    let open = shape("user", &[("n", None), ("text", None)]);
    let noise = |seed: u64, length: usize| {
        let mut random = fastrand::Rng::with_seed(seed);
        Value::text((0..length).map(|_| random.alphanumeric()).collect::<String>())
    };
    let mut rows: Vec<TableRows> = (0..40)
        .map(|n| row(&open, &format!("r-{n}"), "prod", [Value::Int(n), noise(n.unsigned_abs(), 2_000)]))
        .collect();
    rows.push(row(&open, "huge", "prod", [Value::Int(-1), noise(77, 60_000)]));
    rows.push(in_columns(500));
    let stage = stage(Some(20_000), 64 << 20);
    let outcome = stage.write(&rows).await;
    let [(40, refusal)] = &outcome.refused[..] else { panic!("one row: {:?}", outcome.refused) };
    assert_eq!((refusal.class, refusal.row.as_deref()), (ErrorClass::TooLarge, Some("user/huge")));
    assert!(refusal.message.contains("a message of topic `inserts` has room for "), "{refusal}");
    let messages = stage.messages();
    assert!(messages.len() >= 4, "{} messages", messages.len());
    for message in &messages {
        let size = message.payload.as_ref().map_or(0, Bytes::len) + message.headers.size();
        assert!(size < 20_000, "{size} bytes");
    }
    let ids: std::collections::BTreeSet<String> = messages.iter().map(|message| envelope(message).0).collect();
    assert_eq!(ids.len(), messages.len(), "each part has an id of its own");
    let mut numbers: Vec<Value> = stage
        .inserted()
        .into_iter()
        .map(|(_, columns)| columns.into_iter().find(|(name, _)| name == "__observation_id__").expect("an id").1)
        .collect();
    assert_eq!(numbers.len(), 540);
    numbers.sort_by_key(|id| format!("{id:?}"));
    numbers.dedup();
    assert_eq!(numbers.len(), 540);
}

#[tokio::test]
async fn what_the_second_writer_would_not_unpack_goes_in_parts_too() {
    let stage = stage(None, 40_000);
    assert!(stage.write(&[in_columns(5_000)]).await.refused.is_empty());
    assert!(stage.messages().len() > 10, "{}", stage.messages().len());
    assert_eq!(stage.inserted().len(), 5_000);
}

#[tokio::test]
async fn a_row_that_its_table_refuses_is_refused_here_and_the_others_are_published() {
    let typed = shape("user", &[("n", Some("int64"))]);
    let open = shape("user", &[("n", None)]);
    let stage = stage(None, 64 << 20);
    let rows = [row(&typed, "1", "prod", [Value::Int(1)]), row(&open, "2", "prod", [Value::text("x")]), in_columns(3)];
    let outcome = stage.write(&rows).await;
    let refused: Vec<_> = outcome.refused.iter().map(|(at, refusal)| (*at, refusal.class)).collect();
    assert_eq!((refused, outcome.stored), (vec![(1, ErrorClass::TypeMismatch)], 4));
    assert_eq!(stage.inserted().len(), 4);
}
