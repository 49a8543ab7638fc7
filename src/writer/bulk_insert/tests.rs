//! What a message announces: the load that it is, or why it is none.

use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::settings::{Environment, LoadSettings};
use crate::decode::{Decoded, Decoder};
use crate::message::Message;
use crate::proto::writer::v1::{BulkInsert, InsertFile, WriteMode};
use crate::row::load::Load;
use crate::writer::testing::{NOW, SECOND, message, settings, store};

fn prod() -> Environment {
    Environment { offline_store: Some(store("postgres://localhost/db")), ..Environment::default() }
}

fn decoder(environments: &[(&str, Environment)], prefix: &str) -> BulkInsertDecoder {
    let mut settings = settings(WriterType::OFFLINE_STORE_BULK_INSERT, environments);
    settings.of_type.loads = LoadSettings { on_error: OnError::SkipFile, prefix: prefix.to_owned() };
    let destinations = Destinations::plan(&settings.environments, &LOADS).expect("a plan");
    super::decoder(&settings, &destinations, std::sync::Arc::new(|| NOW))
}

fn with(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Message {
    Message { payload: Some(body.into()), ..message(headers) }
}

/// What becomes of a message where `prod` alone is listed, and tables are in folders of `exports`.
fn decoded(message: &Message) -> Decoded<FileLoad> {
    let mut decoded = Decoded::default();
    decoder(&[("prod", prod())], "exports").decode(message, &mut decoded);
    decoded
}

fn one(message: &Message) -> Load {
    let decoded = decoded(message);
    let [row] = &decoded.rows[..] else { panic!("one load: {decoded:?}") };
    assert!(decoded.refused.is_empty() && decoded.skipped.is_empty(), "{decoded:?}");
    assert_eq!(decoded.environment.as_deref(), Some("prod"));
    (*row.load).clone()
}

fn refused(message: &Message) -> String {
    let decoded = decoded(message);
    assert!(decoded.rows.is_empty(), "{decoded:?}");
    decoded.refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn insert() -> BulkInsert {
    let file = |uri: &str, rows| InsertFile { uri: uri.to_owned(), row_count: rows, size_bytes: None };
    BulkInsert {
        environment_id: "prod".to_owned(),
        load_id: "load-1".to_owned(),
        table: "analytics.user".to_owned(),
        files: vec![file("s3://b/1.parquet", Some(7)), file("s3://b/2.parquet", None), file("s3://b/1.parquet", None)],
        write_mode: WriteMode::Upsert.into(),
        key_columns: vec!["id".to_owned()],
        created_at: Some(pbjson_types::Timestamp { seconds: 5, nanos: 7_000 }),
        ..BulkInsert::default()
    }
}

fn record(name: &str, object: Json) -> Json {
    json!({
        "eventVersion": "2.1", "eventName": name, "eventTime": "2026-11-22T18:00:00.000Z",
        "s3": {"bucket": {"name": "uploads"}, "object": object},
    })
}

fn s3(records: &[Json]) -> Message {
    with(&[], json!({ "Records": records }).to_string())
}

#[test]
fn a_bulk_insert_is_a_load_in_either_encoding() {
    let expected = Load {
        environment: "prod".into(),
        id: "load-1".into(),
        target: Target { database: None, schema: Some("analytics".into()), table: "user".into() },
        files: vec![
            LoadFile { uri: "s3://b/1.parquet".into(), rows: Some(7), bytes: None, which: Which::Newest },
            LoadFile { uri: "s3://b/2.parquet".into(), rows: None, bytes: None, which: Which::Newest },
        ],
        mode: Mode::Upsert { keys: vec!["id".into()], order: None },
        create: true,
        time: 5_000_007,
        skips_bad_files: true,
    };
    assert_eq!(one(&with(&[], insert().encode_to_vec())), expected);
    assert_eq!(one(&with(&[], serde_json::to_vec(&insert()).expect("JSON"))), expected);
    assert_eq!(one(&with(&[("ce_type", "chalk.bulk_insert.v1")], insert().encode_to_vec())), expected);
    let bare = BulkInsert { environment_id: String::new(), created_at: None, ..insert() };
    let bare = one(&with(&[("ce_environmentid", "prod")], bare.encode_to_vec()));
    assert_eq!((bare.environment, bare.time), ("prod".into(), NOW), "the headers' environment, the bus's time");
}

#[test]
fn a_bulk_insert_that_cannot_be_one_says_what_of_it() {
    let of = |insert: BulkInsert| refused(&with(&[], insert.encode_to_vec()));
    let file = |uri: &str, rows| InsertFile { uri: uri.to_owned(), row_count: rows, size_bytes: None };
    let table = [
        (BulkInsert { load_id: String::new(), ..insert() }, "DECODE: load_id: is missing; a load lands once by it"),
        (
            BulkInsert { table: "a..b".to_owned(), ..insert() },
            "DECODE: table: expected `table`, `schema.table` or `database.schema.table`, found `a..b` (row load load-1)",
        ),
        (
            BulkInsert { key_columns: vec![], ..insert() },
            "DECODE: key_columns: is empty; an upsert needs the columns whose values together name a row (row load \
             load-1)",
        ),
        (
            BulkInsert { files: vec![], ..insert() },
            "DECODE: files: is empty; there is nothing to load (row load load-1)",
        ),
        (
            BulkInsert { files: vec![file("s3://b/1", Some(-1))], ..insert() },
            "DECODE: files[0].row_count: expected a number not below 0 (row load load-1)",
        ),
        (BulkInsert { format: 9, ..insert() }, "DECODE: format: expected PARQUET (row load load-1)"),
        (BulkInsert { write_mode: 9, ..insert() }, "DECODE: write_mode: expected APPEND or UPSERT (row load load-1)"),
        (
            BulkInsert { environment_id: "dev".to_owned(), ..insert() },
            "UNKNOWN_ENVIRONMENT: environment `dev` has no entry under `environments`, and there is no `*`",
        ),
    ];
    for (insert, expected) in table {
        assert_eq!(of(insert), expected);
    }
    let mismatch = refused(&with(&[("ce_environmentid", "dev")], insert().encode_to_vec()));
    assert!(mismatch.starts_with("ENVIRONMENT_MISMATCH"), "{mismatch}");
}

#[test]
fn a_notification_of_s3_is_a_load_for_each_new_object() {
    let object = json!({"key": "exports/user/part+1%2B.parquet", "size": 42, "eTag": "abc", "sequencer": "00"});
    let load = one(&s3(&[record("ObjectCreated:Put", object.clone())]));
    assert_eq!(&*load.id, "uploads/exports/user/part 1+.parquet@abc");
    assert_eq!(load.target, Target { database: None, schema: None, table: "user".into() });
    let uri = "s3://uploads/exports/user/part 1+.parquet".into();
    assert_eq!(load.files, [LoadFile { uri, rows: None, bytes: Some(42), which: Which::Tag("abc".into()) }]);
    assert_eq!(load.time, NOW - 32 * 60 * SECOND, "the event's");
    assert_eq!((load.mode, load.skips_bad_files), (Mode::Append, true));

    let mut versioned = object.clone();
    versioned["versionId"] = json!("v7");
    let load = one(&s3(&[record("s3:ObjectCreated:CompleteMultipartUpload", versioned)]));
    assert_eq!(&*load.id, "uploads/exports/user/part 1+.parquet@v7");
    assert_eq!(load.files[0].which, Which::Version("v7".into()));

    let key = |key: &str| record("ObjectCreated:Put", json!({"key": key, "sequencer": "01"}));
    let decoded = decoded(&s3(&[
        key("exports/a.b/1.parquet"),
        record("ObjectRemoved:Delete", json!({"key": "exports/user/1.parquet"})),
        key("exports/user/_SUCCESS"),
        key("exports/user/_temporary/0/1.parquet"),
        key("exports/user/"),
        key("elsewhere/user/1.parquet"),
        key("exports/1.parquet"),
    ]));
    assert_eq!(decoded.rows.len(), 1);
    assert_eq!(&*decoded.rows[0].load.id, "uploads/exports/a.b/1.parquet@01");
    assert_eq!(decoded.rows[0].load.target.schema.as_deref(), Some("a"));
    assert_eq!(decoded.skipped, [("not_a_new_object", 1), ("not_an_upload", 4)]);
    assert_eq!(
        decoded.refused[0].to_string(),
        "DECODE: the first folder below exports names a table, and this object is in none (row \
         s3://uploads/exports/1.parquet)"
    );
}

#[test]
fn a_test_of_the_notifications_is_passed_over_and_one_that_says_nothing_refused() {
    let test = decoded(&with(&[], r#"{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"}"#));
    assert_eq!((test.rows.len(), test.refused.len(), &test.skipped[..]), (0, 0, &[("not_a_new_object", 1)][..]));
    assert_eq!(refused(&s3(&[])), "DECODE: S3 event notification: `Records` is empty");
    let bare = refused(&s3(&[record("ObjectCreated:Put", json!({"key": "exports/user/1"}))]));
    assert_eq!(
        bare,
        "DECODE: S3 event notification: Records[0].s3.object: none of `versionId`, `eTag` and `sequencer` says which \
         object is meant"
    );
    let broken = refused(&with(&[], r#"{"Records": [{"eventName": 7}]}"#));
    assert!(broken.starts_with("DECODE: S3 event notification: Records[0]: invalid type"), "{broken}");
    let twice = refused(&with(&[], r#"{"Records": [], "Records": []}"#));
    assert!(twice.contains("stands twice"), "{twice}");
}

#[test]
fn a_record_that_cannot_be_read_leaves_its_siblings_alone() {
    let sound = |key: &str| record("ObjectCreated:Put", json!({"key": key, "sequencer": "01"}));
    let bare = record("ObjectCreated:Put", json!({"key": "exports/user/2"}));
    let decoded = decoded(&s3(&[sound("exports/user/1"), bare, json!({"eventName": 7}), sound("exports/user/3")]));
    let loaded: Vec<&str> = decoded.rows.iter().map(|row| &*row.load.files[0].uri).collect();
    assert_eq!(loaded, ["s3://uploads/exports/user/1", "s3://uploads/exports/user/3"]);
    let refused: Vec<&str> = decoded.refused.iter().map(|refusal| &*refusal.message).collect();
    assert!(refused[0].starts_with("S3 event notification: Records[1].s3.object: none of"), "{refused:?}");
    assert!(refused[1].starts_with("S3 event notification: Records[2]: invalid type"), "{refused:?}");
}

#[test]
fn a_load_has_so_many_files_and_no_more() {
    let file = |at| InsertFile { uri: format!("s3://b/{at}"), row_count: None, size_bytes: None };
    let of = |count: usize| with(&[], BulkInsert { files: (0..count).map(file).collect(), ..insert() }.encode_to_vec());
    assert_eq!(one(&of(10_000)).files.len(), 10_000);
    assert_eq!(
        refused(&of(10_001)),
        "TOO_LARGE: files: 10001 are more than a load has, 10000; make several loads of them (row load load-1)"
    );
}

#[test]
fn a_notification_of_cloud_storage_is_in_its_attributes() {
    let attributes = [
        ("eventType", "OBJECT_FINALIZE"),
        ("bucketId", "uploads"),
        ("objectId", "exports/user/part 1+.parquet"),
        ("objectGeneration", "17"),
        ("payloadFormat", "NONE"),
        ("eventTime", "2026-11-22T18:00:00.000Z"),
    ];
    let load = one(&message(&attributes));
    assert_eq!(&*load.id, "uploads/exports/user/part 1+.parquet@17");
    let uri = "gs://uploads/exports/user/part 1+.parquet".into();
    assert_eq!(load.files, [LoadFile { uri, rows: None, bytes: None, which: Which::Version("17".into()) }]);
    assert_eq!((&*load.target.table, load.time), ("user", NOW - 32 * 60 * SECOND));
    let other = [&[("eventType", "OBJECT_DELETE")][..], &attributes[1..]].concat();
    assert_eq!(decoded(&message(&other)).skipped, [("not_a_new_object", 1)]);
    let bare = refused(&message(&attributes[..3]));
    assert_eq!(bare, "DECODE: Cloud Storage notification: attribute `objectGeneration` is missing");
}

#[test]
fn a_notification_is_of_the_environment_of_its_headers_else_of_the_only_one() {
    let message = |environment: &str| {
        let object = json!({"key": "user/1.parquet", "sequencer": "01"});
        let body = json!({ "Records": [record("ObjectCreated:Put", object)] }).to_string();
        with(&[("ce_environmentid", environment)], body)
    };
    let of = |environments: &[(&str, Environment)], environment: &str| {
        let mut decoded = Decoded::default();
        decoder(environments, "").decode(&message(environment), &mut decoded);
        match (&decoded.rows[..], &decoded.refused[..]) {
            ([row], []) => row.load.environment.to_string(),
            ([], [refusal]) => refusal.class.to_string(),
            ([], []) => decoded.skipped[0].0.to_owned(),
            _ => panic!("{decoded:?}"),
        }
    };
    let two = [("prod", prod()), ("dev", Environment::default())];
    assert_eq!(of(&two, "prod"), "prod");
    assert_eq!(of(&two, "dev"), "no_store");
    assert_eq!(of(&two, ""), "UNKNOWN_ENVIRONMENT");
    assert_eq!(of(&two[..1], ""), "prod");
    assert_eq!(of(&[("*", prod()), ("dev", Environment::default())], ""), "*");
    assert_eq!(of(&two[..1], "other"), "UNKNOWN_ENVIRONMENT");
}

#[test]
fn every_file_is_shown_with_its_load() {
    let decoded = decoded(&with(&[], insert().encode_to_vec()));
    let shown = decoded.rows[0].shown();
    let [ShownRow::Other { what: "file", fields }, ShownRow::Other { .. }] = &shown[..] else { panic!("two files") };
    let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        text,
        [
            "load_id=\"load-1\"",
            "table=\"analytics.user\"",
            "write_mode=\"upsert\"",
            "key_columns=[\"id\"]",
            "create_table=true",
            "created_at=\"1970-01-01T00:00:05.000007Z\"",
            "on_error=\"skip_file\"",
            "uri=\"s3://b/1.parquet\"",
            "row_count=7",
        ]
    );
}
