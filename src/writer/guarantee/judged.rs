//! What a judgement is made of, whatever it is about.

use super::circumstances::Circumstances;
use super::may::{Effect, May};
use super::{Change, There};

pub(super) const DELAYED: May = May::only(Effect::Delayed);
pub(super) const LOST: May = May::only(Effect::Lost);

/// What may come of one fault, before it is put together.
pub(super) struct Judged {
    pub(super) because: String,
    pub(super) there: Vec<There>,
    pub(super) changes: Vec<Change>,
}

/// The same anywhere.
pub(super) fn anywhere(around: &Circumstances<'_>, may: May) -> Vec<There> {
    around.there(|_| (may, String::new()))
}

/// What makes it stronger that something is read again.
pub(super) fn keys(around: &Circumstances<'_>) -> impl Iterator<Item = Change> {
    around.with_keys().into_iter()
}

/// What may come of a message that is to be buried: without a topic for it the writer stops.
pub(super) fn buried_may(around: &Circumstances<'_>) -> May {
    May::NOTHING.with(Effect::Delayed, around.dead_letter_topic.is_none())
}

pub(super) fn buried(around: &Circumstances<'_>) -> Vec<There> {
    anywhere(around, buried_may(around))
}
