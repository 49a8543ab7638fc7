//! From a message to its result, whatever the encoding.

use super::sniff::Encoding;
use super::{QueryResult, Wanted, json, protobuf};
use crate::message::{Envelope, Message};
use crate::sink::{ErrorClass, Refusal};

/// Why a body is refused that could be read but says nothing: it is some other message.
pub(super) const NOTHING_KNOWN: &str = "none of the fields of a QueryResult is in it";

/// Reads the result that a message carries.
///
/// Refused with [`ErrorClass::Decode`]: no body, an encoding that this version does not read, a body
/// that is malformed, and one in which no field of a result occurs. What is wrong with a single row
/// is told in [`EntityRow::fault`](super::EntityRow::fault), and the other rows stay.
pub fn decode(message: &Message, envelope: &Envelope<'_>, wanted: Wanted) -> Result<QueryResult, Refusal> {
    let refused = |what: &str| Err(Refusal::new(ErrorClass::Decode, what));
    let Some(body) = message.payload.as_ref().filter(|body| !body.is_empty()) else {
        return refused("the message has no body; expected a QueryResult");
    };
    match Encoding::of(envelope.content_type, envelope.content_encoding, body)? {
        Encoding::Json => json::decode(body, wanted),
        Encoding::Protobuf => protobuf::decode(body, wanted),
        Encoding::ArrowFile | Encoding::ArrowStream => refused("Arrow bodies are not in this version"),
        Encoding::Parquet => refused("a parquet body is not a QueryResult"),
    }
}
