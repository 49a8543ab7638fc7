//! Google's limits of a message.

/// Largest value of an attribute, in bytes.
pub(super) const LONGEST_ATTRIBUTE: usize = 1024;
/// Largest name of an attribute, in bytes.
pub(super) const LONGEST_NAME: usize = 256;
/// Largest ordering key, in bytes.
pub(super) const LONGEST_KEY: usize = 1024;
/// Most attributes of a message.
pub(super) const MOST_ATTRIBUTES: usize = 100;
/// Largest message, in bytes.
pub(super) const LARGEST: usize = 10_000_000;
