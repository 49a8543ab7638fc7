//! What the rows of one message may take in memory, counted before it is taken.
//!
//! A value takes more in memory than in a message: `0,` is two bytes, and a list has forty for it. A
//! message of the largest size that is made of nothing else must not fill the memory.

use std::cell::Cell;

/// How many bytes of rows, values and verdicts a byte of `max_message_bytes` may become.
///
/// A row of ten features is 700 bytes as text and 1,000 in memory; one of 50 integers in the columns of
/// Arrow is 408 bytes and 4,600 in rows. With 8, and 64 MiB for a message, 100,000 such rows are within 512 MiB.
pub(super) const AS_ROWS: usize = 8;

/// Bytes that are left for the rows of a message.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: usize,
    left: Cell<usize>,
}

impl Allowance {
    /// For a message that may have so many bytes.
    pub(super) const fn new(limit: usize) -> Self {
        let limit = limit.saturating_mul(AS_ROWS);
        Self { limit, left: Cell::new(limit) }
    }

    /// Takes what one more of a type takes, or says why the message is too large.
    #[inline]
    pub(super) fn take<T>(&self) -> Result<(), String> {
        self.take_many::<T>(1)
    }

    /// The same for several.
    #[inline]
    pub(super) fn take_many<T>(&self, count: usize) -> Result<(), String> {
        let taken = size_of::<T>().saturating_mul(count);
        match self.left.get().checked_sub(taken) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.exceeded()),
        }
    }

    #[cold]
    fn exceeded(&self) -> String {
        format!("rows of more than {} bytes once decoded, {AS_ROWS} times `max_message_bytes`", self.limit)
    }
}
