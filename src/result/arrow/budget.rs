//! What the tables of one message may take in memory, counted before it is taken.

use crate::sink::{ErrorClass, Refusal};

/// Bytes and elements that are left.
///
/// Elements are counted beside bytes, one byte each at least: nulls and empty vectors take no bytes at
/// all, and a billion of them would still be a billion values.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    limit: usize,
    bytes: usize,
    elements: usize,
}

impl Budget {
    /// For a message of which no more than `limit` bytes may be decoded.
    pub const fn new(limit: usize) -> Self {
        Self { limit, bytes: limit, elements: limit }
    }

    pub(super) fn take_bytes(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.bytes = left(self.bytes, bytes).ok_or_else(|| self.exceeded("bytes"))?;
        Ok(())
    }

    pub(super) fn take_elements(&mut self, elements: u64) -> Result<(), Refusal> {
        self.elements = left(self.elements, elements).ok_or_else(|| self.exceeded("elements"))?;
        Ok(())
    }

    fn exceeded(&self, what: &str) -> Refusal {
        let limit = self.limit;
        let message = format!("Arrow: tables of more than {limit} {what} once decoded (`max_message_bytes`)");
        Refusal::new(ErrorClass::TooLarge, message)
    }
}

fn left(left: usize, taken: u64) -> Option<usize> {
    left.checked_sub(usize::try_from(taken).ok()?)
}
