//! A protobuf body as JSON, for a person to read and to change.

use prost::Message as _;

use super::encode::person_json;
use crate::proto::writer::v1;

/// The same result as JSON; `None` where something of it would be missing there.
///
/// What is read back from the JSON says the same. A body that is not a result, or one with fields
/// that this version does not know, is not what it looks like once it is written again, and is seen by that.
pub fn readable(protobuf: &[u8]) -> Option<Vec<u8>> {
    let result = v1::QueryResult::decode(protobuf).ok()?;
    let is_whole = result.encoded_len() == protobuf.len() && !protobuf.is_empty();
    is_whole.then(|| person_json(&result).ok()).flatten()
}
