//! Which vectors of a message go into the vector store, and what they are refused for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::config::settings::{CacheStrategy, Environment, Feature};
use crate::decode::{Decoded, Decoder};
use crate::proto::writer::v1::{
    HalfElements, SingleElements, VectorBatch, VectorDelete, VectorUpsert, VectorValue, value::Kind, vector_delete,
    vector_upsert, vector_value::Elements,
};
use crate::result::{Persistence, QueryResult, Source};
use crate::row::vector::Point;
use crate::sink::ErrorClass;
use crate::value::{Metric, Vector};
use crate::writer::skip;
use crate::writer::testing::{
    DAY, NOW, any_result, feature, listed, message, one, opened, result, settings, store, table,
};

fn environment(features: Option<Vec<Feature>>) -> Environment {
    Environment { vector_store: Some(store("sqlite:a")), features: features.and_then(listed), ..Environment::default() }
}

fn decoder_of(environment: Environment) -> VectorDecoder {
    let settings = settings(WriterType::ONLINE_VECTOR_STORE, &[("prod", environment)]);
    let destinations = Destinations::plan(&settings.environments, &VECTOR).expect("a store");
    decoder(&settings, &destinations, Arc::new(|| NOW)).expect("sound settings")
}

fn decode_with(environment: Environment, result: QueryResult) -> Decoded<VectorRow> {
    let mut decoded = Decoded::default();
    let message = message(&[("ce_id", "e-1")]);
    decoder_of(environment).result(opened(&message, result), &mut decoded);
    decoded
}

fn decode(features: Option<Vec<Feature>>, value: Value) -> Decoded<VectorRow> {
    decode_with(environment(features), result(vec![one("user.embedding", value)]))
}

fn declared(dtype: &str) -> Feature {
    Feature { dtype: Some(dtype.parse().expect("a type")), ..feature("user.embedding") }
}

fn singles(elements: &[f32]) -> Vector {
    Vector::Fp32(elements.to_vec())
}

fn value(vector: Vector) -> Value {
    Value::Vector(Arc::new(vector))
}

/// The one row.
fn only(decoded: &Decoded<VectorRow>) -> &VectorRow {
    assert_eq!(decoded.refused, []);
    let [row] = &decoded.rows[..] else { panic!("one row, not {:?}", decoded.rows) };
    row
}

fn vector(row: &VectorRow) -> Option<&Vector> {
    row.point.as_ref().map(|point| &*point.vector)
}

fn class(decoded: &Decoded<VectorRow>) -> ErrorClass {
    assert!(decoded.rows.is_empty(), "{:?}", decoded.rows);
    let [refusal] = &decoded.refused[..] else { panic!("one refusal, not {:?}", decoded.refused) };
    refusal.class
}

fn skipped(decoded: &Decoded<VectorRow>, reason: &'static str) {
    assert!(decoded.rows.is_empty(), "{:?}", decoded.rows);
    assert_eq!(decoded.refused, []);
    assert_eq!(decoded.skipped, [(reason, 1)]);
}

#[test]
fn a_vector_of_a_result_is_stored_under_its_entity() {
    let decoded = decode(None, value(singles(&[1.0, -2.0])));
    let row = only(&decoded);
    assert_eq!(vector(row), Some(&singles(&[1.0, -2.0])));
    assert_eq!(
        (row.key.feature.to_string().as_str(), &*row.key.environment, &*row.key.id),
        ("user.embedding", "prod", "42")
    );
    assert_eq!((row.observed_at, row.metric), (NOW, Metric::L2));
    assert_eq!((decoded.environment.as_deref(), decoded.event_time), (Some("prod"), Some(NOW)));
}

#[test]
fn a_list_is_a_vector_where_its_feature_is_declared_to_be_one() {
    let list = || Value::List(vec![Value::Int(1), Value::Double(0.1)]);
    let decoded = decode(Some(vec![declared("vector<fp32, 2>")]), list());
    assert_eq!(vector(only(&decoded)), Some(&singles(&[1.0, 0.1])));
    skipped(&decode(None, list()), skip::NOT_A_VECTOR);
    skipped(&decode(Some(vec![declared("list<float64>")]), list()), skip::NOT_A_VECTOR);
    skipped(&decode(Some(vec![feature("user.other")]), value(singles(&[1.0]))), skip::UNLISTED);
    assert_eq!(class(&decode(Some(vec![declared("vector<fp32, 3>")]), list())), ErrorClass::DimensionMismatch);
    assert_eq!(class(&decode(Some(vec![declared("vector<fp32, 3>")]), Value::text("x"))), ErrorClass::TypeMismatch);
}

#[test]
fn the_configuration_names_the_metric_by_feature_or_for_all_and_versions_are_part_of_the_name() {
    let with = |metric| Environment { vector_metric: Some(Metric::Ip), ..environment(metric) };
    let of = |environment| decode_with(environment, result(vec![one("user.embedding", value(singles(&[1.0])))]));
    assert_eq!(only(&of(with(None))).metric, Metric::Ip);
    let own = Feature { metric: Some(Metric::Cos), internal_version: 3, ..feature("user.embedding") };
    let decoded = of(with(Some(vec![own])));
    assert_eq!(only(&decoded).metric, Metric::Cos);
    assert_eq!(only(&decoded).key.feature.name, "embedding~3");
    assert_eq!(only(&of(with(Some(vec![feature("user.embedding")])))).metric, Metric::Ip);
}

#[test]
fn a_null_deletes_where_the_feature_is_known_to_have_vectors_and_its_strategy_is_kept_to() {
    skipped(&decode(None, Value::Null), skip::NOT_A_VECTOR);
    let with = |cache_strategy| Some(vec![Feature { cache_strategy, ..declared("vector<fp32, 2>") }]);
    for strategy in [CacheStrategy::All, CacheStrategy::EvictNulls] {
        assert_eq!(only(&decode(with(strategy), Value::Null)).point, None);
    }
    skipped(&decode(with(CacheStrategy::NoNulls), Value::Null), skip::STRATEGY);
}

#[test]
fn what_does_not_go_online_does_not_go_here() {
    for (source, reason) in
        [(Source::OnlineStore, skip::CACHE_HIT), (Source::Given, skip::GIVEN), (Source::Missing, skip::MISSING)]
    {
        let row = (Value::Int(1), vec![("user.embedding", value(singles(&[1.0])), source)]);
        skipped(&decode_with(environment(None), result(vec![table("user", vec![row])])), reason);
    }
    let persistence = Persistence { online: false, ..Persistence::default() };
    let off = QueryResult { persistence, ..result(vec![one("user.embedding", value(singles(&[1.0])))]) };
    skipped(&decode_with(environment(None), off), skip::PERSISTENCE_OFF);
}

#[test]
fn one_bad_vector_leaves_the_others_of_its_row() {
    let features = vec![declared("vector<fp32, 2>"), feature("user.other"), feature("user.score")];
    let cells = vec![
        ("user.embedding", value(singles(&[1.0])), Source::Resolver),
        ("user.score", Value::Double(0.5), Source::Resolver),
        ("user.other", value(singles(&[3.0])), Source::Resolver),
    ];
    let decoded = decode_with(environment(Some(features)), result(vec![table("user", vec![(Value::Int(7), cells)])]));
    assert_eq!(decoded.rows.iter().map(|row| &*row.key.feature.name).collect::<Vec<_>>(), ["other"]);
    let [refusal] = &decoded.refused[..] else { panic!("{:?}", decoded.refused) };
    assert_eq!((refusal.class, refusal.row.as_deref()), (ErrorClass::DimensionMismatch, Some("user/7")));
    assert_eq!(decoded.skipped, [(skip::NOT_A_VECTOR, 1)]);
}

#[test]
fn a_table_in_arrow_form_gives_the_same_vectors() {
    use crate::result::arrow::encode;
    let rows =
        |at: i64| (Value::Int(at), vec![("user.embedding", value(singles(&[at as f32, 0.5])), Source::Resolver)]);
    let plain = table("user", vec![rows(1), rows(2)]);
    let batch = encode::batch(&plain).expect("a batch");
    let ipc = encode::ipc(&batch, BTreeMap::new(), encode::Form::Stream).expect("IPC");
    let arrow =
        crate::result::FeatureTable { namespace: "user".into(), body: crate::result::TableBody::Arrow(ipc.into()) };
    let shown = |table| {
        let decoded = decode_with(environment(None), result(vec![table]));
        assert_eq!(decoded.refused, []);
        decoded.rows.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>()
    };
    assert_eq!(shown(arrow), shown(plain));
}

fn upsert(id: i64, vector: &[f32]) -> VectorUpsert {
    let elements = Elements::Fp32(SingleElements { elements: vector.to_vec() });
    VectorUpsert {
        id: Some(vector_upsert::Id::IntId(id)),
        vector: Some(VectorValue { elements: Some(elements) }),
        observed_at: Some(pbjson_types::Timestamp { seconds: NOW / 1_000_000 - 5, nanos: 1_000 }),
        payload: BTreeMap::new(),
    }
}

fn batch() -> VectorBatch {
    VectorBatch {
        environment_id: "prod".to_owned(),
        namespace: "user".to_owned(),
        feature: "user.embedding".to_owned(),
        ..VectorBatch::default()
    }
}

fn read(features: Option<Vec<Feature>>, headers: &[(&str, &str)], body: Vec<u8>) -> Decoded<VectorRow> {
    let mut message = message(headers);
    message.payload = Some(Bytes::from(body));
    let mut decoded = Decoded::default();
    decoder_of(environment(features)).decode(&message, &mut decoded);
    decoded
}

fn read_batch(features: Option<Vec<Feature>>, batch: &VectorBatch) -> Decoded<VectorRow> {
    let headers = [("ce_type", "chalk.vector_batch.v1"), ("ce_id", "1"), ("content-type", "application/protobuf")];
    read(features, &headers, batch.encode_to_vec())
}

#[test]
fn a_batch_and_a_result_give_the_same_row() {
    let given = VectorBatch { upserts: vec![VectorUpsert { observed_at: None, ..upsert(42, &[1.0, 2.0]) }], ..batch() };
    let of_batch = read_batch(None, &given);
    let of_result = decode(None, value(singles(&[1.0, 2.0])));
    assert_eq!(format!("{:?}", only(&of_batch)), format!("{:?}", only(&of_result)));
}

#[test]
fn a_batch_upserts_and_deletes() {
    let payload = [("lang", Kind::StringValue("en".to_owned())), ("age", Kind::IntValue(i64::MAX))];
    let payload = payload.map(|(name, kind)| (name.to_owned(), crate::proto::writer::v1::Value { kind: Some(kind) }));
    let half = Elements::Fp16(HalfElements { bits: vec![0x00, 0x3c, 0x00, 0xc0].into() });
    let given = VectorBatch {
        dimension: 2,
        metric: 3,
        upserts: vec![
            VectorUpsert { payload: payload.into(), ..upsert(1, &[0.5, 1.0]) },
            VectorUpsert {
                id: Some(vector_upsert::Id::TextId("x".to_owned())),
                vector: Some(VectorValue { elements: Some(half) }),
                ..upsert(2, &[])
            },
        ],
        deletes: vec![VectorDelete { id: Some(vector_delete::Id::IntId(3)), observed_at: None }],
        ..batch()
    };
    let decoded = read_batch(None, &given);
    assert_eq!(decoded.refused, []);
    let [first, second, third] = &decoded.rows[..] else { panic!("{:?}", decoded.rows) };
    let payload = Value::Struct(vec![("age".into(), Value::Int(i64::MAX)), ("lang".into(), Value::text("en"))]);
    assert_eq!(first.point, Some(Point { vector: Arc::new(singles(&[0.5, 1.0])), payload }));
    assert_eq!((first.metric, first.observed_at), (Metric::Cos, NOW - 5_000_000 + 1));
    assert_eq!((&*second.key.id, vector(second)), ("x", Some(&Vector::Fp16(vec![0x3c00, 0xc000]))));
    assert_eq!((&*third.key.id, &third.point, third.observed_at), ("3", &None, NOW));
}

#[test]
fn a_bad_vector_of_a_batch_is_refused_alone_and_named() {
    let future = pbjson_types::Timestamp { seconds: (NOW + 2 * DAY) / 1_000_000, nanos: 0 };
    let odd = Elements::Fp16(HalfElements { bits: vec![1].into() });
    let given = VectorBatch {
        dimension: 2,
        precision: 1,
        upserts: vec![
            upsert(1, &[0.5, 1.0]),
            upsert(2, &[0.5]),
            upsert(3, &[0.1, 1.0]),
            VectorUpsert { id: None, ..upsert(4, &[0.5, 1.0]) },
            VectorUpsert { vector: None, ..upsert(5, &[]) },
            VectorUpsert { observed_at: Some(future), ..upsert(6, &[0.5, 1.0]) },
            VectorUpsert { vector: Some(VectorValue { elements: Some(odd) }), ..upsert(7, &[]) },
        ],
        ..batch()
    };
    let decoded = read_batch(None, &given);
    assert_eq!(decoded.rows.iter().map(|row| &*row.key.id).collect::<Vec<_>>(), ["1"]);
    assert_eq!(vector(&decoded.rows[0]), Some(&Vector::Fp16(vec![0x3800, 0x3c00])));
    let refused: Vec<_> =
        decoded.refused.iter().map(|refusal| (refusal.class, refusal.row.as_deref().unwrap_or_default())).collect();
    let expected = [
        (ErrorClass::DimensionMismatch, "user/2"),
        (ErrorClass::ValueRefused, "user/3"),
        (ErrorClass::Decode, "upserts[3]"),
        (ErrorClass::Decode, "user/5"),
        (ErrorClass::TimeInFuture, "user/6"),
        (ErrorClass::Decode, "user/7"),
    ];
    assert_eq!(refused, expected);
}

#[test]
fn a_batch_is_held_to_the_list_of_features_and_to_their_types() {
    let given = VectorBatch { upserts: vec![upsert(1, &[0.5, 1.0])], ..batch() };
    skipped(&read_batch(Some(vec![feature("user.other")]), &given), skip::UNLISTED);
    skipped(&read_batch(Some(vec![declared("list<float64>")]), &given), skip::NOT_A_VECTOR);
    let decoded = read_batch(Some(vec![declared("vector<fp64, 2>")]), &given);
    assert_eq!(vector(only(&decoded)), Some(&Vector::Fp64(vec![0.5, 1.0])));
    assert_eq!(class(&read_batch(Some(vec![declared("vector<fp32, 3>")]), &given)), ErrorClass::DimensionMismatch);
    for wrong in [
        VectorBatch { feature: "card.embedding".to_owned(), ..given.clone() },
        VectorBatch { feature: "embedding".to_owned(), ..given.clone() },
        VectorBatch { feature: String::new(), ..given.clone() },
        VectorBatch { metric: 9, ..given.clone() },
        VectorBatch { precision: 9, ..given.clone() },
    ] {
        assert_eq!(class(&read_batch(None, &wrong)), ErrorClass::Decode, "{wrong:?}");
    }
    let named_by_its_feature = VectorBatch { namespace: String::new(), ..given.clone() };
    assert_eq!(only(&read_batch(None, &named_by_its_feature)).key.feature.to_string(), "user.embedding");
    let elsewhere = VectorBatch { environment_id: "dev".to_owned(), ..given };
    assert_eq!(class(&read_batch(None, &elsewhere)), ErrorClass::UnknownEnvironment);
}

#[test]
fn a_message_that_does_not_say_what_it_is_is_told_by_what_is_in_it() {
    let batch = r#"{"environment_id": "prod", "feature": "user.embedding", "upserts": [
        {"int_id": 42, "vector": {"fp32": {"elements": [1.0, 2.0]}}, "payload": {"lang": {"string_value": "en"}}}]}"#;
    assert_eq!(vector(only(&read(None, &[], batch.into()))), Some(&singles(&[1.0, 2.0])));
    let result = r#"{"environment_id": "prod", "tables": [{"namespace": "user", "rows": {"rows": [
        {"id": 42, "features": {"user.embedding": {"vector_value": {"fp32": {"elements": [1.0, 2.0]}}}}}]}}]}"#;
    assert_eq!(vector(only(&read(None, &[], result.into()))), Some(&singles(&[1.0, 2.0])));
    let plain = VectorBatch { upserts: vec![upsert(1, &[0.5])], ..self::batch() }.encode_to_vec();
    assert_eq!(vector(only(&read(None, &[], plain))), Some(&singles(&[0.5])));
    assert_eq!(class(&read(None, &[], b"{\"upserts\": 7}".to_vec())), ErrorClass::Decode);
    // One that says that it is a result is none of ours whatever is in it.
    let said = read(None, &[("ce_type", "chalk.result.v1"), ("ce_id", "1")], batch.into());
    assert!(said.rows.is_empty(), "{said:?}");
}

proptest::proptest! {
    #[test]
    fn no_result_is_lost_without_a_word(given in any_result()) {
        let values: usize = given.tables.iter().map(|table| match &table.body {
            crate::result::TableBody::Rows { rows, .. } => rows.iter().map(|row| row.cells.len()).sum(),
            crate::result::TableBody::Arrow(_) => 1,
        }).sum();
        let decoded = decode_with(environment(None), given);
        let skipped: u64 = decoded.skipped.iter().map(|(_, count)| count).sum();
        proptest::prop_assert!(decoded.rows.is_empty(), "there is no vector in it");
        proptest::prop_assert!(skipped as usize <= values.max(1));
    }
}
