//! What came of a run: some lines to read, and one of JSON for each role.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Type;
use super::run::Run;
use crate::check::{Problem, Wrong};
use crate::report;

impl Run {
    /// Tells what happened, and gives what is wrong.
    pub fn report(&self) -> Vec<Problem> {
        let lines: Vec<Value> = (0..self.dealt.len()).map(|at| self.line(at)).collect();
        for line in &lines {
            println!("torture: {line}");
        }
        report::append(&lines);
        self.problems.clone()
    }

    fn line(&self, at: usize) -> Value {
        let dealt = &self.dealt[at];
        let prefix = format!("{}: ", dealt.role.name);
        let count =
            |wrong| self.problems.iter().filter(|(found, what)| *found == wrong && what.starts_with(&prefix)).count();
        let mut recovery: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
        for name in dealt.role.writers {
            for (fault, took) in self.recovery.of(&self.group(Type(name))) {
                recovery.entry(fault).or_default().extend(took);
            }
        }
        let parked = dealt.role.writers.iter().map(|name| self.parked.get(&self.group(Type(name))).unwrap_or(&0));
        json!({
            "parks": self.parks, "parked": parked.sum::<usize>(), "out_of_order": count(Wrong::OutOfOrder),
            "seed": self.seed, "run": format!("rows {}", self.number), "seconds": self.begun.elapsed().as_secs(),
            "bus": self.bus.name(), "store": dealt.store(), "writer": dealt.role.writers.join(" → "),
            "role": dealt.role.name, "messages": dealt.sent.messages, "bad": dealt.sent.bad,
            "faults": self.faults, "left_out": self.left_out, "promises": self.promises,
            "lost": count(Wrong::Lost), "acknowledged_too_early": count(Wrong::AcknowledgedTooEarly),
            "older_on_top": count(Wrong::OlderOnTop), "doubled": count(Wrong::Doubled),
            "never_sent": count(Wrong::NeverSent), "duplicates": self.duplicates[at],
            "shed": (dealt.role.store.is_none()).then_some(self.shed), "seconds_to_recover": recovery,
        })
    }
}
