//! From a refused message to its dead letter, in as many parts as the topic's limit asks for.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{Note, fold, headers};
use crate::cut::cut;
use crate::message::envelope::id_of;
use crate::message::headers::append;
use crate::message::{DELIVERY_ATTEMPT, Headers, Message, Outgoing};
use crate::value::time::parse_timestamp;

/// The smallest limit of a topic, in bytes, under which every part is sure to fit.
///
/// A dead letter topic that takes less is refused when a writer starts.
pub const SMALLEST_LIMIT: usize = 16 * 1024;

/// What a bus adds to a record: the batch's header, lengths, timestamps.
const RECORD_OVERHEAD: usize = 256;
/// What a bus adds to a header: two lengths.
const HEADER_OVERHEAD: usize = 10;
/// Longest error text that is kept whatever the limit; twice in a letter, as Kafka Connect's too.
const LONGEST_ERROR: usize = 16 * 1024;
/// What is kept of an error text when room is short.
const SHORT_ERROR: usize = 512;
/// Longest other text of a note: names and ids.
const LONGEST_NAME: usize = 300;

/// The dead letter of a message, in as many parts as the topic's limit asks for.
///
/// Key, body and headers are those of the message; its timestamp is noted. The record's own is the time of
/// burial, so that retention counts from there: under that of an old message a broker would delete the
/// letter at once. Notes of an earlier burial (`chalk_dlq_*`, `__connect.errors.*`) are replaced, but for the count of rounds and the time of
/// the first failure, which stay.
/// `ce_id` is added where it is missing. A letter too large for the topic has its error text cut;
/// where that is not enough, its body is cut into numbered parts that share one key, so that they
/// stay in one partition and in order.
pub fn compose(message: &Message, note: &Note, topic: &str, max_message_bytes: Option<usize>) -> Vec<Outgoing> {
    compose_within(message, note, topic, max_message_bytes.unwrap_or(usize::MAX), usize::MAX, false)
}

/// The same for a bus that has a limit for each header too, to which the error text is cut, and for a topic that takes nothing
/// without a key.
pub(super) fn compose_within(
    message: &Message,
    note: &Note,
    topic: &str,
    limit: usize,
    longest_header: usize,
    keyed: bool,
) -> Vec<Outgoing> {
    let limit = limit.max(SMALLEST_LIMIT);
    let original = original_headers(message);
    // In parts a letter has a key anyhow.
    let given = (keyed && message.key.is_none()).then(|| key_of_letter(message, note));
    let outgoing = |key: Option<Bytes>, headers: Headers, payload: Option<Bytes>| Outgoing {
        topic: topic.to_owned(),
        partition: None,
        key,
        headers,
        payload,
        // Now, as the bus has it.
        timestamp_ms: None,
    };
    for longest_error in [LONGEST_ERROR.min(longest_header), SHORT_ERROR] {
        let mut all = joined(&original, &notes(message, note, longest_error));
        if given.is_some() {
            all = joined(&all, &[(headers::KEYLESS, "1")].into_iter().collect());
        }
        let key = message.key.as_ref().or(given.as_ref());
        if taken(key, &all) + message.body().len() <= limit {
            return vec![outgoing(key.cloned(), all, message.payload.clone())];
        }
    }

    // In parts. Plainly where key and headers leave half of a record for the body, else folded.
    let plain_notes = notes(message, note, SHORT_ERROR);
    let first = joined(&original, &plain_notes);
    let plain = message.key.as_ref().filter(|key| room(limit, Some(*key), &first) >= limit / 2);
    let (key, whole, folded) = match plain {
        Some(key) => (key.clone(), message.payload.clone().unwrap_or_default(), None),
        None => {
            let (whole, before_body) = fold::fold(message.key.as_ref(), &original, message.payload.as_ref());
            (Bytes::from(id_of(message)), whole, Some(before_body))
        }
    };
    let first_headers = if folded.is_some() { Headers::new() } else { original };
    let number_room = 3 * (HEADER_OVERHEAD + headers::FOLDED.len() + 20);
    let room_of_first = room(limit, Some(&key), &joined(&first_headers, &plain_notes)).saturating_sub(number_room);
    let room_of_others = room(limit, Some(&key), &plain_notes).saturating_sub(number_room);
    let mut rest = whole;
    let mut bodies = vec![rest.split_to(room_of_first.min(rest.len()))];
    while !rest.is_empty() {
        bodies.push(rest.split_to(room_of_others.clamp(1, rest.len())));
    }
    let parts = bodies.len();
    bodies
        .into_iter()
        .enumerate()
        .map(|(at, body)| {
            let mut block = BytesMut::new();
            let own = if at == 0 { &first_headers } else { &Headers::new() };
            block.extend_from_slice(own.as_block());
            block.extend_from_slice(plain_notes.as_block());
            put(&mut block, headers::PART, &(at + 1).to_string());
            put(&mut block, headers::PARTS, &parts.to_string());
            if let Some(before_body) = folded {
                put(&mut block, headers::FOLDED, &before_body.to_string());
            }
            outgoing(Some(key.clone()), Headers::from_block(block.freeze()), Some(body))
        })
        .collect()
}

/// Bytes left for the body of a record with this key and these headers, where a topic takes `limit`.
pub fn room(limit: usize, key: Option<&Bytes>, headers: &Headers) -> usize {
    limit.saturating_sub(taken(key, headers))
}

/// Bytes of a record with this key and these headers and no body.
fn taken(key: Option<&Bytes>, headers: &Headers) -> usize {
    RECORD_OVERHEAD + key.map_or(0, Bytes::len) + headers.size() + HEADER_OVERHEAD * headers.iter().count()
}

/// The key of a letter whose message has none: of this burial and of no other, so that a compacted topic keeps it.
fn key_of_letter(message: &Message, note: &Note) -> Bytes {
    let Message { partition, offset, .. } = message;
    Bytes::from(format!("{}/{}/{}/{offset}", note.batch_id, partition.topic, partition.number))
}

fn joined(first: &Headers, second: &Headers) -> Headers {
    let mut block = BytesMut::with_capacity(first.size() + second.size());
    block.extend_from_slice(first.as_block());
    block.extend_from_slice(second.as_block());
    Headers::from_block(block.freeze())
}

/// The message's own headers, with `ce_id` where it has none.
fn original_headers(message: &Message) -> Headers {
    let mut block = BytesMut::new();
    for (name, value) in message.headers.iter().filter(|(name, _)| !headers::is_note(name)) {
        append(&mut block, name, value);
    }
    // An empty id is as good as none; of repeated headers the last counts.
    if ["ce_id", "ce-id"].iter().all(|name| message.headers.get(name).is_none_or(<[u8]>::is_empty)) {
        put(&mut block, "ce_id", &id_of(message));
    }
    Headers::from_block(block.freeze())
}

/// Where a message was read from before it was parked: what is sent again goes there.
fn parked_from(message: &Message) -> Option<(&str, String, String)> {
    let header = |name| message.headers.get_str(name);
    let topic = header(headers::PARKED_TOPIC)?;
    Some((topic, header(headers::PARKED_PARTITION)?.to_owned(), header(headers::PARKED_OFFSET)?.to_owned()))
}

fn notes(message: &Message, note: &Note, longest_error: usize) -> Headers {
    let refusal = &note.refusal;
    let error = cut(&refusal.message, longest_error);
    let here = (&*message.partition.topic, message.partition.number.to_string(), message.offset.to_string());
    let (topic, partition, offset) = parked_from(message).unwrap_or(here);
    let timestamp = match message.headers.get_str(headers::PARKED_TIMESTAMP_MS) {
        Some(parked) => parked.to_owned(),
        None => message.timestamp_ms.map_or_else(String::new, |millis| millis.to_string()),
    };
    let round = message.headers.get_str(headers::REDRIVE_COUNT).and_then(|count| count.parse::<u32>().ok());
    let failed_at = rfc3339(note.failed_at_ms);
    let earlier = message.headers.get_str(headers::FIRST_FAILED_AT).filter(|time| parse_timestamp(time).is_some());
    let stage = if note.sink.is_some() { "TASK_PUT" } else { "VALUE_CONVERTER" };
    let mut block = BytesMut::new();
    let mut name = |header: &str, value: &str| put(&mut block, header, &cut(value, LONGEST_NAME));
    name(headers::SCHEMA_VERSION, headers::VERSION);
    name(headers::TOPIC, topic);
    name(headers::PARTITION, &partition);
    name(headers::OFFSET, &offset);
    name(headers::TIMESTAMP_MS, &timestamp);
    name(headers::WRITER_TYPE, note.writer_type);
    name(headers::WRITER_VERSION, env!("CARGO_PKG_VERSION"));
    name(headers::GROUP, &note.group);
    for (header, value) in [
        (headers::ENVIRONMENT, note.environment.as_deref()),
        (headers::SINK, note.sink.as_deref()),
        (headers::TABLE, refusal.table.as_deref()),
        (headers::ERROR_CODE, refusal.code.as_deref()),
        (headers::ERROR_ROW, refusal.row.as_deref()),
        // The header itself is Google's own, and cannot be sent on.
        (headers::DELIVERY_ATTEMPT, message.headers.get_str(DELIVERY_ATTEMPT)),
    ] {
        if let Some(value) = value {
            name(header, value);
        }
    }
    name(headers::ERROR_CLASS, refusal.class.as_str());
    name(headers::FIRST_FAILED_AT, earlier.unwrap_or(&failed_at));
    name(headers::FAILED_AT, &failed_at);
    name(headers::ATTEMPTS, &note.attempts.to_string());
    name(headers::BATCH_ID, &note.batch_id);
    name(headers::REDRIVE_COUNT, &round.unwrap_or_default().to_string());
    name(headers::CONNECT_TOPIC, topic);
    name(headers::CONNECT_PARTITION, &partition);
    name(headers::CONNECT_OFFSET, &offset);
    name(headers::CONNECT_NAME, note.writer_type);
    name(headers::CONNECT_STAGE, stage);
    name(headers::CONNECT_CLASS, refusal.class.as_str());
    put(&mut block, headers::ERROR_MESSAGE, &error);
    put(&mut block, headers::CONNECT_MESSAGE, &error);
    Headers::from_block(block.freeze())
}

pub(super) fn put(block: &mut BytesMut, name: &str, value: &str) {
    append(block, name, Some(value.as_bytes()));
}

pub(super) fn rfc3339(milliseconds: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}
