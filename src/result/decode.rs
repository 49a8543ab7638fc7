//! From a message to its result, whatever the encoding.

use super::body::{self, Body};
use super::sniff::Encoding;
use super::{QueryResult, Wanted, arrow, json, protobuf};
use crate::message::{Envelope, Message};
use crate::sink::{ErrorClass, Refusal};

/// Reads the result that a message carries into `result`, which is as new: a result is large, and made where it stays.
/// Where it is refused, `result` holds what was read of it until then.
///
/// Answers with the bytes of the body that were unpacked for it, and are in memory beside the message as long as a
/// part of it is; 0 where the body was not compressed.
///
/// Refused with [`ErrorClass::TooLarge`]: a body of more than `limit` bytes, as it is or unpacked. With
/// [`ErrorClass::Decode`]: no body, an encoding that this version does not read, a body that is
/// malformed, and one in which no field of a result occurs. What is wrong with a single row is told in
/// [`EntityRow::fault`](super::EntityRow::fault), and the other rows stay.
pub fn decode(
    message: &Message,
    envelope: &Envelope<'_>,
    wanted: Wanted,
    limit: usize,
    result: &mut QueryResult,
) -> Result<usize, Refusal> {
    let Body { bytes, unpacked } = body::unpacked(message, envelope, limit, "QueryResult")?;
    match Encoding::of(envelope.content_type, &bytes)? {
        Encoding::Json => json::decode(&bytes, wanted, limit, result)?,
        Encoding::Protobuf => protobuf::decode(&bytes, wanted, limit, result)?,
        Encoding::ArrowFile | Encoding::ArrowStream => *result = arrow::decode(&bytes, wanted)?,
        Encoding::Parquet => return Err(Refusal::new(ErrorClass::Decode, "a parquet body is not a QueryResult")),
    }
    Ok(unpacked)
}
