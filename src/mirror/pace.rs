//! Whether a server has become slower than it was: each answer against what the same query takes as a rule.

use std::time::Duration;

use hashbrown::HashMap;

/// Queries that are told apart by name; those of other names are one.
const MOST_NAMES: usize = 256;

/// The first answers of a query say what is usual, whatever they are.
const LEARNING: f64 = 20.0;

/// What comes and goes by itself.
const USUAL: f64 = 1.2;

/// What no answer is blamed for: so much may come from the network and from ourselves.
const GRACE: f64 = 0.005;

/// How slow answers are of late: 1 is as usual, 2 twice as slow.
#[derive(Debug, Default)]
pub(super) struct Pace {
    usual: HashMap<String, Usual>,
    /// The logarithm of it, in which twice as slow and twice as fast are as far.
    slowness: f64,
}

/// About the median of a query's answers.
#[derive(Debug)]
struct Usual {
    seconds: f64,
    answers: f64,
}

impl Pace {
    /// Takes an answer into account, and tells how slow answers are of late.
    ///
    /// While answers are slow that may be our own doing, and must not become the usual; where it cannot be,
    /// because we ask next to `nothing`, a server that stays slower is believed after a thousand answers or so.
    pub(super) fn add(&mut self, query: &str, took: Duration, nothing: bool) -> f64 {
        let took = took.as_secs_f64() + GRACE;
        let name = if self.usual.contains_key(query) || self.usual.len() < MOST_NAMES { query } else { "" };
        let usual = self.usual.entry_ref(name).or_insert(Usual { seconds: took, answers: 0.0 });
        usual.answers += 1.0;
        let step = 1.0 + (0.5 / usual.answers).max(0.001);
        // Both ways or neither: what only goes down ends at the fastest answer ever, beside which all are slow.
        if nothing || self.slowness < USUAL.ln() || usual.answers < LEARNING {
            usual.seconds =
                if took < usual.seconds { (usual.seconds / step).max(took) } else { (usual.seconds * step).min(took) };
        }
        // One answer alone proves nothing, however late it came.
        let now = (took / usual.seconds).clamp(0.1, 10.0).ln();
        self.slowness += (now - self.slowness) / 12.0;
        self.slowness.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: &mut Pace, name: &str, millis: u64, answers: usize) -> f64 {
        (0..answers).map(|_| pace.add(name, Duration::from_millis(millis), false)).last().expect("an answer")
    }

    #[test]
    fn slow_queries_beside_fast_ones_are_no_slower_than_themselves() {
        let mut pace = Pace::default();
        for _ in 0..500 {
            assert!(pace.add("fast", Duration::from_millis(2), false) < 1.1);
            assert!(pace.add("slow", Duration::from_millis(900), false) < 1.1);
        }
    }

    #[test]
    fn one_late_answer_is_nothing_and_several_are() {
        let mut pace = Pace::default();
        assert!(after(&mut pace, "q", 20, 100) < 1.1);
        assert!(after(&mut pace, "q", 120, 1) < 1.5);
        assert!(after(&mut pace, "q", 20, 20) < 1.2);
        assert!(after(&mut pace, "q", 120, 5) > 1.5);
    }

    #[test]
    fn a_server_that_stays_slower_is_believed_only_where_it_is_not_our_doing() {
        let mut pace = Pace::default();
        after(&mut pace, "q", 20, 100);
        assert!(after(&mut pace, "q", 80, 10_000) > 2.0);
        let alone = (0..3_000).map(|_| pace.add("q", Duration::from_millis(80), true)).last();
        assert!(alone.expect("an answer") < 1.1);
    }

    #[test]
    fn answers_that_vary_are_as_usual() {
        let mut pace = Pace::default();
        let mut random = fastrand::Rng::with_seed(7);
        let mut slow = 0;
        for _ in 0..20_000 {
            // Half of them within 15 and 60 ms, one in a hundred beyond 170.
            let spread: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            if pace.add("q", Duration::from_secs_f64(0.03 * spread.exp()), false) > 1.5 {
                slow += 1;
            }
        }
        assert!(slow < 1_000, "{slow}");
    }

    #[test]
    fn names_are_bounded() {
        let mut pace = Pace::default();
        for name in 0..10_000 {
            pace.add(&name.to_string(), Duration::from_millis(1), false);
        }
        assert!(pace.usual.len() <= MOST_NAMES + 1);
    }
}
