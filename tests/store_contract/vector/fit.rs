//! What a table takes: vectors of its dimension, and what is exact in its precision. Anything else is refused alone.

use std::sync::Arc;

use chalk_writer::row::vector::{Point, VectorRow};
use chalk_writer::sink::ErrorClass;
use chalk_writer::store::vector::Made;
use chalk_writer::value::Metric;
use chalk_writer::value::dtype::Precision;
use chalk_writer::value::{Value, Vector};
use half::f16;

use super::place::{feature, key, nearest, places, read, refused, row, singles, stored, under, vector};

#[tokio::test]
async fn a_vector_of_another_dimension_is_refused_alone() {
    for place in places() {
        let store = place.store();
        let of = |id: &str, elements: &[f32]| row(key("dimension", id), 1, singles(elements));
        let rows = [of("1", &[1.0, 2.0, 3.0]), of("2", &[1.0, 2.0]), of("3", &[3.0, 2.0, 1.0]), of("4", &[])];
        let mismatch = ErrorClass::DimensionMismatch;
        assert_eq!(refused(&*store, &rows).await, [(1, mismatch), (3, mismatch)]);
        assert_eq!(nearest(&*store, "dimension", "prod", &[0.0; 3], 9).await.len(), 2);
        // Also by a store that knows nothing of the table yet.
        assert_eq!(refused(&*place.store(), &rows).await, [(1, mismatch), (3, mismatch)]);
        assert!(nearest(&*store, "dimension", "prod", &[0.0; 2], 9).await.is_empty());
    }
}

#[tokio::test]
async fn the_first_vector_makes_the_table_and_what_it_made_stays() {
    for place in places() {
        let store = place.store();
        let made = async |name: &str| store.table(&feature(name)).await.expect("read");
        assert_eq!(made("first").await, None);
        let half = |element: f64| f16::from_f64(element).to_bits();
        stored(&*store, &[under(Metric::Cos, row(key("first", "1"), 1, Vector::Fp16(vec![half(0.5), half(1.0)])))])
            .await;
        let expected = Made { dimension: 2, metric: Metric::Cos, precision: Precision::Fp16 };
        assert_eq!(made("first").await, Some(expected));
        stored(&*store, &[under(Metric::Ip, row(key("first", "2"), 1, singles(&[0.25, 2.0])))]).await;
        assert_eq!(made("first").await, Some(expected));
        assert_eq!(vector(&*store, &key("first", "2")).await, Some(Vector::Fp16(vec![half(0.25), half(2.0)])));
        assert_eq!(
            refused(&*store, &[row(key("first", "3"), 1, singles(&[0.1, 2.0]))]).await,
            [(0, ErrorClass::ValueRefused)]
        );
    }
}

#[tokio::test]
async fn every_precision_is_given_back_as_far_as_the_store_has_it() {
    for place in places() {
        let store = place.store();
        let halves = Vector::Fp16([1.0, -0.333, 65_504.0, 6e-8].map(|element| f16::from_f64(element).to_bits()).into());
        let singles = singles(&[0.1, f32::MAX, f32::MIN_POSITIVE, -1e-45]);
        let doubles = Vector::Fp64(vec![0.1, -1e300 * 1e-290, 1e-60, 12_345.678_901_234_567]);
        for (name, given, precision) in [
            ("half", halves, Precision::Fp16),
            ("single", singles.clone(), Precision::Fp32),
            ("double", doubles.clone(), Precision::Fp64),
        ] {
            stored(&*store, &[row(key(name, "1"), 1, given.clone())]).await;
            assert_eq!(vector(&*store, &key(name, "1")).await, Some(place.kept(&given, precision)), "{name}");
        }
        stored(&*store, &[row(key("single", "2"), 1, doubles.clone()), row(key("double", "2"), 1, singles.clone())])
            .await;
        assert_eq!(vector(&*store, &key("single", "2")).await, Some(place.kept(&doubles, Precision::Fp32)));
        assert_eq!(vector(&*store, &key("double", "2")).await, Some(place.kept(&singles, Precision::Fp64)));
    }
}

#[tokio::test]
async fn what_has_no_distance_is_refused() {
    for place in places() {
        let store = place.store();
        let of =
            |id: &str, elements: &[f64]| under(Metric::Cos, row(key("far", id), 1, Vector::Fp64(elements.to_vec())));
        let rows = [
            of("1", &[1.0, 1.0]),
            of("2", &[f64::NAN, 1.0]),
            of("3", &[1.0, f64::NEG_INFINITY]),
            of("4", &[1e300, 1.0]),
            of("5", &[0.0, -0.0]),
            of("6", &[1e-300, 0.0]),
            of("7", &[0.0, 1.0]),
        ];
        let class = ErrorClass::ValueRefused;
        assert_eq!(refused(&*store, &rows).await, [1, 2, 3, 4, 5].map(|at| (at, class)));
        assert_eq!(nearest(&*store, "far", "prod", &[1.0, 1.0], 9).await.len(), 2);
        // Zeros are as good as any other where there is no angle.
        stored(&*store, &[row(key("near", "1"), 1, singles(&[0.0, 0.0]))]).await;
    }
}

#[tokio::test]
async fn a_payload_is_given_back_with_its_values() {
    for place in places() {
        let store = place.store();
        let payload = Value::Struct(vec![
            ("a".into(), Value::Int(9_007_199_254_740_993)),
            ("b".into(), Value::List(vec![Value::text("x\u{1f600}\"'"), Value::Null, Value::Bool(true)])),
            ("select".into(), Value::Double(0.1)),
        ]);
        let point = Some(Point { vector: Arc::new(singles(&[1.0])), payload: payload.clone() });
        let given = VectorRow { point, ..row(key("payload", "1"), 1_234_567, singles(&[1.0])) };
        stored(&*store, std::slice::from_ref(&given)).await;
        let found = read(&*store, &given.key).await.expect("it is there");
        assert_eq!(found.observed_at, 1_234_567);
        assert_eq!(found.point.map(|point| point.payload), Some(payload));
    }
}
