//! A message of an environment that nobody described waits for a while: it may be described by then.

use std::sync::Arc;

use super::with::MayCome;
use crate::decode::{Decoded, Decoder};
use crate::message::Message;
use crate::sink::ErrorClass;

/// A decoder that asks before it refuses a message for its environment.
pub(super) struct Awaiting<R> {
    pub(super) decoder: Arc<dyn Decoder<R>>,
    pub(super) may_come: MayCome,
}

impl<R> Decoder<R> for Awaiting<R> {
    fn decode(&self, message: &Message, decoded: &mut Decoded<R>) {
        self.decoder.decode(message, decoded);
        let unknown = decoded.refused.iter().find(|refusal| refusal.class == ErrorClass::UnknownEnvironment);
        let Some(what) = unknown.map(|refusal| refusal.message.clone()) else { return };
        // A message that names none names none a minute later.
        if what.contains('`') && (self.may_come)(&what) {
            decoded.clear();
            decoded.waits_for = Some(format!("{what}; the metadata is asked again before the message is buried"));
        }
    }
}
