//! What a writer makes of one message: rows to be written, and verdicts on what can never be.

use crate::message::Message;
use crate::sink::Refusal;

/// Turns messages into rows. Does no I/O and sees no clock but the one that it was given.
pub trait Decoder<R>: Send + Sync {
    /// Appends what the message says to `decoded`.
    ///
    /// No rows and no refusal is an answer: nothing to write, still acknowledged. A message may
    /// give rows and refusals both: its sound rows are written, and it is buried once, whole.
    fn decode(&self, message: &Message, decoded: &mut Decoded<R>);
}

/// Why a message gave nothing though nothing is wrong with it and nothing was left out: the label
/// `reason` of the skip counters.
pub const NOTHING_IN_IT: &str = "nothing_in_it";

/// Rows and verdicts of one message.
#[derive(Debug)]
pub struct Decoded<R> {
    /// The environment that the message is of, for metrics and dead letters.
    pub environment: Option<std::sync::Arc<str>>,
    /// Event time that freshness is measured from, microseconds since 1970.
    pub event_time: Option<i64>,
    /// Bytes of its unpacked body, which the rows may keep alive beside the message.
    pub unpacked: usize,
    /// Rows to be written.
    pub rows: Vec<R>,
    /// Why parts of the message, or all of it, can never be written; the first thousand reasons.
    pub refused: Vec<Refusal>,
    /// What was left out on purpose: reason and number of values, for metrics and `peek`.
    pub skipped: Vec<(&'static str, u64)>,
    /// What the message has to wait for, which has been asked for: it is to be decoded again in a while, and nothing
    /// behind it meanwhile.
    pub waits_for: Option<String>,
}

impl<R> Default for Decoded<R> {
    fn default() -> Self {
        Self {
            environment: None,
            event_time: None,
            unpacked: 0,
            rows: Vec::new(),
            refused: Vec::new(),
            skipped: Vec::new(),
            waits_for: None,
        }
    }
}

impl<R> Decoded<R> {
    /// Notes a verdict. Beyond so many nobody reads them, and the message is buried once for all of them.
    pub fn refuse(&mut self, refusal: Refusal) {
        const MOST: usize = 1_000;
        if self.refused.len() < MOST {
            self.refused.push(refusal);
        }
    }

    /// Counts values that were left out for a reason.
    pub fn skip(&mut self, reason: &'static str, values: u64) {
        match self.skipped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += values,
            None => self.skipped.push((reason, values)),
        }
    }

    /// Whether the message said nothing: no rows, nothing wrong, nothing left out.
    pub fn is_nothing(&self) -> bool {
        self.rows.is_empty() && self.refused.is_empty() && self.skipped.is_empty()
    }

    /// Makes it as new, keeping its memory.
    pub fn clear(&mut self) {
        self.environment = None;
        self.event_time = None;
        self.unpacked = 0;
        self.rows.clear();
        self.refused.clear();
        self.skipped.clear();
        self.waits_for = None;
    }
}
