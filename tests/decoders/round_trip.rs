//! Any result, written in any encoding, is read back as it was.

use std::sync::Arc;

use bytestring::ByteString;
use chalk_writer::proto::common::v1::{ChalkError, ChalkException};
use chalk_writer::proto::pubsub::v1::QueryMessagePubSub;
use chalk_writer::proto::writer::v1;
use chalk_writer::result::encode::person_json;
use chalk_writer::result::{Cell, EntityRow, FeatureTable, Persistence, QueryResult, Source, TableBody};
use chalk_writer::value::{Value, Vector};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::{plain, read};

fn time() -> impl Strategy<Value = i64> {
    -62_135_596_800_000_000..253_402_300_800_000_000_i64
}

fn text() -> impl Strategy<Value = ByteString> {
    prop_oneof![
        any::<String>(),
        "[a-z]{100,300}",
        "[a-z\"\\\\\u{0}\u{1f600}]{0,20}",
        Just("9223372036854775808".to_owned())
    ]
    .prop_map(ByteString::from)
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_map(|double| if double.is_nan() { f64::NAN } else { double }),
        Just(-0.0),
        Just(1e20),
        Just(9_223_372_036_854_775_808.0)
    ]
}

fn vector() -> impl Strategy<Value = Vector> {
    prop_oneof![
        vec(any::<u16>(), 0..5).prop_map(Vector::Fp16),
        vec(-1e30..1e30_f32, 0..5).prop_map(Vector::Fp32),
        vec(double(), 0..5).prop_map(Vector::Fp64),
    ]
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        Just(Value::Int((1 << 53) + 1)),
        double().prop_map(Value::Double),
        text().prop_map(Value::Text),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
        time().prop_map(Value::Timestamp),
        (-719_162..2_932_897_i32).prop_map(Value::Date),
        (any::<i64>(), 0..1_000_000_u32)
            .prop_map(|(whole, fraction)| Value::Decimal(format!("{whole}.{fraction:06}").into())),
        vector().prop_map(|vector| Value::Vector(Arc::new(vector))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop_oneof!["[a-c]{0,2}", Just("int_value".to_owned()), Just("listValue".to_owned())];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::btree_map(name, inner, 0..4).prop_map(|fields| {
                Value::Struct(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }),
        ]
    })
}

fn source() -> impl Strategy<Value = Source> {
    (0..7_i32).prop_map(Source::numbered)
}

fn table() -> impl Strategy<Value = FeatureTable> {
    // More than a row is given room for at first, too.
    prop_oneof![15 => 1..20_usize, 1 => 60..140_usize]
        .prop_flat_map(|width| {
            let cell = option::weighted(0.8, (value(), source(), "[a-z.]{0,6}"));
            let id = prop_oneof![any::<i64>().prop_map(Value::Int), text().prop_map(Value::Text)];
            let row = (id, option::of(time()), vec(cell, width)).prop_map(|(id, observed_at, cells)| {
                let cells = cells.into_iter().enumerate().filter_map(|(column, cell)| {
                    cell.map(|(value, source, id)| Cell {
                        column,
                        value,
                        source,
                        source_id: (!id.is_empty()).then(|| Box::new(id.into())),
                    })
                });
                EntityRow { id, observed_at, cells: cells.collect(), fault: None }
            });
            let columns: Vec<ByteString> = (0..width).map(|at| format!("user.f{at}").into()).collect();
            (Just(columns), vec(row, 0..4))
        })
        .prop_map(|(columns, rows)| FeatureTable {
            namespace: "user".into(),
            body: TableBody::Rows { columns: columns.into(), rows },
        })
}

prop_compose! {
    fn query()(name in option::of(any::<String>()), meta in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3),
               inputs in vec(any::<String>(), 0..3), created_at in any::<i64>(), errors in option::of(any::<bool>()),
               duration in option::of(0.0..1e6_f32), status in option::of(0..9_i32)) -> QueryMessagePubSub {
        QueryMessagePubSub {
            query_name: name, query_meta: meta, input_features: inputs, created_at, has_errors: errors,
            query_duration_seconds: duration, status, ..QueryMessagePubSub::default()
        }
    }
}

prop_compose! {
    fn error()(code in 0..12_i32, category in 0..3_i32, message in any::<String>(), feature in option::of(any::<String>()),
               resolver in option::of(any::<String>()), key in option::of(any::<String>()),
               exception in option::of((any::<String>(), option::of(any::<String>())))) -> ChalkError {
        let exception = exception.map(|(kind, internal_stacktrace)| ChalkException {
            message: message.clone(), stacktrace: kind.repeat(2), kind, internal_stacktrace,
        });
        ChalkError { code, category, message, display_primary_key_fqn: key.clone(), display_primary_key: key, exception, feature, resolver }
    }
}

prop_compose! {
    fn run()(resolver in any::<String>(), kind in 0..4_i32, status in 0..4_i32, duration_seconds in double(), rows in any::<i64>())
            -> v1::ResolverRun {
        // Protobuf leaves out what is equal to zero, and so the sign of zero.
        let duration_seconds = if duration_seconds == 0.0 { 0.0 } else { duration_seconds };
        v1::ResolverRun { resolver, kind, status, duration_seconds, rows }
    }
}

prop_compose! {
    pub(super) fn result()(environment in text(), operation in text(), kind in 0..16_i32, observed_at in option::of(time()),
                query in option::of(query()), tables in vec(table(), 0..3), flags in any::<[bool; 4]>(),
                arrow in option::of(vec(any::<u8>(), 0..9)), errors in vec(error(), 0..3), resolver_runs in vec(run(), 0..3))
                -> QueryResult {
        let mut tables = tables;
        if let Some(arrow) = arrow {
            tables.push(FeatureTable { namespace: "arrow".into(), body: TableBody::Arrow(arrow.into()) });
        }
        QueryResult {
            environment_id: environment, deployment_id: "dep".into(), operation_id: operation, operation_kind: kind,
            observed_at, query: query.map(Box::new), tables, errors, resolver_runs,
            persistence: Persistence {
                online: flags[0], offline: flags[1], verbose_metrics: flags[2], status_metrics: flags[3],
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    // Seen to fail with integers read through a double, and with `meta` one column off.
    #[test]
    fn a_result_is_read_back_from_every_encoding(result in result()) {
        let expected = plain(&result);
        let message = v1::QueryResult::from(&result);
        let protobuf = read(message.encode_to_vec()).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
        prop_assert_eq!(&plain(&protobuf), &expected, "protobuf");
        let compact = serde_json::to_string(&message).expect("JSON");
        let read_back = read(compact.clone()).map_err(|refusal| TestCaseError::fail(format!("{refusal}: {compact}")))?;
        prop_assert_eq!(&plain(&read_back), &expected, "{}", compact);
        let person = String::from_utf8(person_json(&message).expect("JSON")).expect("text");
        let read_back = read(person.clone()).map_err(|refusal| TestCaseError::fail(format!("{refusal}: {person}")))?;
        prop_assert_eq!(&plain(&read_back), &expected, "{}", person);
    }
}
