//! What a consumer tells of itself: how far behind it is, and that a drain is at its end.

use std::time::{Duration, Instant};

use super::Member;
use crate::bus::local::{group, log};
use crate::bus::{BusError, HeldUp, PartitionStatus};
use crate::message::Partition;

/// The shortest time between two updates, but for the last one.
const INTERVAL: Duration = Duration::from_millis(100);

impl Member {
    /// A drain ends when the positions of the whole group, whoever moved them, have reached its ends.
    ///
    /// The status is told before the end, so that whoever hears of the end finds it true.
    pub(super) fn check_drain(&mut self) -> Result<(), BusError> {
        let Some(ends) = self.drain_ends.as_ref().filter(|_| !self.shared.lock().ended) else { return Ok(()) };
        let reached = self.shares.iter().all(|share| share.committed >= *ends.get(&share.log.number).unwrap_or(&0));
        if reached {
            self.last_status = None;
            self.tell_status()?;
            self.shared.lock().ended = true;
            self.shared.news.notify_one();
        }
        Ok(())
    }

    /// Where each partition stood when it was left, with everything acknowledged in it; nothing
    /// where that is not durable, or not to be had.
    pub(super) fn tell_last_status(&mut self, durable: bool) {
        self.last_status = None;
        if !durable || self.tell_status().is_err() {
            self.status.send_replace(Vec::new());
        }
    }

    /// Where each partition stands now, with the age of the oldest message that is not acknowledged.
    pub(super) fn tell_status(&mut self) -> Result<(), BusError> {
        if self.last_status.is_some_and(|last| last.elapsed() < INTERVAL) {
            return Ok(());
        }
        self.last_status = Some(Instant::now());
        let now = group::now_ms();
        let mut all = Vec::with_capacity(self.owned.len());
        for owned in self.owned.values() {
            let oldest = if owned.acknowledged < owned.log.end {
                self.file.read(|connection| log::timestamp(connection, &owned.log, owned.acknowledged))?
            } else {
                None
            };
            all.push(PartitionStatus {
                partition: Partition { topic: self.topic.clone(), number: owned.log.number },
                position: Some(owned.acknowledged),
                end: Some(owned.log.end),
                lag: Duration::from_millis(oldest.map_or(0, |oldest| now.saturating_sub(oldest).max(0)) as u64),
                held_up: HeldUp::default(),
            });
        }
        self.status.send_if_modified(|status| {
            let changed = *status != all;
            *status = all;
            changed
        });
        Ok(())
    }
}
