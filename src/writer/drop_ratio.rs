//! `query_table_write_drop_ratio`: which rows of queries are not written.

use xxhash_rust::xxh3::xxh3_64;

/// Whether the ratio drops a query: always the same way for the same one.
pub(super) fn dropped(operation_id: &str, ratio: f64) -> bool {
    let share = xxh3_64(operation_id.as_bytes()) as f64 / u64::MAX as f64;
    ratio >= 1.0 || share < ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_given_share_of_queries_is_dropped_and_always_the_same() {
        let ids: Vec<_> = (0..10_000).map(|id| format!("op-{id}")).collect();
        let count = |ratio| ids.iter().filter(|id| dropped(id, ratio)).count();
        assert_eq!(count(0.0), 0);
        assert_eq!(count(1.0), 10_000);
        assert!((2_300..2_700).contains(&count(0.25)), "{}", count(0.25));
        assert!(ids.iter().all(|id| dropped(id, 0.25) == dropped(id, 0.25)));
        assert!(ids.iter().all(|id| !dropped(id, 0.25) || dropped(id, 0.5)), "a larger ratio drops more of the same");
    }
}
