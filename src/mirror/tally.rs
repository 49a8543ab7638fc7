//! What a mirror has seen since it began: how many queries agreed, how fast both sides were, what was shed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::proto::writer::v1::MirrorOutcome;
use crate::sketch::UddSketch;

/// Counts and latencies.
#[derive(Debug, Default)]
pub struct Tally {
    agreed: u64,
    differing: u64,
    failed: u64,
    shed: BTreeMap<&'static str, u64>,
    recorded: UddSketch,
    mirrored: UddSketch,
    last_trouble: Option<String>,
}

/// How a mirrored query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same outputs, within tolerance, and errors.
    Agreed,
    /// Others.
    Differing,
    /// There is nothing to compare.
    Failed,
}

impl Verdict {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Agreed, Self::Differing, Self::Failed];

    /// What an outcome says.
    pub fn of(outcome: &MirrorOutcome) -> Self {
        match outcome {
            MirrorOutcome { agreed: true, .. } => Self::Agreed,
            MirrorOutcome { error: Some(_), .. } => Self::Failed,
            _ => Self::Differing,
        }
    }

    /// Its name in metrics and summaries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Differing => "differing",
            Self::Failed => "failed",
        }
    }
}

impl Tally {
    /// Counts a query that was asked, with both latencies where there are two.
    pub fn mirrored(&mut self, verdict: Verdict, recorded: Option<f64>, mirrored: Option<f64>) {
        match verdict {
            Verdict::Agreed => self.agreed += 1,
            Verdict::Differing => self.differing += 1,
            Verdict::Failed => self.failed += 1,
        }
        // Of the same queries, so that the two can be compared.
        if let (Some(recorded), Some(mirrored)) = (recorded, mirrored)
            && recorded.is_finite()
            && recorded >= 0.0
        {
            let _ = self.recorded.add(recorded);
            let _ = self.mirrored.add(mirrored);
        }
    }

    /// Counts a query that was not asked, or not answered.
    pub fn shed(&mut self, reason: &'static str) {
        *self.shed.entry(reason).or_default() += 1;
    }

    /// The server was in trouble: what it was, for people.
    pub fn trouble(&mut self, what: String) {
        self.last_trouble = Some(what);
    }

    /// All of it, with how far the valve is open.
    pub fn summary(&self, limit: f64, closed_for: Duration) -> Json {
        let quantiles = |sketch: &UddSketch| {
            let at = |quantile: f64| sketch.quantile(quantile);
            json!({"p50": at(0.5), "p95": at(0.95), "p99": at(0.99)})
        };
        json!({
            "mirrored": self.agreed + self.differing + self.failed,
            "agreed": self.agreed,
            "differing": self.differing,
            "failed": self.failed,
            "shed": self.shed,
            "recorded_seconds": quantiles(&self.recorded),
            "mirrored_seconds": quantiles(&self.mirrored),
            "concurrency": limit,
            "backing_off_seconds": closed_for.as_secs_f64(),
            "last_trouble": self.last_trouble,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_and_has_quantiles_of_both_sides() {
        let mut tally = Tally::default();
        for at in 1..=1_000 {
            tally.mirrored(Verdict::Agreed, Some(f64::from(at) / 1e3), Some(f64::from(at) / 1e2));
        }
        tally.mirrored(Verdict::Failed, Some(7.0), None);
        tally.mirrored(Verdict::Differing, None, Some(7.0));
        tally.shed("rate");
        tally.shed("rate");
        let summary = tally.summary(2.5, Duration::from_secs(1));
        let count = |name: &str| summary[name].as_u64().expect("a count");
        assert_eq!((count("mirrored"), count("agreed"), count("differing"), count("failed")), (1_002, 1_000, 1, 1));
        assert_eq!(summary["shed"], json!({"rate": 2}));
        for (side, unit) in [("recorded_seconds", 1.0), ("mirrored_seconds", 10.0)] {
            for (name, at) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
                let found = summary[side][name].as_f64().expect("a quantile") / (at * unit);
                assert!((0.95..1.05).contains(&found), "{side} {name} {found}");
            }
        }
        assert_eq!(Tally::default().summary(1.0, Duration::ZERO)["recorded_seconds"]["p50"], Json::Null);
    }
}
