//! What the Postgres stores share: the URI, connections, parts of a write side by side, what errors mean, and values
//! in the server's binary formats.

pub(super) mod binary;
pub(super) mod connection;
pub(super) mod failure;
pub(super) mod fan_out;
mod options;
pub(super) mod reader;
mod servers;
pub(super) mod tables;
pub(super) mod uri;

/// The schema of what this program keeps for itself, such as which loads have landed.
pub(super) const OWN_SCHEMA: &str = "chalk";

/// The online store's table. No namespace of an offline store, which may be in the same schema, is called so.
pub(super) const ONLINE_TABLE: &str = "online_features";

/// The schema of features and of history where the URI names none.
pub(super) const SCHEMA: &str = "public";

/// The longest name that Postgres does not cut, in bytes.
pub(super) const LONGEST_NAME: usize = 63;

/// Bytes of a key at the most: what its index takes on a page of 8 KiB (2704), less what the index adds
/// to a key of several columns.
pub(super) const LONGEST_KEY: usize = 2_600;

/// A name as an identifier of SQL. It must not hold U+0000, which no identifier can.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(super::quoted(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
    }
}
