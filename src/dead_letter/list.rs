//! What `dlq list` and `dlq show` print, and how letters are chosen.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{DeadLetter, Marks};

/// Which letters are meant; what is `None` excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The writer's type, in any letter case.
    pub writer: Option<String>,
    /// The consumer group, exactly; a letter that does not name one is not left out by this.
    pub group: Option<String>,
    /// The error class, in any letter case.
    pub class: Option<String>,
    /// The environment, exactly.
    pub environment: Option<String>,
    /// The table or namespace, exactly.
    pub table: Option<String>,
    /// Buried at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Buried before this time.
    pub until: Option<DateTime<Utc>>,
}

impl Filter {
    /// Whether a letter is meant. A letter whose time of burial cannot be read matches no bound of time.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let notes = &letter.notes;
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        let failed_at = DateTime::parse_from_rfc3339(&notes.failed_at).ok();
        same(&self.writer, &notes.writer_type)
            && (self.group.is_none() || notes.group.is_none() || self.group == notes.group)
            && same(&self.class, &notes.error_class)
            && self.environment.as_deref().is_none_or(|wanted| letter.environment() == Some(wanted))
            && self.table.as_deref().is_none_or(|wanted| notes.table.as_deref() == Some(wanted))
            && self.from.is_none_or(|from| failed_at.is_some_and(|at| at >= from))
            && self.until.is_none_or(|until| failed_at.is_some_and(|at| at < until))
    }
}

/// One line of `dlq list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place in the dead letter topic, which `dlq show` takes: `partition/offset`.
    pub place: String,
    /// When it was buried, RFC 3339.
    pub failed_at: String,
    /// `ONLINE_WRITER`, …
    pub writer: String,
    /// `DECODE`, …
    pub class: String,
    /// The environment.
    pub environment: Option<String>,
    /// The table or namespace.
    pub table: Option<String>,
    /// The row at fault.
    pub row: Option<String>,
    /// Why.
    pub message: String,
    /// Where it was read from: `topic/partition/offset`.
    pub origin: String,
    /// How many times it has been sent again.
    pub redrive_count: u32,
    /// Bytes of the body.
    pub bytes: usize,
    /// When it was last sent again, RFC 3339; `None` where no mark says so.
    pub replayed_at: Option<String>,
    /// Where that landed: `topic/partition/offset`.
    pub replayed_to: Option<String>,
}

impl Entry {
    /// The same with what the marks say of it.
    #[must_use]
    pub fn marked(mut self, marks: &Marks) -> Self {
        if let Some(mark) = marks.of(&self.place, &self.origin) {
            self.replayed_at = Some(mark.at.clone());
            self.replayed_to = Some(mark.to.clone());
        }
        self
    }
}

impl From<&DeadLetter> for Entry {
    fn from(letter: &DeadLetter) -> Self {
        let notes = &letter.notes;
        Self {
            place: format!("{}/{}", letter.partition, letter.offset),
            failed_at: notes.failed_at.clone(),
            writer: notes.writer_type.clone(),
            class: notes.error_class.clone(),
            environment: letter.environment().map(str::to_owned),
            table: notes.table.clone(),
            row: notes.error_row.clone(),
            message: notes.error_message.clone(),
            origin: letter.origin(),
            redrive_count: notes.redrive_count,
            bytes: letter.original.payload.as_ref().map_or(0, bytes::Bytes::len),
            replayed_at: None,
            replayed_to: None,
        }
    }
}

/// Everything that `dlq show` prints of one letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Details {
    /// As in the list.
    #[serde(flatten)]
    pub entry: Entry,
    /// Version of the program that buried it.
    pub writer_version: String,
    /// The consumer group of that writer.
    pub group: Option<String>,
    /// The destination that refused it.
    pub sink: Option<String>,
    /// The store's own code.
    pub code: Option<String>,
    /// When it was first refused, RFC 3339.
    pub first_failed_at: String,
    /// How many times it was tried.
    pub attempts: u32,
    /// How many times Pub/Sub had delivered it, where it told.
    pub delivery_attempt: Option<u32>,
    /// The batch that it was in.
    pub batch_id: String,
    /// The record key.
    pub key: Option<Content>,
    /// Headers of the message, in order of name; of repeated ones the last.
    pub headers: BTreeMap<String, Option<Content>>,
    /// The body.
    pub body: Option<Content>,
    /// Timestamp of the message, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

/// Bytes as people can read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// They are UTF-8.
    Text(String),
    /// They are not.
    Base64(String),
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        std::str::from_utf8(bytes)
            .map_or_else(|_| Self::Base64(STANDARD.encode(bytes)), |text| Self::Text(text.to_owned()))
    }
}

impl From<&DeadLetter> for Details {
    fn from(letter: &DeadLetter) -> Self {
        let (notes, original) = (&letter.notes, &letter.original);
        Self {
            entry: Entry::from(letter),
            writer_version: notes.writer_version.clone(),
            group: notes.group.clone(),
            sink: notes.sink.clone(),
            code: notes.error_code.clone(),
            first_failed_at: notes.first_failed_at.clone(),
            attempts: notes.attempts,
            delivery_attempt: notes.delivery_attempt,
            batch_id: notes.batch_id.clone(),
            key: original.key.as_deref().map(Content::of),
            headers: original.headers.iter().map(|(name, value)| (name.to_owned(), value.map(Content::of))).collect(),
            body: original.payload.as_deref().map(Content::of),
            timestamp_ms: original.timestamp_ms,
        }
    }
}
