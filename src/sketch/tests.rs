//! Sketches against the values themselves: merged over any split they are the whole, quantiles keep their
//! bound, sums have no error. Seen to fail with numbers put into a compacted sketch by the larger base, with
//! indexes rounded down in a compaction, with one compaction too few in a merge, with carries cut, with the
//! digits below half a unit not looked at, and with a double for the sum.

#![allow(clippy::float_cmp, reason = "sums that are exact are equal to the last bit")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::bucket::{Bucket, FIRST_ERROR, error_after};
use super::*;

fn sketch(values: &[f64]) -> UddSketch {
    let mut sketch = UddSketch::new();
    for value in values {
        assert!(sketch.add(*value));
    }
    sketch
}

fn distribution(values: &[f64]) -> Distribution {
    let mut distribution = Distribution::new();
    for value in values {
        assert!(distribution.add(*value));
    }
    distribution
}

/// Numbers of every size that keep all digits, of either sign, and zeros; some near to one another, so that
/// they share buckets, and some at the ends of buckets.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-300.0..300.0_f64, any::<bool>()).prop_map(|(power, negative)| {
            let value = 10_f64.powf(power);
            if negative { -value } else { value }
        }),
        4 => 0.5..2.0_f64,
        4 => (-1000..1000_i32).prop_map(f64::from),
        // Where one bucket ends and the next begins.
        4 => (-5000..5000_i32).prop_map(|index| (1.001_f64 / 0.999).powi(index)),
        1 => Just(0.0),
        1 => prop_oneof![Just(1e300), Just(-1e300), Just(1e-300), Just(-1e-300), Just(-0.0), Just(f64::MAX)],
    ]
}

/// Values, and for each the part that it goes to.
fn parted() -> impl Strategy<Value = (Vec<f64>, Vec<usize>)> {
    vec((number(), 0..5_usize), 0..600).prop_map(|pairs| pairs.into_iter().unzip())
}

/// What a sum is, by integers that are long enough for all of it.
fn rational(values: &[f64], power: u32) -> f64 {
    // Multiples of 2^-k for which 127 bits suffice.
    let scaled: i128 = values.iter().map(|value| (*value * 2_f64.powi(20)) as i128).map(|part| part.pow(power)).sum();
    (scaled as f64) * 2_f64.powi(-20 * power as i32)
}

proptest! {
    #[test]
    fn merged_over_any_split_equals_the_whole((values, of) in parted(), order in Just([3_usize, 0, 4, 1, 2]).prop_shuffle()) {
        let whole = distribution(&values);
        let part = |part: usize| {
            let mine = values.iter().zip(&of).filter(|(_, of)| **of == part).map(|(value, _)| *value);
            distribution(&mine.collect::<Vec<_>>())
        };
        let mut merged = Distribution::new();
        for at in order {
            merged.merge(&part(at));
        }
        prop_assert_eq!(merged.sketch().to_text(), whole.sketch().to_text());
        prop_assert_eq!(merged.statistics(), whole.statistics());
        prop_assert_eq!(&merged, &whole);
        // And grouped otherwise: the last two first.
        let mut pairs = part(order[3]);
        pairs.merge(&part(order[4]));
        let mut grouped = part(order[0]);
        grouped.merge(&part(order[1]));
        grouped.merge(&part(order[2]));
        pairs.merge(&grouped);
        prop_assert_eq!(pairs, whole);
    }

    #[test]
    fn quantiles_are_within_the_error(mut values in vec(number(), 1..600), quantiles in vec(0.0..=1.0_f64, 20)) {
        let sketch = sketch(&values);
        prop_assert!(sketch.buckets().len() <= 200);
        values.sort_unstable_by(f64::total_cmp);
        for quantile in quantiles.into_iter().chain([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0]) {
            let rank = (quantile * values.len() as f64) as usize;
            let exact = values[rank.min(values.len() - 1)];
            let near = sketch.quantile(quantile).expect("there are values");
            // Over so many powers of the base the last digits of a double add up to 1e-10.
            let bound = (sketch.max_error() + 1e-9) * exact.abs();
            prop_assert!((near - exact).abs() <= bound, "{near} for {exact} at {quantile}, {sketch}");
        }
    }

    #[test]
    fn few_buckets_have_the_first_error(values in vec(0.99..1.01_f64, 1..3000)) {
        let sketch = sketch(&values);
        prop_assert_eq!((sketch.compactions(), sketch.max_error()), (0, 0.001));
    }

    #[test]
    fn text_is_read_back(values in vec(number(), 0..400)) {
        let sketch = sketch(&values);
        let read = UddSketch::from_text(&sketch.to_text()).expect("our own text");
        prop_assert_eq!(read.to_text(), sketch.to_text());
        prop_assert_eq!(read.buckets(), sketch.buckets());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[(]version:1.{0,200}", cut in 0..200_usize, bytes in ".{0,9}") {
        let _ = UddSketch::from_text(&text);
        let own = sketch(&[1.0, -2.0, 0.0, 1e9]).to_text();
        let cut = own.floor_char_boundary(cut.min(own.len()));
        let _ = UddSketch::from_text(&format!("{}{bytes}{}", &own[..cut], &own[cut..]));
    }

    #[test]
    fn sums_are_exact(values in vec((-(1_i64 << 40)..1 << 40).prop_map(|bits| bits as f64 * 2_f64.powi(-20)), 0..200)) {
        let (mut sum, mut squares) = (ExactSum::new(), ExactSum::new());
        for value in &values {
            sum.add(*value);
            squares.add_square(*value);
        }
        prop_assert_eq!(sum.value(), rational(&values, 1));
        prop_assert_eq!(squares.value(), rational(&values, 2));
    }

    #[test]
    fn what_was_added_and_taken_away_leaves_the_rest(values in vec(number(), 0..50), rest in number()) {
        let mut sum = ExactSum::new();
        for value in &values {
            sum.add(*value);
        }
        sum.add(rest);
        for value in values.iter().rev() {
            sum.add(-value);
        }
        prop_assert_eq!(sum.value(), rest);
        let mut alone = ExactSum::new();
        alone.add(rest);
        prop_assert_eq!(sum, alone);
    }
}

#[test]
fn a_sum_is_rounded_once_and_to_even() {
    let sum = |values: &[f64]| {
        let mut sum = ExactSum::new();
        for value in values {
            sum.add(*value);
        }
        sum.value()
    };
    let ulp = f64::EPSILON;
    assert_eq!(sum(&[1.0, ulp / 2.0]), 1.0);
    assert_eq!(sum(&[1.0 + ulp, ulp / 2.0]), 1.0 + 2.0 * ulp);
    assert_eq!(sum(&[1.0, ulp / 2.0, 1e-300]), 1.0 + ulp);
    assert_eq!(sum(&[-1.0, -ulp / 2.0, -1e-300]), -1.0 - ulp);
    assert_eq!(sum(&[0.1; 10]), 1.0);
    assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
    assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
    let smallest = f64::from_bits(1);
    assert_eq!(sum(&[smallest, smallest, -1.0, 1.0]), 2.0 * smallest);
    assert_eq!(sum(&[1e300, 1.0, -1e300]), 1.0);
    assert_eq!(sum(&[]), 0.0);
}

#[test]
fn statistics_lose_nothing_to_a_large_mean() {
    let statistics = distribution(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]).statistics();
    assert_eq!((statistics.mean, statistics.variance), (1e9 + 10.0, 22.5));
    assert_eq!((statistics.min, statistics.max, statistics.count), (1e9 + 4.0, 1e9 + 16.0, 4));
    let statistics = distribution(&[f64::MAX, f64::MAX]).statistics();
    assert_eq!((statistics.mean, statistics.variance), (f64::MAX, 0.0));
    let mut nulls = Distribution::new();
    nulls.add_nulls(3);
    assert_eq!(nulls.statistics(), Statistics { null_count: 3, ..Statistics::default() });
}

#[test]
fn what_is_no_finite_number_is_left_out_and_told() {
    let mut distribution = distribution(&[2.0]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!distribution.add(value));
    }
    assert_eq!(distribution.statistics().count, 1);
    assert_eq!(distribution.sketch().sum().value(), 2.0);
}

#[test]
fn the_text_is_that_of_the_toolkit() {
    assert_eq!(
        sketch(&[1.0, -3.0, 0.0, 1.0, 10.5]).to_text(),
        "(version:1,alpha:0.001,max_buckets:200,num_buckets:4,compactions:0,count:5,sum:9.5,buckets:[\
         (Negative(550),1),(Zero,1),(Positive(0),2),(Positive(1176),1)])"
    );
    assert_eq!(
        UddSketch::new().to_text(),
        "(version:1,alpha:0.001,max_buckets:200,num_buckets:0,compactions:0,count:0,sum:0.0,buckets:[])"
    );
}

/// The one text in the toolkit's own tests: fifteen numbers in ten buckets at a first error of 0.01.
#[test]
fn buckets_are_those_of_the_toolkit() {
    let given = [-1000.0, -100.0, -10.0, -1.0, -0.1, -0.01, -0.001, 0.0, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];
    let mut counts = std::collections::BTreeMap::new();
    for value in given {
        *counts.entry(Bucket::of(value, 0.01).compacted(8)).or_insert(0) += 1;
    }
    let expected = [
        (Bucket::Negative(2), 1),
        (Bucket::Negative(1), 2),
        (Bucket::Negative(0), 3),
        (Bucket::Negative(-1), 1),
        (Bucket::Zero, 1),
        (Bucket::Positive(-1), 1),
        (Bucket::Positive(0), 3),
        (Bucket::Positive(1), 2),
        (Bucket::Positive(2), 1),
    ];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(error_after(0.01, 8), 0.988_120_971_206_954_6);
}

#[test]
fn a_text_of_another_writer_is_read() {
    let text = "( buckets: [ (Positive(1176), 1,), (Zero, 2), ], sum: 10, count: 3, compactions: 0, num_buckets: 2,\n\
                max_buckets: 200, alpha: 1e-3, version: 1, )";
    let sketch = UddSketch::from_text(text).expect("RON all the same");
    assert_eq!(sketch.buckets(), [(Bucket::Zero, 2), (Bucket::Positive(1176), 1)]);
    assert_eq!((sketch.count(), sketch.sum().value(), sketch.max_error()), (3, 10.0, FIRST_ERROR));
}

#[test]
fn a_text_that_contradicts_itself_is_refused_by_what_is_wrong() {
    let sound = sketch(&[1.0, 0.0]).to_text();
    let cases = [
        ("version:1", "version:2", "`version`: expected 1, found 2"),
        ("alpha:0.001", "alpha:0.002", "`alpha`: expected 0.001 after 0 compactions, found 0.002"),
        ("alpha:0.001", "alpha:NaN", "`alpha`: expected 0.001 after 0 compactions, found NaN"),
        ("max_buckets:200", "max_buckets:100", "`max_buckets`: expected 200, found 100"),
        ("num_buckets:2", "num_buckets:3", "`num_buckets`: expected 2, found 3"),
        ("compactions:0", "compactions:33", "`compactions`: expected at most 32, found 33"),
        ("compactions:0", "compactions:-1", "expected a number of its kind, found '-' at byte 65"),
        ("count:2", "count:3", "`count`: expected 2, found 3"),
        ("sum:1.0", "sum:inf", "`sum`: expected a finite number, found inf"),
        ("sum:1.0,", "", "`sum` is missing"),
        ("sum:1.0,", "sum:1.0,sum:1.0,", "`sum` stands twice"),
        ("(Zero,1)", "(Zero,0)", "`buckets`: 0 numbers"),
        ("(Zero,1)", "(Positive(0),1)", "`buckets`: Positive(0) stands twice"),
        ("(Zero,1)", "(Invalid,1)", "expected `Negative`, `Zero` or `Positive`, found ',' at byte 100"),
        (
            "Positive(0)",
            "Positive(9223372036854775807)",
            "`buckets`: no finite number is in Positive(9223372036854775807) after 0 compactions",
        ),
        ("])", "]) ", ""),
        ("])", "])x", "expected the end, found 'x' at byte 118"),
        ("])", "]", "expected `,` or `)`, found the end at byte 117"),
    ];
    for (from, to, expected) in cases {
        let read = UddSketch::from_text(&sound.replacen(from, to, 1));
        let found = read.err().map_or(String::new(), |error| error.to_string());
        assert_eq!(found.strip_prefix("a sketch: ").unwrap_or_default(), expected, "{from} as {to}");
    }
}
