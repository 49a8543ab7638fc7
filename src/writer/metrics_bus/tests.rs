//! Which rows a message of the metrics bus makes, and where they go.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::config::settings::{Environment, MetricsModes, MetricsStores, Sides};
use crate::decode::{Decoded, Decoder};
use crate::proto::common::v1::{ChalkError, ChalkException, ErrorCode, OperationKind};
use crate::proto::metrics::{v1, v4};
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};
use crate::proto::writer::v1::{ErrorBatch, ErrorRow};
use crate::result::encode::timestamp;
use crate::row::table::TableRow;
use crate::sink::ErrorClass;
use crate::sketch::Distribution;
use crate::value::Value;
use crate::writer::skip;
use crate::writer::testing::{DAY, NOW, SECOND, message, settings, store};

fn stores(main: Option<&str>, clickhouse: Option<&str>, victoria: Option<&str>) -> Environment {
    let [main, clickhouse, victoria_metrics] = [main, clickhouse, victoria].map(|uri| uri.map(store));
    let metrics_store = Some(MetricsStores { main, clickhouse, victoria_metrics });
    Environment { metrics_store, ..Environment::default() }
}

/// What is decoded of a body of a type in an environment `prod` with such stores, and the names of its destinations.
fn decoded(
    environment: Environment,
    change: impl FnOnce(&mut WriterSettings),
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (Decoded<TableRows>, Vec<String>) {
    let mut settings = settings(WriterType::METRICS_BUS, &[("prod", environment), ("bare", Environment::default())]);
    change(&mut settings);
    let destinations = destinations(&settings).expect("stores");
    let mut message = message(&[&[("ce_id", "e-1"), ("ce_source", "engine")], headers].concat());
    message.payload = Some(Bytes::from(body));
    let mut decoded = Decoded::default();
    decoder(&settings, &destinations, Arc::new(|| NOW)).decode(&message, &mut decoded);
    (decoded, destinations.planned.into_iter().map(|planned| planned.name).collect())
}

fn one_store(kind: &str, body: Vec<u8>) -> Decoded<TableRows> {
    decoded(stores(Some("sqlite:a"), None, None), |_| {}, &[("ce_type", kind)], body).0
}

fn rows(decoded: &Decoded<TableRows>) -> Vec<&TableRow> {
    let rows = decoded.rows.iter().map(|rows| match rows {
        TableRows::Row(row) => row,
        TableRows::Columns(_) => panic!("rows come one by one"),
    });
    rows.collect()
}

/// What is not null of a row.
fn cells(row: &TableRow) -> BTreeMap<&str, &Value> {
    let all = row.shape.columns.iter().zip(&row.values);
    assert_eq!(row.shape.columns.len(), row.values.len());
    all.filter(|(_, value)| **value != Value::Null).map(|(column, value)| (&*column.name, value)).collect()
}

fn metric(value: f64) -> v1::Metric {
    v1::Metric {
        environment_id: "prod".to_owned(),
        observed_at: Some(timestamp(NOW - SECOND)),
        namespace: v1::Metrics1ProtoRepresentationNamespace::Feature.into(),
        metric_name: v1::Metrics1ProtoRepresentationName::Request.into(),
        source: "user.score".to_owned(),
        tag1: Some(v1::Metrics1ProtoRepresentationTag1::Success.into()),
        tag4: Some(0),
        tag5: Some(9),
        aggregation_type: Some(v1::Metrics1ProtoAggregationType::Sum.into()),
        value: Some(v1::metric::Value::Numeric(v1::NumericMetric { value })),
        ..v1::Metric::default()
    }
}

fn batch(metrics: Vec<v1::Metric>) -> Vec<u8> {
    v1::MetricBatch { metrics }.encode_to_vec()
}

#[test]
fn a_metric_is_a_row_with_the_names_of_its_tags() {
    let decoded = one_store("chalk.metrics.v1", batch(vec![metric(3.0)]));
    assert_eq!((decoded.refused.len(), decoded.event_time), (0, Some(NOW - SECOND)));
    let [row] = rows(&decoded)[..] else { panic!("one row: {:?}", decoded.rows) };
    let text = |text: &'static str| Value::text(text);
    let mut found = cells(row);
    // They are a part of the key: another version that gave a message other ones would store it once more. Worked out
    // apart from the program, as is the name of an error below.
    assert_eq!(found.remove("series"), Some(&text("35bdf156b0bbac811da64240b18c3ff1")));
    assert_eq!(found.remove("emitter"), Some(&text("68c859dc958dccfee3ea319f4bbfcdcc")));
    let expected = BTreeMap::from([
        ("version", Value::Int(1)),
        ("environment_id", text("prod")),
        ("observed_at", Value::Timestamp(NOW - SECOND)),
        ("namespace", text("FEATURE")),
        ("metric_name", text("REQUEST")),
        ("source", text("user.score")),
        ("tag1", text("SUCCESS")),
        ("tag5", text("9")),
        ("aggregation_type", text("SUM")),
        ("value", Value::Double(3.0)),
        ("part", Value::Int(0)),
    ]);
    assert_eq!(found, expected.iter().map(|(name, value)| (*name, value)).collect());
}

/// `series`, `emitter` and `part` of each row.
fn keys(decoded: &Decoded<TableRows>) -> Vec<(String, String, i64)> {
    let text = |cells: &BTreeMap<&str, &Value>, name| match cells[name] {
        Value::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    let key = |row: &TableRow| {
        let cells = cells(row);
        let Value::Int(part) = cells["part"] else { panic!("no part") };
        (text(&cells, "series"), text(&cells, "emitter"), *part)
    };
    rows(decoded).into_iter().map(key).collect()
}

#[test]
fn a_series_is_all_that_is_said_of_it_and_its_partials_are_told_apart() {
    let change = |change: fn(&mut v1::Metric)| {
        let mut metric = metric(1.0);
        change(&mut metric);
        metric
    };
    let same = vec![
        metric(1.0),
        metric(2.0),
        change(|metric| metric.operation_id = Some("q".to_owned())),
        change(|metric| metric.id = Some(7)),
    ];
    let keys_of = |metrics| keys(&one_store("chalk.metrics.v1", batch(metrics)));
    let found = keys_of(same);
    assert!(found.iter().all(|(series, emitter, _)| (series, emitter) == (&found[0].0, &found[0].1)));
    assert_eq!(found.iter().map(|(.., part)| *part).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let later = keys_of(vec![metric(1.0), change(|metric| metric.observed_at = Some(timestamp(NOW)))]);
    assert_eq!((&later[0].0, later[1].2), (&later[1].0, 1), "its place in the message, whatever stands before it");
    let others = keys_of(vec![
        metric(1.0),
        change(|metric| metric.source = "user.name".to_owned()),
        change(|metric| metric.deployment_id = "dep".to_owned()),
        change(|metric| metric.resource_group = Some("dep".to_owned())),
        change(|metric| metric.tag1 = None),
        change(|metric| (metric.tag1, metric.tag2) = (None, Some(2))),
        change(|metric| metric.tag7 = Some(1)),
        change(|metric| metric.aggregation_type = None),
        change(|metric| metric.namespace = 1),
        change(|metric| metric.metric_name = 1),
        change(|metric| metric.environment_id = String::new()),
    ]);
    let distinct: std::collections::BTreeSet<_> = others.iter().map(|(series, ..)| series).collect();
    assert_eq!(distinct.len(), others.len());
    let again = keys_of(vec![metric(1.0)]);
    assert_eq!(again[0], found[0], "the same message has the same keys");
    let tagged = |tags: &[(&str, &str)]| {
        let additional_tags = tags.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect();
        let metric = v4::Metric {
            environment_id: "prod".to_owned(),
            name: 1,
            value: Some(v4::metric::Value::Numeric(1.0)),
            additional_tags,
            ..v4::Metric::default()
        };
        keys(&one_store("chalk.metrics.v4", v4::MetricBatch { metrics: vec![metric] }.encode_to_vec())).remove(0).0
    };
    assert_ne!(tagged(&[("a", "b")]), tagged(&[("a", "c")]));
    assert_ne!(tagged(&[("a", "b")]), tagged(&[]));
}

#[test]
fn a_mended_metric_has_the_place_that_it_had_when_it_was_refused() {
    let broken = v1::Metric { value: None, ..metric(0.0) };
    let parts = |metrics| {
        keys(&one_store("chalk.metrics.v1", batch(metrics))).into_iter().map(|(.., part)| part).collect::<Vec<_>>()
    };
    assert_eq!(parts(vec![broken, metric(1.0)]), [1]);
    assert_eq!(parts(vec![metric(7.0), metric(1.0)]), [0, 1]);
}

#[test]
fn a_sketch_is_kept_as_it_came_and_in_buckets() {
    let mut values = Distribution::new();
    assert!([-2.0, 0.0, 4.0].into_iter().all(|value| values.add(value)));
    let text = values.sketch().to_text();
    let statistics = v1::MetricStatistics { min: -2.0, max: 4.0, count: 3, null_count: 5, mean: 0.5, variance: 6.25 };
    let sketch = |statistics| v1::Metric {
        value: Some(v1::metric::Value::Sketch(v1::SketchMetric { value: text.clone(), statistics })),
        ..metric(0.0)
    };
    let bare = v4::Metric {
        environment_id: "prod".to_owned(),
        name: v4::MetricName::ValuesDistribution.into(),
        namespace: v4::MetricNamespace::Feature.into(),
        r#type: v4::MetricType::Histogram.into(),
        value: Some(v4::metric::Value::Sketch(text.clone())),
        additional_tags: [("a".to_owned(), "b".to_owned())].into(),
        ..v4::Metric::default()
    };
    let of_v4 = one_store("chalk.metrics.v4", v4::MetricBatch { metrics: vec![bare] }.encode_to_vec());
    let of_v1 = one_store("chalk.metrics.v1", batch(vec![sketch(Some(statistics)), sketch(None)]));
    assert_eq!((of_v1.refused.len(), of_v4.refused.len()), (0, 0), "{:?}", of_v4.refused);
    let all: Vec<_> = rows(&of_v1).into_iter().chain(rows(&of_v4)).map(cells).collect();
    let mut expected: Vec<Value> = Vec::new();
    for (bucket, count) in values.sketch().buckets() {
        let numbers = [i64::from(bucket.sign()), bucket.index(), *count as i64];
        expected.push(Value::List(numbers.map(Value::Int).to_vec()));
    }
    for row in &all {
        assert_eq!((row["sketch"], row["buckets"]), (&Value::text(text.clone()), &Value::List(expected.clone())));
        assert_eq!((row["compactions"], row["count"]), (&Value::Int(0), &Value::Int(3)));
    }
    assert_eq!((all[0]["mean"], all[0]["null_count"]), (&Value::Double(0.5), &Value::Int(5)));
    assert_eq!((all[1]["mean"], all[1].get("variance")), (&Value::Double(2.0 / 3.0), None), "from the sketch");
    assert_eq!(all[2]["version"], &Value::Int(4));
    assert_eq!(
        (all[2]["metric_name"], all[2]["metric_type"]),
        (&Value::text("VALUES_DISTRIBUTION"), &Value::text("HISTOGRAM"))
    );
    assert_eq!(all[2]["observed_at"], &Value::Timestamp(NOW), "the bus's, where nothing else says");
    assert_eq!(all[2]["additional_tags"], &Value::Struct(vec![("a".into(), Value::text("b"))]));
}

#[test]
fn a_bad_metric_is_refused_alone_and_says_which_it_is() {
    let with = |change: fn(&mut v1::Metric)| {
        let mut metric = metric(1.0);
        change(&mut metric);
        metric
    };
    let sketch =
        |text: &str| Some(v1::metric::Value::Sketch(v1::SketchMetric { value: text.to_owned(), statistics: None }));
    let broken = v1::Metric { value: sketch("(version:1,alpha:0.1)"), ..metric(0.0) };
    let metrics = vec![
        metric(1.0),
        broken,
        with(|metric| metric.value = None),
        with(|metric| metric.metric_name = 0),
        with(|metric| metric.observed_at = Some(timestamp(NOW + 2 * DAY))),
        with(|metric| metric.environment_id = "other".to_owned()),
        with(|metric| metric.environment_id = "bare".to_owned()),
        metric(2.0),
    ];
    let decoded = one_store("chalk.metrics.v1", batch(metrics));
    assert_eq!(rows(&decoded).len(), 2);
    let refused: Vec<_> =
        decoded.refused.iter().map(|refusal| (refusal.class, refusal.row.as_deref().unwrap_or_default())).collect();
    let expected = [
        (ErrorClass::Decode, "metrics[1]"),
        (ErrorClass::Decode, "metrics[2]"),
        (ErrorClass::Decode, "metrics[3]"),
        (ErrorClass::TimeInFuture, "metrics[4]"),
        (ErrorClass::UnknownEnvironment, ""),
    ];
    assert_eq!(refused, expected);
    assert_eq!(decoded.skipped, [(skip::NO_STORE, 1)]);
    // Headers that name an environment name that of all metrics.
    let headers = [("ce_environmentid", "bare")];
    let (decoded, _) = self::decoded(stores(Some("sqlite:a"), None, None), |_| {}, &headers, batch(vec![metric(1.0)]));
    assert_eq!(decoded.refused[0].class, ErrorClass::EnvironmentMismatch);
    assert_eq!(one_store("chalk.result.v1", batch(vec![metric(1.0)])).skipped, [(skip::OTHER_TYPE, 1)]);
    assert_eq!(one_store("chalk.metrics.v1", Vec::new()).refused[0].class, ErrorClass::Decode);
}

#[test]
fn a_query_is_a_row_of_all_its_fields() {
    let query = QueryMessagePubSub {
        environment_id: "prod".to_owned(),
        query_meta: [("a".to_owned(), "b".to_owned())].into(),
        input_features: vec!["user.id".to_owned()],
        created_at: NOW,
        has_errors: Some(false),
        query_duration_seconds: Some(0.0042),
        status: Some(QueryStatus::Successful.into()),
        ..QueryMessagePubSub::default()
    };
    let decoded = one_store("chalk.query.v1", query.encode_to_vec());
    let [row] = rows(&decoded)[..] else { panic!("one row: {:?}", decoded.refused) };
    let none = Value::List(Vec::new());
    let expected = BTreeMap::from([
        ("operation_id", Value::text("e-1")),
        ("environment_id", Value::text("prod")),
        ("query_meta", Value::Struct(vec![("a".into(), Value::text("b"))])),
        ("input_features", Value::List(vec![Value::text("user.id")])),
        ("output_features", none.clone()),
        ("output_root_fqns", none.clone()),
        ("intermediate_features", none.clone()),
        ("resolvers", none),
        ("created_at", Value::Timestamp(NOW)),
        ("has_errors", Value::Bool(false)),
        ("query_duration_seconds", Value::Double(0.0042)),
        ("status", Value::text("SUCCESSFUL")),
        ("progress", Value::Int(4)),
        ("reported_at", Value::Timestamp(NOW)),
    ]);
    assert_eq!(cells(row), expected.iter().map(|(name, value)| (*name, value)).collect());
    let headers = [("ce_type", "chalk.query.v1"), ("ce_operationid", "op-9")];
    let drop_all = |settings: &mut WriterSettings| settings.query_table_write_drop_ratio = 1.0;
    let (dropped, _) = self::decoded(stores(Some("sqlite:a"), None, None), drop_all, &headers, query.encode_to_vec());
    assert_eq!((dropped.rows.len(), dropped.skipped), (0, vec![(skip::QUERY_DROPPED, 1)]));
    let (named, _) = self::decoded(stores(Some("sqlite:a"), None, None), |_| {}, &headers, query.encode_to_vec());
    assert_eq!(cells(rows(&named)[0])["operation_id"], &Value::text("op-9"));
}

#[test]
fn errors_are_rows_with_a_name_of_their_own() {
    let error = ChalkError {
        code: ErrorCode::ResolverFailed.into(),
        message: "no".to_owned(),
        resolver: Some("fraud.score".to_owned()),
        exception: Some(ChalkException { kind: "KeyError".to_owned(), ..ChalkException::default() }),
        ..ChalkError::default()
    };
    let row = |error: Option<ChalkError>| ErrorRow {
        operation_id: "op".to_owned(),
        operation_kind: OperationKind::OnlineQuery.into(),
        created_at: Some(timestamp(NOW)),
        error,
        ..ErrorRow::default()
    };
    let batch = ErrorBatch {
        environment_id: "prod".to_owned(),
        errors: vec![row(Some(error.clone())), row(None), row(Some(error))],
        ..ErrorBatch::default()
    };
    for (kind, table) in [("chalk.query_error.v1", "query_errors"), ("chalk.resolver_error.v1", "resolver_errors")] {
        let decoded = one_store(kind, batch.encode_to_vec());
        let [first, second] = rows(&decoded)[..] else { panic!("two rows: {:?}", decoded.refused) };
        assert_eq!(decoded.refused[0].row.as_deref(), Some(&*format!("{table}[1]")));
        assert_eq!((&*first.shape.table, &*second.shape.table), (table, table));
        let cells = cells(first);
        assert_eq!((cells["code"], cells["category"]), (&Value::text("RESOLVER_FAILED"), &Value::text("NETWORK")));
        assert_eq!(
            (cells["operation_kind"], cells["exception_kind"]),
            (&Value::text("ONLINE_QUERY"), &Value::text("KeyError"))
        );
        assert_eq!(cells["error_id"], &Value::text("6986bf6fed378599cf85df68319544a0"));
        assert_ne!(cells["error_id"], self::cells(second)["error_id"]);
    }
}

#[test]
fn each_kind_goes_to_the_stores_that_its_mode_names() {
    let modes = |queries, errors, metrics| MetricsModes { queries, errors, metrics, ..MetricsModes::default() };
    let three = || stores(Some("sqlite:a"), Some("sqlite:b"), Some("sqlite:c"));
    let query =
        QueryMessagePubSub { environment_id: "prod".to_owned(), created_at: NOW, ..QueryMessagePubSub::default() };
    let to = |environment: Environment, modes: MetricsModes, kind, body: Vec<u8>| {
        let change = |settings: &mut WriterSettings| settings.of_type.metrics = modes;
        let (decoded, names) = decoded(environment, change, &[("ce_type", kind)], body);
        let row = |row: &TableRow| {
            let schema = row.shape.schema.as_deref().map(|schema| format!("{schema}.")).unwrap_or_default();
            format!("{schema}{} in {}", row.shape.table, names[row.destination])
        };
        (rows(&decoded).into_iter().map(row).collect::<Vec<_>>(), names.len())
    };
    let metrics = || batch(vec![metric(1.0)]);
    let (main, both, other) = (Sides::Main, Sides::Both, Sides::Other);
    let here = |table: &str| format!("{table} in metrics store of prod");
    let clickhouse = |table: &str| format!("{table} in metrics store (clickhouse_uri) of prod");
    let victoria = "metrics in metrics store (victoria_metrics_uri) of prod".to_owned();
    assert_eq!(to(three(), modes(main, main, main), "chalk.metrics.v1", metrics()), (vec![here("metrics")], 1));
    let found = to(three(), modes(both, main, other), "chalk.metrics.v1", metrics());
    assert_eq!(found, (vec![victoria.clone()], 3));
    let found = to(three(), modes(other, other, both), "chalk.metrics.v1", metrics());
    assert_eq!(found, (vec![here("metrics"), victoria], 3));
    let named = MetricsModes { queries_table: Some("lake.q".to_owned()), ..modes(both, main, main) };
    let found = to(three(), named.clone(), "chalk.query.v1", query.encode_to_vec());
    assert_eq!(found, (vec![here("queries"), clickhouse("lake.q")], 2), "the name is that of one side");
    let found = to(three(), modes(other, main, main), "chalk.query.v1", query.encode_to_vec());
    assert_eq!(found.0, [clickhouse("queries")]);
    // One store in both roles takes a row once, unless it goes to two tables.
    let same = || stores(Some("sqlite:a"), Some("sqlite:a"), None);
    let found = to(same(), modes(both, main, main), "chalk.query.v1", query.encode_to_vec());
    assert_eq!(found, (vec![here("queries")], 1));
    assert_eq!(to(same(), named, "chalk.query.v1", query.encode_to_vec()).0.len(), 2);
}

/// A row has a place for every column, whatever it says.
#[test]
fn a_batch_that_would_fill_the_memory_is_refused_before_it_does() {
    let metrics = || batch(vec![metric(1.0); 2_000]);
    let limit = |settings: &mut WriterSettings| settings.tuning.max_message_bytes = 200_000;
    let (decoded, _) = decoded(stores(Some("sqlite:a"), None, None), limit, &[], metrics());
    assert!((500..1_900).contains(&decoded.rows.len()), "{}", decoded.rows.len());
    assert!(decoded.refused.iter().all(|refusal| refusal.class == ErrorClass::TooLarge) && !decoded.refused.is_empty());
    assert_eq!(one_store("chalk.metrics.v1", metrics()).rows.len(), 2_000);
}
