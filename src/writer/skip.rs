//! Reasons for leaving something out on purpose: the label `reason` of the skip counters, and what
//! `peek` shows.

pub use crate::decode::NOTHING_IN_IT;

/// Declares each reason once: its name, its word and its meaning.
macro_rules! reasons {
    ($(#[doc = $meaning:literal] $name:ident = $reason:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $reason;)*

        /// Every reason and its meaning: each is counted from zero on, and explained in the documentation.
        pub const ALL: &[(&str, &str)] = &[
            $(($reason, $meaning),)*
            (NOTHING_IN_IT, " A message that gave no rows at all, as a misspelt field makes them."),
        ];
    };
}

reasons! {
    /// The message's type is known to be read by another writer.
    OTHER_TYPE = "other_type";
    /// The message was replayed for another consumer group (`chalk_target_group`).
    OTHER_GROUP = "other_group";
    /// The message's environment has an entry, and in it no store of the kind that the writer writes to.
    NO_STORE = "no_store";
    /// The query asked for its results not to be stored (`persistence`).
    PERSISTENCE_OFF = "persistence_off";
    /// The feature has `store_online: false`.
    STORE_ONLINE_OFF = "store_online_off";
    /// The feature has `store_offline: false`.
    STORE_OFFLINE_OFF = "store_offline_off";
    /// The feature has no staleness, and `store_online` does not ask for it.
    NOT_CACHED = "not_cached";
    /// The environment lists its features, and not this one.
    UNLISTED = "unlisted";
    /// The value came from the online store.
    CACHE_HIT = "cache_hit";
    /// The caller of the query gave the value.
    GIVEN = "given";
    /// There is no value.
    MISSING = "missing";
    /// The feature's cache strategy passes over it.
    STRATEGY = "cache_strategy";
    /// A column that says something about the row and is no feature.
    METADATA = "metadata_column";
    /// A row that has no feature to be stored.
    EMPTY_ROW = "empty_row";
    /// A value of a result that is no vector, where vectors alone are stored.
    NOT_A_VECTOR = "not_a_vector";
    /// A query's row that `query_table_write_drop_ratio` drops.
    QUERY_DROPPED = "query_dropped";
    /// The query asked for these metrics not to be made, or the writer is told to make none of features.
    METRICS_OFF = "metrics_off";
    /// A value that no distribution can take: not finite, or a duration below zero.
    NOT_A_NUMBER = "not_a_number";
    /// The query is not among those that are asked again (`mirror.sample_ratio`).
    NOT_SAMPLED = "not_sampled";
    /// The query was asked by a mirror.
    MIRRORED_ALREADY = "mirrored_already";
    /// The query is older than those that are asked again (`mirror.max_age`).
    TOO_OLD = "too_old";
    /// A notification of something else than a new object: one that was removed, or a test of the notifications.
    NOT_A_NEW_OBJECT = "not_a_new_object";
    /// A new object that is no file of a table: outside the folder of uploads, a folder itself, or hidden by its name.
    NOT_AN_UPLOAD = "not_an_upload";
}

/// The reasons as the documentation shows them, in Markdown.
pub fn markdown() -> String {
    let row = |(reason, meaning): &(&str, &str)| format!("| `{reason}` | {} |\n", meaning.trim());
    format!("| reason | meaning |\n| --- | --- |\n{}", ALL.iter().map(row).collect::<String>())
}
