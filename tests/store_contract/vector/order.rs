//! Which vector stands: the same whatever the order, the cut and the repetition.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chalk_writer::row::vector::{Point, VectorKey, VectorRow};
use chalk_writer::value::{Value, Vector, json, jsonb};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::place::{Place, RETENTION, key, nearest, places, read, row, singles, store, stored, tombstone, vector};

fn any_point() -> impl Strategy<Value = Option<Point>> {
    let element = prop::sample::select(vec![0.0_f32, -0.0, 1.0, 1.5, -3.25e-12, f32::MAX]);
    let vector = prop::collection::vec(element, 2);
    let payload = prop_oneof![
        Just(Vec::new()),
        Just(vec![("a".into(), Value::Int(i64::MAX))]),
        "[^\0]{0,3}".prop_map(|text| vec![("select \"x\"".into(), Value::text(text)), ("b".into(), Value::Null)]),
    ];
    let point = (vector, payload)
        .prop_map(|(vector, payload)| Point { vector: Arc::new(singles(&vector)), payload: Value::Struct(payload) });
    prop::option::weighted(0.8, point)
}

/// Rows of few vectors and few times, so that they meet.
fn any_rows(name: &str) -> impl Strategy<Value = Vec<VectorRow>> {
    let name = name.to_owned();
    let now = 1_800_000_000_000_000_i64;
    let row = (0..3_usize, 0..4_i64, any_point()).prop_map(move |(id, time, point)| {
        let tombstone = tombstone(key(&name, ["1", "'; DROP TABLE x; --", "é\u{1f600}"][id]), now + time);
        VectorRow { point, ..tombstone }
    });
    prop::collection::vec(row, 1..12)
}

/// The plainest order of two rows of one vector.
fn order(place: &Place, one: &VectorRow, other: &VectorRow) -> Ordering {
    let text = |value: &Value| match place {
        Place::Sqlite(_) => json::to_text(value).into_bytes(),
        Place::Postgres(_) => {
            let mut text = Vec::new();
            jsonb::write(value, &mut text);
            text
        }
    };
    let rank = |row: &VectorRow| {
        row.point.as_ref().map(|point| {
            let elements: Vec<f64> = point.vector.to_f64().into_iter().map(|element| element + 0.0).collect();
            let exact = point.vector.to_f64();
            (elements, text(&point.payload), exact)
        })
    };
    let compare = |one: &[f64], other: &[f64]| {
        one.iter().zip(other).map(|(one, other)| one.total_cmp(other)).find(|found| found.is_ne())
    };
    one.observed_at.cmp(&other.observed_at).then_with(|| match (rank(one), rank(other)) {
        (Some(one), Some(other)) => compare(&one.0, &other.0)
            .or_else(|| Some(one.1.cmp(&other.1)).filter(|found| found.is_ne()))
            .or_else(|| compare(&one.2, &other.2))
            .unwrap_or(Ordering::Equal),
        (one, other) => one.is_some().cmp(&other.is_some()),
    })
}

/// What a place gives back of a row: pgvector has one zero, and neither store keeps types within JSON.
fn as_read(place: &Place, row: &VectorRow) -> (i64, Option<(Vec<String>, String)>) {
    let point = row.point.as_ref().map(|point| {
        let zero = if matches!(place, Place::Postgres(_)) { 0.0 } else { -0.0 };
        let elements = point.vector.to_f64().into_iter().map(|element| format!("{:?}", element + zero)).collect();
        let text = json::from_text(&json::to_text(&point.payload)).expect("JSON");
        (elements, format!("{:?}", sorted(text)))
    });
    (row.observed_at, point)
}

/// `jsonb` has an order of names of its own.
fn sorted(value: Value) -> BTreeMap<String, Value> {
    let Value::Struct(fields) = value else { panic!("{value:?}") };
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

#[test]
fn every_order_and_cut_ends_in_the_same_state_and_repetition_changes_nothing() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    for place in places() {
        let store = runtime.block_on(async { place.store() });
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
        let number = std::cell::Cell::new(0);
        let strategy = (any_rows("set below"), any::<prop::sample::Index>(), any::<bool>());
        TestRunner::new(config)
            .run(&strategy, |(mut rows, cut, together)| {
                number.set(number.get() + 1);
                let name = format!("order{}", number.get() % 3);
                for row in &mut rows {
                    let id = format!("{}/{}", row.key.id, number.get());
                    row.key = key(&name, &id);
                }
                let mut expected: BTreeMap<VectorKey, VectorRow> = BTreeMap::new();
                for row in &rows {
                    let stands = expected.get(&row.key).is_none_or(|old| order(&place, row, old).is_gt());
                    if stands {
                        expected.insert(row.key.clone(), row.clone());
                    }
                }
                runtime.block_on(async {
                    if together {
                        // One write, of which rows of one vector are collapsed as the runtime does it.
                        let mut by_key: BTreeMap<&VectorKey, Vec<&VectorRow>> = BTreeMap::new();
                        for row in &rows {
                            by_key.entry(&row.key).or_default().push(row);
                        }
                        let rows: Vec<VectorRow> = by_key
                            .into_iter()
                            .map(|(key, rows)| match &*rows {
                                [row] => (*row).clone(),
                                rows => store.collapse(key, rows),
                            })
                            .collect();
                        stored(&*store, &rows).await;
                    } else {
                        for row in &rows {
                            stored(&*store, std::slice::from_ref(row)).await;
                        }
                        let again = cut.index(rows.len());
                        let outcome = stored(&*store, &rows[again..=again]).await;
                        assert_eq!((outcome.stored, outcome.stale), (0, 1), "it stands or lost already");
                    }
                    for (key, row) in &expected {
                        let found = read(&*store, key).await.expect("it is there");
                        let found = VectorRow { observed_at: found.observed_at, point: found.point, ..row.clone() };
                        assert_eq!(as_read(&place, &found), as_read(&place, row), "{key:?}");
                    }
                });
                Ok(())
            })
            .expect("one state");
    }
}

#[tokio::test]
async fn a_deleted_vector_is_found_no_more_and_nothing_older_comes_back() {
    for place in places() {
        let store = place.store();
        let (one, other) = (key("deleted", "1"), key("deleted", "2"));
        let now = chalk_writer::value::time::now();
        // A tombstone may be the first that is heard of a feature: its dimension is not known then.
        let outcome = stored(&*store, &[tombstone(one.clone(), now)]).await;
        assert_eq!((outcome.stored, outcome.stale), (1, 0));
        assert!(read(&*store, &one).await.is_some_and(|stored| stored.point.is_none()));
        assert_eq!(store.table(&one.feature).await.expect("read"), None);
        assert!(nearest(&*store, "deleted", "prod", &[0.0, 0.0], 3).await.is_empty());
        let rows = [row(one.clone(), now - 1, singles(&[1.0, 1.0])), row(other.clone(), now - 1, singles(&[2.0, 2.0]))];
        let outcome = stored(&*store, &rows).await;
        assert_eq!((outcome.stored, outcome.stale), (1, 1));
        let found = nearest(&*store, "deleted", "prod", &[0.0, 0.0], 3).await;
        assert_eq!(found.iter().map(|found| &*found.id).collect::<Vec<_>>(), ["2"]);
        stored(&*store, &[tombstone(other.clone(), now), row(one.clone(), now + 1, singles(&[3.0, 3.0]))]).await;
        let found = nearest(&*store, "deleted", "prod", &[0.0, 0.0], 3).await;
        assert_eq!(found.iter().map(|found| &*found.id).collect::<Vec<_>>(), ["1"]);
        stored(&*store, &[row(other.clone(), now + 2, singles(&[1.0, 0.0]))]).await;
        let found = nearest(&*store, "deleted", "prod", &[0.0, 0.0], 3).await;
        assert_eq!(found.iter().map(|found| &*found.id).collect::<Vec<_>>(), ["2", "1"]);
    }
}

#[tokio::test]
async fn a_tombstone_is_swept_once_its_time_is_over_and_a_younger_one_is_not() {
    for place in places() {
        let keeping = place.store();
        let now = chalk_writer::value::time::now();
        let week = i64::try_from(RETENTION.as_micros()).expect("a number");
        let (old, young) = (key("swept", "old"), key("swept", "young"));
        stored(&*keeping, &[row(key("swept", "stays"), 1, singles(&[1.0]))]).await;
        // Another store, so that it is its turn to sweep.
        let store = store(&place.uri(), RETENTION);
        stored(&*store, &[tombstone(old.clone(), now - week - 1_000_000), tombstone(young.clone(), now)]).await;
        assert_eq!(read(&*store, &old).await, None, "{}", place.uri());
        assert!(read(&*store, &young).await.is_some());
        assert_eq!(vector(&*store, &key("swept", "stays")).await, Some(singles(&[1.0])));
    }
}

#[tokio::test]
async fn a_table_that_many_make_at_once_is_made_once() {
    for place in places() {
        let writers = (0..6).map(|at| {
            let store = store(&place.uri(), Duration::from_secs(3_600));
            async move {
                let rows: Vec<VectorRow> = (0..4)
                    .map(|table| row(key(&format!("many{table}"), &at.to_string()), 1, Vector::Fp16(vec![at, at])))
                    .collect();
                stored(&*store, &rows).await.stored
            }
        });
        let written: u64 = futures::future::join_all(writers).await.into_iter().sum();
        assert_eq!(written, 24, "{}", place.uri());
        let store = place.store();
        for table in 0..4 {
            assert_eq!(nearest(&*store, &format!("many{table}"), "prod", &[0.0, 0.0], 10).await.len(), 6);
        }
    }
}
