//! From a message to its result, whatever the encoding.

use bytes::Bytes;

use super::body::{self, Body};
use super::sniff::Encoding;
use super::{QueryResult, Wanted, arrow, json, protobuf};
use crate::message::{Envelope, Message};
use crate::sink::{ErrorClass, Refusal};

/// A result, and what it was read from.
#[derive(Clone, Debug)]
pub struct Read {
    /// The result.
    pub result: QueryResult,
    /// Bytes of the body that were unpacked for it, and are in memory beside the message as long as a
    /// part of it is; 0 where the body was not compressed.
    pub unpacked: usize,
}

/// Reads the result that a message carries.
///
/// Refused with [`ErrorClass::TooLarge`]: a body of more than `limit` bytes, as it is or unpacked. With
/// [`ErrorClass::Decode`]: no body, an encoding that this version does not read, a body that is
/// malformed, and one in which no field of a result occurs. What is wrong with a single row is told in
/// [`EntityRow::fault`](super::EntityRow::fault), and the other rows stay.
pub fn decode(message: &Message, envelope: &Envelope<'_>, wanted: Wanted, limit: usize) -> Result<Read, Refusal> {
    let Body { bytes, unpacked } = body::unpacked(message, envelope, limit, "QueryResult")?;
    Ok(Read { result: plain(&bytes, envelope, wanted, limit)?, unpacked })
}

fn plain(body: &Bytes, envelope: &Envelope<'_>, wanted: Wanted, limit: usize) -> Result<QueryResult, Refusal> {
    match Encoding::of(envelope.content_type, body)? {
        Encoding::Json => json::decode(body, wanted, limit),
        Encoding::Protobuf => protobuf::decode(body, wanted, limit),
        Encoding::ArrowFile | Encoding::ArrowStream => arrow::decode(body, wanted),
        Encoding::Parquet => Err(Refusal::new(ErrorClass::Decode, "a parquet body is not a QueryResult")),
    }
}
