//! What all rows of one message share: its identity, its time, and what its headers say of where it belongs.

use bytestring::ByteString;

use crate::sink::Refusal;
use crate::writer::digest::{digest, identity};
use crate::writer::open::Admitted;
use crate::writer::time::{Believable, MessageTimes, observed_at};

/// A message as its rows see it.
pub(super) struct Event<'a> {
    /// Its source and id, each with its length.
    identity: Vec<u8>,
    id: ByteString,
    /// The environment of its headers; may be empty.
    pub(super) environment: &'a str,
    /// The deployment of its headers; may be empty.
    pub(super) deployment: &'a str,
    /// The query of its headers; may be empty.
    pub(super) operation: &'a str,
    times: MessageTimes,
    believable: &'a Believable,
}

impl<'a> Event<'a> {
    pub(super) fn of(admitted: &Admitted<'a>, believable: &'a Believable) -> Self {
        let envelope = &admitted.envelope;
        Self {
            identity: identity(envelope),
            id: ByteString::from(&*envelope.id()),
            environment: envelope.environment.unwrap_or_default(),
            deployment: envelope.deployment.unwrap_or_default(),
            operation: envelope.operation.unwrap_or_default(),
            times: MessageTimes { message: envelope.time, bus: admitted.bus_time() },
            believable,
        }
    }

    /// Its id; never empty.
    pub(super) fn id(&self) -> ByteString {
        self.id.clone()
    }

    /// A name of the message: the hash of its source and id.
    pub(super) fn emitter(&self) -> String {
        digest(&self.identity)
    }

    /// A name of one of its rows: the hash of its source, its id and the row's index (u64, little-endian).
    pub(super) fn row(&self, index: usize) -> String {
        digest(&[&*self.identity, &(index as u64).to_le_bytes()].concat())
    }

    /// The time of a row: its own, else the message's, else the bus's; or why it cannot be one.
    pub(super) fn time(&self, own: Option<i64>) -> Result<i64, Refusal> {
        self.believable.check(observed_at(own, self.times)?)
    }
}
