//! Dead letters: how a message that can never be written is kept, with everything that is needed
//! to understand it and to send it again.
//!
//! [`compose`](compose()) makes them, [`read`](read()) and [`Assembler`] take them apart again, [`Filter`] and [`Entry`]
//! list them. A message comes back from them as it went in: key, body, timestamp and headers, but
//! for `ce_id`, which is added where it was missing so that a replay keeps its identity.
//! [`again`](again()) makes the message that a replay sends, [`Mark`] the record by which it is
//! known to have been sent.

pub mod assemble;
pub mod compose;
mod fit;
mod fold;
pub mod headers;
pub mod list;
pub mod mark;
pub mod read;
mod replay;

#[cfg(test)]
mod tests;

use crate::sink::Refusal;

pub use assemble::Assembler;
pub use compose::{SMALLEST_LIMIT, compose, room};
pub use fit::{ASSUMED_LIMIT, Fit};
pub use list::{Details, Entry, Filter};
pub use mark::{Mark, Marks};
pub use read::{DeadLetter, read};
pub use replay::again;

/// What is written beside a buried message.
#[derive(Clone, Debug)]
pub struct Note {
    /// `ONLINE_WRITER`, …
    pub writer_type: &'static str,
    /// The consumer group of that writer.
    pub group: String,
    /// The environment, where known.
    pub environment: Option<String>,
    /// The destination that refused it, without credentials; `None` where it never came so far.
    pub sink: Option<String>,
    /// Why.
    pub refusal: Refusal,
    /// When it was buried, milliseconds since 1970.
    pub failed_at_ms: i64,
    /// How many times it was written or read before that.
    pub attempts: u32,
    /// The batch that it was in.
    pub batch_id: String,
}
