//! What a bus is excused from, and that the excuse is true: as far as the program itself says what a bus can do, the suite
//! believes that.

use std::collections::BTreeSet;
use std::sync::Arc;

use chalk_writer::bus::BUSES;

use crate::cases::CASES;
use crate::harness::Capability::{self, EachByItself, LimitsMessageSize, Positions, Transactions};
use crate::harness::{Harness, Lacks, lack};
use crate::member::fresh_topic;
use crate::{WALKED, Walked};

/// Why a bus that lacks these is excused from a case with these needs; `None` where it is not.
pub fn why(needs: &[Capability], lacks: Lacks) -> Option<&'static str> {
    needs.iter().find_map(|needed| lack(lacks, *needed))
}

/// Fails where a bus is excused from what it can do, or is not from what it cannot.
pub async fn hold(walked: &Walked, harness: &Arc<dyn Harness>) {
    let kind = BUSES.iter().find(|kind| kind.name == walked.kind).expect("a bus of the program");
    let bus = harness.bus();
    let topic = fresh_topic(harness, "excuses", 1).await;
    let limit = bus.topic(&topic).await.expect("it was just made").max_message_bytes;
    for (capability, can) in [
        (Transactions, kind.has_transactions),
        (Positions, bus.subscriptions().is_none()),
        (EachByItself, bus.subscriptions().is_some()),
        (LimitsMessageSize, limit.is_some()),
    ] {
        let has = harness.capabilities().has(capability);
        assert!(
            has == can || (walked.stands_in && !has),
            "{}: the program says {capability:?}: {can}, the suite {has}",
            walked.name
        );
    }
}

#[test]
fn every_bus_of_the_program_is_walked_and_no_other() {
    let of_the_program: BTreeSet<&str> = BUSES.iter().map(|kind| kind.name).collect();
    let walked: BTreeSet<&str> = WALKED.iter().map(|walked| walked.kind).collect();
    assert_eq!(walked, of_the_program);
}

#[test]
fn every_bus_in_the_list_has_a_test_that_walks_it() {
    // Whatever is no test is never called, and nothing else would tell.
    let source = include_str!("main.rs");
    for Walked { name, .. } in WALKED {
        let call = format!("() {{\n    walk(\"{name}\").await;\n}}");
        let tests = source.split("#[tokio::test").skip(1).filter(|test| test.contains(&call)).count();
        assert_eq!(tests, 1, "tests that walk {name}");
    }
}

#[test]
fn every_case_is_one_of_some_bus_and_of_another_than_a_stand_in() {
    for (name, needs, _) in CASES {
        let of = WALKED.iter().filter(|walked| !walked.stands_in && why(needs, walked.lacks).is_none());
        assert!(of.count() > 0, "nobody runs {name}");
    }
}

#[test]
fn names_of_cases_are_those_of_one_case() {
    let names: BTreeSet<&str> = CASES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), CASES.len());
}
