//! The nearest vectors are those that a look at each of them finds, by every metric and in every precision, of the
//! asked environment alone, after replacements and deletions.

use std::collections::BTreeMap;
use std::sync::Arc;

use chalk_writer::row::vector::{VectorKey, VectorRow};
use chalk_writer::value::Metric;
use chalk_writer::value::Vector;
use chalk_writer::value::dtype::Precision;
use half::f16;

use super::place::{key, nearest, places, row, stored, tombstone, under};

const DIMENSION: usize = 12;
const COUNT: usize = 10;

/// The distance as it is defined.
fn distance(metric: Metric, one: &[f64], other: &[f64]) -> f64 {
    let product = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f64>();
    match metric {
        Metric::L2 => one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt(),
        Metric::Ip => -product(one, other),
        Metric::Cos => 1.0 - product(one, other) / product(one, one).sqrt() / product(other, other).sqrt(),
    }
}

fn random(random: &mut fastrand::Rng, precision: Precision) -> Vector {
    let elements: Vec<f64> = (0..DIMENSION).map(|_| random.f64() * 2.0 - 1.0).collect();
    match precision {
        Precision::Fp16 => Vector::Fp16(elements.iter().map(|element| f16::from_f64(*element).to_bits()).collect()),
        Precision::Fp32 => Vector::Fp32(elements.iter().map(|element| *element as f32).collect()),
        Precision::Fp64 => Vector::Fp64(elements),
    }
}

#[tokio::test]
async fn the_nearest_are_those_that_a_look_at_each_finds() {
    for place in places() {
        let store = place.store();
        for metric in Metric::ALL {
            for precision in [Precision::Fp16, Precision::Fp32, Precision::Fp64] {
                let name = format!("near_{metric}_{}", precision.as_str());
                let mut rng = fastrand::Rng::with_seed(7);
                let mut stands: BTreeMap<VectorKey, Arc<Vector>> = BTreeMap::new();
                // Some ids come several times, in the order of their times or not, and some are deleted.
                for write in 0..3 {
                    let mut rows: BTreeMap<VectorKey, VectorRow> = BTreeMap::new();
                    for _ in 0..150 {
                        let environment = ["prod", "staging"][rng.usize(0..2)];
                        let of = VectorKey { environment: environment.into(), ..key(&name, &rng.u8(..).to_string()) };
                        let row = if rng.u8(0..10) == 0 && write > 0 {
                            tombstone(of.clone(), write)
                        } else {
                            row(of.clone(), write, random(&mut rng, precision))
                        };
                        rows.insert(of, under(metric, row));
                    }
                    let rows: Vec<VectorRow> = rows.into_values().collect();
                    stored(&*store, &rows).await;
                    for row in rows {
                        match row.point {
                            Some(point) => stands.insert(row.key, point.vector),
                            None => stands.remove(&row.key),
                        };
                    }
                }
                for environment in ["prod", "staging", "none"] {
                    let Vector::Fp32(to) = random(&mut rng, Precision::Fp32) else { unreachable!("asked for") };
                    // In the table's precision, as the question is asked there.
                    let to: Vec<f32> = to.into_iter().map(|element| f16::from_f32(element).to_f32()).collect();
                    let wide: Vec<f64> = to.iter().copied().map(f64::from).collect();
                    let of = stands.iter().filter(|(key, _)| &*key.environment == environment);
                    let mut expected: Vec<(f64, &str)> =
                        of.map(|(key, vector)| (distance(metric, &vector.to_f64(), &wide), &*key.id)).collect();
                    expected.sort_by(|one, other| one.partial_cmp(other).expect("numbers"));
                    expected.truncate(COUNT);
                    let found = nearest(&*store, &name, environment, &to, COUNT).await;
                    assert_eq!(found.len(), expected.len(), "{} {name} in {environment}", place.uri());
                    for (found, (distance, id)) in found.iter().zip(&expected) {
                        assert!(
                            (found.distance - distance).abs() < 1e-3,
                            "{name}: {found:?}, expected {distance} of {id}"
                        );
                    }
                    let ids =
                        |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
                    let (found, expected) =
                        (found.iter().map(|found| &*found.id).collect(), expected.iter().map(|(_, id)| *id).collect());
                    assert_eq!(ids(found), ids(expected), "{} {name} in {environment}", place.uri());
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_asked_of_nothing_finds_nothing_and_makes_nothing() {
    for place in places() {
        let store = place.store();
        assert!(nearest(&*store, "absent", "prod", &[1.0], 3).await.is_empty());
        assert_eq!(store.read(&key("absent", "1")).await.expect("read"), None);
        if let super::place::Place::Sqlite(folder) = &place {
            assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        }
    }
}
