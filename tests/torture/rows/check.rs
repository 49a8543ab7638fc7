//! The checker of rows: what must be there against what is.

use super::role::{Held, Rows};
use crate::check::{Problem, Wrong};

/// What is missing, of what must be there by now.
pub fn missing(name: &str, expected: &Held, held: &Held) -> Vec<Problem> {
    let wrong = |(key, expected): (&String, &Rows)| {
        let found = held.get(key).copied().unwrap_or_default();
        let what = || format!("{name}: {key} is {found:?}, not {expected:?}");
        if found.times < expected.times {
            Some((Wrong::Lost, what()))
        } else if found.newest < expected.newest {
            Some((Wrong::OlderOnTop, what()))
        } else {
            None
        }
    };
    expected.iter().filter_map(wrong).collect()
}

/// What is there and nobody sent, or more often than is promised.
pub fn strangers(name: &str, expected: &Held, held: &Held, once: bool) -> Vec<Problem> {
    let wrong = |(key, found): (&String, &Rows)| match expected.get(key) {
        None => Some((Wrong::NeverSent, format!("{name}: {key}, {found:?}"))),
        Some(expected) if found.newest > expected.newest => {
            Some((Wrong::NeverSent, format!("{name}: {key} is {found:?}, not {expected:?}")))
        }
        Some(expected) if once && found.times > expected.times => {
            Some((Wrong::Doubled, format!("{name}: {key} is {found:?}, not {expected:?}")))
        }
        Some(_) => None,
    };
    held.iter().filter_map(wrong).collect()
}

/// Rows beyond those that were expected.
pub fn doubled(expected: &Held, held: &Held) -> u64 {
    let more = |(key, found): (&String, &Rows)| Some(found.times.saturating_sub(expected.get(key)?.times));
    held.iter().filter_map(more).sum()
}
