//! Reading ahead: partitions in turn, up to the bytes that may be held, past holes that someone made.

use super::{Member, Owned};
use crate::bus::local::log::{Limits, Log};
use crate::bus::local::shared::Chunk;
use crate::bus::{BusError, OnGap};
use crate::message::Message;

/// The largest chunk; a small allowance of bytes makes it smaller.
const CHUNK: Limits = Limits { messages: 512, bytes: 1 << 20 };
/// Chunks read before other duties are looked at again.
const CHUNKS_AT_ONCE: usize = 16;

impl Member {
    /// Fills the buffer; returns whether there is more to read right now.
    pub(super) fn read_ahead(&mut self) -> Result<bool, BusError> {
        let room = self.plan.subscribe.fetch_bytes;
        // A quarter of the room at a time, so that chunks do not shrink to what happens to be free.
        let chunk = Limits { bytes: (room / 4).clamp(1, CHUNK.bytes), ..CHUNK };
        for _ in 0..CHUNKS_AT_ONCE {
            let held = self.shared.lock().bytes;
            if held > 0 && held + chunk.bytes > room {
                return Ok(false);
            }
            let Some(number) = self.next_to_read() else {
                self.tell_caught_up();
                return Ok(false);
            };
            self.read_chunk(number, chunk)?;
        }
        Ok(true)
    }

    /// The next partition that has something to read, in turn.
    fn next_to_read(&mut self) -> Option<i32> {
        let ready: Vec<i32> = self
            .owned
            .iter()
            .filter(|(number, owned)| !owned.leaving && owned.read < self.limit(**number, owned))
            .map(|(number, _)| *number)
            .collect();
        self.first_partition = self.first_partition.wrapping_add(1);
        (!ready.is_empty()).then(|| ready[self.first_partition % ready.len()])
    }

    /// Up to where a partition is read: its end, or where a drain ends.
    fn limit(&self, number: i32, owned: &Owned) -> i64 {
        let drain_end = self.drain_ends.as_ref().and_then(|ends| ends.get(&number));
        drain_end.map_or(owned.log.end, |end| owned.log.end.min(*end))
    }

    fn read_chunk(&mut self, number: i32, limits: Limits) -> Result<(), BusError> {
        let Some(owned) = self.owned.get(&number) else { return Ok(()) };
        let (from, generation) = (owned.read, owned.generation);
        let log = Log { end: self.limit(number, owned), ..owned.log };
        let messages = self.file.read(|connection| self.reader.read(connection, &self.topic, &log, from, limits))?;
        let found = messages.first().map_or(log.end, |message| message.offset);
        if found > from {
            self.gap(number, from, found)?;
        }
        let Some(owned) = self.owned.get_mut(&number) else { return Ok(()) };
        owned.read = messages.last().map_or(log.end, |message| message.offset + 1);
        if found > from {
            owned.hole = Some((from, found));
            owned.acknowledge(owned.acknowledged);
        }
        if messages.is_empty() {
            return Ok(());
        }
        let bytes = messages.iter().map(Message::size).sum();
        let mut state = self.shared.lock();
        state.bytes += bytes;
        state.caught_up = false;
        state.chunks.push_back(Chunk { number, generation, messages, bytes });
        drop(state);
        self.told_caught_up = false;
        self.shared.news.notify_one();
        Ok(())
    }

    /// Messages were deleted before they were read.
    fn gap(&self, number: i32, from: i64, found: i64) -> Result<(), BusError> {
        let lost = found - from;
        let text = format!("{lost} messages of {}/{number} from offset {from} on are gone", self.topic);
        if self.plan.subscribe.on_gap == OnGap::Stop {
            return Err(BusError::Gap(text));
        }
        tracing::error!(topic = %self.topic, partition = number, messages = lost, "{text}");
        metrics::counter!("chalk_writer_source_gap_messages_total").increment(lost as u64);
        Ok(())
    }

    fn tell_caught_up(&mut self) {
        if !self.told_caught_up {
            self.told_caught_up = true;
            self.shared.lock().caught_up = true;
            self.shared.news.notify_one();
        }
    }
}
