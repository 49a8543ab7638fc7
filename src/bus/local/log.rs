//! Topics, partitions and messages: the log itself, apart from who reads it.
//!
//! Nothing is ever deleted: the embedded bus is for one machine, and a file that has grown too large is
//! moved away with its groups. A person may delete old rows of `messages`; readers meet that as a gap.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::file::Fault;
use crate::bus::BusError;
use crate::message::{Delivery, Headers, Message, Outgoing, Partition};

/// Bits of a place that hold the offset: a million million messages a partition.
const OFFSET_BITS: u32 = 40;
/// Topics named in an error, at the most.
const NAMED_TOPICS: usize = 20;
/// Most partitions of one topic.
const MAX_PARTITIONS: u32 = 4096;

/// A topic and its partitions by number.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: i64,
    pub(super) name: Arc<str>,
    pub(super) partitions: Vec<Log>,
}

/// One partition: its row and its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) id: i64,
    pub(super) number: i32,
    pub(super) end: i64,
}

/// Where a message lies in the table: partitions side by side, each in order.
pub(super) const fn place(partition: i64, offset: i64) -> i64 {
    (partition << OFFSET_BITS) | offset
}

/// Makes a topic unless it exists.
pub(super) fn create_topic(connection: &Connection, name: &str, partitions: u32) -> Result<(), Fault> {
    if partitions == 0 || partitions > MAX_PARTITIONS {
        return Err(BusError::Settings(format!(
            "topic {name} cannot have {partitions} partitions; expected 1 to {MAX_PARTITIONS}"
        ))
        .into());
    }
    if connection.execute("INSERT OR IGNORE INTO topics (name) VALUES (?1)", [name])? == 0 {
        return Ok(());
    }
    let topic = connection.last_insert_rowid();
    let mut insert = connection.prepare_cached("INSERT INTO partitions (topic, number) VALUES (?1, ?2)")?;
    for number in 0..partitions {
        insert.execute(params![topic, number])?;
    }
    Ok(())
}

/// A topic by name; an error that names the topics that there are.
pub(super) fn topic(connection: &Connection, name: &str) -> Result<Topic, Fault> {
    let id: Option<i64> = connection
        .prepare_cached("SELECT id FROM topics WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Err(unknown(connection, name)?.into()) };
    let mut statement =
        connection.prepare_cached("SELECT id, number, next_offset FROM partitions WHERE topic = ?1 ORDER BY number")?;
    let partitions = statement
        .query_map([id], |row| Ok(Log { id: row.get(0)?, number: row.get(1)?, end: row.get(2)? }))?
        .collect::<Result<_, _>>()?;
    Ok(Topic { id, name: name.into(), partitions })
}

fn unknown(connection: &Connection, name: &str) -> Result<BusError, rusqlite::Error> {
    let mut statement = connection.prepare_cached("SELECT name FROM topics ORDER BY name")?;
    let mut names = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let more = names.len().saturating_sub(NAMED_TOPICS);
    names.truncate(NAMED_TOPICS);
    Ok(BusError::NotFound(match (names.is_empty(), more) {
        (true, _) => format!("{name}; there are no topics yet"),
        (false, 0) => format!("{name}; there are {}", names.join(", ")),
        (false, more) => format!("{name}; there are {} and {more} more", names.join(", ")),
    }))
}

/// Appends a message to a partition, moves its end on and returns the offset.
///
/// The caller writes `next_offset` back with [`set_end`] in the same transaction.
pub(super) fn append(connection: &Connection, log: &mut Log, message: &Outgoing, now_ms: i64) -> Result<i64, Fault> {
    let offset = log.end;
    let headers = (!message.headers.is_empty()).then(|| &message.headers.as_block()[..]);
    connection
        .prepare_cached(
            "INSERT INTO messages (place, timestamp_ms, key, headers, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            place(log.id, offset),
            message.timestamp_ms.unwrap_or(now_ms),
            message.key.as_deref(),
            headers,
            message.payload.as_deref(),
        ])?;
    log.end += 1;
    Ok(offset)
}

/// Writes the end of a partition.
pub(super) fn set_end(connection: &Connection, log: &Log) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE partitions SET next_offset = ?2 WHERE id = ?1")?
        .execute(params![log.id, log.end])?;
    Ok(())
}

/// The timestamp of the first message at an offset or after it.
pub(super) fn timestamp(connection: &Connection, log: &Log, offset: i64) -> Result<Option<i64>, Fault> {
    Ok(connection
        .prepare_cached("SELECT timestamp_ms FROM messages WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT 1")?
        .query_row(params![place(log.id, offset), place(log.id, log.end)], |row| row.get(0))
        .optional()?)
}

/// The offset of the first message of a time or later; looks at each of the partition, since times
/// need not be in order and nothing indexes them.
pub(super) fn first_since(connection: &Connection, log: &Log, time_ms: i64) -> Result<Option<i64>, Fault> {
    let found: Option<i64> = connection
        .prepare_cached(
            "SELECT place FROM messages WHERE place >= ?1 AND place < ?2 AND timestamp_ms >= ?3
             ORDER BY place LIMIT 1",
        )?
        .query_row(params![place(log.id, 0), place(log.id, log.end), time_ms], |row| row.get(0))
        .optional()?;
    Ok(found.map(|found| found - place(log.id, 0)))
}

/// The offset of the earliest message; the end where there is none.
pub(super) fn earliest(connection: &Connection, log: &Log) -> Result<i64, Fault> {
    Ok(first_since(connection, log, i64::MIN)?.unwrap_or(log.end))
}

/// How much one reading may bring.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) messages: usize,
    /// Passed only by a single message that is larger.
    pub(super) bytes: usize,
}

/// Reads messages of a partition; keeps its buffer from one reading to the next.
#[derive(Default)]
pub(super) struct Reader {
    scratch: Vec<u8>,
}

struct Slices {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Range<usize>>,
    headers: Option<Range<usize>>,
    payload: Option<Range<usize>>,
}

impl Reader {
    /// The messages from `from` on and before the log's end: without a hole between them, though the first
    /// may lie further on than `from` where messages were deleted.
    ///
    /// All share one buffer, which lives as long as any of them. They are not numbered yet.
    pub(super) fn read(
        &mut self,
        connection: &Connection,
        topic: &Arc<str>,
        log: &Log,
        from: i64,
        limits: Limits,
    ) -> Result<Vec<Message>, Fault> {
        self.scratch.clear();
        let mut found: Vec<Slices> = Vec::new();
        let mut statement = connection.prepare_cached(
            "SELECT place, timestamp_ms, key, headers, payload FROM messages
             WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3",
        )?;
        let mut rows = statement.query(params![place(log.id, from), place(log.id, log.end), limits.messages as i64])?;
        while let Some(row) = rows.next()? {
            let offset = row.get::<_, i64>(0)? - place(log.id, 0);
            let parts = [blob(row, 2)?, blob(row, 3)?, blob(row, 4)?];
            let size: usize = parts.iter().flatten().map(|part| part.len()).sum();
            let held = self.scratch.len() + (found.len() + 1) * std::mem::size_of::<Message>();
            if let Some(last) = found.last()
                && (offset != last.offset + 1 || held + size > limits.bytes)
            {
                break;
            }
            let [key, headers, payload] = parts.map(|part| part.map(|part| self.keep(part)));
            found.push(Slices { offset, timestamp_ms: row.get(1)?, key, headers, payload });
        }
        let buffer = Bytes::copy_from_slice(&self.scratch);
        // One huge message must not be held for good.
        self.scratch.clear();
        self.scratch.shrink_to(limits.bytes);
        let partition = Partition { topic: topic.clone(), number: log.number };
        let slice = |range: Range<usize>| buffer.slice(range);
        Ok(found
            .into_iter()
            .map(|found| Message {
                delivery: Delivery(0),
                partition: partition.clone(),
                offset: found.offset,
                timestamp_ms: Some(found.timestamp_ms),
                key: found.key.map(slice),
                headers: found.headers.map_or_else(Headers::new, |range| Headers::from_block(slice(range))),
                payload: found.payload.map(slice),
            })
            .collect())
    }

    fn keep(&mut self, part: &[u8]) -> Range<usize> {
        let start = self.scratch.len();
        self.scratch.extend_from_slice(part);
        start..self.scratch.len()
    }
}

fn blob<'row>(row: &'row rusqlite::Row, column: usize) -> Result<Option<&'row [u8]>, rusqlite::Error> {
    Ok(row.get_ref(column)?.as_blob_or_null()?)
}
