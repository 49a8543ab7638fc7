//! Many messages copied into one buffer, of which each is handed out as a slice.
//!
//! librdkafka's own buffers are given back at once: a message held back would hold back a whole
//! fetch. One buffer serves several chunks, so that a trickle of messages does not pin a buffer each.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use crate::bus::BusError;
use crate::message::{Delivery, Headers, Message, Partition, headers};
use crate::panics;

/// Messages in a chunk at the most.
const MAX_MESSAGES: usize = 1_000;
/// Bytes after which a chunk is full.
const MAX_BYTES: usize = 256 << 10;
/// Size of a buffer, unless one message needs more.
const BUFFER: usize = 512 << 10;

/// Messages in the order in which they were read, not numbered yet.
///
/// They are made by who takes them: made here, every one of them would have this thread and that of
/// its reader write to the same counters, those of the topic's name and of the buffer.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) topic: Arc<str>,
    pub(super) block: Bytes,
    pub(super) entries: Vec<Entry>,
    /// What the messages are, in the same order.
    pub(super) runs: Vec<Run>,
}

impl Chunk {
    /// The messages, numbered from `first` on.
    pub(super) fn messages(self, first: u64) -> Vec<Message> {
        let Self { topic, block, entries, .. } = self;
        let slice = |range: Range<usize>| if range.is_empty() { Bytes::new() } else { block.slice(range) };
        let messages = entries.into_iter().zip(first..).map(|(entry, number)| Message {
            delivery: Delivery(number),
            partition: Partition { topic: Arc::clone(&topic), number: entry.partition },
            offset: entry.offset,
            timestamp_ms: entry.timestamp_ms,
            key: entry.key.map(slice),
            headers: Headers::from_block(slice(entry.headers)),
            payload: entry.payload.map(slice),
        });
        messages.collect()
    }
}

/// Messages of one partition that follow one another, without a gap between their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) partition: i32,
    /// The assignment under which they were read.
    pub(super) generation: u64,
    /// Offset of the first.
    pub(super) offset: i64,
    pub(super) count: u32,
    /// Timestamp of the first.
    pub(super) timestamp_ms: Option<i64>,
}

/// What the poll thread has to say.
pub(super) enum Item {
    Chunk(Chunk),
    CaughtUp,
    End,
    /// Something does not work now; reading goes on by itself once it does.
    Trouble(BusError),
    /// There will be nothing more.
    Failed(BusError),
}

/// A message as librdkafka has it.
pub(super) trait Readable {
    fn partition(&self) -> i32;
    fn offset(&self) -> i64;
    /// Milliseconds since 1970, where it has a time.
    fn timestamp_ms(&self) -> Option<i64>;
    fn key(&self) -> Option<&[u8]>;
    fn payload(&self) -> Option<&[u8]>;
    /// Copies every header that can be read, and tells how many could not.
    fn copy_headers(&self, block: &mut BytesMut) -> usize;
}

/// A chunk while it is being filled.
pub(super) struct Filling {
    topic: Arc<str>,
    buffer: BytesMut,
    entries: Vec<Entry>,
    runs: Vec<Run>,
    /// Headers that were left out so far.
    unreadable: u64,
}

/// One message, as places in the block.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Range<usize>>,
    pub(super) headers: Range<usize>,
    pub(super) payload: Option<Range<usize>>,
}

impl Filling {
    /// An empty one.
    pub(super) fn new(topic: Arc<str>) -> Self {
        Self { topic, buffer: BytesMut::new(), entries: Vec::new(), runs: Vec::new(), unreadable: 0 }
    }

    /// Whether it should be sealed before anything is added.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_MESSAGES || self.buffer.len() >= MAX_BYTES
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Copies a message.
    pub(super) fn push(&mut self, message: &impl Readable, generation: u64) {
        let (partition, offset) = (message.partition(), message.offset());
        let timestamp_ms = message.timestamp_ms();
        let (key, payload) = (message.key(), message.payload());
        if self.buffer.capacity() == 0 || (self.is_empty() && self.buffer.capacity() < MAX_BYTES) {
            let needed = key.map_or(0, <[u8]>::len) + payload.map_or(0, <[u8]>::len);
            self.buffer = BytesMut::with_capacity(BUFFER.max(needed));
        }
        let key = key.map(|key| self.append(key));
        let start = self.buffer.len();
        let unreadable = message.copy_headers(&mut self.buffer);
        if unreadable > 0 {
            self.tell_unreadable(unreadable, partition, offset);
        }
        let headers = start..self.buffer.len();
        let payload = payload.map(|payload| self.append(payload));
        self.entries.push(Entry { partition, offset, timestamp_ms, key, headers, payload });
        match self.runs.last_mut() {
            Some(run)
                if run.partition == partition
                    && run.generation == generation
                    && run.offset + i64::from(run.count) == offset =>
            {
                run.count += 1;
            }
            _ => self.runs.push(Run { partition, generation, offset, count: 1, timestamp_ms }),
        }
    }

    /// What was added; leaves it empty.
    pub(super) fn seal(&mut self) -> Chunk {
        let few = self.entries.len();
        let entries = std::mem::replace(&mut self.entries, Vec::with_capacity(few));
        let block = self.buffer.split().freeze();
        Chunk { topic: Arc::clone(&self.topic), block, entries, runs: std::mem::take(&mut self.runs) }
    }

    /// Says it aloud once; a producer that does it once does it every time.
    fn tell_unreadable(&mut self, unreadable: usize, partition: i32, offset: i64) {
        const TEXT: &str = "headers of a message are left out: their names are not UTF-8, which Kafka requires";
        self.unreadable += unreadable as u64;
        if self.unreadable == unreadable as u64 {
            tracing::warn!(topic = &*self.topic, partition, offset, unreadable, "{TEXT}; said once");
        } else {
            tracing::debug!(topic = &*self.topic, partition, offset, so_far = self.unreadable, "{TEXT}");
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.put_slice(bytes);
        start..self.buffer.len()
    }
}

impl Readable for BorrowedMessage<'_> {
    fn partition(&self) -> i32 {
        rdkafka::Message::partition(self)
    }

    fn offset(&self) -> i64 {
        rdkafka::Message::offset(self)
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp().to_millis()
    }

    fn key(&self) -> Option<&[u8]> {
        rdkafka::Message::key(self)
    }

    fn payload(&self) -> Option<&[u8]> {
        rdkafka::Message::payload(self)
    }

    fn copy_headers(&self, block: &mut BytesMut) -> usize {
        let Some(given) = self.headers() else { return 0 };
        let mut unreadable = 0;
        for index in 0..given.count() {
            // The binding panics over a name that is not UTF-8, and one message must not be able to stop everyone.
            match panics::caught(|| given.get(index)) {
                Some(header) => headers::append(block, header.key, header.value),
                None => unreadable += 1,
            }
        }
        unreadable
    }
}
