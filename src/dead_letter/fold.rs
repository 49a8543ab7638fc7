//! Key and headers folded into the body: what a letter in parts does when they have no room of
//! their own, or when the message has no key and its parts need one.
//!
//! Layout: flags (bit 0: a key, bit 1: a body), key length (u32, big-endian), key, header block
//! as in [`Headers::as_block`]. The body follows.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::message::Headers;

const HAS_KEY: u8 = 1;
const HAS_BODY: u8 = 2;

/// What the fold holds.
pub(super) struct Unfolded {
    pub(super) key: Option<Bytes>,
    pub(super) headers: Headers,
    pub(super) payload: Option<Bytes>,
}

/// Key, headers and body in one piece, and how much of it stands before the body.
pub(super) fn fold(key: Option<&Bytes>, headers: &Headers, payload: Option<&Bytes>) -> (Bytes, usize) {
    let body = payload.map_or(&[][..], |payload| &payload[..]);
    let mut folded = BytesMut::with_capacity(5 + key.map_or(0, Bytes::len) + headers.size() + body.len());
    let flags = if key.is_some() { HAS_KEY } else { 0 } | if payload.is_some() { HAS_BODY } else { 0 };
    folded.put_u8(flags);
    folded.put_u32(key.map_or(0, Bytes::len) as u32);
    folded.put_slice(key.map_or(&[][..], |key| &key[..]));
    folded.put_slice(headers.as_block());
    let before_body = folded.len();
    folded.put_slice(body);
    (folded.freeze(), before_body)
}

/// Takes apart what [`fold`] made; `None` where it is not that.
pub(super) fn unfold(mut folded: Bytes, before_body: usize) -> Option<Unfolded> {
    if before_body < 5 || folded.len() < before_body {
        return None;
    }
    let body = folded.split_off(before_body);
    let flags = folded.get_u8();
    let key_length = folded.get_u32() as usize;
    if folded.len() < key_length {
        return None;
    }
    let key = folded.split_to(key_length);
    Some(Unfolded {
        key: (flags & HAS_KEY != 0).then_some(key),
        headers: Headers::from_block(folded),
        payload: (flags & HAS_BODY != 0).then_some(body),
    })
}
