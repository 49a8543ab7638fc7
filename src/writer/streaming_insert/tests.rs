//! Which rows a streaming insert makes, and what is said of one that makes none.

use std::sync::Arc;

use ::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use ::parquet::arrow::ArrowWriter;
use bytes::Bytes;

use super::*;
use crate::config::settings::Environment;
use crate::decode::Decoded;
use crate::result::unpack::Compression;
use crate::row::table::{Repeats, TableColumns, When};
use crate::value::Value;
use crate::writer::testing::{NOW, message, settings, store};

const PARQUET: (&str, &str) = ("content-type", "application/vnd.apache.parquet");

/// Rows with an id (one of them null), a number and a time.
fn file() -> Bytes {
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]))),
        ("n", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("observed_at", Arc::new(TimestampMicrosecondArray::from(vec![NOW; 3]).with_timezone("UTC"))),
    ];
    parquet(&columns)
}

fn parquet(columns: &[(&str, ArrayRef)]) -> Bytes {
    let batch = RecordBatch::try_from_iter(columns.iter().cloned()).expect("a batch");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a schema");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("finished").into()
}

fn decoded(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Decoded<TableRows> {
    let with = |uri: &str| Environment { offline_store: Some(store(uri)), ..Environment::default() };
    let environments =
        [("prod", with("file:./lake")), ("pg", with("postgres://u@h/chalk")), ("nothing", Environment::default())];
    let settings = settings(WriterType::OFFLINE_STORE_STREAMING_INSERT, &environments);
    let destinations = Destinations::plan(&settings.environments, &INSERTS).expect("stores");
    let mut message = message(headers);
    message.payload = Some(body.into());
    let mut decoded = Decoded::default();
    crate::decode::Decoder::decode(&decoder(&settings, &destinations, Arc::new(|| NOW)), &message, &mut decoded);
    decoded
}

/// The same in `prod`.
fn in_prod(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Decoded<TableRows> {
    decoded(&[&[("ce_environmentid", "prod"), PARQUET], headers].concat(), body)
}

fn columns(decoded: &Decoded<TableRows>) -> &TableColumns {
    match &decoded.rows[..] {
        [TableRows::Columns(columns)] => columns,
        other => panic!("one set of columns, not {other:?}; {:?}", decoded.refused),
    }
}

fn refusals(decoded: &Decoded<TableRows>) -> Vec<String> {
    decoded.refused.iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_becomes_columns_of_the_table_that_its_attributes_name() {
    let found = in_prod(&[("ce_table", "fraud.scores"), ("ce_time", "2026-11-22T18:00:00Z")], file());
    let rows = columns(&found);
    assert_eq!((rows.rows, rows.shape.schema.as_deref(), &*rows.shape.table), (3, Some("fraud"), "scores"));
    assert_eq!((rows.shape.key.len(), rows.shape.create, rows.shape.time), (0, true, When::Column(2)));
    assert_eq!(rows.columns[0].values(0, 3), [Value::text("a"), Value::Null, Value::text("c")]);
    assert_eq!((found.environment.as_deref(), found.event_time), (Some("prod"), Some(1_795_370_400_000_000)));
    assert!(found.refused.is_empty(), "{:?}", found.refused);
    let once = [("observation_id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)];
    let once = in_prod(&[("ce_table", "t"), ("ce_createtable", "false")], parquet(&once));
    let shape = &columns(&once).shape;
    assert_eq!(
        (&shape.key[..], shape.repeats, shape.create, shape.time),
        (&[0][..], Repeats::First, false, When::At(NOW))
    );
}

#[test]
fn a_body_may_be_packed_and_need_not_say_that_it_is_parquet() {
    for (name, compression) in Compression::ALL {
        let packed = compression.pack(&file()).expect("packed");
        let found = in_prod(&[("ce_table", "t"), ("content-encoding", name)], packed);
        assert_eq!((columns(&found).rows, found.unpacked), (3, file().len()));
    }
    let bare = decoded(&[("ce_environmentid", "prod"), ("ce_table", "t")], file());
    assert_eq!(columns(&bare).rows, 3);
}

#[test]
fn a_row_whose_key_is_not_whole_is_refused_alone() {
    let headers = [("ce_table", "t"), ("ce_writemode", "upsert"), ("ce_keycolumns", "id,n")];
    let found = in_prod(&headers, file());
    let rows = columns(&found);
    assert_eq!((rows.rows, rows.shape.repeats, &rows.shape.key[..]), (2, Repeats::Newest, &[0, 1][..]));
    assert_eq!(rows.columns[1].values(0, 2), [Value::Int(1), Value::Int(3)]);
    assert_eq!(refusals(&found), ["VALUE_REFUSED: row 1: column `id` is a part of the key and is null (row t[1])"]);
    let ids: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let none = in_prod(&[("ce_table", "t")], parquet(&[("observation_id", ids)]));
    assert!(none.rows.is_empty() && none.refused.len() == 1, "{none:?}");
}

#[test]
fn what_cannot_be_written_says_what_is_wrong() {
    let whole = file();
    let cut = whole.slice(..whole.len() / 2);
    let upsert = [("ce_table", "t"), ("ce_writemode", "upsert")];
    let with =
        |headers: &[(&'static str, &'static str)], more: (&'static str, &'static str)| [headers, &[more]].concat();
    for (headers, body, expected) in [
        (vec![], whole.clone(), "DECODE: attribute `table` (header `ce_table`) is missing; "),
        (upsert.to_vec(), whole.clone(), "DECODE: attribute `keycolumns` (header `ce_keycolumns`) is missing; "),
        (
            with(&upsert, ("ce_keycolumns", "id,x")),
            whole.clone(),
            "DECODE: `keycolumns` names column `x`, which the file has not: `id`, `n`, `observed_at`",
        ),
        (
            [&upsert[..], &[("ce_keycolumns", "id"), ("ce_ordercolumn", "n")]].concat(),
            whole.clone(),
            "DECODE: `ordercolumn` names column `n`, which holds no timestamps",
        ),
        (vec![("ce_table", "t")], cut, "DECODE: parquet: cut off: a file begins and ends with PAR1"),
        (vec![("ce_table", "t")], Bytes::from_static(b"id,n\na,1\n"), "DECODE: parquet: cut off"),
        (vec![("ce_table", "t")], Bytes::new(), "DECODE: the message has no body; expected a parquet file"),
        (
            vec![("ce_table", "t"), ("content-type", "application/json")],
            Bytes::from_static(b"{}"),
            "DECODE: a body of type application/json; a streaming insert is a parquet file",
        ),
        (vec![("ce_table", "t"), ("ce_createtable", "1")], whole, "DECODE: header `ce_createtable`: expected"),
    ] {
        let found = in_prod(&headers, body);
        let said = refusals(&found);
        assert!(found.rows.is_empty() && said.len() == 1 && said[0].starts_with(expected), "{said:?}");
    }
}

#[test]
fn the_environment_and_a_database_that_is_named_have_to_be_those_of_the_store() {
    let of = |environment: &'static str, table: &'static str| {
        let headers = [("ce_environmentid", environment), ("ce_table", table), PARQUET];
        let found = decoded(&headers, file());
        (found.rows.len(), refusals(&found).join(""), found.skipped.clone())
    };
    assert_eq!(of("prod", "any.s.t").0, 1, "a lake is no database");
    assert_eq!(of("pg", "chalk.s.t").0, 1);
    assert_eq!(
        of("pg", "other.s.t"),
        (
            0,
            "VALUE_REFUSED: attribute `table` names database `other`, and the environment's offline store is database \
             `chalk`"
                .to_owned(),
            vec![]
        )
    );
    assert_eq!(of("nothing", "t").2, [("no_store", 1)]);
    assert!(of("else", "t").1.starts_with("UNKNOWN_ENVIRONMENT: environment `else` has no entry"));
    let nowhere = decoded(&[("ce_table", "t")], file());
    assert!(refusals(&nowhere)[0].starts_with("UNKNOWN_ENVIRONMENT: "), "{nowhere:?}");
}
