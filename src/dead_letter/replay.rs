//! From a dead letter to the message that is sent again.

use bytes::BytesMut;

use super::compose::put;
use super::{DeadLetter, headers};
use crate::message::headers::append;
use crate::message::{Headers, Outgoing};

/// The message of a letter, to be sent again to the topic that it came from.
///
/// Key, body, timestamp and headers are those of the message, `ce_id` among them, so what it writes
/// is what it would have written. Of the notes two stay, which a second burial carries on: the count
/// of rounds, one higher, and the time of the first failure. `group` is the one consumer group that
/// it is for: every other one passes over it.
pub fn again(letter: &DeadLetter, group: &str) -> Outgoing {
    let DeadLetter { notes, original, .. } = letter;
    let mut block = BytesMut::with_capacity(original.headers.size() + 200);
    for (name, value) in original.headers.iter().filter(|(name, _)| *name != headers::TARGET_GROUP) {
        append(&mut block, name, value);
    }
    put(&mut block, headers::TARGET_GROUP, group);
    put(&mut block, headers::REDRIVE_COUNT, &notes.redrive_count.saturating_add(1).to_string());
    if !notes.first_failed_at.is_empty() {
        put(&mut block, headers::FIRST_FAILED_AT, &notes.first_failed_at);
    }
    Outgoing {
        topic: notes.topic.clone(),
        partition: None,
        key: original.key.clone(),
        headers: Headers::from_block(block.freeze()),
        payload: original.payload.clone(),
        timestamp_ms: original.timestamp_ms,
    }
}
