//! Which queries are mirrored: those whose id says so, the same ones in every process and on every reading again.

use xxhash_rust::xxh3::xxh3_64;

/// Whether the query of an id is among that share of all.
pub fn is_sampled(operation_id: &str, ratio: f64) -> bool {
    // 2^64 as a double: the hash of an id is below it, so a ratio of 1 takes all and one of 0 none.
    const WHOLE: f64 = 18_446_744_073_709_551_616.0;
    ratio >= 1.0 || (xxh3_64(operation_id.as_bytes()) as f64) < ratio * WHOLE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_none_and_about_the_share() {
        let taken = |ratio: f64| (0..10_000).filter(|id| is_sampled(&format!("query-{id}"), ratio)).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 10_000));
        // Ids and hash are fixed, so this is no matter of luck: within four standard deviations.
        let tenth = taken(0.1);
        assert!((880..=1_120).contains(&tenth), "{tenth}");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // xxh3_64 of no bytes, as its specification has it.
        let of_nothing = 0x2d06_8005_38d3_94c2_u64 as f64 / 18_446_744_073_709_551_616.0;
        assert!(is_sampled("", of_nothing + 1e-9) && !is_sampled("", of_nothing - 1e-9));
    }

    proptest! {
        #[test]
        fn a_larger_share_has_every_query_of_a_smaller_one(id in ".*", low in 0.0..1.0_f64, high in 0.0..1.0_f64) {
            prop_assert!(!is_sampled(&id, low.min(high)) || is_sampled(&id, low.max(high)));
        }
    }
}
