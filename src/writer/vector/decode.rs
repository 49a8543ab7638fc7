//! `ONLINE_VECTOR_STORE_WRITER`'s decoder: which of its two messages one is.

use super::features::VectorEnvironment;
use crate::decode::{Decoded, Decoder};
use crate::message::{EventType, Message};
use crate::proto::writer::v1::VectorBatch;
use crate::result::Wanted;
use crate::row::vector::VectorRow;
use crate::writer::body;
use crate::writer::catalog::Catalog;
use crate::writer::open::{Admitted, Gate, Unopened};
use crate::writer::time::Believable;

/// Makes rows of results and of batches of vectors.
pub struct VectorDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<VectorEnvironment>,
    /// Which observed times are taken.
    pub(super) believable: Believable,
}

impl Decoder<VectorRow> for VectorDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<VectorRow>) {
        if let Err(unopened) = self.message(message, decoded) {
            self.catalog.unopened(unopened, decoded);
        }
    }
}

impl VectorDecoder {
    fn message<'a>(&self, message: &'a Message, decoded: &mut Decoded<VectorRow>) -> Result<(), Unopened<'a>> {
        let admitted = self.gate.admit(message)?;
        match admitted.event_type {
            EventType::VectorBatch => return self.batch(&admitted, body::read(&admitted)?, decoded),
            EventType::Result => {}
            other => return Err(admitted.unread(other)),
        }
        let opened = self.gate.open(message, Wanted::default());
        // A message that does not say what it is, is a result; but a batch is told by what is in it, so that none
        // is passed over as a result without tables.
        let is_none = opened.as_ref().map_or(true, |opened| opened.result.tables.is_empty());
        if is_none && let Some(batch) = bare_batch(&admitted) {
            return self.batch(&admitted, batch, decoded);
        }
        self.result(opened?, decoded);
        Ok(())
    }
}

/// The batch in a message that does not say what it is.
fn bare_batch(admitted: &Admitted<'_>) -> Option<body::Read<VectorBatch>> {
    if admitted.envelope.says_its_type {
        return None;
    }
    let read = body::read::<VectorBatch>(admitted).ok()?;
    (!read.message.feature.is_empty()).then_some(read)
}
