//! Tables in Arrow form: every type, and nothing that a stranger can make of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType as Arrow, Field, Fields, Float16Type, Int8Type, IntervalUnit, Schema, TimeUnit, UInt32Type, i256,
};
use arrow::ipc::convert::IpcSchemaEncoder;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::ipc::{
    self, CompressionType, FieldBuilder, FooterBuilder, MessageBuilder, MessageHeader, MetadataVersion, NullBuilder,
    SchemaBuilder,
};
use bytes::Bytes;
use chalk_writer::result::arrow::encode::{self, Form};
use chalk_writer::result::arrow::{Budget, table};
use chalk_writer::result::{EntityRow, FeatureTable, QueryResult, TableBody};
use chalk_writer::sink::{ErrorClass, Refusal};
use chalk_writer::value::{Value, Vector};
use flatbuffers::FlatBufferBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{LIMIT, read, read_within};

/// A stream of one batch: keys 1, 2, … and one feature `user.x`.
fn stream_of(column: ArrayRef) -> Bytes {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=column.len() as i64));
    stream(&[("__id__", ids), ("user.x", column)], None)
}

fn batch_of(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.iter().map(|(_, array)| array.clone()).collect())
        .expect("columns of one length")
}

fn stream(columns: &[(&str, ArrayRef)], compression: Option<CompressionType>) -> Bytes {
    let batch = batch_of(columns);
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("known");
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("a schema");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("finished").into()
}

fn file(columns: &[(&str, ArrayRef)], compression: Option<CompressionType>) -> Vec<u8> {
    let batch = batch_of(columns);
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("known");
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("a schema");
    writer.write(&batch).expect("written");
    writer.write(&batch.slice(0, batch.num_rows() / 2)).expect("written");
    writer.into_inner().expect("finished")
}

fn entities(ipc: &Bytes) -> Result<Vec<EntityRow>, Refusal> {
    let mut budget = Budget::new(LIMIT);
    table(ipc, &mut budget)?.entities(|_| true, &mut budget)
}

/// What each row has in `user.x`: a value, or a fault.
fn cells(column: ArrayRef) -> Vec<Result<Value, String>> {
    let rows = entities(&stream_of(column)).expect("sound");
    rows.into_iter()
        .map(|mut row| match row.fault {
            Some(fault) => Err(fault),
            None => Ok(row.cells.remove(0).value),
        })
        .collect()
}

fn values(column: impl Array + 'static) -> Vec<Value> {
    cells(Arc::new(column)).into_iter().map(|cell| cell.expect("no fault")).collect()
}

fn fault(column: impl Array + 'static) -> String {
    let mut cells = cells(Arc::new(column));
    cells.pop().expect("a row").expect_err("a fault")
}

#[test]
fn every_type_has_its_value() {
    let int = |n: i64| vec![Value::Int(n), Value::Null];
    assert_eq!(values(Int8Array::from(vec![Some(i8::MIN), None])), int(i8::MIN.into()));
    assert_eq!(values(Int16Array::from(vec![Some(i16::MIN), None])), int(i16::MIN.into()));
    assert_eq!(values(Int32Array::from(vec![Some(i32::MIN), None])), int(i32::MIN.into()));
    assert_eq!(values(Int64Array::from(vec![Some(i64::MIN), None])), int(i64::MIN));
    assert_eq!(values(UInt8Array::from(vec![Some(u8::MAX), None])), int(u8::MAX.into()));
    assert_eq!(values(UInt16Array::from(vec![Some(u16::MAX), None])), int(u16::MAX.into()));
    assert_eq!(values(UInt32Array::from(vec![Some(u32::MAX), None])), int(u32::MAX.into()));
    assert_eq!(values(UInt64Array::from(vec![Some(i64::MAX as u64), None])), int(i64::MAX));
    let double = |n: f64| vec![Value::Double(n), Value::Null];
    assert_eq!(values(Float16Array::from(vec![Some(half::f16::from_f32(0.5)), None])), double(0.5));
    assert_eq!(values(Float32Array::from(vec![Some(0.1), None])), double(f64::from(0.1_f32)));
    assert_eq!(values(Float64Array::from(vec![Some(0.1), None])), double(0.1));
    assert_eq!(values(BooleanArray::from(vec![Some(true), None])), [Value::Bool(true), Value::Null]);
    assert_eq!(values(NullArray::new(2)), [Value::Null, Value::Null]);

    let text = [Value::text("é 🦀"), Value::Null, Value::text("")];
    let texts = [Some("é 🦀"), None, Some("")];
    assert_eq!(values(StringArray::from(texts.to_vec())), text);
    assert_eq!(values(LargeStringArray::from(texts.to_vec())), text);
    assert_eq!(values(StringViewArray::from(texts.to_vec())), text);
    assert_eq!(values(DictionaryArray::<Int8Type>::from_iter(texts)), text);
    let bytes = [Value::Bytes(vec![0, 255].into()), Value::Null];
    let blobs: Vec<Option<&[u8]>> = vec![Some(&[0, 255]), None];
    assert_eq!(values(BinaryArray::from(blobs.clone())), bytes);
    assert_eq!(values(LargeBinaryArray::from(blobs.clone())), bytes);
    assert_eq!(values(BinaryViewArray::from(blobs.clone())), bytes);
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(blobs.into_iter(), 2).expect("of two bytes");
    assert_eq!(values(fixed), bytes);

    let time = [Value::Timestamp(1_795_372_320_000_000), Value::Null, Value::Timestamp(-1_000_000)];
    let seconds = [Some(1_795_372_320), None, Some(-1)];
    let scaled = |by: i64| seconds.map(|second| second.map(|second| second * by)).to_vec();
    assert_eq!(values(TimestampSecondArray::from(scaled(1))), time);
    assert_eq!(values(TimestampMillisecondArray::from(scaled(1_000)).with_timezone("+05:30")), time);
    assert_eq!(values(TimestampMicrosecondArray::from(scaled(1_000_000)).with_timezone("Asia/Kolkata")), time);
    assert_eq!(values(TimestampNanosecondArray::from(scaled(1_000_000_000))), time);
    assert_eq!(values(TimestampNanosecondArray::from(vec![1_999, -1])), [Value::Timestamp(1), Value::Timestamp(-1)]);
    assert_eq!(values(Date32Array::from(vec![Some(-719_162), None])), [Value::Date(-719_162), Value::Null]);
    assert_eq!(values(Date64Array::from(vec![Some(-86_400_000), None])), [Value::Date(-1), Value::Null]);

    let decimal = |text: &'static str| [Value::Decimal(text.into()), Value::Null];
    let of =
        |precision, scale| Decimal128Array::from(vec![Some(-1234), None]).with_precision_and_scale(precision, scale);
    assert_eq!(values(of(6, 2).expect("sound")), decimal("-12.34"));
    assert_eq!(values(of(6, -2).expect("sound")), decimal("-123400"));
    let wide = Decimal256Array::from(vec![Some(i256::from_string(&"9".repeat(60)).expect("a number")), None]);
    let wide = wide.with_precision_and_scale(60, 1).expect("sound");
    assert_eq!(values(wide)[0], Value::Decimal(format!("{}.9", "9".repeat(59)).into()));
    let narrow = Decimal32Array::from(vec![Some(5), None]).with_precision_and_scale(4, 3).expect("sound");
    assert_eq!(values(narrow), decimal("0.005"));
    let narrow = Decimal64Array::from(vec![Some(5), None]).with_precision_and_scale(12, 0).expect("sound");
    assert_eq!(values(narrow), decimal("5"));
}

#[test]
fn nested_types_have_theirs() {
    let list = |items: &[i64]| Value::List(items.iter().map(|n| Value::Int(*n)).collect());
    let lists = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![])];
    let expected = [list(&[1, 2]), Value::Null, list(&[])];
    assert_eq!(values(ListArray::from_iter_primitive::<UInt32Type, _, _>(lists.clone())), expected);
    assert_eq!(values(LargeListArray::from_iter_primitive::<UInt32Type, _, _>(lists)), expected);
    let pairs = FixedSizeListArray::from_iter_primitive::<Int8Type, _, _>([Some(vec![Some(1), None]), None], 2);
    assert_eq!(values(pairs), [Value::List(vec![Value::Int(1), Value::Null]), Value::Null]);

    let halves = [Some(vec![Some(half::f16::ONE), Some(half::f16::NEG_ONE)]), None];
    let vectors = FixedSizeListArray::from_iter_primitive::<Float16Type, _, _>(halves, 2);
    assert_eq!(values(vectors), [Value::Vector(Arc::new(Vector::Fp16(vec![0x3c00, 0xbc00]))), Value::Null]);
    let holed = FixedSizeListArray::from_iter_primitive::<arrow::datatypes::Float32Type, _, _>(
        [Some(vec![Some(1.0), None])],
        2,
    );
    assert_eq!(fault(holed), "`user.x`: [1]: a vector has no nulls");

    let fields: Fields = vec![Field::new("a", Arrow::UInt8, true), Field::new("b", Arrow::LargeUtf8, true)].into();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(UInt8Array::from(vec![Some(1), None])), Arc::new(LargeStringArray::from(vec!["x", "y"]))];
    let record = StructArray::new(fields, columns, Some(NullBuffer::from(vec![true, false])));
    let expected = Value::Struct(vec![("a".into(), Value::Int(1)), ("b".into(), Value::text("x"))]);
    assert_eq!(values(record.clone()), [expected.clone(), Value::Null]);
    // A has-many feature inside its row.
    let field = Arc::new(Field::new("item", record.data_type().clone(), true));
    let many = ListArray::new(field, OffsetBuffer::new(vec![0, 2].into()), Arc::new(record), None);
    assert_eq!(values(many), [Value::List(vec![expected, Value::Null])]);

    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).expect("as many keys as values");
    let entry = Value::Struct(vec![("key".into(), Value::text("k")), ("value".into(), Value::Int(7))]);
    assert_eq!(values(map.finish()), [Value::List(vec![entry])]);
}

#[test]
fn what_no_value_can_be_is_a_fault_of_its_row_alone() {
    let column = Arc::new(UInt64Array::from(vec![Some(1), None, Some(u64::MAX)]));
    let cells = cells(column);
    assert_eq!(cells[..2], [Ok(Value::Int(1)), Ok(Value::Null)]);
    assert_eq!(cells[2], Err("`user.x`: integer 18446744073709551615 does not fit 64 bits".to_owned()));
    for (found, expected) in [
        (fault(TimestampSecondArray::from(vec![i64::MAX])), "timestamp 9223372036854775807, of 1 a second, is outside"),
        (fault(TimestampMicrosecondArray::from(vec![i64::MIN])), "is outside the years 1 to 9999"),
        (fault(Date32Array::from(vec![i32::MAX])), "day 2147483647 since 1970 is outside the years 1 to 9999"),
        (fault(Date64Array::from(vec![1])), "date 1 is not a whole day in milliseconds"),
        (fault(Time64MicrosecondArray::from(vec![1])), "no value has the Arrow type Time64"),
        (fault(DurationSecondArray::from(vec![1])), "no value has the Arrow type Duration"),
        (fault(IntervalYearMonthArray::from(vec![1])), "no value has the Arrow type Interval"),
        (
            fault(ListArray::from_iter_primitive::<arrow::datatypes::UInt64Type, _, _>([Some(vec![
                Some(1),
                Some(u64::MAX),
            ])])),
            "`user.x`: [1]: integer 18446744073709551615",
        ),
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let too_many = Decimal128Array::from(vec![1000]).with_data_type(Arrow::Decimal128(3, 1));
    assert_eq!(fault(too_many), "`user.x`: 1000 has more digits than Decimal128(3, 1)");
    let _ = (IntervalUnit::DayTime, TimeUnit::Second);
}

#[test]
fn a_key_that_is_none_and_a_table_without_keys_are_refused() {
    let x: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let ids: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let rows = entities(&stream(&[("__id__", ids), ("user.x", x.clone())], None)).expect("sound");
    assert_eq!((&rows[0].id, &rows[1].id), (&Value::text("a"), &Value::Null));
    let refused = |columns: &[(&str, ArrayRef)]| entities(&stream(columns, None)).expect_err("refused").to_string();
    assert_eq!(refused(&[("user.x", x.clone())]), "DECODE: Arrow: no column `__id__`, which has the primary keys");
    assert_eq!(refused(&[("__id__", x.clone()), ("__id__", x.clone())]), "DECODE: Arrow: column `__id__` stands twice");
    let meta = "__chalk__.__result_metadata__.user.x";
    assert!(refused(&[("__id__", x.clone()), ("user.x", x.clone()), (meta, x)]).contains("expected a struct"));
}

#[test]
fn a_message_that_is_one_table_says_the_rest_in_its_schema() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = batch_of(&[("__id__", ids.clone()), ("user.x", ids.clone())]);
    let body = |entries: &[(&str, &str)]| {
        let metadata = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        encode::ipc(&batch, metadata, Form::File).expect("encoded")
    };
    let result = read(body(&[
        ("chalk.environment_id", "prod \"quoted\""),
        ("chalk.operation_id", "op"),
        ("chalk.operation_kind", "OFFLINE_QUERY"),
        ("chalk.observed_at", "2026-11-22T18:32:00Z"),
        ("chalk.query", r#"{"query_name": "q", "createdAt": "7"}"#),
        ("chalk.persistence", r#"{"persist_online_storage": false, "persistVerboseMetrics": false}"#),
        ("chalk.errors", r#"[{"code": "RESOLVER_FAILED", "resolver": "r"}]"#),
        ("chalk.resolver_runs", r#"[{"resolver": "r", "kind": "ONLINE", "status": "FAILURE", "rows": "2"}]"#),
        ("chalk.something_new", "?"),
        ("pandas", "{}"),
    ]))
    .expect("sound");
    assert_eq!((&*result.environment_id, &*result.operation_id, result.operation_kind), ("prod \"quoted\"", "op", 7));
    assert_eq!(result.observed_at, Some(1_795_372_320_000_000));
    let query = result.query.expect("a query");
    assert_eq!((query.query_name.as_deref(), query.created_at), (Some("q"), 7));
    assert_eq!((result.persistence.online, result.persistence.offline), (false, true));
    assert_eq!((result.persistence.verbose_metrics, result.persistence.status_metrics), (false, true));
    let [error] = &result.errors[..] else { panic!("one error") };
    assert_eq!((error.code, error.resolver.as_deref()), (5, Some("r")));
    let [run] = &result.resolver_runs[..] else { panic!("one run") };
    assert_eq!((&*run.resolver, run.kind, run.status, run.rows), ("r", 2, 2, 2));
    assert_eq!(&*result.tables[0].namespace, "user", "the one that all features have");
    assert_eq!(&*read(body(&[("chalk.namespace", "card")])).expect("sound").tables[0].namespace, "card");
    let two = batch_of(&[("__id__", ids.clone()), ("user.x", ids.clone()), ("card.x", ids)]);
    let two = encode::ipc(&two, BTreeMap::new(), Form::Stream).expect("encoded");
    assert_eq!(&*read(two).expect("sound").tables[0].namespace, "", "which the writers refuse");
    for (key, value, expected) in [
        ("chalk.query", "{", "`chalk.query` of the schema's metadata: EOF"),
        ("chalk.query", r#"{}, "environment_id": "other""#, "trailing characters"),
        ("chalk.resolver_runs", "7", "`resolver_runs`: expected a list, found an integer"),
        ("chalk.query", "[1]", "`chalk.…` of the schema's metadata, as JSON"),
        ("chalk.observed_at", "soon", "expected an RFC 3339 time, found `soon`"),
    ] {
        let refusal = read(body(&[(key, value)])).expect_err(value);
        assert!(refusal.message.contains(expected), "{refusal}");
    }
}

#[test]
fn files_and_streams_are_read_whole_compressed_or_not() {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
    let x: ArrayRef = Arc::new((0..1_000).map(|n| ["a", "b", "c"][n % 3]).collect::<DictionaryArray<Int8Type>>());
    let columns = [("__id__", ids), ("user.x", x)];
    for compression in [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)] {
        let file = Bytes::from(file(&columns, compression));
        let rows = entities(&file).expect("sound");
        assert_eq!(rows.len(), 1_500, "both batches");
        assert_eq!(rows[1_499].cells[0].value, Value::text("b"));
        // Where the bus puts a body in memory is no matter of alignment.
        let shifted = Bytes::from([&[0_u8][..], &file].concat()).slice(1..);
        assert_eq!(entities(&shifted).expect("sound").len(), 1_500);
        let stream = stream(&columns, compression);
        assert_eq!(entities(&stream).expect("sound").len(), 1_000);
        for cut in 8..file.len() {
            assert!(entities(&file.slice(..cut)).is_err(), "cut at {cut} of {}", file.len());
        }
        // A stream may end without its mark, between two messages: schema, dictionary and batch. No cut
        // anywhere else is taken for an end.
        let read = |cut: usize| entities(&stream.slice(..cut)).ok().map(|rows| (cut, rows.len()));
        let ends: Vec<(usize, usize)> = (0..stream.len()).filter_map(read).collect();
        let rows: Vec<usize> = ends.iter().map(|(_, rows)| *rows).collect();
        assert_eq!(rows, [0, 0, 1_000], "{ends:?}");
        assert_eq!(ends[2].0 + 8, stream.len(), "all but the mark");
    }
}

fn class(ipc: &Bytes, limit: usize) -> ErrorClass {
    let mut budget = Budget::new(limit);
    let read = table(ipc, &mut budget).and_then(|table| table.entities(|_| true, &mut budget)).map(|rows| rows.len());
    read.expect_err("refused").class
}

#[test]
fn bombs_are_too_large_before_there_is_memory_for_them() {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
    // Compressed buffers.
    let zeros: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values((0..100).map(|_| vec![0_u8; 1 << 17])));
    let bomb = stream(&[("__id__", ids.clone()), ("user.x", zeros)], Some(CompressionType::ZSTD));
    assert!(bomb.len() < 100_000);
    assert_eq!(class(&bomb, 1 << 20), ErrorClass::TooLarge);
    assert_eq!(entities(&bomb).expect("within the limit").len(), 100);
    // One value of a dictionary, looked up again and again; the same of a view.
    let long = "x".repeat(1 << 16);
    let keys = Int8Array::from(vec![0; 100]);
    let words = Arc::new(StringArray::from(vec![long.as_str()]));
    let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::try_new(keys, words).expect("sound"));
    let bomb = stream(&[("__id__", ids.clone()), ("user.x", dictionary)], None);
    assert!(bomb.len() < 100_000);
    assert_eq!(class(&bomb, 1 << 20), ErrorClass::TooLarge);
    let one = StringViewArray::from(vec![long.as_str()]);
    let views = vec![one.views()[0]; 100];
    let views: ArrayRef = Arc::new(StringViewArray::new(views.into(), one.data_buffers().to_vec(), None));
    let bomb = stream(&[("__id__", ids.clone()), ("user.x", views)], None);
    assert_eq!(class(&bomb, 1 << 20), ErrorClass::TooLarge);
    // Nulls, which take no bytes at all.
    let field = Arc::new(Field::new("item", Arrow::Null, true));
    let offsets = OffsetBuffer::new((0..=100).map(|n| n * 20_000_000).collect::<Vec<i32>>().into());
    let nulls: ArrayRef = Arc::new(ListArray::new(field, offsets, Arc::new(NullArray::new(2_000_000_000)), None));
    let bomb = stream(&[("__id__", ids), ("user.x", nulls)], None);
    assert!(bomb.len() < 10_000);
    assert_eq!(class(&bomb, LIMIT), ErrorClass::TooLarge);
}

#[test]
fn rows_and_values_are_counted_as_what_they_take_one_by_one() {
    let bomb = |rows: usize| {
        let ids: ArrayRef = Arc::new(Int8Array::from(vec![0; rows]));
        let nothing: ArrayRef = Arc::new(NullArray::new(rows));
        stream(&[("__id__", ids), ("user.x", nothing)], Some(CompressionType::ZSTD))
    };
    // Three elements a row, each a byte at most, and within their limit; gigabytes as rows.
    let rows = 22_000_000;
    assert!(bomb(rows).len() < 10_000);
    let mut budget = Budget::new(LIMIT);
    let opened = table(&bomb(rows), &mut budget).expect("its buffers are small");
    let read = opened.entities(|_| true, &mut budget).map(|rows| rows.len());
    let refusal = read.expect_err("too large").to_string();
    assert_eq!(refusal, "TOO_LARGE: tables of more than 536870912 bytes as rows, 8 times `max_message_bytes`");
    assert_eq!(class(&bomb(300_000), 1 << 20), ErrorClass::TooLarge);
    assert_eq!(entities(&bomb(300_000)).expect("within the limit").len(), 300_000);
    // Items of lists, fields of structs, elements of vectors.
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let nulls = 400_000;
    let of = |column: ArrayRef| stream(&[("__id__", ids.clone()), ("user.x", column)], Some(CompressionType::ZSTD));
    let field = |data_type| Arc::new(Field::new("item", data_type, true));
    let list = |items: ArrayRef| -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths([items.len()]);
        Arc::new(ListArray::new(field(items.data_type().clone()), offsets, items, None))
    };
    let flat = of(list(Arc::new(NullArray::new(nulls))));
    assert_eq!(class(&flat, 1 << 20), ErrorClass::TooLarge);
    assert_eq!(entities(&flat).expect("within the limit").len(), 1);
    let fields: Fields = vec![Field::new("a", Arrow::Null, true), Field::new("b", Arrow::Null, true)].into();
    let nothing: ArrayRef = Arc::new(NullArray::new(50_000));
    let columns = vec![nothing.clone(), nothing];
    let structs = of(list(Arc::new(StructArray::new(fields, columns, None))));
    assert_eq!(class(&structs, 1 << 20), ErrorClass::TooLarge);
    assert_eq!(entities(&structs).expect("within the limit").len(), 1);
    // Why a value is none, once for each row that has one.
    let times: ArrayRef = Arc::new(Time32SecondArray::from(vec![0; 150_000]));
    let ids: ArrayRef = Arc::new(Int8Array::from(vec![0; 150_000]));
    let faulty = stream(&[("__id__", ids), ("user.x", times)], Some(CompressionType::ZSTD));
    let mut budget = Budget::new(1 << 20);
    let opened = table(&faulty, &mut budget).expect("sound");
    assert_eq!(opened.column(0, &mut budget).expect_err("too many faults").class, ErrorClass::TooLarge);
}

#[test]
fn a_table_of_a_hundred_thousand_rows_and_fifty_columns_is_within_the_default_limit() {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
    let names: Vec<String> = (0..50).map(|at| format!("user.x{at}")).collect();
    let features = names.iter().map(|name| (name.as_str(), ids.clone()));
    let columns: Vec<(&str, ArrayRef)> = std::iter::once(("__id__", ids.clone())).chain(features).collect();
    let mut budget = Budget::new(LIMIT);
    let opened = table(&stream(&columns, None), &mut budget).expect("sound");
    assert_eq!(opened.entities(|_| true, &mut budget).expect("within the limit").len(), 100_000);
}

#[test]
fn a_batch_that_a_file_names_many_times_counts_each_time() {
    let nothing: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
    let names: Vec<String> = (0..1_000).map(|at| format!("user.x{at}")).collect();
    let batch = batch_of(&names.iter().map(|name| (name.as_str(), nothing.clone())).collect::<Vec<_>>());
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("a schema");
    writer.write(&batch).expect("written");
    let file = writer.into_inner().expect("finished");
    let (rest, length) = file[..file.len() - 6].split_last_chunk::<4>().expect("a footer");
    let from = rest.len() - i32::from_le_bytes(*length) as usize;
    let footer = arrow::ipc::root_as_footer(&rest[from..]).expect("a footer");
    let block = *footer.recordBatches().expect("batches").get(0);
    let named = |times: usize| {
        let mut builder = FlatBufferBuilder::new();
        let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, &batch.schema());
        let blocks = builder.create_vector(&vec![block; times]);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_recordBatches(blocks);
        let footer = footer.finish();
        builder.finish(footer, None);
        let footer = builder.finished_data();
        Bytes::from([&file[..from], footer, &(footer.len() as i32).to_le_bytes(), b"ARROW1"].concat())
    };
    let opened = |file: &Bytes| table(file, &mut Budget::new(LIMIT)).map(|_| ()).map_err(|refusal| refusal.class);
    let many = named(29_000);
    assert!(many.len() < 1 << 20);
    assert_eq!(opened(&many), Err(ErrorClass::TooLarge));
    // It is not the repetition that is refused. (It has no keys.)
    assert_eq!(opened(&named(10)), opened(&file.into()));
}

#[test]
fn a_column_that_a_schema_names_many_times_is_read_a_few_times_at_the_most() {
    let of = |times: usize| {
        let mut builder = FlatBufferBuilder::new();
        let name = builder.create_string(&"x".repeat(1_000));
        let kind = NullBuilder::new(&mut builder).finish().as_union_value();
        let mut field = FieldBuilder::new(&mut builder);
        field.add_name(name);
        field.add_type_type(ipc::Type::Null);
        field.add_type_(kind);
        let field = field.finish();
        let fields = builder.create_vector(&vec![field; times]);
        let mut schema = SchemaBuilder::new(&mut builder);
        schema.add_fields(fields);
        let schema = schema.finish().as_union_value();
        let mut message = MessageBuilder::new(&mut builder);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(MessageHeader::Schema);
        message.add_header(schema);
        let message = message.finish();
        builder.finish(message, None);
        let message = builder.finished_data();
        Bytes::from([&[0xff; 4], &(message.len() as i32).to_le_bytes()[..], message].concat())
    };
    let opened = |times| table(&of(times), &mut Budget::new(LIMIT)).map(|_| ()).expect_err("it has no keys").message;
    assert!(!opened(10).contains("cannot be read"), "{}", opened(10));
    assert!(opened(200_000).contains("cannot be read"), "{}", opened(200_000));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        for _ in 1..depth {
            let field = Arc::new(Field::new("item", array.data_type().clone(), true));
            array = Arc::new(ListArray::new(field, OffsetBuffer::new(vec![0, 1].into()), array, None));
        }
        entities(&stream_of(array))
    };
    assert!(nested(25).is_ok());
    for depth in [65, 80, 1_000] {
        assert!(nested(depth).is_err(), "{depth}");
    }
}

/// The same bytes with one number in place of another, the time after so many
fn patched(bytes: &[u8], old: &[u8], new: &[u8], skip: usize) -> Bytes {
    let at = (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).nth(skip).expect("it is there");
    [&bytes[..at], new, &bytes[at + new.len()..]].concat().into()
}

#[test]
fn lengths_that_lie_are_refused_with_what_they_say() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let x: ArrayRef = Arc::new(Int64Array::from(vec![4, 5, 6]));
    let good = stream(&[("__id__", ids), ("user.x", x)], None);
    let node = |length: i64| [length.to_le_bytes(), 0_i64.to_le_bytes()].concat();
    let refusal = |bytes: Bytes| entities(&bytes).expect_err("refused").to_string();
    // Two nodes stand in a row: three values, no null.
    let pair = [node(3), node(3)].concat();
    let shorter = refusal(patched(&good, &pair, &[node(3), node(2)].concat(), 0));
    assert!(shorter.contains("all columns in a record batch must have the specified row count"), "{shorter}");
    let longer = refusal(patched(&good, &pair, &[node(3), node(4_000_000)].concat(), 0));
    assert!(longer.starts_with("DECODE: Arrow: "), "{longer}");
    let endless = refusal(patched(&good, &pair, &[node(3), node(i64::MAX)].concat(), 0));
    let said = "TOO_LARGE: Arrow: 9223372036854775807 values claimed by ";
    assert!(endless.starts_with(said) && endless.contains("more than 67108864 elements"), "{endless}");
    let below = refusal(patched(&good, &pair, &[node(3), node(-1)].concat(), 0));
    assert_eq!(below, "DECODE: Arrow: a length of -1");
    // A buffer: where it begins, and its bytes.
    let buffer = |from: i64, bytes: i64| [from.to_le_bytes(), bytes.to_le_bytes()].concat();
    let outside = refusal(patched(&good, &buffer(0, 24), &buffer(0, 1 << 40), 0));
    assert!(outside.contains("a buffer of 1099511627776 bytes at 0 in a message that has"), "{outside}");
}

/// A table of many types, in rows.
fn mixed() -> FeatureTable {
    let result = super::read_json(
        r#"{"tables": [{"namespace": "user", "rows": {"rows": [
          {"id": 1, "features": {"user.a": 1, "user.b": "text", "user.c": [1.5, 2.5], "user.d": {"x": 1, "y": "z"},
             "user.e": {"timestamp_value": "2026-11-22T18:32:00Z"}, "user.f": {"decimal_value": "1.50"},
             "user.g": {"vector_value": {"fp32": {"elements": [1, 2]}}}, "user.h": true},
           "meta": {"user.a": {"source_type": "RESOLVER", "source_id": "r"}, "user.b": {"source_type": "MISSING"}}},
          {"id": 2, "features": {"user.a": null, "user.b": "other", "user.c": [], "user.d": null,
             "user.e": null, "user.f": {"decimal_value": "2.25"}, "user.g": null, "user.h": null},
           "meta": {"user.a": {"source_type": "ONLINE_STORE"}}}]}}]}"#,
    );
    result.tables.into_iter().next().expect("a table")
}

fn valid() -> Vec<Vec<u8>> {
    let batch = encode::batch(&mixed()).expect("encoded");
    let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter(["a", "b"]));
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a long text that is not inside its view", "b"]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let union = arrow::array::UnionArray::try_new(
        arrow::datatypes::UnionFields::try_new([0], [Field::new("n", Arrow::Int64, true)]).expect("one field"),
        vec![0_i8, 0].into(),
        None,
        vec![ids.clone()],
    );
    let union: ArrayRef = Arc::new(union.expect("sound"));
    let others = [("__id__", ids), ("user.d", dictionary), ("user.v", views), ("user.u", union)];
    vec![
        encode::ipc(&batch, BTreeMap::new(), Form::File).expect("encoded"),
        encode::ipc(&batch, BTreeMap::new(), Form::Stream).expect("encoded"),
        file(&others, None),
        stream(&others, None).to_vec(),
        file(&others, Some(CompressionType::LZ4_FRAME)),
        stream(&others, Some(CompressionType::ZSTD)).to_vec(),
    ]
}

#[test]
fn rows_go_through_arrow_and_come_back() {
    let table = mixed();
    let batch = encode::batch(&table).expect("encoded");
    let TableBody::Rows { rows, .. } = &table.body else { panic!("rows") };
    for form in [Form::File, Form::Stream] {
        let ipc = encode::ipc(&batch, BTreeMap::new(), form).expect("encoded");
        let found = entities(&ipc.into()).expect("sound");
        assert_eq!(format!("{found:?}"), format!("{rows:?}"));
    }
}

fn whole(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let mut budget = Budget::new(1 << 20);
    if let Ok(table) = table(&bytes, &mut budget) {
        let _ = table.entities(|_| true, &mut budget);
    }
    let _: Result<QueryResult, Refusal> = read_within(bytes, 1 << 20);
}

#[test]
fn any_single_byte_may_be_changed() {
    for valid in valid() {
        for at in 0..valid.len() {
            for change in [0xff, 0x01, 0x80] {
                let mut bytes = valid.clone();
                bytes[at] ^= change;
                whole(bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn changed_and_cut_files_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xff), Just(0x7f), Just(0)]), 1..9),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let valid = valid();
        let mut bytes = valid[which.index(valid.len())].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        whole(bytes);
    }

    #[test]
    fn numbers_in_the_metadata_may_be_anything(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), prop_oneof![any::<i32>(), Just(i32::MAX), Just(-1), Just(i32::MIN)]), 1..4),
    ) {
        let valid = valid();
        let mut bytes = valid[which.index(valid.len())].clone();
        for (at, number) in changes {
            let at = at.index(bytes.len() / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        whole(bytes);
    }
}
