//! Reasons for leaving something out on purpose: the label `reason` of the skip counters, and what
//! `peek` shows.

pub use crate::decode::NOTHING_IN_IT;

/// The message's type is known to be read by another writer.
pub const OTHER_TYPE: &str = "other_type";
/// The message was replayed for another consumer group (`chalk_target_group`).
pub const OTHER_GROUP: &str = "other_group";
/// The message's environment has an entry, and in it no store of the kind that the writer writes to.
pub const NO_STORE: &str = "no_store";
/// The query asked for its results not to be stored (`persistence`).
pub const PERSISTENCE_OFF: &str = "persistence_off";
/// The feature has `store_online: false`.
pub const STORE_ONLINE_OFF: &str = "store_online_off";
/// The feature has `store_offline: false`.
pub const STORE_OFFLINE_OFF: &str = "store_offline_off";
/// The feature has no staleness, and `store_online` does not ask for it.
pub const NOT_CACHED: &str = "not_cached";
/// The environment lists its features, and not this one.
pub const UNLISTED: &str = "unlisted";
/// The value came from the online store.
pub const CACHE_HIT: &str = "cache_hit";
/// The caller of the query gave the value.
pub const GIVEN: &str = "given";
/// There is no value.
pub const MISSING: &str = "missing";
/// The feature's cache strategy passes over it.
pub const STRATEGY: &str = "cache_strategy";
/// A column that says something about the row and is no feature.
pub const METADATA: &str = "metadata_column";
/// A row that has no feature to be stored.
pub const EMPTY_ROW: &str = "empty_row";
/// A value of a result that is no vector, where vectors alone are stored.
pub const NOT_A_VECTOR: &str = "not_a_vector";
/// A query's row that `query_table_write_drop_ratio` drops.
pub const QUERY_DROPPED: &str = "query_dropped";
/// The query asked for these metrics not to be made, or the writer is told to make none of features.
pub const METRICS_OFF: &str = "metrics_off";
/// A value that no distribution can take: not finite, or a duration below zero.
pub const NOT_A_NUMBER: &str = "not_a_number";
/// The query is not among those that are asked again (`mirror.sample_ratio`).
pub const NOT_SAMPLED: &str = "not_sampled";
/// The query was asked by a mirror.
pub const MIRRORED_ALREADY: &str = "mirrored_already";
/// The query is older than those that are asked again (`mirror.max_age`).
pub const TOO_OLD: &str = "too_old";

/// A notification of something else than a new object: one that was removed, or a test of the notifications.
pub const NOT_A_NEW_OBJECT: &str = "not_a_new_object";
/// A new object that is no file of a table: outside the folder of uploads, a folder itself, or hidden by its name.
pub const NOT_AN_UPLOAD: &str = "not_an_upload";

/// Every reason: each is counted from zero on.
pub const ALL: [&str; 24] = [
    OTHER_TYPE,
    OTHER_GROUP,
    NO_STORE,
    PERSISTENCE_OFF,
    STORE_ONLINE_OFF,
    STORE_OFFLINE_OFF,
    NOT_CACHED,
    UNLISTED,
    CACHE_HIT,
    GIVEN,
    MISSING,
    STRATEGY,
    METADATA,
    EMPTY_ROW,
    NOT_A_VECTOR,
    QUERY_DROPPED,
    METRICS_OFF,
    NOT_A_NUMBER,
    NOT_SAMPLED,
    MIRRORED_ALREADY,
    TOO_OLD,
    NOT_A_NEW_OBJECT,
    NOT_AN_UPLOAD,
    NOTHING_IN_IT,
];
