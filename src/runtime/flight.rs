//! Batches being written, oldest first: each in a task of its own, finished in the order they were cut.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{HashMap, HashSet};
use tokio_util::task::AbortOnDropHandle;

use super::PipelineError;
use super::batch::Batch;
use super::burial::Burial;
use super::landing;
use super::order::{Order, Place};
use super::shared::Shared;
use super::write::{Written, write};
use crate::message::{Delivery, Partition};
use crate::sink::Row;
use crate::value::time::now;

/// Of how many messages of a batch freshness is measured, evenly spaced, the oldest among them: thousands of
/// them have next to the same, and the clock is read for each.
const OBSERVED: usize = 64;

/// A batch that came to its end: all of it is stored, or buried or parked and confirmed.
///
/// It comes back whole, so that its memory is given back where it was taken. A row that is dropped by
/// another thread than the one that makes the next rows has both of them write to the same counters
/// and the same lists of free memory, which costs more than making the row.
pub(super) struct Landed<R> {
    pub(super) last: Delivery,
    batch: Batch<R>,
    /// Indices of its messages that were buried or parked, in order.
    unstored: Vec<usize>,
    /// Partitions that went away before: what was written of theirs is not ours to acknowledge.
    lost: Vec<Partition>,
}

impl<R: Row> Landed<R> {
    /// Counts it and measures freshness: after the acknowledgement, because only then it is done.
    pub(super) fn count(&self, shared: &Shared<R>) {
        let ours = self.batch.messages.iter().filter(|held| !self.lost.contains(&held.message.partition));
        let messages = ours.count() as u64;
        metrics::counter!("chalk_writer_batches_written_total").increment(1);
        metrics::counter!("chalk_writer_messages_acknowledged_total").increment(messages);
        shared.health.update(|state| state.acknowledged += messages);
        let now = now();
        for ((environment, destination), times) in event_times(&self.batch, &self.lost, &self.unstored) {
            let histogram = metrics::histogram!(
                "chalk_writer_freshness_seconds",
                "environment" => shared.label(&environment),
                "destination" => shared.named(destination).to_owned()
            );
            for time in times.iter().step_by(times.len().div_ceil(OBSERVED)) {
                histogram.record(now.saturating_sub(*time).max(0) as f64 / 1e6);
            }
        }
    }

    /// What was written, to be cleared and filled again.
    pub(super) fn into_batch(self) -> Batch<R> {
        self.batch
    }
}

/// What a write comes to: its last message, all of it, and which messages were buried or parked.
type Flown<R> = (Delivery, Batch<R>, Vec<usize>);

/// One batch being written.
struct Flight<R> {
    task: AbortOnDropHandle<Result<Flown<R>, PipelineError>>,
    partitions: HashSet<Partition>,
    /// Partitions that went away meanwhile: their messages are written on with the rest, which does
    /// no harm, but they are not buried, since their next owner will.
    lost: Arc<Mutex<Vec<Partition>>>,
    messages: usize,
}

/// The batches being written.
pub(super) struct Flights<R> {
    queue: VecDeque<Flight<R>>,
    /// In which they are judged.
    order: Order,
}

impl<R> Default for Flights<R> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), order: Order::default() }
    }
}

impl<R: Row> Flights<R> {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn messages(&self) -> usize {
        self.queue.iter().map(|flight| flight.messages).sum()
    }

    pub(super) fn involve(&self, partitions: &[Partition]) -> bool {
        self.queue.iter().any(|flight| partitions.iter().any(|partition| flight.partitions.contains(partition)))
    }

    pub(super) fn start(&mut self, shared: &Arc<Shared<R>>, batch: Batch<R>) {
        let lost: Arc<Mutex<Vec<Partition>>> = Arc::default();
        let (partitions, messages) = (batch.partitions.clone(), batch.messages.len());
        let task = fly(shared.clone(), batch, lost.clone(), self.order.place());
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        self.queue.push_back(Flight { task, partitions, lost, messages });
    }

    /// The oldest batch, once it has landed. Cancel-safe: it stays the oldest until it is returned.
    pub(super) async fn next(&mut self) -> Result<Landed<R>, PipelineError> {
        let Some(oldest) = self.queue.front_mut() else {
            return std::future::pending().await;
        };
        let landed = (&mut oldest.task).await;
        let lost = std::mem::take(&mut *oldest.lost.lock().unwrap_or_else(PoisonError::into_inner));
        self.queue.pop_front();
        let (last, batch, unstored) =
            landed.unwrap_or_else(|error| Err(PipelineError::Bug(format!("a write ended abnormally: {error}"))))?;
        Ok(Landed { last, batch, unstored, lost })
    }

    /// Partitions went away: a batch that holds nothing else is cancelled, any other is written on.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        for flight in &mut self.queue {
            flight.lost.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(partitions);
            flight.partitions.retain(|partition| !partitions.contains(partition));
        }
        self.queue.retain(|flight| !flight.partitions.is_empty());
    }

    /// Cancels every write; the bus delivers their messages again.
    pub(super) fn abandon(&mut self) {
        self.queue.clear();
    }
}

/// Writes a batch or makes what is to be published of it, judges the burials once every batch before it
/// was judged or cancelled, buries, publishes, and has landed.
async fn fly<R: Row>(
    shared: Arc<Shared<R>>,
    batch: Batch<R>,
    lost: Arc<Mutex<Vec<Partition>>>,
    place: Place,
) -> Result<Flown<R>, PipelineError> {
    let id = uuid::Uuid::now_v7().to_string();
    metrics::histogram!("chalk_writer_batch_rows").record(batch.row_count() as f64);
    metrics::histogram!("chalk_writer_batch_bytes").record(batch.bytes() as f64);
    let Shared { health, .. } = &*shared;
    let (mut written, parts) = match &shared.emission {
        None => (write(&id, &batch, &shared).await.map_err(PipelineError::Bug)?, None),
        Some(emission) => {
            let (parts, verdicts) = landing::make(&id, &batch, emission)?;
            (Written { verdicts, ..Written::default() }, Some((parts, emission)))
        }
    };
    place.first().await;
    let gone = lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let burials = burials(&batch, &written, &gone);
    bury(&shared, &batch, &burials, &written.parked, &id).await?;
    park(&shared, &batch, &written, &lost).await?;
    if let Some((parts, emission)) = parts {
        // Before the next one is: positions move in the order of the batches.
        written.stored = parts.land(&shared, emission, &lost).await?;
    }
    drop(place);
    let buried = burials.len() as u64;
    let mut unstored: Vec<usize> = burials.iter().map(|(at, _)| *at).collect();
    metrics::counter!("chalk_writer_values_stored_total").increment(written.stored);
    metrics::counter!("chalk_writer_values_stale_total").increment(written.stale);
    health.update(|state| {
        state.stored += written.stored;
        state.stale += written.stale;
        state.buried += buried;
    });
    drop(burials);
    unstored.extend(written.parked);
    unstored.sort_unstable();
    let last = batch.last().ok_or_else(|| PipelineError::Bug("an empty batch was written".to_owned()))?;
    Ok((last, batch, unstored))
}

/// Moves aside what no store has, where it is still ours.
async fn park<R: Row>(
    shared: &Shared<R>,
    batch: &Batch<R>,
    written: &Written,
    lost: &Mutex<Vec<Partition>>,
) -> Result<(), PipelineError> {
    let Some(parking) = shared.parking.as_ref().filter(|_| !written.parked.is_empty()) else { return Ok(()) };
    let held = written.parked.iter().map(|at| &batch.messages[*at].message);
    let lost = lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let ours = held.filter(|message| !lost.contains(&message.partition));
    let parked = parking.park(ours, &shared.policy, &shared.health).await?;
    metrics::counter!("chalk_writer_messages_parked_total").increment(parked);
    shared.health.update(|state| state.parked += parked);
    Ok(())
}

/// One burial per bad message of partitions that are still ours, in order of arrival.
fn burials<'a, R: Row>(batch: &'a Batch<R>, written: &Written, lost: &[Partition]) -> Vec<(usize, Burial<'a>)> {
    let mut verdicts = HashMap::new();
    for verdict in &written.verdicts {
        verdicts.entry(verdict.message).or_insert(verdict);
    }
    let ours = batch.messages.iter().enumerate().filter(|(_, held)| !lost.contains(&held.message.partition));
    ours.filter_map(|(at, held)| {
        let burial = |refusal: &crate::sink::Refusal, sink, attempts| Burial {
            message: &held.message,
            environment: held.environment.as_deref(),
            refusal: refusal.clone(),
            sink,
            attempts,
        };
        // What is parked is judged as a whole when it is read back.
        if written.parked.binary_search(&at).is_ok() {
            return None;
        }
        let burial = match (&held.refusal, verdicts.get(&at)) {
            (Some(refusal), _) => burial(refusal, None, 1),
            (None, Some(verdict)) => burial(&verdict.refusal, Some(verdict.sink.clone()), verdict.attempts),
            (None, None) => return None,
        };
        Some((at, burial))
    })
    .collect()
}

async fn bury<R: Row>(
    shared: &Shared<R>,
    batch: &Batch<R>,
    burials: &[(usize, Burial<'_>)],
    parked: &[usize],
    id: &str,
) -> Result<(), PipelineError> {
    if let (Some((_, first)), None) = (burials.first(), &shared.graveyard) {
        return Err(PipelineError::NoDeadLetterTopic(first.to_string()));
    }
    {
        let mut bad = burials.iter().map(|(at, _)| *at).peekable();
        // What is parked is judged when it is read back.
        let judged = (0..batch.messages.len()).filter(|at| parked.binary_search(at).is_err());
        let judgement = judged.map(|at| bad.next_if_eq(&at).is_some());
        let mut budget = shared.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.judge(judgement).map_err(|reason| {
            let latest = burials.last().map(|(_, burial)| burial.to_string()).unwrap_or_default();
            PipelineError::Budget(format!("{reason}; the latest is {latest}"))
        })?;
    }
    let Some(graveyard) = &shared.graveyard else { return Ok(()) };
    let burials: Vec<&Burial<'_>> = burials.iter().map(|(_, burial)| burial).collect();
    graveyard.bury(&burials, id, &shared.policy, &shared.health).await
}

/// Event times of its messages, by environment and destination: what freshness is measured from.
///
/// Only of messages that are still ours and have rows: the destination is that of the first. One that was buried or parked is
/// not whole in the stores, however fresh. Messages alike come in runs, and there are few kinds, so the last one is looked at
/// first and then all.
fn event_times<R: Row>(batch: &Batch<R>, lost: &[Partition], unstored: &[usize]) -> Vec<((Arc<str>, usize), Vec<i64>)> {
    let mut times: Vec<((Arc<str>, usize), Vec<i64>)> = Vec::new();
    let mut latest = 0;
    let mut before = None;
    for (row, message) in &batch.rows {
        if before.replace(*message) == Some(*message) {
            continue;
        }
        let held = &batch.messages[*message];
        if lost.contains(&held.message.partition) || unstored.binary_search(message).is_ok() {
            continue;
        }
        let (Some(environment), Some(time)) = (&held.environment, held.event_time) else { continue };
        let is = |((id, destination), _): &((Arc<str>, usize), Vec<i64>)| {
            *destination == row.destination() && id == environment
        };
        if !times.get(latest).is_some_and(is) {
            latest = times.iter().position(is).unwrap_or_else(|| {
                times.push(((environment.clone(), row.destination()), Vec::with_capacity(batch.messages.len())));
                times.len() - 1
            });
        }
        times[latest].1.push(time);
    }
    times
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;

    use super::super::burial::Graveyard;
    use super::super::shared::Target;
    use super::super::{DeadLetterBudget, DeadLetterTopic, Health, Policy, Retry};
    use super::*;
    use crate::bus::{Placed, Publisher, Undelivered};
    use crate::decode::Decoded;
    use crate::message::{Headers, Message, Outgoing};
    use crate::sink::{ErrorClass, Refusal};

    struct Any;

    impl Row for Any {
        type Key = u8;

        fn key(&self) -> Option<&u8> {
            None
        }

        fn destination(&self) -> usize {
            0
        }

        fn rows(&self) -> usize {
            1
        }

        fn size(&self) -> usize {
            1
        }
    }

    struct Takes;

    #[async_trait]
    impl Publisher for Takes {
        async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
            let partition = Partition { topic: "dlq".into(), number: 0 };
            Ok(messages.iter().map(|_| Placed { partition: partition.clone(), offset: 0 }).collect())
        }
    }

    #[tokio::test]
    async fn freshness_is_that_of_messages_that_were_not_buried() {
        let policy = Policy {
            writer_type: "TEST",
            group: "test".to_owned(),
            max_rows: 10,
            max_bytes: 1000,
            max_messages: 10,
            max_age: Duration::from_secs(1),
            in_flight: 1,
            concurrency: 1,
            drain_within: Duration::from_secs(1),
            beside: false,
            eager: false,
            retry: Retry { first: Duration::ZERO, longest: Duration::ZERO },
            budget: DeadLetterBudget { max_ratio: 1.0, max_consecutive: 10 },
        };
        let mut batch = Batch::default();
        for number in 0..4 {
            let partition = Partition { topic: "t".into(), number: 0 };
            let message = Message {
                delivery: Delivery(number),
                partition,
                offset: number as i64,
                timestamp_ms: None,
                key: None,
                headers: Headers::new(),
                payload: None,
            };
            // Of the second and the third a part can be written.
            let refused =
                if matches!(number, 1 | 2) { vec![Refusal::new(ErrorClass::Decode, "bad")] } else { Vec::new() };
            let (environment, event_time) = (Some("prod".into()), Some(number as i64));
            let mut decoded = Decoded { environment, event_time, rows: vec![Any], refused, ..Decoded::default() };
            batch.push(message, &mut decoded, 1, &policy);
        }
        let topic = DeadLetterTopic {
            name: "dlq".to_owned(),
            max_message_bytes: None,
            max_header_bytes: None,
            compacts: false,
        };
        let graveyard = Graveyard::new(Arc::new(Takes), topic);
        let target = Target { destinations: Vec::new(), emission: None, transactions: None };
        let shared =
            Arc::new(Shared::new(target, Some(graveyard), None, Arc::default(), policy, Arc::new(Health::default())));
        let mut flights = Flights::default();
        flights.start(&shared, batch);
        let landed = flights.next().await.expect("it lands");
        let times = event_times(&landed.batch, &landed.lost, &landed.unstored);
        assert_eq!(times, [(("prod".into(), 0), vec![0, 3])]);
    }
}
