//! Results in, messages of the metrics topic out. Seen to fail with a cache hit counted as a miss, with nulls of a
//! column of nothing else taken for values, with what a resolver wrote counted once, with windows of an hour, with
//! messages cut one metric or error too late, with a sum kept as a double, and with the sound rows of a broken result
//! counted.

#![allow(clippy::float_cmp, reason = "sums that are exact are equal to the last bit")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::decode::{Decoded, Decoder as _};
use crate::message::{Envelope, EventType, Message, Outgoing, Partition};
use crate::proto::common::v1::ChalkError;
use crate::proto::metrics::v1::metric::Value as MetricValue;
use crate::proto::metrics::v1::{Metric, MetricBatch};
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};
use crate::proto::writer::v1::{self, ErrorBatch, ResolverRun};
use crate::result::{Persistence, QueryResult, Source};
use crate::row::contribution::{Contribution, Measure, Name, Namespace, Series, Tags};
use crate::runtime::{Emit as _, Emitted};
use crate::sink::{ErrorClass, Row as _};
use crate::sketch::UddSketch;
use crate::value::Value;
use crate::writer::testing::{NOW, SECOND, any_result, any_table, message, one, result, rows_of, settings, table};
use crate::writer::{Shown as _, WriterType, skip};

const MINUTE: i64 = 60 * SECOND;

fn decoder() -> MetricsDecoder {
    MetricsDecoder::new(&settings(WriterType::METRICS, &[]), Arc::new(|| NOW))
}

fn message_of(body: Vec<u8>) -> Message {
    Message { payload: Some(body.into()), ..message(&[("ce_id", "e-1"), ("ce_source", "engine")]) }
}

/// What a result is named after whose event has this source and id.
fn event_of(source: &str, id: &str) -> Box<str> {
    let body = v1::QueryResult::from(&QueryResult { query: Some(Box::new(query())), ..result(Vec::new()) });
    let headers = message(&[("ce_source", source), ("ce_id", id)]);
    let mut decoded = Decoded::default();
    decoder().decode(&Message { payload: Some(body.encode_to_vec().into()), ..headers }, &mut decoded);
    decoded.rows.into_iter().next().expect("a contribution").event
}

// Seen to fail when source and id were joined by a slash.
#[test]
fn events_of_two_sources_have_two_names_wherever_a_slash_stands() {
    let names = [("a", "b/c"), ("a/b", "c"), ("", "a/b/c"), ("b", "c")].map(|(source, id)| event_of(source, id));
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len(), "{names:?}");
    assert_eq!(names[0], event_of("a", "b/c"));
}

fn decoded_by(decoder: &MetricsDecoder, result: &QueryResult) -> Decoded<Contribution> {
    let mut decoded = Decoded::default();
    decoder.decode(&message_of(v1::QueryResult::from(result).encode_to_vec()), &mut decoded);
    decoded
}

fn decoded(result: &QueryResult) -> Decoded<Contribution> {
    decoded_by(&decoder(), result)
}

fn emitter() -> Emitter {
    Emitter { topic: "metrics".to_owned(), source: "chalk-writer/chalk-metrics".to_owned(), limit: 1 << 20 }
}

fn partition() -> Partition {
    Partition { topic: "results".into(), number: 3 }
}

fn emitted(contributions: &[Contribution]) -> Emitted {
    emitter().emit("b-1", &partition(), &contributions.iter().enumerate().collect::<Vec<_>>())
}

/// The metrics among messages.
fn metrics(messages: &[Outgoing]) -> Vec<Metric> {
    let of_type = |message: &&Outgoing| message.headers.get_str("ce_type") == Some("chalk.metrics.v1");
    let batch = |message: &Outgoing| MetricBatch::decode(message.payload.as_deref().expect("a body"));
    messages.iter().filter(of_type).flat_map(|message| batch(message).expect("a batch").metrics).collect()
}

/// A metric as a line: what it is, its tags, its value.
fn line(metric: &Metric) -> String {
    let short =
        |name: &str, of: &str| name.strip_prefix("METRICS1_PROTO_REPRESENTATION_").unwrap_or(name).replace(of, "");
    let mut line = format!(
        "{}/{} {}",
        short(metric.namespace().as_str_name(), "NAMESPACE_"),
        short(metric.metric_name().as_str_name(), "NAME_"),
        metric.source
    );
    let tags = [
        metric.tag1.map(|_| short(metric.tag1().as_str_name(), "TAG1_")),
        metric.tag2.map(|_| short(metric.tag2().as_str_name(), "TAG2_")),
        metric.tag3.map(|_| short(metric.tag3().as_str_name(), "TAG3_")),
        metric.tag4.map(|_| short(metric.tag4().as_str_name(), "TAG4_")),
        metric.tag5.map(|_| short(metric.tag5().as_str_name(), "TAG5_")),
        metric.tag6.map(|_| short(metric.tag6().as_str_name(), "TAG6_")),
        metric.resource_group.clone(),
    ];
    for tag in tags.into_iter().flatten() {
        line += &format!(" {tag}");
    }
    match metric.value.as_ref().expect("a value") {
        MetricValue::Numeric(number) => line + &format!(" = {}", number.value),
        MetricValue::Sketch(sketch) => {
            let of = sketch.statistics.expect("statistics");
            assert_eq!(UddSketch::from_text(&sketch.value).expect("a sketch").count(), of.count);
            line + &format!(": {} from {} to {}, {} null", of.count, of.min, of.max, of.null_count)
        }
    }
}

fn lines(result: &QueryResult) -> Vec<String> {
    let decoded = decoded(result);
    assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
    metrics(&emitted(&decoded.rows).messages).iter().map(line).collect()
}

fn query() -> QueryMessagePubSub {
    QueryMessagePubSub {
        query_name: Some("fraud".to_owned()),
        output_features: vec!["user.score".to_owned()],
        query_duration_seconds: Some(0.5),
        status: Some(QueryStatus::Successful.into()),
        ..QueryMessagePubSub::default()
    }
}

fn run(resolver: &str, kind: v1::ResolverKind, status: v1::ResolverStatus, seconds: f64, rows: i64) -> ResolverRun {
    ResolverRun {
        resolver: resolver.to_owned(),
        kind: kind.into(),
        status: status.into(),
        duration_seconds: seconds,
        rows,
    }
}

#[test]
fn the_documented_example_gives_these_series() {
    let mut decoded = Decoded::default();
    decoder().decode(&message_of(include_bytes!("../../../proto/example.json").to_vec()), &mut decoded);
    let found: Vec<_> = metrics(&emitted(&decoded.rows).messages).iter().map(line).collect();
    assert_eq!(
        found,
        [
            "FEATURE/REQUEST user.name SUCCESS CACHE_HIT INFERENCE NON_NULL SCALAR = 1",
            "FEATURE/LOOKED_UP user.name INFERENCE NON_NULL = 1",
            "FEATURE/USED user.name INFERENCE NON_NULL = 1",
            "FEATURE/REQUEST user.score SUCCESS CACHE_MISS INFERENCE NON_NULL SCALAR = 1",
            "FEATURE/COMPUTED user.score INFERENCE NON_NULL = 1",
            "FEATURE/USED user.score INFERENCE NON_NULL = 1",
            "FEATURE/WRITE user.score ONLINE INFERENCE = 1",
            "FEATURE/FEATURE_VALUE user.score INFERENCE: 1 from 0.7 to 0.7, 0 null",
            "FEATURE/LATENCY user.score INFERENCE: 1 from 0.003 to 0.003, 0 null",
            "RESOLVER/REQUEST fraud.get_score SUCCESS ONLINE INFERENCE = 1",
            "RESOLVER/LATENCY fraud.get_score SUCCESS ONLINE INFERENCE: 1 from 0.003 to 0.003, 0 null",
            "RESOLVER/RESOLVER_ROWS_RETURNED fraud.get_score SUCCESS ONLINE INFERENCE = 1",
            "QUERY/REQUEST fraud_check SUCCESS INFERENCE = 1",
            "QUERY/LATENCY fraud_check SUCCESS INFERENCE: 1 from 0.004199999850243330 to 0.004199999850243330, 0 null",
        ]
        .map(|line| line.replace("0.004199999850243330", &f64::from(0.0042_f32).to_string()))
    );
    let [contribution] = decoded.rows.as_slice() else { panic!("one contribution") };
    assert_eq!((&*contribution.environment, &*contribution.deployment), ("prod", "dep-7"));
    assert!(contribution.size() > contribution.partials.len() * 100);
    assert_eq!(contribution.rows(), 14 + 1);
}

#[test]
fn a_feature_is_counted_by_where_its_values_came_from_and_what_they_are() {
    let many = Value::List(vec![Value::Null, Value::Struct(vec![("a".into(), Value::Int(1))])]);
    let scalars = Value::List(vec![Value::Int(1)]);
    let of = |value: Value, source| {
        let mut result = result(vec![table("user", vec![(Value::Int(1), vec![("user.a", value, source)])])]);
        result.operation_kind = 0;
        lines(&result)
    };
    let requests = |value, source| of(value, source).into_iter().find(|line| line.contains("/REQUEST"));
    let request = |tags: &str| Some(format!("FEATURE/REQUEST user.a SUCCESS {tags} = 1"));
    assert_eq!(requests(many, Source::Resolver), request("CACHE_MISS NON_NULL HAS_MANY"));
    assert_eq!(requests(scalars, Source::Default), request("CACHE_MISS NON_NULL SCALAR"));
    assert_eq!(requests(Value::Null, Source::OnlineStore), request("CACHE_HIT IS_NULL"));
    assert_eq!(requests(Value::text("x"), Source::OfflineStore), request("CACHE_MISS NON_NULL SCALAR"));
    assert_eq!(requests(Value::Int(1), Source::Given), request("NON_NULL SCALAR"));
    // What is missing is null whatever stands there, and no number.
    assert_eq!(of(Value::Int(1), Source::Missing), ["FEATURE/REQUEST user.a SUCCESS CACHE_MISS IS_NULL = 1"]);
    assert_eq!(
        of(Value::Bool(true), Source::Unknown),
        [
            "FEATURE/REQUEST user.a SUCCESS CACHE_MISS NON_NULL SCALAR = 1",
            "FEATURE/COMPUTED user.a NON_NULL = 1",
            "FEATURE/WRITE user.a = 1",
        ]
    );
    assert_eq!(
        of(Value::Decimal("12.50".into()), Source::Default),
        [
            "FEATURE/REQUEST user.a SUCCESS CACHE_MISS NON_NULL SCALAR = 1",
            "FEATURE/WRITE user.a = 1",
            "FEATURE/FEATURE_VALUE user.a: 1 from 12.5 to 12.5, 0 null",
        ]
    );
    assert_eq!(
        of(Value::Int(7), Source::OfflineStore),
        [
            "FEATURE/REQUEST user.a SUCCESS CACHE_MISS NON_NULL SCALAR = 1",
            "FEATURE/LOOKED_UP user.a NON_NULL = 1",
            "FEATURE/WRITE user.a = 1",
            "FEATURE/FEATURE_VALUE user.a: 1 from 7 to 7, 0 null",
        ]
    );
}

#[test]
fn values_that_errors_queries_and_runs_speak_of() {
    let mut users = table(
        "user",
        vec![
            (
                Value::Int(1),
                vec![("user.score", Value::Double(0.25), Source::Resolver), ("user.x", Value::Null, Source::Resolver)],
            ),
            (
                Value::Int(2),
                vec![
                    ("user.score", Value::Double(0.75), Source::Resolver),
                    ("user.x", Value::Null, Source::OnlineStore),
                ],
            ),
            (Value::Int(3), vec![("user.score", Value::Null, Source::OnlineStore)]),
        ],
    );
    let rows = rows_of(&mut users);
    for row in rows.iter_mut() {
        row.cells[0].source_id = Some(Box::new("get_score".into()));
    }
    // An hour old, and from after the query.
    rows[2].observed_at = Some(NOW - 3_600 * SECOND);
    rows[1].observed_at = Some(NOW + SECOND);
    let error = ChalkError { feature: Some("user.x".to_owned()), ..ChalkError::default() };
    let result = QueryResult {
        operation_kind: 3,
        query: Some(Box::new(QueryMessagePubSub { resource_group: Some("gpu".to_owned()), ..query() })),
        errors: vec![error],
        resolver_runs: vec![
            run("get_score", v1::ResolverKind::Online, v1::ResolverStatus::Success, 0.25, 3),
            run("get_score", v1::ResolverKind::Online, v1::ResolverStatus::Failure, 2.0, 0),
            run("clicks", v1::ResolverKind::Stream, v1::ResolverStatus::Skipped, 0.0, 0),
        ],
        ..result(vec![users])
    };
    assert_eq!(
        lines(&result),
        [
            "FEATURE/REQUEST user.score SUCCESS CACHE_MISS CRON NON_NULL SCALAR gpu = 2",
            "FEATURE/REQUEST user.score SUCCESS CACHE_HIT CRON IS_NULL gpu = 1",
            "FEATURE/COMPUTED user.score CRON NON_NULL gpu = 2",
            "FEATURE/USED user.score CRON NON_NULL gpu = 2",
            "FEATURE/LOOKED_UP user.score CRON IS_NULL gpu = 1",
            "FEATURE/USED user.score CRON IS_NULL gpu = 1",
            "FEATURE/WRITE user.score ONLINE CRON gpu = 2",
            "FEATURE/FEATURE_VALUE user.score CRON gpu: 2 from 0.25 to 0.75, 1 null",
            "FEATURE/STALENESS user.score CRON gpu: 1 from 3600 to 3600, 0 null",
            // Once for each run, however many rows.
            "FEATURE/LATENCY user.score CRON gpu: 2 from 0.25 to 2, 0 null",
            "FEATURE/REQUEST user.x FAILURE CACHE_MISS CRON IS_NULL gpu = 1",
            "FEATURE/REQUEST user.x FAILURE CACHE_HIT CRON IS_NULL gpu = 1",
            "FEATURE/COMPUTED user.x CRON IS_NULL gpu = 1",
            "FEATURE/REFERENCED user.x CRON IS_NULL gpu = 2",
            "FEATURE/LOOKED_UP user.x CRON IS_NULL gpu = 1",
            "FEATURE/WRITE user.x CRON gpu = 1",
            "FEATURE/STALENESS user.x CRON gpu: 1 from 0 to 0, 0 null",
            "RESOLVER/REQUEST get_score SUCCESS ONLINE CRON gpu = 1",
            "RESOLVER/LATENCY get_score SUCCESS ONLINE CRON gpu: 1 from 0.25 to 0.25, 0 null",
            "BATCH/REQUEST get_score SUCCESS ONLINE CRON gpu = 1",
            "BATCH/LATENCY get_score SUCCESS ONLINE CRON gpu: 1 from 0.25 to 0.25, 0 null",
            "RESOLVER/RESOLVER_ROWS_RETURNED get_score SUCCESS ONLINE CRON gpu = 3",
            "RESOLVER/REQUEST get_score FAILURE ONLINE CRON gpu = 1",
            "RESOLVER/LATENCY get_score FAILURE ONLINE CRON gpu: 1 from 2 to 2, 0 null",
            "BATCH/REQUEST get_score FAILURE ONLINE CRON gpu = 1",
            "BATCH/LATENCY get_score FAILURE ONLINE CRON gpu: 1 from 2 to 2, 0 null",
            "RESOLVER/REQUEST clicks SKIPPED STREAM CRON gpu = 1",
            "RESOLVER/LATENCY clicks SKIPPED STREAM CRON gpu: 1 from 0 to 0, 0 null",
            "BATCH/REQUEST clicks SKIPPED STREAM CRON gpu = 1",
            "BATCH/LATENCY clicks SKIPPED STREAM CRON gpu: 1 from 0 to 0, 0 null",
            "STREAM/REQUEST clicks SKIPPED STREAM CRON gpu = 1",
            "STREAM/LATENCY clicks SKIPPED STREAM CRON gpu: 1 from 0 to 0, 0 null",
            "QUERY/REQUEST fraud SUCCESS CRON gpu = 1",
            "QUERY/LATENCY fraud SUCCESS CRON gpu: 1 from 0.5 to 0.5, 0 null",
        ]
    );
}

#[test]
fn a_person_is_shown_what_a_result_adds() {
    let mut with = result(vec![one("user.score", Value::Int(3))]);
    with.query = Some(Box::new(query()));
    with.errors = vec![ChalkError::default()];
    let shown = serde_json::to_value(decoded(&with).rows[0].shown()).expect("JSON");
    let window = crate::value::time::format_timestamp(NOW);
    let at = |at: usize| shown[at].clone();
    assert_eq!(
        at(0),
        serde_json::json!({"what": "metric", "fields": [
            ["namespace", "FEATURE"], ["metric_name", "REQUEST"], ["source", "user.score"], ["window", window],
            ["tag1", "SUCCESS"], ["tag2", "CACHE_MISS"], ["tag4", "INFERENCE"], ["tag5", "NON_NULL"], ["tag6", "SCALAR"],
            ["sum", 1],
        ]})
    );
    assert_eq!(at(4)["fields"][5], serde_json::json!(["values", [3.0]]));
    assert_eq!(at(7)["fields"][0], serde_json::json!(["type", "chalk.query.v1"]));
    assert_eq!(at(7)["fields"][1][1]["query_name"], "fraud");
    assert_eq!(at(8)["fields"][0], serde_json::json!(["type", "chalk.query_error.v1"]));
    assert_eq!(shown.as_array().map(Vec::len), Some(9));
}

#[test]
fn a_query_ends_as_its_status_says_or_else_as_its_errors_do() {
    let line = |query: QueryMessagePubSub| {
        let result = QueryResult { query: Some(Box::new(query)), operation_kind: 7, ..result(Vec::new()) };
        lines(&result).remove(0)
    };
    let ended = |status: Option<QueryStatus>, has_errors| {
        line(QueryMessagePubSub { status: status.map(i32::from), has_errors, query_name: None, ..query() })
    };
    let unnamed = |status: &str| format!("QUERY/REQUEST Unnamed{status} OFFLINE_QUERY = 1");
    assert_eq!(ended(Some(QueryStatus::Cancelled), Some(false)), unnamed(" FAILURE"));
    assert_eq!(ended(Some(QueryStatus::SuccessfulWithNonfatalErrors), Some(true)), unnamed(" SUCCESS"));
    assert_eq!(ended(Some(QueryStatus::Running), None), unnamed(" WORKING"));
    assert_eq!(ended(Some(QueryStatus::Unspecified), Some(true)), unnamed(" FAILURE"));
    assert_eq!(ended(None, Some(false)), unnamed(" SUCCESS"));
    assert_eq!(ended(None, None), unnamed(""));
}

#[test]
fn what_the_query_and_the_settings_switch_off_is_left_out_and_counted() {
    let mut with = result(vec![one("user.score", Value::Int(3))]);
    with.query = Some(Box::new(query()));
    let names = |decoder: &MetricsDecoder, persistence: Persistence| {
        let decoded = decoded_by(decoder, &QueryResult { persistence, ..with.clone() });
        let series =
            decoded.rows[0].partials.iter().map(|(series, _)| format!("{:?}/{:?}", series.namespace, series.name));
        (series.collect::<Vec<_>>(), decoded.skipped)
    };
    let on = Persistence::default();
    let query = ["Query/Request", "Query/Latency"];
    let (all, skipped) = names(&decoder(), on);
    let of_feature = ["Feature/Request", "Feature/Computed", "Feature/Used", "Feature/Write", "Feature/FeatureValue"];
    assert_eq!((all, skipped), ([&of_feature[..], &query].concat().iter().map(ToString::to_string).collect(), vec![]));
    let (without, skipped) = names(&decoder(), Persistence { verbose_metrics: false, ..on });
    assert_eq!((without.join(" ").contains("FeatureValue"), skipped), (false, vec![(skip::METRICS_OFF, 1)]));
    let (without, skipped) = names(&decoder(), Persistence { status_metrics: false, ..on });
    assert_eq!((without.join(" ").contains("Feature/Request"), skipped), (false, vec![(skip::METRICS_OFF, 1)]));
    let (without, skipped) = names(&decoder(), Persistence { online: false, ..on });
    assert_eq!((without.join(" ").contains("Feature/Write"), skipped), (false, vec![]));
    let mut skipping = settings(WriterType::METRICS, &[]);
    skipping.of_type.skip_feature_metrics = true;
    let skipping = MetricsDecoder::new(&skipping, Arc::new(|| NOW));
    let (without, skipped) = names(&skipping, on);
    assert_eq!((without, skipped), (query.map(str::to_owned).to_vec(), vec![(skip::METRICS_OFF, 1)]));
}

#[test]
fn what_is_no_number_is_left_out_and_counted() {
    let values = [f64::NAN, 1.0, f64::INFINITY]
        .map(|value| (Value::Int(1), vec![("user.a", Value::Double(value), Source::Resolver)]));
    let runs =
        [-1.0, f64::NAN].map(|seconds| run("r", v1::ResolverKind::Online, v1::ResolverStatus::Success, seconds, 1));
    let decoded =
        decoded(&QueryResult { resolver_runs: runs.to_vec(), ..result(vec![table("user", values.to_vec())]) });
    assert_eq!(decoded.skipped, [(skip::NOT_A_NUMBER, 4)]);
    let found: Vec<_> = metrics(&emitted(&decoded.rows).messages).iter().map(line).collect();
    assert!(found.contains(&"FEATURE/FEATURE_VALUE user.a INFERENCE: 1 from 1 to 1, 0 null".to_owned()), "{found:?}");
    assert!(!found.iter().any(|line| line.contains("RESOLVER/LATENCY")), "{found:?}");
}

#[test]
fn a_result_with_a_part_that_cannot_be_read_adds_nothing() {
    let mut broken = one("user.a", Value::Int(1));
    let nobodys = crate::result::EntityRow { id: Value::Null, ..rows_of(&mut broken)[0].clone() };
    rows_of(&mut broken).push(nobodys);
    let bytes = |result: &QueryResult| {
        let mut decoded = Decoded::default();
        decoder().decode(&message_of(v1::QueryResult::from(result).encode_to_vec()), &mut decoded);
        decoded
    };
    let other = one("card.a", Value::Int(1));
    for tables in [vec![one("user.b", Value::Int(1)), broken], vec![other], vec![one("user.a~1", Value::Int(1))]] {
        let decoded = bytes(&result(tables));
        assert_eq!((decoded.rows.len(), decoded.refused.len()), (0, 1));
        assert_eq!(decoded.refused[0].class, ErrorClass::Decode);
    }
    let late = QueryResult { observed_at: Some(NOW + 48 * 3_600 * SECOND), ..result(Vec::new()) };
    assert_eq!(bytes(&late).refused[0].class, ErrorClass::TimeInFuture);
}

#[test]
fn an_environment_that_is_not_among_those_listed_is_unknown() {
    let listing = |ids: &[&str]| {
        let environments: Vec<_> =
            ids.iter().map(|id| (*id, crate::config::settings::Environment::default())).collect();
        MetricsDecoder::new(&settings(WriterType::METRICS, &environments), Arc::new(|| NOW))
    };
    let result = QueryResult { environment_id: "dev".into(), ..result(vec![one("user.a", Value::Int(1))]) };
    assert_eq!(decoded_by(&listing(&["prod"]), &result).refused[0].class, ErrorClass::UnknownEnvironment);
    for ids in [&["prod", "*"][..], &["dev"], &[]] {
        assert_eq!(&*decoded_by(&listing(ids), &result).rows[0].environment, "dev");
    }
    let nowhere = QueryResult { environment_id: "".into(), ..result };
    assert_eq!(decoded_by(&listing(&[]), &nowhere).refused[0].class, ErrorClass::UnknownEnvironment);
}

#[test]
fn a_window_is_the_minute_of_the_event() {
    let at = |created_at: i64, observed_at| {
        let query = QueryMessagePubSub { created_at, ..query() };
        let result = QueryResult { query: Some(Box::new(query)), observed_at, ..result(Vec::new()) };
        decoded(&result).rows.remove(0)
    };
    let results = [at(NOW + 59 * SECOND, Some(NOW - MINUTE)), at(0, Some(NOW)), at(0, Some(NOW - 1)), at(0, None)];
    let emitted = emitted(&results);
    let found: Vec<_> = metrics(&emitted.messages)
        .iter()
        .filter(|metric| metric.metric_name() == Name::Request)
        .map(|metric| {
            let time = metric.observed_at.as_ref().expect("a window");
            (time.seconds * SECOND + i64::from(time.nanos), line(metric))
        })
        .collect();
    let line = |count| format!("QUERY/REQUEST fraud SUCCESS INFERENCE = {count}");
    assert_eq!(found, [(NOW, line(3)), (NOW - MINUTE, line(1))], "the last by the bus's time");
    let time = emitted.messages[0].headers.get_str("ce_time").expect("a time");
    assert_eq!(time, crate::value::time::format_timestamp(NOW + 59 * SECOND), "the newest of them");
}

#[test]
fn queries_and_errors_are_passed_on_under_names_that_stay() {
    let error = |message: &str, resolver: Option<&str>| ChalkError {
        message: message.to_owned(),
        resolver: resolver.map(str::to_owned),
        ..ChalkError::default()
    };
    let result = QueryResult {
        query: Some(Box::new(QueryMessagePubSub { environment_id: "other".to_owned(), ..query() })),
        errors: vec![error("a", None), error("b", Some("r")), error("c", Some(""))],
        ..result(Vec::new())
    };
    let decoded = decoded(&result);
    let emitted = emitted(&decoded.rows);
    let found: Vec<_> = emitted.messages[1..]
        .iter()
        .map(|message| {
            let header = |name| message.headers.get_str(name).unwrap_or_default();
            assert_eq!(
                (header("ce_source"), header("content-type")),
                ("chalk-writer/chalk-metrics", "application/protobuf")
            );
            assert_eq!(
                (header("ce_environmentid"), header("ce_deploymentid"), header("ce_operationid")),
                ("prod", "dep-7", "op-1")
            );
            assert_eq!((&*message.topic, &message.key, message.partition), ("metrics", &None, None));
            (header("ce_type"), header("ce_id"))
        })
        .collect();
    // Worked out apart from the program: XXH3 of both texts, each behind its length in eight bytes.
    let event = "68c859dc958dccfee3ea319f4bbfcdcc";
    let ids = ["query", "errors/0", "errors/1"].map(|what| format!("{event}/{what}"));
    let types = ["chalk.query.v1", "chalk.query_error.v1", "chalk.resolver_error.v1"];
    assert_eq!(found, types.into_iter().zip(ids.iter().map(String::as_str)).collect::<Vec<_>>());
    let body = |at: usize| emitted.messages[at].payload.as_deref().expect("a body");
    let query = QueryMessagePubSub::decode(body(1)).expect("a query");
    assert_eq!((&*query.operation_id, &*query.environment_id, query.created_at), ("op-1", "prod", NOW));
    assert_eq!((query.query_name.as_deref(), query.deployment_id.as_deref()), (Some("fraud"), Some("dep-7")));
    let errors = ErrorBatch::decode(body(2)).expect("errors");
    assert_eq!((&*errors.environment_id, &*errors.deployment_id, errors.errors.len()), ("prod", "dep-7", 2));
    let row = &errors.errors[1];
    assert_eq!((&*row.operation_id, row.operation_kind, &*row.query_name), ("op-1", 1, "fraud"));
    assert_eq!(row.created_at, Some(crate::result::encode::timestamp(NOW)));
    assert_eq!(row.error.as_ref().map(|error| &*error.message), Some("c"));
    let errors = ErrorBatch::decode(body(3)).expect("errors");
    assert_eq!(errors.errors[0].error.as_ref().and_then(|error| error.resolver.as_deref()), Some("r"));
    let envelope = &emitted.messages[0];
    assert_eq!(envelope.headers.get_str("ce_id"), Some("b-1/3/0"));
    assert_eq!(envelope.headers.get_str("ce_environmentid"), Some("prod"));
    // Each is what its reader expects.
    for outgoing in &emitted.messages {
        let message = Message { headers: outgoing.headers.clone(), ..message(&[]) };
        let envelope = Envelope::read(&message, EventType::MetricsV1).expect("sound");
        assert!(WriterType::METRICS_BUS.info().messages.contains(&envelope.event_type().expect("known")));
    }
}

#[test]
fn messages_are_cut_under_the_limit_and_nothing_is_lost_between_them() {
    let errors = (0..300).map(|at| ChalkError { message: format!("{at}").repeat(40), ..ChalkError::default() });
    let cells: Vec<(String, Value, Source)> =
        (0..400).map(|at| (format!("user.f{at}"), Value::Int(at), Source::Resolver)).collect();
    let cells = cells.iter().map(|(name, value, source)| (name.as_str(), value.clone(), *source)).collect();
    let result = QueryResult { errors: errors.collect(), ..result(vec![table("user", vec![(Value::Int(1), cells)])]) };
    let rows = decoded(&result).rows;
    let whole = emitted(&rows).messages;
    assert_eq!(whole.len(), 2);
    let emitter = Emitter { limit: 16_000, ..emitter() };
    let cut = emitter.emit("b-1", &partition(), &[(0, &rows[0])]).messages;
    assert!(cut.len() > 10, "{}", cut.len());
    let size = |message: &Outgoing| message.headers.size() + message.payload.as_ref().map_or(0, Bytes::len);
    assert!(cut.iter().all(|message| size(message) <= 16_000));
    // Each is as full as it can be.
    assert!(cut.iter().filter(|message| message.payload.as_ref().is_some_and(|body| body.len() < 15_000)).count() <= 2);
    assert_eq!(metrics(&cut), metrics(&whole));
    let errors = |messages: &[Outgoing]| -> Vec<_> {
        let of_type =
            messages.iter().filter(|message| message.headers.get_str("ce_type") == Some("chalk.query_error.v1"));
        of_type
            .flat_map(|message| ErrorBatch::decode(message.payload.as_deref().expect("a body")).expect("errors").errors)
            .collect()
    };
    assert_eq!(errors(&cut), errors(&whole));
    let ids: std::collections::BTreeSet<_> = cut.iter().map(|message| message.headers.get_str("ce_id")).collect();
    assert_eq!(ids.len(), cut.len());
}

#[test]
fn what_no_message_has_room_for_is_refused_with_all_of_its_result() {
    let long = |length: usize| "x".repeat(length);
    let result = |query: QueryMessagePubSub, errors: Vec<ChalkError>| QueryResult {
        query: Some(Box::new(query)),
        errors,
        ..result(Vec::new())
    };
    let error = ChalkError { message: long(2 << 20), ..ChalkError::default() };
    let cases = [
        (result(QueryMessagePubSub { agent_id: Some(long(2 << 20)), ..query() }, vec![]), "the query's row takes 20"),
        (result(query(), vec![error]), "the row of an error takes 20"),
        (
            result(QueryMessagePubSub { query_name: Some(long(1 << 20)), ..query() }, vec![]),
            "a metric of Query Request may take 10",
        ),
    ];
    let sound = decoded(&result(query(), vec![])).rows.remove(0);
    for (result, expected) in cases {
        let large = decoded(&result).rows.remove(0);
        let emitted = emitter().emit("b", &partition(), &[(4, &sound), (7, &large), (9, &sound)]);
        let [(7, refusal)] = emitted.refused.as_slice() else { panic!("{:?}", emitted.refused) };
        assert_eq!(refusal.class, ErrorClass::TooLarge);
        assert!(refusal.message.starts_with(expected), "{refusal}");
        let found: Vec<_> = metrics(&emitted.messages).iter().map(line).collect();
        assert_eq!(found[0], "QUERY/REQUEST fraud SUCCESS INFERENCE = 2", "the others are counted");
        assert_eq!(emitted.messages.len(), 3);
    }
}

#[test]
fn errors_that_name_a_long_query_do_not_fill_the_memory() {
    let query = QueryMessagePubSub { query_name: Some("x".repeat(1 << 20)), ..query() };
    let errors = vec![ChalkError::default(); 10_000];
    let decoded = decoded(&QueryResult { query: Some(Box::new(query)), errors, ..result(Vec::new()) });
    assert_eq!((decoded.rows.len(), decoded.refused[0].class), (0, ErrorClass::TooLarge));
}

#[test]
fn the_largest_metric_is_within_what_is_kept_free_for_it() {
    let mut values = Vec::new();
    for at in 0..20_000 {
        values.push(-(1.0 + f64::from(at)).powi(60));
    }
    let series = Series {
        namespace: Namespace::Feature,
        name: Name::FeatureValue,
        source: ByteString::new(),
        resource_group: None,
        tags: Tags::default(),
    };
    let partials = vec![(series, Measure::Values { values, nulls: u64::MAX / 2 })];
    let contribution = Contribution {
        destination: 0,
        environment: "".into(),
        deployment: "".into(),
        operation: "".into(),
        event: "".into(),
        event_time: NOW,
        partials,
        forward: Vec::new(),
    };
    let [metric] = &metrics(&emitted(&[contribution]).messages)[..] else { panic!("one metric") };
    let Some(MetricValue::Sketch(sketch)) = &metric.value else { panic!("a sketch") };
    // As long as numbers get: every index and count in full.
    let buckets = UddSketch::from_text(&sketch.value).expect("a sketch").buckets().len();
    assert!(buckets > 100, "{buckets}");
    let longest = "(Negative(-372221),18446744073709551615),".len() * 200;
    let around = metric.encoded_len() - sketch.value.split_once('[').expect("buckets").1.len();
    assert!(longest + around + 400 < super::windows::LARGEST_METRIC, "{}", longest + around);
}

/// What a contribution comes to, whatever the order in which its series were counted.
fn sorted(contribution: &Contribution) -> BTreeMap<String, String> {
    let partials = contribution.partials.iter().map(|(series, measure)| {
        let measure = match measure {
            Measure::Sum(sum) => sum.to_string(),
            Measure::Values { values, nulls } => {
                let mut values: Vec<_> = values.iter().map(|value| value.to_bits()).collect();
                values.sort_unstable();
                format!("{values:?} {nulls}")
            }
        };
        (format!("{series:?}"), measure)
    });
    partials.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arrow_and_rows_give_the_same_series((rows, arrow) in any_table(), with_query in any::<bool>()) {
        let of = |table| {
            let query = with_query.then(|| Box::new(query()));
            decoded(&QueryResult { query, ..result(vec![table]) })
        };
        let (rows, arrow) = (of(rows), of(arrow));
        prop_assert_eq!(rows.refused.is_empty(), arrow.refused.is_empty(), "{:?} {:?}", rows.refused, arrow.refused);
        prop_assert_eq!(rows.rows.len(), arrow.rows.len());
        for (rows, arrow) in rows.rows.iter().zip(&arrow.rows) {
            prop_assert_eq!(sorted(rows), sorted(arrow));
        }
        if rows.refused.is_empty() {
            prop_assert_eq!(rows.skipped, arrow.skipped);
        }
    }

    #[test]
    fn any_result_is_counted_or_refused(result in any_result()) {
        let decoded = decoded(&result);
        prop_assert!(decoded.rows.len() <= 1);
        prop_assert!(decoded.rows.is_empty() || decoded.refused.is_empty());
        let emitted = emitted(&decoded.rows);
        prop_assert!(emitted.refused.is_empty());
        for metric in metrics(&emitted.messages) {
            line(&metric);
        }
    }

    /// Results over several windows, in any batches, cut anywhere: the partial results add up to what was sent.
    #[test]
    fn sums_are_exact(
        sent in prop::collection::vec((0..3_i64, 0..4_usize, prop::collection::vec(-1e9..1e9_f64, 0..5), -1_000_000_000..1_000_000_000_i64), 1..40),
        batches in 1..5_usize,
        limit in 11_000..20_000_usize,
    ) {
        let series = |namespace, name, source: usize| Series {
            namespace,
            name,
            source: format!("s{source}").into(),
            resource_group: None,
            tags: Tags::default(),
        };
        let contributions: Vec<_> = sent.iter().map(|(minute, source, values, rows)| Contribution {
            destination: 0,
            environment: "prod".into(),
            deployment: "".into(),
            operation: "op".into(),
            event: "e".into(),
            event_time: NOW + minute * MINUTE,
            partials: vec![
                (series(Namespace::Resolver, Name::ResolverRowsReturned, *source), Measure::Sum((*rows).into())),
                (series(Namespace::Resolver, Name::Latency, *source), Measure::Values { values: values.clone(), nulls: 1 }),
            ],
            forward: Vec::new(),
        }).collect();
        let emitter = Emitter { limit, ..emitter() };
        let mut found = Vec::new();
        for batch in contributions.chunks(contributions.len().div_ceil(batches)) {
            let emitted = emitter.emit("b", &partition(), &batch.iter().enumerate().collect::<Vec<_>>());
            prop_assert!(emitted.refused.is_empty());
            found.extend(metrics(&emitted.messages));
        }
        for minute in 0..3 {
            for source in 0..4_usize {
                let of = |metric: &&Metric| {
                    let window = metric.observed_at.as_ref().expect("a window").seconds * SECOND;
                    window == NOW + minute * MINUTE && metric.source == format!("s{source}")
                };
                let sent = || sent.iter().filter(|one| one.0 == minute && one.1 == source);
                let (mut sum, mut merged, mut count) = (0.0, UddSketch::new(), 0);
                for metric in found.iter().filter(of) {
                    match metric.value.as_ref().expect("a value") {
                        MetricValue::Numeric(number) => sum += number.value,
                        MetricValue::Sketch(sketch) => {
                            merged.merge(&UddSketch::from_text(&sketch.value).expect("a sketch"));
                            count += sketch.statistics.expect("statistics").count;
                        }
                    }
                }
                let exact: i128 = sent().map(|one| i128::from(one.3)).sum();
                prop_assert_eq!(sum, exact as f64);
                let mut whole = UddSketch::new();
                for value in sent().flat_map(|one| &one.2) {
                    prop_assert!(whole.add(*value));
                }
                prop_assert_eq!(count, whole.count());
                prop_assert_eq!(merged.buckets(), whole.buckets());
                // A text's sum was rounded once; the doubles here are below 2^38 or so.
                let apart = (merged.sum().value() - whole.sum().value()).abs();
                prop_assert!(apart <= 1e-4, "{apart}");
            }
        }
    }
}

#[test]
fn a_sum_beyond_what_doubles_count_is_rounded_once() {
    let query = |rows: i64| {
        let runs = vec![run("r", v1::ResolverKind::Online, v1::ResolverStatus::Success, 0.0, rows); 2];
        decoded(&QueryResult { resolver_runs: runs, ..result(Vec::new()) }).rows.remove(0)
    };
    let rows: Vec<Contribution> = [(1 << 53) + 1, 1, i64::MAX, -i64::MAX].map(query).to_vec();
    let found: Vec<_> = metrics(&emitted(&rows).messages).iter().map(line).collect();
    let sum = ((1_i64 << 54) + 4) as f64;
    assert!(
        found.contains(&format!("RESOLVER/RESOLVER_ROWS_RETURNED r SUCCESS ONLINE INFERENCE = {sum}")),
        "{found:?}"
    );
}
