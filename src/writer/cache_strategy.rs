//! What a new value does to the stored one: the public `CacheStrategy`, all seven.

use crate::config::settings::CacheStrategy;

/// What becomes of a stored feature when a new value of it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The new value replaces it.
    Store,
    /// The new value is passed over.
    Keep,
    /// It is removed: a tombstone takes its place, so that no older value comes back.
    Evict,
}

/// Whether what a strategy does depends on a value being the feature's default.
pub const fn asks_for_default(strategy: CacheStrategy) -> bool {
    match strategy {
        CacheStrategy::All | CacheStrategy::NoNulls | CacheStrategy::EvictNulls => false,
        CacheStrategy::NoDefaults
        | CacheStrategy::EvictDefaults
        | CacheStrategy::NoNullsOrDefaults
        | CacheStrategy::EvictNullsAndDefaults => true,
    }
}

/// What a strategy makes of a value that is null, or the feature's default, or neither.
pub const fn update(strategy: CacheStrategy, is_null: bool, is_default: bool) -> Update {
    let (concerned, then) = match strategy {
        CacheStrategy::All => (false, Update::Store),
        CacheStrategy::NoNulls => (is_null, Update::Keep),
        CacheStrategy::EvictNulls => (is_null, Update::Evict),
        CacheStrategy::NoDefaults => (is_default, Update::Keep),
        CacheStrategy::EvictDefaults => (is_default, Update::Evict),
        CacheStrategy::NoNullsOrDefaults => (is_null || is_default, Update::Keep),
        CacheStrategy::EvictNullsAndDefaults => (is_null || is_default, Update::Evict),
    };
    if concerned { then } else { Update::Store }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What stands after writing to `{a: 1, b: 2}`; a written value is its text and whether it is a default.
    fn after(strategy: CacheStrategy, written: &[(&'static str, &'static str, bool)]) -> String {
        let mut state = BTreeMap::from([("a", "1"), ("b", "2")]);
        for (feature, value, is_default) in written {
            match update(strategy, *value == "None", *is_default) {
                Update::Store => _ = state.insert(feature, value),
                Update::Keep => {}
                Update::Evict => _ = state.remove(feature),
            }
        }
        state.iter().map(|(feature, value)| format!("{feature}:{value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn the_public_example_of_nulls() {
        use CacheStrategy::{
            All, EvictDefaults, EvictNulls, EvictNullsAndDefaults, NoDefaults, NoNulls, NoNullsOrDefaults,
        };
        let written = [("a", "2", false), ("b", "None", false)];
        for (strategy, state) in [
            (All, "a:2,b:None"),
            (NoNulls, "a:2,b:2"),
            (EvictNulls, "a:2"),
            (NoDefaults, "a:2,b:None"),
            (EvictDefaults, "a:2,b:None"),
            (NoNullsOrDefaults, "a:2,b:2"),
            (EvictNullsAndDefaults, "a:2"),
        ] {
            assert_eq!(after(strategy, &written), state, "{strategy:?}");
        }
    }

    #[test]
    fn the_public_example_of_defaults() {
        use CacheStrategy::{
            All, EvictDefaults, EvictNulls, EvictNullsAndDefaults, NoDefaults, NoNulls, NoNullsOrDefaults,
        };
        let written = [("a", "2", false), ("b", "0", true)];
        for (strategy, state) in [
            (All, "a:2,b:0"),
            (NoNulls, "a:2,b:0"),
            (EvictNulls, "a:2,b:0"),
            (NoDefaults, "a:2,b:2"),
            (EvictDefaults, "a:2"),
            (NoNullsOrDefaults, "a:2,b:2"),
            (EvictNullsAndDefaults, "a:2"),
        ] {
            assert_eq!(after(strategy, &written), state, "{strategy:?}");
        }
    }

    #[test]
    fn only_strategies_about_defaults_ask_whether_a_value_is_one() {
        for strategy in [
            CacheStrategy::All,
            CacheStrategy::NoNulls,
            CacheStrategy::EvictNulls,
            CacheStrategy::NoDefaults,
            CacheStrategy::EvictDefaults,
            CacheStrategy::NoNullsOrDefaults,
            CacheStrategy::EvictNullsAndDefaults,
        ] {
            let depends =
                [false, true].into_iter().any(|null| update(strategy, null, false) != update(strategy, null, true));
            assert_eq!(asks_for_default(strategy), depends, "{strategy:?}");
        }
    }
}
