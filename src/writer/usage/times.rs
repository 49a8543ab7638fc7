//! Which time a row has.

use crate::sink::Refusal;
use crate::writer::time::{Believable, MessageTimes, observed_at};

/// The times of a message, and which are believed.
pub(super) struct Times<'a> {
    pub(super) message: MessageTimes,
    pub(super) believable: &'a Believable,
}

impl Times<'_> {
    /// The time of a row: its own, else the message's, else the bus's; or why it cannot be one.
    pub(super) fn of(&self, own: Option<i64>) -> Result<i64, Refusal> {
        self.believable.check(observed_at(own, self.message)?)
    }
}
