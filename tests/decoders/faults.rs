//! What is wrong with a row is told of that row; what is wrong with a message refuses it.

use chalk_writer::proto::common::v1::ChalkError;
use chalk_writer::proto::writer::v1;
use chalk_writer::result::{EntityRow, TableBody};
use chalk_writer::sink::ErrorClass;
use chalk_writer::value::Value;
use prost::Message as _;

use super::{read, read_json, read_within, refusal};

fn rows(text: &str) -> Vec<EntityRow> {
    let text = format!(r#"{{"tables": [{{"namespace": "user", "rows": {text}}}]}}"#);
    match read_json(text).tables.remove(0).body {
        TableBody::Rows { rows, .. } => rows,
        TableBody::Arrow(_) => panic!("rows"),
    }
}

#[test]
fn a_row_with_a_fault_leaves_its_neighbours_alone() {
    for (row, fault) in [
        (r#"{"features": {}}"#, "`id` is missing: expected text or a 64-bit integer"),
        (r#"{"id": 1.5}"#, "`id`: expected text or a 64-bit integer, found float64 1.5"),
        (r#"{"id": null}"#, "`id`: expected text or a 64-bit integer, found null"),
        (r#"{"id": 1, "features": [1]}"#, "`features`: expected an object, found a list"),
        (r#"{"id": 1, "features": "x"}"#, "`features`: expected an object, found text"),
        (r#"{"id": 1, "observed_at": "soon"}"#, "`observed_at`: expected an RFC 3339 time, found string \"soon\""),
        (r#"{"id": 1, "observed_at": 5}"#, "`observed_at`: expected an RFC 3339 time, found int64 5"),
        (r#"{"id": 1, "values": [1, 2]}"#, "`values`: expected at most 1, one for each of `columns`, found 2"),
        (r#"{"id": 1, "values": {}}"#, "`values`: expected a list, found an object"),
        (
            r#"{"id": 1, "features": {"user.a": {"int_value": "x"}}}"#,
            "`user.a`: expected a 64-bit integer as a number or text, found string \"x\"",
        ),
        (
            r#"{"id": 1, "features": {"user.a": [18446744073709551615]}}"#,
            "`user.a`: integer 18446744073709551615 does not fit 64 bits",
        ),
        (
            r#"{"id": 1, "features": {"user.a": 100000000000000000000}}"#,
            "`user.a`: integer 100000000000000000000 does not fit 64 bits",
        ),
        (
            r#"{"id": 1, "features": {"user.a": {"b": [-100000000000000000000]}}}"#,
            "`user.a`: integer -100000000000000000000 does not fit 64 bits",
        ),
        (r#"{"id": 1, "meta": 3}"#, "`meta`: expected an object or a list, found an integer"),
        (
            r#"{"id": 1, "features": {}, "values": []}"#,
            "a row has `features` by name, or `values` and `meta` as lists, not both",
        ),
        ("[]", "expected a row as an object, found a list"),
        ("null", "expected a row as an object, found null"),
    ] {
        for columns in [r#""columns": ["user.x"], "#, ""] {
            if columns.is_empty() && fault.contains("at most 1") {
                continue;
            }
            let good = r#"{"id": 1, "features": {"user.x": 1, "user.y": 1e300}}"#;
            let read = rows(&format!(r#"{{{columns}"rows": [{good}, {row}, {good}]}}"#));
            assert_eq!(read[1].fault.as_deref(), Some(fault), "{row}");
            assert!(read[1].cells.is_empty());
            for good in [&read[0], &read[2]] {
                assert_eq!((&good.fault, good.cells.len()), (&None, 2), "beside {row}");
            }
        }
    }
}

#[test]
fn numbers_keep_what_they_say() {
    let text = "[9007199254740993, -9223372036854775808, 9223372036854775807, 1e20, 1.0, -0.0, 5e-324, 0.1, 1E2, 123456789.12345679]";
    let read = rows(&format!(r#"{{"rows": [{{"id": 1, "features": {{"user.x": {text}}}}}]}}"#));
    let Value::List(items) = &read[0].cells[0].value else { panic!("a list: {read:?}") };
    let expected = [
        Value::Int(9_007_199_254_740_993),
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Double(1e20),
        Value::Double(1.0),
        Value::Double(-0.0),
        Value::Double(5e-324),
        Value::Double(0.1),
        Value::Double(100.0),
        Value::Double(123_456_789.123_456_79),
    ];
    assert_eq!(*items, expected);
    assert!(matches!(items[5], Value::Double(zero) if zero.is_sign_negative()));
}

#[test]
fn a_message_with_a_wrong_syntax_is_refused_with_the_place() {
    for (text, expected) in [
        ("{\"tables\": [\n {]}", "DECODE: JSON: key must be a string at line 2, column 3 (byte 16)"),
        ("{\"tables\": [}", "DECODE: JSON: expected value at line 1, column 13 (byte 13)"),
        ("{\"errors\": []} {}", "DECODE: JSON: trailing characters at line 1, column 16 (byte 16)"),
        ("{\"errors\": [", "DECODE: JSON: EOF while parsing a list at line 1, column 12 (byte 12)"),
        ("[]", "DECODE: JSON: expected a QueryResult as an object, found a list at line 1, column 2 (byte 2)"),
        (
            "{\"errors\": [5]}",
            "DECODE: JSON: `errors`: expected errors as objects, found an integer at line 1, column 13 (byte 13)",
        ),
        ("{\"errors\": {}}", "DECODE: JSON: `errors`: expected a list, found an object at line 1, column 13 (byte 13)"),
        (
            "{\"resolver_runs\": [{\"duration_seconds\": \"long\"}]}",
            "DECODE: JSON: `duration_seconds`: expected a number, found text at line 1, column 46 (byte 46)",
        ),
        (
            "{\"resolver_runs\": [null]}",
            "DECODE: JSON: `resolver_runs`: expected runs as objects, found null at line 1, column 23 (byte 23)",
        ),
        ("{\"tables\": 5}", "DECODE: JSON: `tables`: expected a list, found an integer at line 1, column 12 (byte 12)"),
        (
            "{\"observed_at\": \"x\"}",
            "DECODE: JSON: `observed_at`: expected an RFC 3339 time, found `x` at line 1, column 19 (byte 19)",
        ),
        (
            "{\"environment_id\": \"\\ud800\"}",
            "DECODE: JSON: unexpected end of hex escape at line 1, column 27 (byte 27)",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
    assert_eq!(refusal(&b"{\"a\": \"\xff\"}"[..]), "DECODE: JSON: not UTF-8 at byte 7");
}

#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_is() {
    let many: String = (0..40).map(|at| format!("\"k{at}\": 0, ")).collect();
    for text in [
        r#"{"environment_id": "a", "environment_id": "b"}"#,
        r#"{"environment_id": "a", "environmentId": "a"}"#,
        r#"{"errors": [], "other": {"a": 1, "b": {"a": 1, "a": 2}}}"#,
        r#"{"errors": [{"a": 1, "\u0061": 2}]}"#,
        &format!(r#"{{"errors": [{{{many} "k39": 1}}]}}"#),
        r#"{"query": {"query_name": "a", "queryName": "b"}}"#,
        r#"{"errors": [{"feature": "a", "feature": null}]}"#,
        r#"{"errors": [{"exception": {"internal_stacktrace": "a", "internalStacktrace": "b"}}]}"#,
        r#"{"resolver_runs": [{"duration_seconds": 1, "durationSeconds": 1}]}"#,
        r#"{"persistence": {"persist_status_metrics": true, "persistStatusMetrics": true}}"#,
        r#"{"query": {"query_meta": {"a": "", "a": ""}}}"#,
        r#"{"tables": [{"namespace": "u", "rows": {"rows": [{"id": 1, "features": {"u.a": 1, "u.a": 1}}]}}]}"#,
        r#"{"tables": [{"namespace": "u", "rows": {"rows": [{"id": 1, "meta": {"u.a": {}, "u.a": {}}}]}}]}"#,
        r#"{"tables": [{"namespace": "u", "rows": {"rows": [{"id": 1, "int_id": 1}]}}]}"#,
        r#"{"tables": [{"namespace": "u", "rows": {"rows": [{"id": 1, "features": {"u.a": {"x": 1, "x": 1}}}]}}]}"#,
        r#"{"tables": [{"namespace": "u", "rows": {}, "arrow_ipc": ""}]}"#,
    ] {
        assert!(refusal(text.to_owned()).contains("stands twice"), "{text}");
    }
    let columns = r#"{"tables": [{"namespace": "u", "rows": {"columns": ["u.a", "u.a"]}}]}"#;
    assert!(refusal(columns).contains("`columns`: `u.a` stands twice"));
}

#[test]
fn nesting_is_bounded_at_64_and_a_million_brackets_are_only_refused() {
    let nested = |depth: usize| format!(r#"{{"errors": [], "x": {}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(read(nested(64)).is_ok());
    assert!(refusal(nested(65)).contains("nested deeper than 64"));
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for inside in
            [r#"{"x": "#, r#"{"tables": "#, r#"{"tables": [{"namespace": "u", "rows": {"rows": [{"features": {"a": "#]
        {
            let text = format!("{inside}{}{}", open.repeat(1_000_000), close.repeat(1_000_000));
            let refusal = refusal(text);
            assert!(refusal.contains("nested deeper than 64") || refusal.contains("expected a list"), "{refusal}");
        }
    }
    // The same in protobuf: lists inside lists, and groups inside groups.
    let mut value = v1::Value::default();
    for _ in 0..100 {
        let list = v1::ListValue { items: vec![value] };
        value = v1::Value { kind: Some(v1::value::Kind::ListValue(list)) };
    }
    let row = v1::Row { values: vec![value], ..v1::Row::default() };
    let rows = v1::Rows { columns: vec!["u.a".to_owned()], rows: vec![row] };
    let body = Some(v1::feature_table::Body::Rows(rows));
    let table = v1::FeatureTable { namespace: "u".to_owned(), body };
    let message = v1::QueryResult { tables: vec![table], ..v1::QueryResult::default() };
    assert!(refusal(message.encode_to_vec()).contains("nested deeper than 64"));
    assert!(
        refusal([0x7b_u8; 0].into_iter().chain([0xa3, 0x06].repeat(100_000)).collect::<Vec<u8>>())
            .contains("nested deeper than 64")
    );
}

#[test]
fn a_body_that_is_no_result_is_refused() {
    assert_eq!(refusal(""), "DECODE: the message has no body; expected a QueryResult");
    assert_eq!(
        refusal("{}"),
        "DECODE: JSON: none of the fields of a QueryResult is in it at line 1, column 2 (byte 2)"
    );
    assert_eq!(refusal(&b"\xf8\x01\x01"[..]), "DECODE: none of the fields of a QueryResult is in it");
    assert_eq!(refusal("ARROW1\0\0"), "DECODE: Arrow: cut off: a file ends with ARROW1");
    assert_eq!(refusal("hello"), "DECODE: protobuf: the end of a group that has not begun at byte 2");
}

#[test]
fn malformed_protobuf_is_refused_with_the_place() {
    assert_eq!(refusal(&b"\x0a\x04pro"[..]), "DECODE: protobuf: a length of 4 with 3 bytes left at byte 0");
    assert_eq!(refusal(&b"\x0a\x01p\x08\x01"[..]), "DECODE: protobuf: `environment_id` is a varint at byte 3");
    assert_eq!(refusal(&b"\x0a\x01\xff"[..]), "DECODE: protobuf: `environment_id` is not UTF-8 at byte 0");
    assert_eq!(refusal(&b"\x0a\x00\x07"[..]), "DECODE: protobuf: field number 0 at byte 2");
    assert_eq!(refusal(&b"\x0a\x00\x0f"[..]), "DECODE: protobuf: wire type 7 at byte 2");
    assert_eq!(refusal(&b"\x0a\x00\x20\xff"[..]), "DECODE: protobuf: an integer without an end at byte 2");
    assert_eq!(refusal(&b"\x0a\x00\xa3\x06"[..]), "DECODE: protobuf: a group without an end at byte 2");
}

#[test]
fn a_table_without_a_namespace_is_read_and_left_to_the_writers_to_refuse() {
    let result = read_json(r#"{"tables": [{"rows": {"rows": [{"id": 1, "features": {"u.a": 1}}]}}]}"#);
    let TableBody::Rows { rows, .. } = &result.tables[0].body else { panic!("rows") };
    assert_eq!((&*result.tables[0].namespace, rows[0].fault.as_deref()), ("", None));
}

#[test]
fn rows_before_their_columns_and_rows_of_both_forms_share_them() {
    let result = read_json(
        r#"{"tables": [{"namespace": "u", "rows": {"rows": [
             {"id": 1, "features": {"u.z": 1, "u.b": 2}}, {"id": 2, "values": [3, 4]}, {"id": 3, "values": [5, 6, 7]}],
            "columns": ["u.a", "u.b"]}}]}"#,
    );
    let TableBody::Rows { columns, rows } = &result.tables[0].body else { panic!("rows") };
    assert_eq!(**columns, ["u.a", "u.b", "u.z"]);
    let cells = |row: usize| rows[row].cells.iter().map(|cell| cell.column).collect::<Vec<_>>();
    assert_eq!((cells(0), cells(1)), (vec![2, 1], vec![0, 1]));
    assert_eq!(rows[2].fault.as_deref(), Some("`values`: expected at most 2, one for each of `columns`, found 3"));
}

#[test]
fn a_feature_that_is_only_said_to_be_missing_is_null() {
    let read =
        rows(r#"{"rows": [{"id": 1, "meta": {"u.a": {"source_type": "MISSING"}, "u.b": {"source_type": "GIVEN"}}}]}"#);
    assert_eq!(read[0].cells.len(), 1);
    assert_eq!(read[0].cells[0].value, Value::Null);
}

/// A message that is made of one small thing again and again, in JSON.
fn repeated(before: &str, thing: &str, count: usize, after: &str) -> String {
    let things = vec![thing; count].join(",");
    format!(r#"{{"tables": [{{"namespace": "user", "rows": {{{before}{things}{after}}}}}]}}"#)
}

/// A value takes more in memory than in a message; one that is made of nothing else is refused before it does.
#[test]
fn small_things_without_end_do_not_fill_the_memory() {
    let json = |count| {
        let row = r#""rows": [{"id": 1, "#;
        [
            repeated(r#""rows": ["#, r#"{"id":1}"#, count, "]"),
            repeated(&format!(r#"{row}"features": {{"user.a": ["#), "0", count, "]}}]"),
            repeated(&format!(r#"{row}"features": {{"user.a": [["#), "[]", count, "]]}}]"),
            repeated(&format!(r#"{row}"values": ["#), "0", count, "]}]"),
        ]
    };
    let protobuf = |count| {
        let value = |kind| v1::Value { kind: Some(kind) };
        let int = || value(v1::value::Kind::IntValue(0));
        let list = |items| value(v1::value::Kind::ListValue(v1::ListValue { items }));
        let fields = |items: Vec<v1::Value>| {
            let fields = items.into_iter().map(|item| v1::StructField { name: String::new(), value: Some(item) });
            value(v1::value::Kind::StructValue(v1::StructValue { fields: fields.collect() }))
        };
        let row = |values, meta| v1::Row { values, meta, ..v1::Row::default() };
        [
            vec![row(vec![], vec![]); count],
            vec![row(vec![int(); count], vec![])],
            vec![row(vec![], vec![v1::Meta::default(); count])],
            vec![row(vec![list(vec![int(); count])], vec![])],
            vec![row(vec![fields(vec![int(); count])], vec![])],
        ]
        .map(|rows| {
            let rows = v1::Rows { columns: vec![], rows };
            let body = Some(v1::feature_table::Body::Rows(rows));
            let table = v1::FeatureTable { namespace: "user".to_owned(), body };
            v1::QueryResult { tables: vec![table], ..v1::QueryResult::default() }.encode_to_vec()
        })
    };
    // What only metrics are made of is within the same allowance.
    let around = |count| {
        let text = |field: &str| format!(r#"{{"{field}": [{}]}}"#, vec!["{}"; count].join(","));
        let errors = v1::QueryResult { errors: vec![ChalkError::default(); count], ..v1::QueryResult::default() };
        let resolver_runs = vec![v1::ResolverRun::default(); count];
        let runs = v1::QueryResult { resolver_runs, ..v1::QueryResult::default() };
        let json = ["errors", "resolver_runs"].map(|field| text(field).into_bytes());
        json.into_iter().chain([errors.encode_to_vec(), runs.encode_to_vec()])
    };
    let rows = |count| json(count).into_iter().map(String::into_bytes).chain(protobuf(count));
    let bodies = |count| rows(count).chain(around(count));
    for body in bodies(1_000) {
        read_within(body.clone(), body.len().max(32_000)).expect("within the limit");
    }
    for body in bodies(100_000) {
        let refused = read_within(body.clone(), body.len()).expect_err("too much of it");
        assert_eq!(refused.class, ErrorClass::TooLarge, "{refused}");
        assert!(refused.message.contains("rows of more than"), "{refused}");
    }
}

#[test]
fn a_value_of_one_field_is_read_the_same_however_it_is_written() {
    let field = |number: u8, content: &[u8]| {
        [&[number << 3 | 2, u8::try_from(content.len()).expect("short")], content].concat()
    };
    let values = |content: &[u8]| {
        let columns = [field(1, b"u.a"), field(1, b"u.b")].concat();
        // The first is read by itself, others in a loop.
        let row = [vec![2 << 3, 7], field(4, content), field(4, content)].concat();
        let table = [field(1, b"u"), field(2, &[columns, field(2, &row)].concat())].concat();
        let result = read(field(6, &table)).map_err(|refusal| refusal.message)?;
        let TableBody::Rows { rows, .. } = &result.tables[0].body else { panic!("rows") };
        Ok::<_, String>(rows[0].cells.iter().map(|cell| cell.value.clone()).collect::<Vec<_>>())
    };
    for (content, expected) in [
        (&[0x08, 0x00][..], Value::Null),
        (&[0x08, 0x05], Value::Null),
        (&[0x10, 0x00], Value::Bool(false)),
        (&[0x10, 0x01], Value::Bool(true)),
        (&[0x10, 0x02], Value::Bool(true)),
        (&[0x10, 0x80, 0x01], Value::Bool(true)),
        (&[0x10, 0x80, 0x00], Value::Bool(false)),
        (&[0x10, 0x01, 0x08, 0x00], Value::Null),
        (&[0x08, 0x00, 0x10, 0x01], Value::Bool(true)),
        (&[0x18, 0x05], Value::Int(5)),
        (&[0x18, 0x85, 0x00], Value::Int(5)),
        (&[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Value::Int(-1)),
        (&[0x18, 0x05, 0x18, 0x06], Value::Int(6)),
        (&[0x2a, 0x01, b'x'], Value::text("x")),
        (&[0x2a, 0x81, 0x00, b'x'], Value::text("x")),
        (&[0x2a, 0x01, b'x', 0x18, 0x05], Value::Int(5)),
    ] {
        assert_eq!(values(content), Ok(vec![expected.clone(), expected]), "{content:02x?}");
    }
    assert_eq!(values(&[]), Ok(vec![]));
    for content in [&[0x08][..], &[0x10, 0x80], &[0x18], &[0x18, 0x80], &[0x2a, 0x02, b'x'], &[0x2a, 0x01, 0xff]] {
        assert!(values(content).is_err(), "{content:02x?}");
    }
}
