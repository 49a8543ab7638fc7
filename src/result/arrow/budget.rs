//! What the tables of one message may take in memory, counted before it is taken.

use crate::result::allowance::AS_ROWS;
use crate::sink::{ErrorClass, Refusal};

/// Bytes and elements that are left, and bytes for what is made of them one by one.
///
/// Elements are counted beside bytes, one byte each at least: nulls and empty vectors take no bytes at
/// all, and a billion of them would still be a billion values. A row, a value apart from its column and
/// a verdict on one are counted as what they take, since a bit of a column becomes a hundred bytes of them.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    limit: usize,
    bytes: usize,
    elements: usize,
    rows: usize,
}

impl Budget {
    /// For a message of which no more than `limit` bytes may be decoded.
    pub const fn new(limit: usize) -> Self {
        Self { limit, bytes: limit, elements: limit, rows: limit.saturating_mul(AS_ROWS) }
    }

    pub(super) fn take_bytes(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.bytes = left(self.bytes, bytes).ok_or_else(|| self.exceeded("bytes"))?;
        Ok(())
    }

    pub(super) fn take_elements(&mut self, elements: u64) -> Result<(), Refusal> {
        self.elements = left(self.elements, elements).ok_or_else(|| self.exceeded("elements"))?;
        Ok(())
    }

    /// Takes `count` times so many bytes for what stays as long as the message.
    pub fn take_rows(&mut self, count: usize, bytes: usize) -> Result<(), Refusal> {
        self.rows = self.after(count, bytes).ok_or_else(|| self.exceeded_as_rows())?;
        Ok(())
    }

    /// As [`take_rows`](Self::take_rows), for what is gone again before the next is asked for.
    pub fn lend_rows(&self, count: usize, bytes: usize) -> Result<(), Refusal> {
        self.after(count, bytes).map(drop).ok_or_else(|| self.exceeded_as_rows())
    }

    fn after(&self, count: usize, bytes: usize) -> Option<usize> {
        self.rows.checked_sub(count.checked_mul(bytes)?)
    }

    fn exceeded(&self, what: &str) -> Refusal {
        let limit = self.limit;
        let message = format!("Arrow: tables of more than {limit} {what} once decoded (`max_message_bytes`)");
        Refusal::new(ErrorClass::TooLarge, message).harmless()
    }

    fn exceeded_as_rows(&self) -> Refusal {
        let limit = self.limit.saturating_mul(AS_ROWS);
        let message = format!("tables of more than {limit} bytes as rows, {AS_ROWS} times `max_message_bytes`");
        Refusal::new(ErrorClass::TooLarge, message).harmless()
    }
}

fn left(left: usize, taken: u64) -> Option<usize> {
    left.checked_sub(usize::try_from(taken).ok()?)
}
