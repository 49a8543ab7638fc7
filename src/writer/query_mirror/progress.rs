//! How far a write is: which queries were dealt with, and which outcomes the bus does not have yet.
//!
//! A repetition of a write goes on from here, so that it asks nobody twice.

use std::time::Duration;

use crate::message::Outgoing;
use crate::sink::{Outcome, Refusal};

/// A write that is under way; there is one at a time.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Of the write.
    id: String,
    /// The first row that was not dealt with.
    pub(super) next: usize,
    /// For how long rows may wait for their turn yet.
    pub(super) left: Duration,
    kept: Vec<Published>,
    kept_bytes: usize,
    outcome: Outcome,
}

/// An outcome on its way, and the row that it is of.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) row: usize,
    pub(super) message: Result<Outgoing, Refusal>,
}

impl Published {
    /// Bytes that it takes, about.
    fn size(&self) -> usize {
        let held = match &self.message {
            Ok(message) => message.headers.size() + message.payload.as_ref().map_or(0, bytes::Bytes::len),
            Err(refusal) => refusal.message.len(),
        };
        size_of::<Self>() + held
    }
}

impl Progress {
    /// A write begins, or goes on where it was if it is the same.
    pub(super) fn begin(&mut self, id: &str, patience: Duration) {
        if self.id != id {
            *self = Self { id: id.to_owned(), left: patience, ..Self::default() };
        }
    }

    /// Keeps an outcome until it is published.
    pub(super) fn keep(&mut self, published: Published) {
        self.kept_bytes += published.size();
        self.kept.push(published);
    }

    /// Bytes of all that is kept.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// What is kept.
    pub(super) fn kept(&self) -> Vec<Published> {
        self.kept.clone()
    }

    /// The bus has all that is kept, but for what is refused and what is left for the next attempt.
    pub(super) fn published(&mut self, refused: Vec<(usize, Refusal)>, left: Vec<Published>) {
        self.outcome.stored += (self.kept.len() - refused.len() - left.len()) as u64;
        self.outcome.refused.extend(refused);
        self.kept_bytes = left.iter().map(Published::size).sum();
        self.kept = left;
    }

    /// The write is over: what came of it.
    pub(super) fn end(&mut self) -> Outcome {
        std::mem::take(self).outcome
    }
}
