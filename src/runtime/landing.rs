//! Publishing what a batch comes to, and committing the positions that it was read from with it.
//!
//! Each partition's part is made by itself, so that one which goes away meanwhile is left out and the
//! others are as they would have been. The order is: make everything, judge, bury and confirm, then
//! one transaction. A message that is buried adds nothing: replayed, it is counted once.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hashbrown::{HashMap, HashSet};
use tokio::time::sleep;

use super::PipelineError;
use super::batch::Batch;
use super::emit::{Emission, Emitted};
use super::health::Report;
use super::pause::Pauses;
use super::shared::Shared;
use super::write::{Verdict, count_errors};
use crate::bus::{BusError, Committed, Consumed};
use crate::message::{Message, Outgoing, Partition};
use crate::sink::Row;

/// What one partition of a batch came to.
struct Part {
    consumed: Consumed,
    messages: Vec<Outgoing>,
    rows: u64,
}

/// A batch on its way into a topic.
#[derive(Default)]
pub(super) struct Parts(Vec<Part>);

/// Makes the messages of a batch, and says which of its own can never be dealt with so; ends with an
/// error only on a bug.
pub(super) fn make<R: Row>(
    id: &str,
    batch: &Batch<R>,
    emission: &Emission<R>,
) -> Result<(Parts, Vec<Verdict>), PipelineError> {
    let mut parts: Vec<(Consumed, Vec<(usize, &R)>)> = Vec::with_capacity(batch.partitions.len());
    let mut known: HashMap<&Partition, usize> = HashMap::with_capacity(batch.partitions.len());
    for Message { partition, delivery, offset, .. } in batch.messages.iter().map(|held| &held.message) {
        let consumed = Consumed { partition: partition.clone(), last: *delivery, next: offset + 1 };
        let part = *known.entry(partition).or_insert(parts.len());
        match parts.get_mut(part) {
            Some((before, _)) => *before = consumed,
            None => parts.push((consumed, Vec::new())),
        }
    }
    for (row, at) in &batch.rows {
        let held = &batch.messages[*at];
        if held.refusal.is_none() {
            parts[known[&held.message.partition]].1.push((*at, row));
        }
    }
    let mut verdicts = Vec::new();
    let mut made = Vec::with_capacity(parts.len());
    for (consumed, rows) in parts {
        let Emitted { messages, refused } = match rows.as_slice() {
            [] => Emitted::default(),
            rows => emission.emit.emit(id, &consumed.partition, rows),
        };
        let bad: HashSet<usize> = refused.iter().map(|(message, _)| *message).collect();
        let rows = rows.iter().filter(|(at, _)| !bad.contains(at)).map(|(_, row)| row.rows() as u64).sum();
        for (message, refusal) in refused {
            if batch.messages.get(message).is_none_or(|held| held.message.partition != consumed.partition) {
                let text = format!("{}: message {message} was refused, which is not of that partition", emission.name);
                return Err(PipelineError::Bug(text));
            }
            verdicts.push(Verdict { message, refusal, sink: emission.name.clone(), attempts: 1 });
        }
        made.push(Part { consumed, messages, rows });
    }
    Ok((Parts(made), verdicts))
}

impl Parts {
    /// Publishes and commits what is still ours, until that is done or nothing is left of it. Returns how
    /// many rows that was. Partitions that turn out to be gone are added to `lost`.
    pub(super) async fn land<R: Row>(
        mut self,
        shared: &Shared<R>,
        emission: &Emission<R>,
        lost: &Mutex<Vec<Partition>>,
    ) -> Result<u64, PipelineError> {
        let report = Report::new(&shared.health, &emission.name);
        let mut pauses = Pauses::new(shared.policy.retry);
        loop {
            {
                let lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                self.0.retain(|part| !lost.contains(&part.consumed.partition));
            }
            if self.0.is_empty() {
                return Ok(0);
            }
            let begun = Instant::now();
            let landed = self.attempt(shared, emission).await;
            metrics::histogram!("chalk_writer_store_write_seconds", "destination" => emission.name.clone())
                .record(begun.elapsed().as_secs_f64());
            match landed {
                Ok(Committed::Done) => {
                    report.works();
                    return Ok(self.0.iter().map(|part| part.rows).sum());
                }
                Ok(Committed::Lost(gone)) => {
                    if !self.0.iter().any(|part| gone.contains(&part.consumed.partition)) {
                        let text = format!("{}: partitions were lost that were not asked for: {gone:?}", emission.name);
                        return Err(PipelineError::Bug(text));
                    }
                    report.works();
                    lost.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
                }
                // A topic that was there at the start is waited for, as that of the dead letters is; and so is one that takes none of
                // this, which comes from many messages of which none is to blame: whoever runs it has to change it.
                Err(error)
                    if error.is_transient()
                        || matches!(error, BusError::NotFound(_) | BusError::Refused(_) | BusError::Keyless(_)) =>
                {
                    let denied = matches!(error, BusError::Denied(_));
                    count_errors(&emission.name, if denied { "denied" } else { "transient" }, 1);
                    report.failed(&error.to_string(), denied);
                    sleep(pauses.next(None)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Publishes what is left of it; what landed of a publish without a transaction is not left.
    async fn attempt<R: Row>(&mut self, shared: &Shared<R>, emission: &Emission<R>) -> Result<Committed, BusError> {
        let messages: Vec<Outgoing> = self.0.iter().flat_map(|part| part.messages.iter().cloned()).collect();
        let Some(transactions) = &shared.transactions else {
            return match emission.publisher.publish(&messages).await {
                Ok(_) => Ok(Committed::Done),
                Err(undelivered) => {
                    let mut landings = undelivered.landings().iter();
                    for part in &mut self.0 {
                        part.messages.retain(|_| landings.next().is_none_or(Result::is_err));
                    }
                    Err(undelivered.into())
                }
            };
        };
        let consumed: Vec<Consumed> = self.0.iter().map(|part| part.consumed.clone()).collect();
        transactions.commit(&messages, &consumed).await
    }
}
