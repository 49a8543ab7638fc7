//! The documented example, in every form, says the same.

use chalk_writer::proto::pubsub::v1::QueryStatus;
use chalk_writer::proto::writer::v1;
use chalk_writer::result::encode::person_json;
use chalk_writer::result::{QueryResult, Source, TableBody, Wanted};
use chalk_writer::value::Value;
use prost::Message as _;

use super::{LIMIT, read, read_json, read_of, same};

const EXAMPLE: &str = include_str!("../../proto/example.json");

fn check(result: &QueryResult) {
    assert_eq!((&*result.environment_id, &*result.deployment_id, &*result.operation_id), ("prod", "dep-7", "018f-42"));
    assert_eq!(result.operation_kind, 1);
    assert_eq!(result.observed_at, Some(1_795_372_320_123_456));
    let query = result.query.as_deref().expect("wanted");
    assert_eq!(query.query_name.as_deref(), Some("fraud_check"));
    assert_eq!(query.output_features, ["user.score", "user.name"]);
    assert_eq!(query.query_duration_seconds, Some(0.0042));
    assert_eq!((query.has_errors, query.status), (Some(false), Some(QueryStatus::Successful.into())));
    let [table] = result.tables.as_slice() else { panic!("one table") };
    assert_eq!(&*table.namespace, "user");
    let TableBody::Rows { columns, rows } = &table.body else { panic!("rows") };
    let [row] = rows.as_slice() else { panic!("one row") };
    assert_eq!((&row.id, row.observed_at, &row.fault), (&Value::Int(42), None, &None));
    let cells: Vec<_> = row
        .cells
        .iter()
        .map(|cell| {
            (&*columns[cell.column], cell.value.clone(), cell.source, cell.source_id.as_deref().map_or("", |id| id))
        })
        .collect();
    assert_eq!(
        cells,
        [
            ("user.name", Value::text("Ada"), Source::OnlineStore, "fraud.get_name"),
            ("user.score", Value::Double(0.7), Source::Resolver, "fraud.get_score"),
        ]
    );
    assert!(result.persistence.online && result.persistence.offline);
    let [run] = result.resolver_runs.as_slice() else { panic!("one run") };
    let kind_and_status = (v1::ResolverKind::Online.into(), v1::ResolverStatus::Success.into());
    assert_eq!((&*run.resolver, (run.kind, run.status)), ("fraud.get_score", kind_and_status));
    assert_eq!((run.duration_seconds, run.rows), (0.003, 1));
    assert!(result.errors.is_empty());
}

#[test]
fn the_documented_example_is_read_as_it_says() {
    check(&read_json(EXAMPLE));
}

#[test]
fn the_example_says_the_same_as_protobuf_and_in_both_forms_of_json() {
    let result = read_json(EXAMPLE);
    let message = v1::QueryResult::from(&result);
    check(&read(message.encode_to_vec()).expect("protobuf"));
    check(&read_json(serde_json::to_string(&message).expect("compact JSON")));
    check(&read(person_json(&message).expect("JSON")).expect("a person's JSON"));
}

#[test]
fn names_in_lower_camel_case_are_the_same_names() {
    let mut camel = EXAMPLE.to_owned();
    for name in [
        "environment_id",
        "deployment_id",
        "operation_id",
        "operation_kind",
        "observed_at",
        "query_name",
        "input_features",
        "output_features",
        "query_duration_seconds",
        "has_errors",
        "trace_id",
        "source_type",
        "source_id",
        "resolver_runs",
        "duration_seconds",
    ] {
        let mut parts = name.split('_');
        let mut spelt = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            spelt += &part[..1].to_uppercase();
            spelt += &part[1..];
        }
        camel = camel.replace(&format!("\"{name}\""), &format!("\"{spelt}\""));
    }
    assert_ne!(camel, EXAMPLE);
    assert!(same(&read_json(camel), &read_json(EXAMPLE)));
}

#[test]
fn the_compact_form_of_json_takes_typed_values_and_plain_ones() {
    let result = read_json(
        r#"{"operation_kind": "OPERATION_KIND_CRON", "persistence": {"persistOnlineStorage": false},
            "tables": [{"namespace": "user", "rows": {"rows": [
              {"int_id": "7", "observed_at": "2026-11-22T18:32:00+00:00",
               "values": [{"int_value": "9007199254740993"}, 0.5, {}, null, {"timestampValue": "1970-01-01T00:00:01Z"},
                          {"list_value": {"items": [{"bool_value": true}, 2]}}, {"a": 1, "b": []}, {"bytes_value": "AP8"}],
               "meta": [{}, {"source_type": 1}, null, {"source_type": "given"}]},
              {"text_id": "7", "values": []}],
             "columns": ["u.a", "u.b", "u.c", "u.d", "u.e", "u.f", "u.g", "u.h"]}}]}"#,
    );
    assert_eq!((result.operation_kind, result.persistence.online, result.persistence.offline), (3, false, true));
    let TableBody::Rows { columns, rows } = &result.tables[0].body else { panic!("rows") };
    assert_eq!(columns.len(), 8);
    assert_eq!((&rows[0].id, &rows[1].id), (&Value::Int(7), &Value::text("7")));
    assert_eq!(rows[0].fault, None);
    assert_eq!(rows[0].observed_at, Some(1_795_372_320_000_000));
    let cells: Vec<_> = rows[0].cells.iter().map(|cell| (cell.column, cell.value.clone(), cell.source)).collect();
    let record = Value::Struct(vec![("a".into(), Value::Int(1)), ("b".into(), Value::List(vec![]))]);
    assert_eq!(
        cells,
        [
            (0, Value::Int(9_007_199_254_740_993), Source::Unknown),
            (1, Value::Double(0.5), Source::Resolver),
            (3, Value::Null, Source::Given),
            (4, Value::Timestamp(1_000_000), Source::Unknown),
            (5, Value::List(vec![Value::Bool(true), Value::Int(2)]), Source::Unknown),
            (6, record, Source::Unknown),
            (7, Value::Bytes(vec![0, 255].into()), Source::Unknown),
        ]
    );
}

#[test]
fn what_nobody_wants_is_passed_over_but_checked() {
    let read = |text: String| read_of(text, Wanted::default(), LIMIT);
    let result = read(EXAMPLE.to_owned()).expect("sound");
    assert!(result.query.is_none() && result.resolver_runs.is_empty());
    assert!(read(EXAMPLE.replace("\"trace_id\"", "\"status\"")).is_err());
    assert!(read(EXAMPLE.replace("\"duration_seconds\"", "\"rows\"")).is_err());
    let body = r#"{"errors": 5, "resolver_runs": ["a"], "persistence": {"persist_status_metrics": "no"}}"#;
    let result = read(body.to_owned()).expect("nobody asks what is in them");
    assert!(result.persistence.status_metrics && result.errors.is_empty());
    assert!(super::read(body).is_err());
}
