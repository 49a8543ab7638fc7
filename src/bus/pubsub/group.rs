//! Messages of one stream, gathered and handed on together.
//!
//! Google's client gives each message some ten pieces of memory of its own. They are copied into one block by the task that got
//! them, and given back there: given back by who decodes them, two threads would write to the same lists of free memory, and each
//! message that is handed on would wake somebody.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use google_cloud_pubsub::model::Message as Given;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::sync::OwnedSemaphorePermit;

use super::message::{self, Entry};

/// Messages of a group at the most.
const MESSAGES: usize = 64;
/// What they take up at the most, in bytes: what waits for room waits for room for all of them.
const BYTES: u32 = 256 * 1024;
/// Size of a block in bytes, unless one message needs more. Several groups share one, so that a trickle of messages does not
/// hold a block each.
const BLOCK: usize = 96 * 1024;

/// Messages, and what acknowledges them. Of those that are dropped each is handed back.
pub(super) struct Group {
    pub(super) block: Bytes,
    /// In the order in which they came.
    pub(super) messages: Vec<(Entry, Handler)>,
    pub(super) room: Room,
}

impl Group {
    pub(super) const fn len(&self) -> usize {
        self.messages.len()
    }
}

/// The room that the messages of a group take up; dropped, there is room for others.
///
/// The service keeps to its own limits for each stream alone, and a stream that is opened anew begins with an empty one.
pub(super) struct Room {
    _room: OwnedSemaphorePermit,
    /// Counted by the stream that brought them.
    _of: Arc<()>,
}

impl Room {
    pub(super) const fn of(room: OwnedSemaphorePermit, stream: Arc<()>) -> Self {
        Self { _room: room, _of: stream }
    }
}

/// A group while it is being gathered.
#[derive(Default)]
pub(super) struct Filling {
    block: BytesMut,
    messages: Vec<(Entry, Handler)>,
    size: u32,
}

impl Filling {
    pub(super) const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether it should be handed on before anything is added.
    pub(super) const fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES || self.size >= BYTES
    }

    /// What its messages take up.
    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    /// Copies a message, which takes up so much.
    pub(super) fn push(&mut self, given: &Given, handler: Handler, size: u32) {
        let bytes = message::room(given);
        if self.block.capacity() - self.block.len() < bytes {
            // It is copied where the block holds messages already, which is so for one of many at the most.
            self.block.reserve(bytes.max(BLOCK));
        }
        let entry = message::write(given, handler.delivery_attempt(), &mut self.block);
        self.messages.push((entry, handler));
        self.size += size;
    }

    /// What was added, in the room that was found for it; leaves it empty.
    pub(super) fn seal(&mut self, room: Room) -> Group {
        let few = self.messages.len();
        let messages = std::mem::replace(&mut self.messages, Vec::with_capacity(few));
        self.size = 0;
        Group { block: self.block.split().freeze(), messages, room }
    }
}
