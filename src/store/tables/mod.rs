//! Stores of tables whose rows have keys, for every kind of store that keeps rows: history, and what else comes in
//! tables.

pub(in crate::store) mod fixed;
pub(in crate::store) mod postgres;
pub mod prepare;
pub mod row_wise;
pub(in crate::store) mod sqlite;

use crate::sink::SinkError;

/// A table is not there, and it is not ours to make.
pub(in crate::store) fn not_there(place: &str, table: &str) -> SinkError {
    let reason = format!("{place}: table {table} is not there and is not to be made (`createtable` is false): make it");
    SinkError::Transient { reason }
}

/// Integers up to here are exact as doubles.
const EXACT: u64 = 1 << 53;
/// Years 1 to 9999, which is what RFC 3339 and most readers' types hold.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
/// The same as days since 1970.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
