//! The script that the server runs for each write; `write.lua` says what it does.

/// The script, whose text never depends on what is written.
pub(super) const SCRIPT: &str = include_str!("write.lua");

/// What stands in the script for a server that has no expiry of fields, and for one that has.
pub(super) const FIELDS_EXPIRE: (&str, &str) = ("local FIELDS_EXPIRE = false", "local FIELDS_EXPIRE = true");
