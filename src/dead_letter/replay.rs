//! From a dead letter to the message that is sent again.

use bytes::BytesMut;

use super::compose::{put, rfc3339};
use super::{DeadLetter, headers};
use crate::message::headers::append;
use crate::message::{Headers, Outgoing};
use crate::value::time::parse_timestamp;

/// The time of an event, as both buses may have it.
const TIMES: [&str; 2] = ["ce_time", "ce-time"];

/// The message of a letter, to be sent again to the topic that it came from.
///
/// Key, body, timestamp and headers are those of the message, `ce_id` among them, so what it writes
/// is what it would have written. Of the notes two stay, which a second burial carries on: the count
/// of rounds, one higher, and the time of the first failure. `group` is the one consumer group that
/// it is for: every other one passes over it.
///
/// A message that brought no time of its own has the one that the bus gave it as `ce_time`: Pub/Sub, and a topic of Kafka with
/// `message.timestamp.type=LogAppendTime`, give what is sent again the time of now, by which an old value would be the newest.
pub fn again(letter: &DeadLetter, group: &str) -> Outgoing {
    let DeadLetter { notes, original, .. } = letter;
    let mut block = BytesMut::with_capacity(original.headers.size() + 200);
    let is_time = |name: &str| TIMES.contains(&name);
    let has_time = TIMES.iter().any(|name| original.headers.get(name).is_some_and(|time| !time.is_empty()));
    // A time that cannot be told so, as of a producer that gave microseconds for milliseconds, is none.
    let is_told = |time: &i64| parse_timestamp(&rfc3339(*time)) == time.checked_mul(1_000);
    let time = original.timestamp_ms.filter(|time| !has_time && is_told(time));
    for (name, value) in original.headers.iter() {
        if name != headers::TARGET_GROUP && !(time.is_some() && is_time(name)) {
            append(&mut block, name, value);
        }
    }
    if let Some(time) = time {
        put(&mut block, TIMES[0], &rfc3339(time));
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
