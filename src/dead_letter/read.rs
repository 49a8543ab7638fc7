//! From a record of the dead letter topic back to the message and to what was noted about it.

use bytes::Bytes;

use super::{fold, headers};
use crate::message::{Headers, Message};

/// A dead letter, or one part of one.
///
/// What a header does not say is empty or `None`: letters of other versions are read as far as
/// they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own partition in the dead letter topic.
    pub partition: i32,
    /// Its own offset in the dead letter topic; of a letter in parts, that of the last.
    pub offset: i64,
    /// What was noted.
    pub notes: Notes,
    /// The message as it was, or the piece of it that this part carries.
    pub original: Original,
    /// Which part this is; `None` for a whole letter.
    pub part: Option<Part>,
}

/// What was noted when the message was buried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The topic it was read from.
    pub topic: String,
    /// Its partition there.
    pub partition: Option<i32>,
    /// Its offset there.
    pub offset: Option<i64>,
    /// `ONLINE_WRITER`, …
    pub writer_type: String,
    /// Version of the program that buried it.
    pub writer_version: String,
    /// The consumer group of that writer; letters of older versions do not name it.
    pub group: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// The destination that refused it.
    pub sink: Option<String>,
    /// The table or namespace of the row at fault.
    pub table: Option<String>,
    /// `DECODE`, …
    pub error_class: String,
    /// The store's own code.
    pub error_code: Option<String>,
    /// Why.
    pub error_message: String,
    /// The row at fault.
    pub error_row: Option<String>,
    /// RFC 3339, UTC.
    pub first_failed_at: String,
    /// RFC 3339, UTC.
    pub failed_at: String,
    /// How many times it was tried.
    pub attempts: u32,
    /// How many times Pub/Sub had delivered it, where it told.
    pub delivery_attempt: Option<u32>,
    /// The batch that it was in.
    pub batch_id: String,
    /// How many times it has been sent again.
    pub redrive_count: u32,
}

/// The buried message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// The record key.
    pub key: Option<Bytes>,
    /// Its headers, without notes.
    pub headers: Headers,
    /// The body.
    pub payload: Option<Bytes>,
    /// Milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

/// One part of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// How many bytes of the joined parts stand before the body; 0 where key and headers are the
    /// record's own.
    pub folded: usize,
}

/// The dead letter in a record; `None` where the record is not one.
pub fn read(message: &Message) -> Option<DeadLetter> {
    let text = |name: &str| message.headers.get_str(name).map(str::to_owned);
    let number = |name: &str| message.headers.get_str(name).and_then(|text| text.parse::<i64>().ok());
    let count = |name: &str| number(name).and_then(|count| u32::try_from(count).ok());
    text(headers::SCHEMA_VERSION)?;
    let part = count(headers::PART).zip(count(headers::PARTS)).map(|(part, of)| Part {
        number: part,
        of,
        folded: number(headers::FOLDED).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default(),
    });
    Some(DeadLetter {
        partition: message.partition.number,
        offset: message.offset,
        notes: Notes {
            topic: text(headers::TOPIC).unwrap_or_default(),
            partition: number(headers::PARTITION).and_then(|partition| i32::try_from(partition).ok()),
            offset: number(headers::OFFSET),
            writer_type: text(headers::WRITER_TYPE).unwrap_or_default(),
            writer_version: text(headers::WRITER_VERSION).unwrap_or_default(),
            group: text(headers::GROUP),
            environment: text(headers::ENVIRONMENT),
            sink: text(headers::SINK),
            table: text(headers::TABLE),
            error_class: text(headers::ERROR_CLASS).unwrap_or_default(),
            error_code: text(headers::ERROR_CODE),
            error_message: text(headers::ERROR_MESSAGE).unwrap_or_default(),
            error_row: text(headers::ERROR_ROW),
            first_failed_at: text(headers::FIRST_FAILED_AT).unwrap_or_default(),
            failed_at: text(headers::FAILED_AT).unwrap_or_default(),
            attempts: count(headers::ATTEMPTS).unwrap_or_default(),
            delivery_attempt: count(headers::DELIVERY_ATTEMPT),
            batch_id: text(headers::BATCH_ID).unwrap_or_default(),
            redrive_count: count(headers::REDRIVE_COUNT).unwrap_or_default(),
        },
        original: Original {
            key: message.key.clone(),
            headers: message.headers.iter().filter(|(name, _)| !headers::is_note(name)).collect(),
            payload: message.payload.clone(),
            timestamp_ms: match message.headers.get_str(headers::TIMESTAMP_MS) {
                Some(noted) => noted.parse().ok(),
                None => message.timestamp_ms,
            },
        },
        part,
    })
}

impl DeadLetter {
    /// Its place in the dead letter topic: partition and offset.
    pub const fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }

    /// The environment that it belonged to; where its writer did not know that one, what the envelope says.
    pub fn environment(&self) -> Option<&str> {
        let said = || self.original.headers.get_str("ce_environmentid").filter(|said| !said.is_empty());
        self.notes.environment.as_deref().or_else(said)
    }

    /// Where its message was read from, as `topic/partition/offset`.
    pub fn origin(&self) -> String {
        let Notes { topic, partition, offset, .. } = &self.notes;
        let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        format!("{topic}/{}/{}", number(partition.map(i64::from)), number(*offset))
    }

    /// The whole letter from its parts in order; `None` where they do not fit together.
    pub(super) fn join(parts: Vec<Self>) -> Option<Self> {
        let mut body = bytes::BytesMut::new();
        for part in &parts {
            body.extend_from_slice(part.original.payload.as_deref().unwrap_or_default());
        }
        let body = body.freeze();
        let offset = parts.last()?.offset;
        let mut whole = parts.into_iter().next()?;
        let part = whole.part.take()?;
        whole.offset = offset;
        if part.folded == 0 {
            whole.original.payload = Some(body);
            return Some(whole);
        }
        let unfolded = fold::unfold(body, part.folded)?;
        whole.original.key = unfolded.key;
        whole.original.headers = unfolded.headers;
        whole.original.payload = unfolded.payload;
        Some(whole)
    }
}
