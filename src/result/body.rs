//! The bytes that a message carries, within their bound and out of their compression: the same for every type.

use std::borrow::Cow;

use bytes::Bytes;

use super::unpack::Compression;
use crate::message::{Envelope, Message};
use crate::sink::{ErrorClass, Refusal};

/// A body that is neither compressed nor empty.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    /// Its bytes; the message's own where those were not compressed.
    pub bytes: Cow<'a, Bytes>,
    /// How many of them were unpacked, and are in memory beside the message as long as a part of them is; 0 where
    /// the body was not compressed.
    pub unpacked: usize,
}

/// The body of a message, of which `expected` is to be read.
///
/// Refused with [`ErrorClass::TooLarge`]: a body of more than `limit` bytes, as it is or unpacked. With
/// [`ErrorClass::Decode`]: no body, and a compression that this version does not know or that is broken.
pub fn unpacked<'a>(
    message: &'a Message,
    envelope: &Envelope<'_>,
    limit: usize,
    expected: &str,
) -> Result<Body<'a>, Refusal> {
    let refused = |what: &str| Err(Refusal::new(ErrorClass::Decode, format!("{what}; expected a {expected}")));
    let Some(body) = message.payload.as_ref().filter(|body| !body.is_empty()) else {
        return refused("the message has no body");
    };
    if body.len() > limit {
        let message = format!("a body of {} bytes; `max_message_bytes` is {limit}", body.len());
        return Err(Refusal::new(ErrorClass::TooLarge, message).harmless());
    }
    let Some(compression) = Compression::named(envelope.content_encoding)? else {
        return Ok(Body { bytes: Cow::Borrowed(body), unpacked: 0 });
    };
    let body = compression.unpack(body, limit)?;
    if body.is_empty() {
        return refused("the message has an empty body once unpacked");
    }
    let unpacked = body.len();
    Ok(Body { bytes: Cow::Owned(body), unpacked })
}
