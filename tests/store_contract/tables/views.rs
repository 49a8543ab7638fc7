//! The views merge partials as sketches and statistics merge in memory, and nothing that is sent takes them away.

use std::collections::BTreeMap;
use std::sync::Arc;

use chalk_writer::row::table::{Shape, TableRow};
use chalk_writer::sketch::{Distribution, UddSketch};
use chalk_writer::store::metrics::shapes::{self, Place as Named};
use chalk_writer::value::Value;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::place::{Found, NOON, Place, of, places, postgres, sqlite, write};
use crate::postgres::Version;

const MINUTE: i64 = 60_000_000;
/// The minute of [`NOON`].
const BEGIN: i64 = NOON - 123_456;

fn metrics() -> Arc<Shape> {
    shapes::metrics(&Named::usual("metrics"))
}

/// What is in every row; `series` is its name as well.
fn partial(series: &'static str, kind: &'static str, at: i64, part: i64, cells: &[(&str, Value)]) -> TableRow {
    let all = [
        ("environment_id", Value::text("prod")),
        ("metric_name", Value::text(series)),
        ("series", Value::text(series)),
        ("aggregation_type", Value::text(kind)),
        ("observed_at", Value::Timestamp(at)),
        ("emitter", Value::text("me")),
        ("part", Value::Int(part)),
    ];
    of(&metrics(), &[&all, cells].concat())
}

fn numeric(series: &'static str, kind: &'static str, at: i64, part: i64, value: f64) -> TableRow {
    partial(series, kind, at, part, &[("value", Value::Double(value))])
}

fn sketched(series: &'static str, at: i64, part: i64, distribution: &Distribution) -> TableRow {
    let (sketch, statistics) = (distribution.sketch(), distribution.statistics());
    let buckets = sketch.buckets().iter().map(|(bucket, count)| {
        let numbers = [i64::from(bucket.sign()), bucket.index(), *count as i64];
        Value::List(numbers.map(Value::Int).to_vec())
    });
    let cells = [
        ("sketch", Value::text(sketch.to_text())),
        ("buckets", Value::List(buckets.collect())),
        ("compactions", Value::Int(sketch.compactions().into())),
        ("min", Value::Double(statistics.min)),
        ("max", Value::Double(statistics.max)),
        ("count", Value::Int(statistics.count as i64)),
        ("null_count", Value::Int(statistics.null_count as i64)),
        ("mean", Value::Double(statistics.mean)),
        ("variance", Value::Double(statistics.variance)),
    ];
    partial(series, "SKETCH", at, part, &cells)
}

fn distribution(values: &[f64], nulls: u64) -> Distribution {
    let mut distribution = Distribution::new();
    for value in values {
        assert!(distribution.add(*value));
    }
    distribution.add_nulls(nulls);
    distribution
}

/// Rows by series and minute.
fn by_series(rows: Vec<Found>) -> BTreeMap<(String, String), Found> {
    let text = |row: &Found, name: &str| row[name].as_str().expect("text").to_owned();
    rows.into_iter().map(|row| ((text(&row, "series"), text(&row, "window_start")), row)).collect()
}

fn close(found: &serde_json::Value, expected: f64, within: f64) -> bool {
    let found = found.as_f64().unwrap_or(f64::NAN);
    (found - expected).abs() <= within * expected.abs().max(f64::MIN_POSITIVE)
}

#[tokio::test]
async fn each_kind_of_partial_is_merged_in_its_way() {
    for place in places() {
        let store = place.open();
        let rows: Vec<TableRow> = ["SUM", "MAX", "MIN", "GAUGE_FIRST", "GAUGE_LAST", "OTHER"]
            .into_iter()
            .flat_map(|kind| {
                let each = [(2, 0, 5.0), (1, 1, 7.0), (1, 0, 3.0), (2, 1, 4.0)];
                each.map(|(second, part, value)| numeric(kind, kind, BEGIN + second * 1_000_000, part, value))
            })
            .chain([numeric("SUM", "SUM", BEGIN + MINUTE, 0, 9.0), numeric("OTHER", "OTHER", BEGIN + MINUTE, 0, 9.0)])
            .collect();
        write(&store, &rows).await.expect("written");
        let found = by_series(place.rows("metrics_merged"));
        let at = |series: &str, minute: &str| {
            found[&(series.to_owned(), format!("2026-11-22T18:{minute}:00Z"))]
                .get("value")
                .and_then(serde_json::Value::as_f64)
        };
        let merged = ["SUM", "MAX", "MIN", "GAUGE_FIRST", "GAUGE_LAST", "OTHER"].map(|series| at(series, "32"));
        assert_eq!(merged, [Some(19.0), Some(7.0), Some(3.0), Some(3.0), Some(4.0), None]);
        assert_eq!((at("SUM", "33"), at("OTHER", "33")), (Some(9.0), Some(9.0)));
        assert_eq!(found.len(), 8);
        assert_eq!(found[&("SUM".to_owned(), "2026-11-22T18:32:00Z".to_owned())]["partials"], 4);
    }
}

#[tokio::test]
async fn numbers_at_their_ends_leave_the_views_to_the_other_series() {
    for place in places() {
        let extreme = [f64::MAX, f64::MAX, -f64::MAX, f64::MIN_POSITIVE, 5e-324, -5e-324, 1e200, -1e-200];
        let mut rows: Vec<TableRow> = (0..)
            .zip(extreme)
            .flat_map(|(part, value)| {
                let one = distribution(&[value], 0);
                let two = distribution(&[value, 0.0], 0);
                [
                    numeric("sum", "SUM", BEGIN, part, value),
                    sketched("alone", BEGIN + part * MINUTE, 0, &one),
                    sketched("all", BEGIN, part, &one),
                    sketched("two", BEGIN, part, &two),
                    sketched("none", BEGIN, part, &distribution(&[], 3)),
                ]
            })
            .collect();
        rows.extend(
            [f64::NAN, f64::INFINITY].map(|value| numeric("sum", "SUM", BEGIN, 99 + i64::from(value.is_nan()), value)),
        );
        rows.push(sketched("sound", BEGIN, 0, &distribution(&[1.0, 3.0], 1)));
        write(&place.open(), &rows).await.expect("written");
        let found = by_series(place.rows("metrics_merged"));
        let noon = |series: &str| &found[&(series.to_owned(), "2026-11-22T18:32:00Z".to_owned())];
        assert_eq!((noon("sound")["mean"].as_f64(), noon("sound")["variance"].as_f64()), (Some(2.0), Some(1.0)));
        assert_eq!((&noon("none")["count"], &noon("none")["null_count"]), (&json!(0), &json!(24)));
        assert_eq!(noon("sum")["value"], "NaN");
        assert_eq!((noon("all")["max"].as_f64(), noon("all")["min"].as_f64()), (Some(f64::MAX), Some(-f64::MAX)));
        let quantiles = by_series(place.rows("metrics_quantiles"));
        for (part, value) in (0..).zip(extreme) {
            let key = ("alone".to_owned(), format!("2026-11-22T18:{}:00Z", 32 + part));
            let expected = distribution(&[value], 0).sketch().quantile(0.5).expect("a number");
            let normal = value.abs() >= f64::MIN_POSITIVE;
            let found = &quantiles[&key]["p50"];
            assert!(close(found, expected, 1e-9) || !normal && found.as_f64().is_some(), "{found} for {value}");
        }
        assert!(!quantiles.contains_key(&("none".to_owned(), "2026-11-22T18:32:00Z".to_owned())));
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -100.0..100.0_f64,
        2 => (-20.0..20.0_f64).prop_map(|power| 10_f64.powf(power)),
        1 => (-20.0..20.0_f64).prop_map(|power| -10_f64.powf(power)),
        1 => Just(0.0),
    ]
}

/// What the view must have of these partials: the buckets of all at the level of the coarsest.
fn joined(parts: &[Distribution]) -> Vec<(i64, i64, i64)> {
    let level = parts.iter().map(|part| part.sketch().compactions()).max().unwrap_or_default();
    let mut joined: BTreeMap<(i64, i64, i64), i64> = BTreeMap::new();
    for part in parts {
        for (bucket, count) in part.sketch().buckets() {
            let index = (part.sketch().compactions()..level)
                .fold(bucket.index(), |index, _| index.div_euclid(2) + index.rem_euclid(2));
            let sign = i64::from(bucket.sign());
            *joined.entry((sign, sign * index, index)).or_default() += *count as i64;
        }
    }
    joined.into_iter().map(|((sign, _, index), count)| (sign, index, count)).collect()
}

fn views_merge_as_sketches_do(place: &Place) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let store = runtime.block_on(async { place.open() });
    let parts = prop::collection::vec((prop::collection::vec(number(), 0..400), 0..3_u64), 1..5);
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&parts, |parts| {
            let distributions: Vec<_> = parts.iter().map(|(values, nulls)| distribution(values, *nulls)).collect();
            let rows = distributions.iter().enumerate();
            // Apart in the minute.
            let rows: Vec<_> = rows.map(|(at, part)| sketched("s", BEGIN + at as i64, at as i64, part)).collect();
            runtime.block_on(write(&store, &rows)).expect("written");
            let (merged, quantiles) = (place.rows("metrics_merged"), place.rows("metrics_quantiles"));
            place.run("DELETE FROM metrics");
            let mut whole = Distribution::new();
            for part in &distributions {
                whole.merge(part);
            }
            let (expected, merged) = (whole.statistics(), &merged[0]);
            prop_assert_eq!(&merged["count"], &json!(expected.count));
            prop_assert_eq!(&merged["null_count"], &json!(expected.null_count));
            if expected.count == 0 {
                prop_assert!(quantiles.is_empty());
                return Ok(());
            }
            prop_assert_eq!(merged["min"].as_f64(), Some(expected.min));
            prop_assert_eq!(merged["max"].as_f64(), Some(expected.max));
            let size = expected.min.abs().max(expected.max.abs());
            prop_assert!((merged["mean"].as_f64().expect("a mean") - expected.mean).abs() <= 1e-12 * size);
            let variance = merged["variance"].as_f64().expect("a variance");
            prop_assert!((variance - expected.variance).abs() <= 1e-12 * size * size, "{} {:?}", variance, expected);
            let buckets: Vec<(i64, i64, i64)> = serde_json::from_value(merged["buckets"].clone()).expect("buckets");
            prop_assert_eq!(buckets, joined(&distributions));

            let mut values: Vec<f64> = parts.iter().flat_map(|(values, _)| values).copied().collect();
            values.sort_by(f64::total_cmp);
            let error = quantiles[0]["error"].as_f64().expect("an error");
            let sketch: &UddSketch = whole.sketch();
            prop_assert!(error <= sketch.max_error() * (1.0 + 1e-9), "the view may be finer, never coarser");
            for (name, quantile) in
                [("p5", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)]
            {
                let exact = values[(values.len() as f64 * quantile) as usize];
                let found = &quantiles[0][name];
                prop_assert!(close(found, exact, error * (1.0 + 1e-9)), "{}: {} for {}", name, found, exact);
                let same = error >= sketch.max_error() * (1.0 - 1e-9);
                let of_sketch = sketch.quantile(quantile).expect("a number");
                prop_assert!(!same || close(found, of_sketch, 1e-9), "{}: {} for {}", name, found, of_sketch);
            }
            Ok(())
        })
        .expect("every merge");
}

#[test]
fn views_of_sqlite_merge_as_sketches_do() {
    views_merge_as_sketches_do(&sqlite());
}

#[test]
fn views_of_postgres_merge_as_sketches_do() {
    views_merge_as_sketches_do(&postgres(Version::Debian));
    views_merge_as_sketches_do(&postgres(Version::Newest));
}

/// An older SQLite than ours, without anything that we might have given it.
#[tokio::test]
async fn the_views_of_sqlite_are_read_by_python() {
    let python = std::env::var("CHALK_WRITER_TEST_PYTHON").expect("`./dev test` installs a Python and sets it");
    let place = sqlite();
    write(&place.open(), &[sketched("s", BEGIN, 0, &distribution(&[1.0, 2.0, 4.0], 0))]).await.expect("written");
    let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(\
                  'SELECT p50, error, count FROM metrics_quantiles').fetchall())";
    let path = place.uri().trim_start_matches("sqlite://").to_owned();
    let said = std::process::Command::new(python).args(["-c", script, &path]).output().expect("Python");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.starts_with("[(2.00") || said.starts_with("[(1.99"), "{said}");
    assert!(said.trim_end().ends_with(", 0.001, 3)]") || said.contains("0.00099999"), "{said}");
}
