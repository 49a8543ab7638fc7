//! Two results of one query, output by output: what differs, by how much, and whether that is within tolerance.
//!
//! Values are compared as the JSON texts that they are, so that no digit is lost on the way: integers exactly,
//! whatever their size, other numbers as the doubles that JSON means by them. Two texts that are times in
//! RFC 3339 are compared as times. Text and number, or null and a value, are never the same.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::value::RawValue;

use super::object::Object;
use crate::proto::writer::v1::OutputDifference;

/// Values of one another inside, as deep as they are looked into; below that, texts are compared.
const DEEPEST: usize = 64;

/// How far apart numbers may be and still count as equal: either is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// So far.
    pub absolute: f64,
    /// So many times the larger of both.
    pub relative: f64,
}

/// Outputs by fully qualified name, each as its JSON text.
pub type Outputs = BTreeMap<String, String>;

/// The outputs that are not the same on both sides, in the order of their names.
pub fn differences(recorded: &Outputs, mirrored: &Outputs, tolerance: Tolerance) -> Vec<OutputDifference> {
    let mut found = Vec::new();
    for (name, recorded) in recorded {
        let Some(mirrored) = mirrored.get(name) else {
            found.push(difference(name, Some(recorded), None, Difference::whole()));
            continue;
        };
        if let Some(difference_found) = differs(recorded, mirrored, tolerance) {
            found.push(difference(name, Some(recorded), Some(mirrored), difference_found));
        }
    }
    for (name, mirrored) in mirrored.iter().filter(|(name, _)| !recorded.contains_key(*name)) {
        found.push(difference(name, None, Some(mirrored), Difference::whole()));
    }
    found.sort_by(|one, two| one.output.cmp(&two.output));
    found
}

fn difference(
    output: &str,
    recorded: Option<&String>,
    mirrored: Option<&String>,
    found: Difference,
) -> OutputDifference {
    let (recorded, mirrored) = (recorded.cloned(), mirrored.cloned());
    let Difference { at, by, relative, within } = found;
    OutputDifference { output: output.to_owned(), recorded, mirrored, by, relative, within_tolerance: within, at }
}

/// Where two values differ, and by how much where both are numbers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Difference {
    at: String,
    by: Option<f64>,
    relative: Option<f64>,
    within: bool,
}

impl Difference {
    /// Nothing to measure.
    fn whole() -> Self {
        Self::default()
    }

    fn inside(mut self, step: &str) -> Self {
        self.at.insert_str(0, step);
        self
    }
}

/// The first of some differences that is beyond tolerance; where none is, the first.
#[derive(Default)]
struct Worst(Option<Difference>);

impl Worst {
    fn add(&mut self, found: Option<Difference>) {
        if let Some(found) = found
            && self.0.as_ref().is_none_or(|known| known.within && !found.within)
        {
            self.0 = Some(found);
        }
    }
}

fn differs(one: &str, two: &str, tolerance: Tolerance) -> Option<Difference> {
    at_depth(one.trim(), two.trim(), tolerance, 0)
}

fn at_depth(one: &str, two: &str, tolerance: Tolerance, depth: usize) -> Option<Difference> {
    if one == two {
        return None;
    }
    let first = |text: &str| text.as_bytes().first().copied().unwrap_or_default();
    let is_number = |byte: u8| byte == b'-' || byte.is_ascii_digit();
    match (first(one), first(two)) {
        (a, b) if is_number(a) && is_number(b) => numbers(one, two, tolerance),
        (b'"', b'"') => texts(one, two),
        (b'[', b'[') if depth < DEEPEST => lists(one, two, tolerance, depth + 1),
        (b'{', b'{') if depth < DEEPEST => objects(one, two, tolerance, depth + 1),
        _ => Some(Difference::whole()),
    }
}

fn numbers(one: &str, two: &str, tolerance: Tolerance) -> Option<Difference> {
    let (by, largest) = if let (Ok(a), Ok(b)) = (one.parse::<i128>(), two.parse::<i128>()) {
        // Beyond 127 bits the difference is no number of ours; as a double it is good enough.
        let by = b.checked_sub(a).map_or(b as f64 - a as f64, |exact| exact as f64);
        (by, (a as f64).abs().max((b as f64).abs()))
    } else {
        let (Ok(a), Ok(b)) = (one.parse::<f64>(), two.parse::<f64>()) else { return Some(Difference::whole()) };
        (b - a, a.abs().max(b.abs()))
    };
    if by == 0.0 {
        // `1` and `1.0`, `1e2` and `100`. Integers beyond 127 bits may only look the same as doubles.
        let is_integer = |text: &str| !text.contains(['.', 'e', 'E']);
        return (is_integer(one) && is_integer(two)).then(Difference::whole);
    }
    let relative = if largest > 0.0 { (by / largest).abs() } else { 0.0 };
    let within = by.abs() <= tolerance.absolute || relative <= tolerance.relative;
    Some(Difference { at: String::new(), by: Some(by), relative: Some(relative), within })
}

fn texts(one: &str, two: &str) -> Option<Difference> {
    let read = |text: &str| serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
    let (one, two) = (read(one), read(two));
    let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    let same = one == two || matches!((time(&one), time(&two)), (Some(one), Some(two)) if one == two);
    (!same).then(Difference::whole)
}

fn lists(one: &str, two: &str, tolerance: Tolerance, depth: usize) -> Option<Difference> {
    let read = |text| serde_json::from_str::<Vec<&RawValue>>(text);
    let (Ok(one), Ok(two)) = (read(one), read(two)) else { return Some(Difference::whole()) };
    let mut worst = Worst::default();
    for (at, (one, two)) in one.iter().zip(&two).enumerate() {
        let found = at_depth(one.get(), two.get(), tolerance, depth);
        worst.add(found.map(|found| found.inside(&format!("[{at}]"))));
    }
    if one.len() != two.len() {
        worst.add(Some(Difference::whole().inside(&format!("[{}]", one.len().min(two.len())))));
    }
    worst.0
}

fn objects(one: &str, two: &str, tolerance: Tolerance, depth: usize) -> Option<Difference> {
    let (Ok(one), Ok(two)) = (Object::from_text(one), Object::from_text(two)) else { return Some(Difference::whole()) };
    let mut worst = Worst::default();
    // A key that is null and one that is not there are different here: `get` would have them be the same.
    let (one, two): (BTreeMap<_, _>, BTreeMap<_, _>) = (one.iter().collect(), two.iter().collect());
    for (key, value) in &one {
        let found = match two.get(key) {
            Some(other) => at_depth(value, other, tolerance, depth),
            None => Some(Difference::whole()),
        };
        worst.add(found.map(|found| found.inside(&format!(".{key}"))));
    }
    for key in two.keys().filter(|key| !one.contains_key(*key)) {
        worst.add(Some(Difference::whole().inside(&format!(".{key}"))));
    }
    worst.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXACT: Tolerance = Tolerance { absolute: 0.0, relative: 0.0 };

    fn outputs(pairs: &[(&str, &str)]) -> Outputs {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn what_says_the_same_does_not_differ() {
        for (one, two) in [
            ("1", "1"),
            ("1", "1.0"),
            ("1e2", "100"),
            ("0.0", "-0.0"),
            (r#""\u00e9""#, "\"é\""),
            (r#""2026-11-22T18:32:00Z""#, r#""2026-11-22T19:32:00.000+01:00""#),
            (r#"{"a": 1, "b": [null]}"#, r#"{"b":[null],"a":1}"#),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(differs(one, two, EXACT), None, "{one} {two}");
        }
    }

    #[test]
    fn integers_differ_by_one_however_large_they_are() {
        for (one, two) in [
            ("9007199254740992", "9007199254740993"),
            ("-170141183460469231731687303715884105727", "-170141183460469231731687303715884105728"),
        ] {
            let found = differs(one, two, EXACT).expect("they differ");
            assert_eq!(found.by.map(f64::abs), Some(1.0), "{one} {two}");
        }
    }

    #[test]
    fn the_place_and_the_size_of_a_difference_are_told() {
        for (one, two, at, by, relative) in [
            ("2", "3.5", "", Some(1.5), Some(1.5 / 3.5)),
            ("[1,2,3]", "[1,2,4]", "[2]", Some(1.0), Some(0.25)),
            ("[1,2]", "[1]", "[1]", None, None),
            (r#"[{"a":1},{"a":{"b":-2}}]"#, r#"[{"a":1},{"a":{"b":2}}]"#, "[1].a.b", Some(4.0), Some(2.0)),
            (r#"{"a":null}"#, "{}", ".a", None, None),
            ("{}", r#"{"a":null}"#, ".a", None, None),
            ("1", r#""1""#, "", None, None),
            ("null", "0", "", None, None),
            ("true", "false", "", None, None),
            (
                "1000000000000000000000000000000000000000000",
                "1000000000000000000000000000000000000000001",
                "",
                None,
                None,
            ),
            (r#""NaN""#, "0.5", "", None, None),
        ] {
            let found = differs(one, two, EXACT).expect(one);
            assert_eq!((found.at.as_str(), found.by, found.relative), (at, by, relative), "{one} {two}");
            assert!(!found.within, "{one} {two}");
        }
    }

    #[test]
    fn either_tolerance_is_enough_and_the_worst_of_a_list_is_told() {
        let within = |one, two, absolute, relative| {
            differs(one, two, Tolerance { absolute, relative }).expect("they differ").within
        };
        assert!(within("100", "101", 1.0, 0.0));
        assert!(within("100", "101", 0.0, 0.01));
        assert!(!within("100", "101", 0.99, 0.0099));
        let found = differs("[100,5,0]", "[101,7,9]", Tolerance { absolute: 1.0, relative: 0.0 }).expect("they differ");
        assert_eq!((found.at.as_str(), found.by, found.within), ("[1]", Some(2.0), false));
    }

    #[test]
    fn outputs_of_one_side_only_differ_and_all_come_in_order() {
        let found = differences(
            &outputs(&[("user.b", "1"), ("user.gone", "1"), ("user.same", "[]")]),
            &outputs(&[("user.b", "2"), ("user.a", "1"), ("user.same", "[]")]),
            EXACT,
        );
        let told: Vec<_> = found
            .iter()
            .map(|each| (each.output.as_str(), each.recorded.as_deref(), each.mirrored.as_deref()))
            .collect();
        assert_eq!(
            told,
            [("user.a", None, Some("1")), ("user.b", Some("1"), Some("2")), ("user.gone", Some("1"), None)]
        );
    }

    #[test]
    fn a_bottomless_nesting_is_compared_as_text() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(differs(&deep("1"), &deep("1"), EXACT), None);
        assert!(differs(&deep("1"), &deep("1.0"), EXACT).is_some());
    }

    proptest! {
        #[test]
        fn a_number_is_within_what_it_differs_by(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite() && (b - a).is_finite());
            let (one, two) = (serde_json::to_string(&a).expect("finite"), serde_json::to_string(&b).expect("finite"));
            match differs(&one, &two, EXACT) {
                // Exactly: that is what no tolerance means.
                None => prop_assert!(a.total_cmp(&b).is_eq() || a.abs().max(b.abs()).to_bits() == 0),
                Some(found) => {
                    let (by, relative) = (found.by.expect("numbers"), found.relative.expect("numbers"));
                    prop_assert!(by.total_cmp(&(b - a)).is_eq());
                    for tolerance in [Tolerance { absolute: by.abs(), relative: 0.0 }, Tolerance { absolute: 0.0, relative }] {
                        prop_assert!(differs(&one, &two, tolerance).expect("they differ").within);
                    }
                }
            }
        }

        #[test]
        fn both_ways_round_the_same_differs(one in "[\\[{\\]}\",:0-9a-b\\-.e ]{0,20}", two in "[\\[{\\]}\",:0-9a-b\\-.e ]{0,20}") {
            let at = |one: &str, two: &str| differs(one, two, EXACT).map(|found| found.by.map(f64::abs));
            prop_assert_eq!(at(&one, &two).is_some(), at(&two, &one).is_some());
        }
    }
}
