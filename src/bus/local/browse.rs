//! Reading a topic outside every group.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;

use super::file::{BusFile, Fault};
use super::log::{self, Limits, Log, Reader};
use super::{blocking, group, no_file};
use crate::bus::{Browse, BrowseFrom, BusError, Stretch};
use crate::message::{Delivery, Message};

const LIMITS: Limits = Limits { messages: 512, bytes: 1 << 20 };

/// A reading of every partition, one after the other, up to the ends found at the start.
///
/// A dropped call to `next` may lose the messages that it was about to bring.
pub(super) struct LocalBrowse {
    reading: Arc<Mutex<Reading>>,
}

struct Reading {
    file: BusFile,
    reader: Reader,
    topic: Arc<str>,
    /// What is left: partitions and the next offset in each, the current one last.
    left: Vec<(Log, i64)>,
    delivered: u64,
}

impl LocalBrowse {
    /// Opens the file and notes where to begin and to end. Blocks.
    pub(super) fn start(path: &Path, topic: &str, from: &BrowseFrom) -> Result<Self, BusError> {
        let file = BusFile::open(path)?.ok_or_else(|| no_file(topic, path))?;
        let (topic, mut left) = file.read(|connection| {
            let topic = log::topic(connection, topic)?;
            let mut left = Vec::new();
            for log in &topic.partitions {
                let start = match from {
                    BrowseFrom::Earliest => Some(0),
                    BrowseFrom::Group(name) => Some(group::committed(connection, log.id, name)?),
                    BrowseFrom::Last(count) => Some(log.end.saturating_sub_unsigned(*count).max(0)),
                    BrowseFrom::Position(number, offset) => (*number == log.number).then_some((*offset).max(0)),
                    BrowseFrom::Stretches(stretches) => {
                        let ours = stretches.iter().filter(|stretch| stretch.partition == log.number);
                        left.extend(
                            ours.map(|stretch| (Log { end: stretch.until.min(log.end), ..*log }, stretch.from.max(0))),
                        );
                        None
                    }
                };
                left.extend(start.map(|start| (*log, start)));
            }
            if let (BrowseFrom::Position(number, _), true) = (from, left.is_empty()) {
                let last = topic.partitions.len() - 1;
                let text = format!("{} has no partition {number}; it has 0 to {last}", topic.name);
                return Err(BusError::NotFound(text).into());
            }
            Ok((topic.name, left))
        })?;
        left.reverse();
        let reading = Reading { file, reader: Reader::default(), topic, left, delivered: 0 };
        Ok(Self { reading: Arc::new(Mutex::new(reading)) })
    }
}

/// What lies between two times, partition by partition.
pub(super) fn stretch(
    connection: &Connection,
    topic: &str,
    from_ms: i64,
    until_ms: Option<i64>,
) -> Result<Vec<Stretch>, Fault> {
    let since = |log: &Log, time: i64| log::first_since(connection, log, time).map(|found| found.unwrap_or(log.end));
    let topic = log::topic(connection, topic)?;
    let stretches = topic.partitions.iter().map(|log| {
        let from = since(log, from_ms)?;
        let until = until_ms.map_or(Ok(log.end), |time| since(log, time))?;
        let earliest = log::earliest(connection, log)?;
        Ok(Stretch { partition: log.number, from, until: until.max(from), earliest })
    });
    stretches.collect()
}

#[async_trait]
impl Browse for LocalBrowse {
    async fn next(&mut self) -> Result<Vec<Message>, BusError> {
        let reading = self.reading.clone();
        blocking(move || reading.lock().unwrap_or_else(PoisonError::into_inner).next()).await
    }
}

impl Reading {
    fn next(&mut self) -> Result<Vec<Message>, BusError> {
        while let Some((log, offset)) = self.left.last_mut() {
            let mut messages =
                self.file.read(|connection| self.reader.read(connection, &self.topic, log, *offset, LIMITS))?;
            let Some(last) = messages.last() else {
                self.left.pop();
                continue;
            };
            *offset = last.offset + 1;
            for message in &mut messages {
                message.delivery = Delivery(self.delivered);
                self.delivered += 1;
            }
            return Ok(messages);
        }
        Ok(Vec::new())
    }
}
