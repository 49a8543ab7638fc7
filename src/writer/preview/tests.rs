//! The documented example, from its bytes to what each writer would write.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::config::settings::Environment;
use crate::writer::destinations::{Destinations, OFFLINE, ONLINE, Stores};
use crate::writer::testing::{NOW, message, settings, store};
use crate::writer::{WriterType, offline, online};

const EXAMPLE: &str = r#"{"environment_id": "prod", "deployment_id": "dep-7", "operation_id": "018f-42",
 "operation_kind": "ONLINE_QUERY", "observed_at": "2026-11-22T18:32:00.123456Z",
 "query": {"query_name": "fraud_check", "input_features": ["user.id"], "output_features": ["user.score", "user.name"],
           "query_duration_seconds": 0.0042, "has_errors": false, "status": "SUCCESSFUL", "trace_id": "4bf92f35"},
 "tables": [{"namespace": "user", "rows": {"rows": [
     {"id": 42, "features": {"user.name": "Ada", "user.score": 0.7},
      "meta": {"user.score": {"source_type": "RESOLVER", "source_id": "fraud.get_score"},
               "user.name": {"source_type": "ONLINE_STORE", "source_id": "fraud.get_name"}}}]}}],
 "resolver_runs": [{"resolver": "fraud.get_score", "kind": "ONLINE", "status": "SUCCESS", "duration_seconds": 0.003, "rows": 1}],
 "errors": []}"#;

fn example() -> Message {
    let mut message = message(&[("ce_id", "018f"), ("ce_source", "engine"), ("content-type", "application/json")]);
    message.payload = Some(Bytes::from_static(EXAMPLE.as_bytes()));
    message
}

fn shown(preview: &Preview) -> Json {
    serde_json::to_value(preview).expect("plain data")
}

/// The plan's stores need not be of this version: nothing is opened.
fn anything<R: Row>(stores: &Stores<R>) -> Stores<R> {
    Stores { absorbs_repeats: |_| Ok(true), ..*stores }
}

#[test]
fn the_online_writer_shows_what_it_would_store_of_the_documented_example() {
    let environment = Environment { online_store: Some(store("any:x")), ..Environment::default() };
    let settings = settings(WriterType::ONLINE, &[("prod", environment)]);
    let destinations = Destinations::plan(&settings.environments, &anything(&ONLINE)).expect("a store");
    let decoder = online::decoder(&settings, &destinations, Arc::new(|| NOW)).expect("sound settings");
    let preview = Preview::of(&decoder, &destinations.planned, &example());
    assert_eq!(
        shown(&preview),
        json!({
            "environment": "prod",
            "event_time": "2026-11-22T18:32:00.123456Z",
            "rows": [{
                "destination": "online store of prod",
                "namespace": "user",
                "primary_key": "42",
                "features": [{
                    "feature": "score",
                    "value": 0.7,
                    "evicted": false,
                    "observed_at": "2026-11-22T18:32:00.123456Z",
                    "expires_at": null,
                }],
            }],
            "skipped": {"cache_hit": 1},
            "refused": [],
        })
    );
}

#[test]
fn the_offline_writer_shows_what_it_would_store_of_the_documented_example() {
    let environment = Environment { offline_store: Some(store("any:x")), ..Environment::default() };
    let settings = settings(WriterType::OFFLINE, &[("prod", environment)]);
    let destinations = Destinations::plan(&settings.environments, &anything(&OFFLINE)).expect("a store");
    let decoder = offline::decoder(&settings, &destinations, Arc::new(|| NOW));
    let preview = shown(&Preview::of(&decoder, &destinations.planned, &example()));
    assert_eq!(preview["refused"], json!([]));
    assert_eq!(preview["rows"][0]["table"], "user");
    assert_eq!(preview["rows"][0]["columns"][5], json!(["__id__", 42]));
    assert_eq!(preview["rows"][0]["columns"][7], json!(["name", "Ada"]));
    assert_eq!(preview["rows"][0]["columns"][8], json!(["score", 0.7]));
    assert_eq!(preview["rows"][1]["table"], "query_log");
    assert_eq!(preview["rows"][1]["columns"][0], json!(["operation_id", "018f-42"]));
    assert_eq!(preview["rows"][1]["columns"][6], json!(["execution_finished_at", "2026-11-22T18:32:00.127656Z"]));
}

#[test]
fn a_body_that_cannot_be_read_is_shown_as_refused() {
    let environment = Environment { online_store: Some(store("any:x")), ..Environment::default() };
    let settings = settings(WriterType::ONLINE, &[("prod", environment)]);
    let destinations = Destinations::plan(&settings.environments, &anything(&ONLINE)).expect("a store");
    let decoder = online::decoder(&settings, &destinations, Arc::new(|| NOW)).expect("sound settings");
    let mut broken = example();
    broken.payload = Some(Bytes::from_static(b"{\"environment_id\": "));
    let preview = shown(&Preview::of(&decoder, &destinations.planned, &broken));
    assert_eq!(preview["refused"][0]["class"], "DECODE");
    assert_eq!(preview["rows"], json!([]));
}

#[test]
fn every_type_of_value_has_a_spelling_in_json() {
    for (value, expected) in [
        (Value::Int(i64::MAX), json!(i64::MAX)),
        (Value::Double(f64::NAN), json!("NaN")),
        (Value::Double(f64::NEG_INFINITY), json!("-Infinity")),
        (Value::Bytes(Bytes::from_static(b"\xff")), json!("/w==")),
        (Value::Timestamp(NOW), json!("2026-11-22T18:32:00.000000Z")),
        (Value::Date(0), json!("1970-01-01")),
        (Value::Decimal("1.20".into()), json!("1.20")),
        (Value::List(vec![Value::Null, Value::Bool(true)]), json!([null, true])),
        (Value::Struct(vec![("a".into(), Value::Int(1))]), json!({"a": 1})),
        (Value::Vector(Arc::new(Vector::Fp16(vec![0x3c00]))), json!([1.0])),
    ] {
        assert_eq!(json(&value), expected);
    }
}
