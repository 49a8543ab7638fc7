//! Where things are in a lake: names of folders, files and columns that no message can break out of.

use std::fmt::Write as _;

use chrono::DateTime;
use object_store::path::{Path, PathPart};

/// Folder of the schemas, one folder a table.
pub(super) const SCHEMAS: &str = "_schema";
/// Folder of what says that a load has landed.
pub(super) const LOADS: &str = "_loads";
/// Folder in which files are written before they are moved to their place.
pub(super) const STAGING: &str = "_staging";

/// The longest name of a folder or file that common file systems take, less room for endings.
const LONGEST: usize = 200;

/// A name as one segment of a path: ASCII letters, digits, `_`, `-` and `.` stay, every other byte
/// becomes `%XX`, and so does a first `_` or `.`, which readers take for hidden.
///
/// `None` where it is empty or too long for a file system. Two names never share a segment.
pub(super) fn segment(name: &str) -> Option<String> {
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || (at > 0 && matches!(byte, b'_' | b'.'));
        if plain {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string succeeds");
        }
    }
    (!escaped.is_empty() && escaped.len() <= LONGEST).then_some(escaped)
}

/// The name that [`segment`] made a segment of.
pub(super) fn name_of(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// `<table>/date=YYYY-MM-DD`, both parts already escaped.
pub(super) fn partition(table: &str, date: &str) -> Path {
    [PathPart::parse(table), PathPart::parse(&format!("date={date}"))]
        .into_iter()
        .map(|part| part.expect("segments hold no separator"))
        .collect()
}

/// `_schema/<table>`
pub(super) fn schemas(table: &str) -> Path {
    [PathPart::parse(SCHEMAS), PathPart::parse(table)]
        .into_iter()
        .map(|part| part.expect("segments hold no separator"))
        .collect()
}

/// A file in a folder; `name` is already escaped.
pub(super) fn file(folder: &Path, name: &str) -> Path {
    folder.clone().join(PathPart::parse(name).expect("segments hold no separator"))
}

/// File name of a version of a table's schema.
pub(super) fn version_name(version: u64) -> String {
    format!("v{version:06}.json")
}

/// The version that a file name stands for.
pub(super) fn version_of(name: &str) -> Option<u64> {
    name.strip_prefix('v')?.strip_suffix(".json")?.parse().ok()
}

/// The UTC day of a time in microseconds since 1970 as days since 1970.
pub(super) const fn day(micros: i64) -> i64 {
    micros.div_euclid(86_400_000_000)
}

/// `YYYY-MM-DD` of a day since 1970; days from year 1 to 9999.
pub(super) fn date(day: i64) -> String {
    DateTime::from_timestamp(day * 86_400, 0).map_or_else(String::new, |time| time.format("%Y-%m-%d").to_string())
}

/// The name of a column in the files.
///
/// Readers take `date=…` in the path for a column `date`, and let it hide one of that name in the
/// file, DuckDB without a word and in any case. So `date` and what it is escaped to get one `_` more.
pub(super) fn column(name: &str) -> String {
    let bare = name.trim_end_matches('_');
    if bare.eq_ignore_ascii_case("date") { format!("{name}_") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_never_leaves_the_root() {
        for name in ["..", ".", "../x", "a/b", "/etc", "_schema", "_staging", "a\\b", "x=y", "a%2Fb", "é", "\0", "a#1"]
        {
            let segment = segment(name).expect(name);
            assert!(!segment.contains(['/', '\\', '=', '#', '\0']), "{segment}");
            assert!(!segment.starts_with(['.', '_']), "{segment}");
            assert_eq!(name_of(&segment), name);
        }
        assert_eq!(segment("user_v2.x-y").as_deref(), Some("user_v2.x-y"));
        assert_eq!(segment(""), None);
        assert_eq!(segment(&"a".repeat(201)), None);
    }

    #[test]
    fn a_column_called_date_is_not_hidden_by_the_partition() {
        assert_eq!(column("date"), "date_");
        assert_eq!(column("Date_"), "Date__");
        assert_eq!(column("update"), "update");
        assert_eq!(column("dates"), "dates");
    }

    #[test]
    fn a_day_begins_at_midnight_utc_before_1970_too() {
        assert_eq!(date(day(0)), "1970-01-01");
        assert_eq!(date(day(-1)), "1969-12-31");
        assert_eq!(date(day(86_399_999_999)), "1970-01-01");
        assert_eq!(date(day(86_400_000_000)), "1970-01-02");
        assert_eq!(date(day(-62_135_596_800_000_000)), "0001-01-01");
        assert_eq!(date(day(253_402_300_799_999_999)), "9999-12-31");
    }
}
