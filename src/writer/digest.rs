//! Names that are made of what they name: the same for the same, in every process and version.

use xxhash_rust::xxh3::xxh3_128;

use crate::message::Envelope;

/// The XXH3 hash (128 bits, no seed) as 32 lower-case hexadecimal digits, the highest first; written out because the
/// general way takes longer than the hash.
pub(super) fn digest(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(xxh3_128(bytes).to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Appends a text so that none runs into the next: its length in bytes (u64, little-endian) and its UTF-8.
pub(super) fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// What tells an event from all others, of whatever source: its source and its id, each with its length.
pub(super) fn identity(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    put(&mut bytes, envelope.source.unwrap_or_default());
    put(&mut bytes, &envelope.id());
    bytes
}
