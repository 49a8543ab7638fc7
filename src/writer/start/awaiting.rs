//! A message of an environment that nobody described waits for a while: it may be described by then.

use std::sync::Arc;

use super::with::MayCome;
use crate::decode::{Decoded, Decoder};
use crate::message::Message;

/// A decoder that asks before it refuses a message for its environment.
pub(super) struct Awaiting<R> {
    pub(super) decoder: Arc<dyn Decoder<R>>,
    pub(super) may_come: MayCome,
}

impl<R> Decoder<R> for Awaiting<R> {
    fn decode(&self, message: &Message, decoded: &mut Decoded<R>) {
        self.decoder.decode(message, decoded);
        let unknown = decoded.refused.iter().find(|refusal| refusal.unknown_environment.is_some());
        let Some(refusal) = unknown else { return };
        if refusal.unknown_environment.as_deref().is_some_and(|id| (self.may_come)(id)) {
            let what = format!("{}; the metadata is asked again before the message is buried", refusal.message);
            decoded.clear();
            decoded.waits_for = Some(what);
        }
    }
}
