//! Messages that say nothing: read without a fault, and no row, refusal or skipped value in them.
//!
//! They are acknowledged like all others. A misspelt field makes such messages too, and nothing else
//! would show that: so they are counted, and one of them is named from time to time.

use std::time::Duration;

use tokio::time::Instant;

use crate::decode::{Decoded, NOTHING_IN_IT};
use crate::message::{Message, Partition};

/// One is named this often at most.
const REMINDER: Duration = Duration::from_secs(60);

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Nothing {
    said: Option<Instant>,
    unsaid: u64,
    last: Option<(Partition, i64)>,
}

impl Nothing {
    /// Looks at what was made of a message.
    pub(super) fn look<R>(&mut self, message: &Message, decoded: &Decoded<R>) {
        if !decoded.is_nothing() {
            return;
        }
        metrics::counter!("chalk_writer_values_skipped_total", "reason" => NOTHING_IN_IT).increment(1);
        self.unsaid += 1;
        self.last = Some((message.partition.clone(), message.offset));
        self.remind();
    }

    /// Says how many there were, unless that was said just now. Asked now and then too: of a burst only the first is
    /// told when it comes.
    pub(super) fn remind(&mut self) {
        if self.said.is_none_or(|said| said.elapsed() >= REMINDER) {
            self.say();
        }
    }

    /// Says how many there were since it was last said.
    pub(super) fn say(&mut self) {
        let Some((Partition { topic, number: partition }, offset)) = self.last.take() else { return };
        self.said = Some(Instant::now());
        tracing::warn!(
            topic = &*topic,
            partition,
            offset,
            messages = std::mem::take(&mut self.unsaid),
            "nothing to write was in messages, which are acknowledged: no rows at all; `peek --position \
             {partition}:{offset}` shows the last, and fields in it that are not known"
        );
    }
}
