//! Which rows a message of the usage bus makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::config::settings::Environment;
use crate::decode::{Decoded, Decoder};
use crate::proto::pubsub::v1::{NodeStatusPubSub, PodStatusPubSub};
use crate::proto::writer::v1::{UsageBatch, UsageEvent, UsageKind};
use crate::result::encode::timestamp;
use crate::row::table::TableRow;
use crate::sink::ErrorClass;
use crate::value::Value;
use crate::writer::skip;
use crate::writer::testing::{DAY, NOW, SECOND, message, settings, store};

fn with_store(uri: &str) -> Environment {
    Environment { usage_store: Some(store(uri)), ..Environment::default() }
}

/// What is decoded of a body, where these environments are configured.
fn decoded_in(environments: &[(&str, Environment)], headers: &[(&str, &str)], body: Vec<u8>) -> Decoded<TableRows> {
    let settings = settings(WriterType::USAGE_BUS, environments);
    let destinations = destinations(&settings).expect("stores");
    let mut message = message(headers);
    message.payload = Some(Bytes::from(body));
    let mut decoded = Decoded::default();
    decoder(&settings, &destinations, Arc::new(|| NOW)).decode(&message, &mut decoded);
    decoded
}

fn decoded(headers: &[(&str, &str)], body: Vec<u8>) -> Decoded<TableRows> {
    decoded_in(&[("prod", with_store("sqlite:a")), ("bare", Environment::default())], headers, body)
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
    assert_eq!(row.shape.columns.len(), row.values.len());
    let all = row.shape.columns.iter().zip(&row.values);
    all.filter(|(_, value)| **value != Value::Null).map(|(column, value)| (&*column.name, value)).collect()
}

/// Classes and rows of what is refused.
fn refused(decoded: &Decoded<TableRows>) -> Vec<(ErrorClass, &str)> {
    decoded.refused.iter().map(|refusal| (refusal.class, refusal.row.as_deref().unwrap_or_default())).collect()
}

fn event(id: &str) -> UsageEvent {
    UsageEvent {
        event_id: id.to_owned(),
        environment_id: "prod".to_owned(),
        kind: UsageKind::Compute.into(),
        quantity: 0.5,
        unit: "core_seconds".to_owned(),
        started_at: Some(timestamp(NOW - 2 * SECOND)),
        ended_at: Some(timestamp(NOW - SECOND)),
        ..UsageEvent::default()
    }
}

fn batch(events: Vec<UsageEvent>) -> Vec<u8> {
    UsageBatch { events }.encode_to_vec()
}

#[test]
fn an_event_is_a_row_of_all_its_fields() {
    let whole = UsageEvent {
        team: Some("fraud".to_owned()),
        subject: "fraud.get_score".to_owned(),
        cost_micros: Some(-7),
        dimensions: [("pool".to_owned(), "spot".to_owned())].into(),
        ..event("e-1")
    };
    let decoded = decoded(&[], batch(vec![whole]));
    assert_eq!((refused(&decoded), decoded.event_time), (vec![], Some(NOW - SECOND)));
    assert_eq!(decoded.environment.as_deref(), Some("prod"));
    let [row] = rows(&decoded)[..] else { panic!("one row: {:?}", decoded.rows) };
    let expected = BTreeMap::from([
        ("event_id", Value::text("e-1")),
        ("environment_id", Value::text("prod")),
        ("team", Value::text("fraud")),
        ("kind", Value::text("COMPUTE")),
        ("subject", Value::text("fraud.get_score")),
        ("quantity", Value::Double(0.5)),
        ("unit", Value::text("core_seconds")),
        ("started_at", Value::Timestamp(NOW - 2 * SECOND)),
        ("ended_at", Value::Timestamp(NOW - SECOND)),
        ("cost_micros", Value::Int(-7)),
        ("dimensions", Value::Struct(vec![("pool".into(), Value::text("spot"))])),
    ]);
    assert_eq!(cells(row), expected.iter().map(|(name, value)| (*name, value)).collect());
    assert_eq!((&*row.shape.table, &*row.name()), ("usage_events", "usage_events/e-1"));
}

#[test]
fn json_is_a_batch_or_one_event() {
    let one = r#"{"event_id": "e-1", "environmentId": "prod", "kind": "USAGE_KIND_QUERY", "quantity": 1}"#;
    for text in [one.to_owned(), format!(r#"{{"events": [{one}]}}"#)] {
        let decoded = decoded(&[], text.clone().into_bytes());
        assert_eq!(rows(&decoded)[0].name(), "usage_events/e-1", "{text}: {:?}", decoded.refused);
        assert_eq!(cells(rows(&decoded)[0])["kind"], &Value::text("QUERY"));
    }
    for nothing in [r#"{"events": []}"#, "{}", r#"{"event": "e"}"#] {
        let decoded = decoded(&[], nothing.into());
        let message = "none of the fields of a UsageBatch or a UsageEvent is in it";
        assert_eq!((decoded.refused[0].class, &*decoded.refused[0].message), (ErrorClass::Decode, message));
    }
    // In protobuf one event would be read as a batch of something else.
    let decoded = decoded(&[], event("e-1").encode_to_vec());
    assert_eq!((decoded.rows.len(), decoded.refused[0].class), (0, ErrorClass::Decode));
}

#[test]
fn a_bad_event_leaves_its_siblings() {
    let change = |change: fn(&mut UsageEvent)| {
        let mut event = event("bad");
        change(&mut event);
        event
    };
    let events = vec![
        event("first"),
        change(|event| event.event_id.clear()),
        change(|event| event.quantity = f64::NAN),
        change(|event| event.quantity = f64::NEG_INFINITY),
        change(|event| event.started_at = Some(timestamp(NOW + 2 * DAY))),
        change(|event| event.environment_id = "nowhere".to_owned()),
        change(|event| event.environment_id = "bare".to_owned()),
        change(|event| event.environment_id.clear()),
        change(|event| event.quantity = -3.0),
    ];
    let decoded = decoded(&[], batch(events));
    let names: Vec<_> = rows(&decoded).iter().map(|row| row.name().to_string()).collect();
    assert_eq!(names, ["usage_events/first", "usage_events/bad"], "less than nothing puts right what was told before");
    let bad = "usage_events/bad";
    let expected = [
        (ErrorClass::Decode, "usage_events[1]"),
        (ErrorClass::ValueRefused, bad),
        (ErrorClass::ValueRefused, bad),
        (ErrorClass::TimeInFuture, bad),
        (ErrorClass::UnknownEnvironment, bad),
        (ErrorClass::UnknownEnvironment, bad),
    ];
    assert_eq!(refused(&decoded), expected);
    assert_eq!(decoded.skipped, [(skip::NO_STORE, 1)]);
}

#[test]
fn an_event_takes_its_environment_from_the_headers_which_may_not_contradict_it() {
    let nameless = UsageEvent { environment_id: String::new(), ..event("e") };
    let headers = [("ce_environmentid", "prod")];
    let found = decoded(&headers, batch(vec![nameless, UsageEvent { environment_id: "dev".to_owned(), ..event("f") }]));
    assert_eq!(cells(rows(&found)[0])["environment_id"], &Value::text("prod"));
    assert_eq!(refused(&found), [(ErrorClass::EnvironmentMismatch, "usage_events/f")]);
}

#[test]
fn an_event_without_a_beginning_has_its_end_or_its_messages_time() {
    let started = |event: UsageEvent| {
        let decoded = decoded(&[("ce_time", "2026-11-22T18:00:00Z")], batch(vec![event]));
        cells(rows(&decoded)[0])["started_at"].clone()
    };
    let endless = UsageEvent { ended_at: None, ..event("e") };
    assert_eq!(started(UsageEvent { started_at: None, ..event("e") }), Value::Timestamp(NOW - SECOND));
    assert_eq!(started(UsageEvent { started_at: None, ..endless }), Value::Timestamp(NOW - 32 * 60 * SECOND));
}

fn node() -> NodeStatusPubSub {
    NodeStatusPubSub {
        uid: "n-1".to_owned(),
        cluster: "main".to_owned(),
        creation_timestamp: NOW / SECOND - 60,
        observed_timestamp: NOW / SECOND,
        unschedulable: true,
        total_cpu: "4".to_owned(),
        labels: [("pool".to_owned(), "spot".to_owned())].into(),
        ..NodeStatusPubSub::default()
    }
}

const NODE: (&str, &str) = ("ce_type", "chalk.node_status.v1");
const POD: (&str, &str) = ("ce_type", "chalk.pod_status.v1");

#[test]
fn a_status_is_a_row_keyed_by_what_was_seen_and_when() {
    let found = decoded_in(&[("prod", with_store("sqlite:a"))], &[NODE], node().encode_to_vec());
    let [row] = rows(&found)[..] else { panic!("one row: {:?}", found.refused) };
    let expected = BTreeMap::from([
        ("uid", Value::text("n-1")),
        ("cluster", Value::text("main")),
        ("creation_timestamp", Value::Timestamp(NOW - 60 * SECOND)),
        ("observed_timestamp", Value::Timestamp(NOW)),
        ("unschedulable", Value::Bool(true)),
        ("total_cpu", Value::text("4")),
        ("labels", Value::Struct(vec![("pool".into(), Value::text("spot"))])),
        ("annotations", Value::Struct(vec![])),
    ]);
    assert_eq!(cells(row), expected.iter().map(|(name, value)| (*name, value)).collect());
    let key: Vec<_> = row.shape.key.iter().map(|at| &*row.shape.columns[*at].name).collect();
    assert_eq!(key, ["cluster", "uid", "observed_timestamp"]);
    assert_eq!((&*row.name(), found.event_time), ("node_status/n-1", Some(NOW)));

    let pod = PodStatusPubSub { uid: "p-1".to_owned(), app: "engine".to_owned(), ..PodStatusPubSub::default() };
    let json = serde_json::to_vec(&pod).expect("JSON");
    let headers = [POD, ("ce_time", "2026-11-22T18:32:00Z")];
    let found = decoded_in(&[("prod", with_store("sqlite:a"))], &headers, json);
    let [row] = rows(&found)[..] else { panic!("one row: {:?}", found.refused) };
    assert_eq!(cells(row)["cluster"], &Value::text(""), "a key has to be there");
    assert_eq!(cells(row)["observed_timestamp"], &Value::Timestamp(NOW));
    assert_eq!(&*row.name(), "pod_status/p-1");
}

#[test]
fn a_status_is_of_the_environment_of_its_headers_or_of_the_only_one() {
    let place = |environments: &[(&str, Environment)], headers: &[(&str, &str)]| {
        let decoded = decoded_in(environments, &[&[NODE], headers].concat(), node().encode_to_vec());
        let class = decoded.refused.first().map(|refusal| refusal.class.as_str());
        let row = decoded.rows.first().map(|row| crate::sink::Row::destination(row).to_string());
        (decoded.environment.map(|id| id.to_string()).unwrap_or_default(), row.or(class.map(str::to_owned)))
    };
    let (a, b) = (with_store("sqlite:a"), with_store("sqlite:b"));
    let is = |environment: &str, outcome: &str| (environment.to_owned(), Some(outcome.to_owned()));
    let both = [("dev", a.clone()), ("prod", b.clone())];
    assert_eq!(place(&both, &[("ce_environmentid", "prod")]), is("prod", "1"));
    assert_eq!(place(&both, &[]), is("", "UNKNOWN_ENVIRONMENT"));
    assert_eq!(place(&both, &[("ce_environmentid", "other")]), is("", "UNKNOWN_ENVIRONMENT"));
    assert_eq!(place(&both[1..], &[]), is("prod", "0"));
    assert_eq!(place(&[("*", a), ("prod", b)], &[]), is("*", "0"));
}

#[test]
fn a_status_that_cannot_be_a_row_is_refused() {
    let outcome = |node: NodeStatusPubSub| {
        let decoded = decoded_in(&[("prod", with_store("sqlite:a"))], &[NODE], node.encode_to_vec());
        decoded.refused.iter().map(|refusal| refusal.class).collect::<Vec<_>>()
    };
    assert_eq!(outcome(NodeStatusPubSub { uid: String::new(), ..node() }), [ErrorClass::Decode]);
    assert_eq!(outcome(NodeStatusPubSub { observed_timestamp: NOW, ..node() }), [ErrorClass::TimeInFuture]);
    assert_eq!(outcome(NodeStatusPubSub::default()), [ErrorClass::Decode]);
}

/// A row has a place for every column, whatever it says.
#[test]
fn a_batch_that_would_fill_the_memory_is_refused_before_it_does() {
    let mut settings = settings(WriterType::USAGE_BUS, &[("prod", with_store("sqlite:a"))]);
    settings.tuning.max_message_bytes = 200_000;
    let destinations = destinations(&settings).expect("stores");
    let mut message = message(&[]);
    let event = UsageEvent { event_id: "e".to_owned(), environment_id: "prod".to_owned(), ..UsageEvent::default() };
    message.payload = Some(Bytes::from(batch(vec![event; 8_000])));
    let mut decoded = Decoded::default();
    decoder(&settings, &destinations, Arc::new(|| NOW)).decode(&message, &mut decoded);
    assert!(decoded.rows.is_empty());
    assert_eq!(decoded.refused.iter().map(|refusal| refusal.class).collect::<Vec<_>>(), [ErrorClass::TooLarge]);
}
