//! From a logged query to one that is to be asked again, or the reason why it is not.

use crate::decode::{Decoded, Decoder};
use crate::message::Message;
use crate::mirror::{Mirrored, Query, is_sampled};
use crate::proto::writer::v1::LoggedQuery;
use crate::sink::{ErrorClass, Refusal};
use crate::writer::body::{self, Read};
use crate::writer::catalog::{Catalog, Prepared};
use crate::writer::digest::{digest, identity};
use crate::writer::open::{Gate, Unopened};
use crate::writer::skip;
use crate::writer::time::Clock;

/// An environment whose queries are asked again: all that is known of it.
pub(super) struct Asked;

impl Prepared for Asked {
    fn destination(&self) -> Option<usize> {
        Some(0)
    }
}

/// Reads logged queries.
pub struct MirrorDecoder {
    pub(super) gate: Gate,
    pub(super) catalog: Catalog<Asked>,
    pub(super) sample_ratio: f64,
    /// Microseconds.
    pub(super) max_age: i64,
    pub(super) clock: Clock,
}

impl Decoder<Mirrored> for MirrorDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<Mirrored>) {
        if let Err(unopened) = self.read(message, decoded) {
            self.catalog.unopened(unopened, decoded);
        }
    }
}

impl MirrorDecoder {
    fn read<'a>(&self, message: &'a Message, decoded: &mut Decoded<Mirrored>) -> Result<(), Unopened<'a>> {
        let admitted = self.gate.admit(message)?;
        let Read { message: mut logged, unpacked } = body::read::<LoggedQuery>(&admitted)?;
        admitted.is_of(&logged.environment_id)?;
        let envelope = &admitted.envelope;
        for (field, header) in [
            (&mut logged.environment_id, envelope.environment),
            (&mut logged.deployment_id, envelope.deployment),
            (&mut logged.operation_id, envelope.operation),
        ] {
            if field.is_empty() {
                field.push_str(header.unwrap_or_default());
            }
        }
        let asked_at = logged.query_timestamp.as_ref().map(micros);
        decoded.event_time = admitted.event_time(asked_at);
        decoded.unpacked = unpacked;
        let Some((environment, _)) = self.catalog.place(&logged.environment_id, || 1, decoded) else { return Ok(()) };
        let event_id = admitted.envelope.id();
        let sampled_by = if logged.operation_id.is_empty() { &*event_id } else { &logged.operation_id };
        if !is_sampled(sampled_by, self.sample_ratio) {
            decoded.skip(skip::NOT_SAMPLED, 1);
            return Ok(());
        }
        let query = match Query::read(&logged.request) {
            Ok(query) => query,
            Err(why) => return Err(admitted.refused(Refusal::new(ErrorClass::Decode, why).harmless())),
        };
        if query.is_mirrored() {
            decoded.skip(skip::MIRRORED_ALREADY, 1);
            return Ok(());
        }
        let asked_at = asked_at.or(envelope.time).or_else(|| admitted.bus_time());
        if asked_at.is_some_and(|asked_at| (self.clock)().saturating_sub(asked_at) > self.max_age) {
            decoded.skip(skip::TOO_OLD, 1);
            return Ok(());
        }
        let event = digest(&identity(envelope));
        decoded.rows.push(Mirrored { event, environment: environment.id.clone(), logged, query });
        Ok(())
    }
}

fn micros(time: &pbjson_types::Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1_000)
}
