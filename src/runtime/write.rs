//! Writes one batch to its end: every row durable, or its message among those to be buried.
//!
//! Each destination is written by itself, so that one which is away holds up only what goes to it.
//! Within one, rows are written as parts. A part whose fate is unknown is repeated as it is, under
//! the same id; it is cut smaller only after the store has said that it took none of it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::time::sleep;

use super::batch::{Batch, Unit};
use super::health::Report;
use super::parking::{Away, Parking};
use super::pause::Pauses;
use super::shared::Shared;
use super::{Destination, Policy};
use crate::sink::{Outcome, Refusal, Row, SinkError, Write};

/// A verdict on a row of a batch.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Index of the row's message in the batch.
    pub(super) message: usize,
    pub(super) refusal: Refusal,
    /// Name of the destination.
    pub(super) sink: String,
    pub(super) attempts: u32,
}

/// What a batch's rows came to.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) verdicts: Vec<Verdict>,
    pub(super) stored: u64,
    pub(super) stale: u64,
    /// Messages, by their index, with rows that no store has because one has been away for too long.
    pub(super) parked: Vec<usize>,
}

/// How a write call fails: the label `kind` of its counter.
const KINDS: [&str; 5] = ["transient", "throttled", "denied", "poisoned", "again"];

/// Shows the errors of a destination before there are any, so that the first ones count as an increase.
pub(super) fn count_from_zero(destination: &str) {
    for kind in KINDS {
        count_errors(destination, kind, 0);
    }
}

pub(super) fn count_errors(destination: &str, kind: &'static str, times: u64) {
    metrics::counter!("chalk_writer_store_errors_total", "destination" => destination.to_owned(), "kind" => kind)
        .increment(times);
}

/// Units that are written in one call.
struct Part<R> {
    id: String,
    units: Vec<Unit<R>>,
}

/// Writes the rows of a batch; ends with an error only on a bug.
pub(super) async fn write<R: Row>(id: &str, batch: &Batch<R>, shared: &Shared<R>) -> Result<Written, String> {
    let each = shared.destinations.iter().enumerate().map(|(index, destination)| {
        let units = batch.units(index, &*destination.sink);
        let report = Report::new(&shared.health, part(&shared.policy, &destination.name));
        let concurrency = &shared.concurrency[index];
        let Shared { policy, parking, away, .. } = shared;
        let patience = Patience { parking: parking.as_ref(), away, index };
        let writing = Writing { batch, destination, policy, concurrency, report, patience, attempts: 0, halved: false };
        writing.run(Part { id: format!("{id}-{index}"), units })
    });
    let mut whole = Written::default();
    // A bug in one ends the process, whatever the others wait for.
    for part in try_join_all(each).await? {
        whole.verdicts.extend(part.verdicts);
        whole.stored += part.stored;
        whole.stale += part.stale;
        whole.parked.extend(part.parked);
    }
    whole.parked.sort_unstable();
    whole.parked.dedup();
    Ok(whole)
}

/// What health calls a destination. Where what was parked waits for a store, that others of it are written is no sign that
/// those can be.
fn part<'a>(policy: &Policy, destination: &'a str) -> Cow<'a, str> {
    if policy.beside { format!("{destination}, of what is parked").into() } else { destination.into() }
}

/// How long one destination is waited for.
struct Patience<'a> {
    parking: Option<&'a Parking>,
    away: &'a Away,
    index: usize,
}

impl Patience<'_> {
    /// What is left of it; `None` is without end.
    fn left(&self) -> Option<Duration> {
        self.parking.map(|parking| parking.patience(self.away, self.index))
    }
}

/// The rows of one batch on their way into one destination.
struct Writing<'a, R: Row> {
    batch: &'a Batch<R>,
    destination: &'a Destination<R>,
    policy: &'a Policy,
    concurrency: &'a AtomicUsize,
    report: Report<'a>,
    patience: Patience<'a>,
    attempts: u32,
    /// Whether it was said that rows at fault are looked for.
    halved: bool,
}

impl<R: Row> Writing<'_, R> {
    async fn run(mut self, whole: Part<R>) -> Result<Written, String> {
        let mut written = Written::default();
        let mut pauses = Pauses::new(self.policy.retry);
        let mut parts = VecDeque::from([whole]);
        while let Some(part) = parts.pop_front() {
            if part.units.is_empty() {
                continue;
            }
            if self.patience.left() == Some(Duration::ZERO) {
                self.report.stays();
                parts.push_front(part);
                written.parked = self.messages(&parts);
                return Ok(written);
            }
            match self.attempt(&part).await {
                Ok(mut outcome) => {
                    if outcome.poisoned > 0 {
                        self.count_errors("poisoned", outcome.poisoned);
                        if let Some((_, refusal)) = outcome.refused.first() {
                            self.say_halving(part.units.len(), refusal);
                        }
                    }
                    let reason = outcome.reason.take();
                    let mut rest = self.settle(part, outcome, &mut written)?;
                    let now = self.concurrency.load(Ordering::Relaxed);
                    self.concurrency.store((now + 1).min(self.policy.concurrency), Ordering::Relaxed);
                    if rest.again.is_empty() {
                        self.works();
                        pauses.reset();
                    } else {
                        self.failed("again", reason.as_deref().unwrap_or("some rows were not taken yet"), false);
                        parts.push_front(rest.again_part());
                        self.pause(pauses.next(None)).await;
                    }
                    parts.extend(rest.members);
                }
                Err(SinkError::Transient { reason }) => {
                    self.failed("transient", &reason, false);
                    parts.push_front(part);
                    self.pause(pauses.next(None)).await;
                }
                Err(SinkError::Throttled { reason, after }) => {
                    self.failed("throttled", &reason, false);
                    let now = self.concurrency.load(Ordering::Relaxed);
                    self.concurrency.store((now / 2).max(1), Ordering::Relaxed);
                    parts.push_front(part);
                    self.pause(pauses.next(after)).await;
                }
                Err(SinkError::Denied { reason }) => {
                    self.failed("denied", &reason, true);
                    parts.push_front(part);
                    self.pause(pauses.next(None)).await;
                }
                Err(SinkError::Poisoned(refusal)) => {
                    self.count_errors("poisoned", 1);
                    if part.units.len() > 1 {
                        self.say_halving(part.units.len(), &refusal);
                    }
                    // The store answered, so it is not in trouble.
                    self.works();
                    pauses.reset();
                    for part in self.isolate(part, refusal, &mut written).into_iter().rev() {
                        parts.push_front(part);
                    }
                }
                Err(SinkError::Bug { reason }) => return Err(format!("{}: {reason}", self.destination.name)),
            }
        }
        Ok(written)
    }

    async fn attempt(&mut self, part: &Part<R>) -> Result<Outcome, SinkError> {
        self.attempts += 1;
        let rows: Vec<&R> = part.units.iter().map(|unit| unit.row(self.batch)).collect();
        let concurrency = self.concurrency.load(Ordering::Relaxed);
        let begun = Instant::now();
        let result = self.destination.sink.write(Write { id: &part.id, rows: &rows, concurrency }).await;
        metrics::histogram!("chalk_writer_store_write_seconds", "destination" => self.destination.name.clone())
            .record(begun.elapsed().as_secs_f64());
        result
    }

    /// Sorts a part's units by what became of them.
    fn settle(&self, part: Part<R>, outcome: Outcome, written: &mut Written) -> Result<Rest<R>, String> {
        written.stored += outcome.stored;
        written.stale += outcome.stale;
        if outcome.refused.is_empty() && outcome.again.is_empty() {
            return Ok(Rest { id: part.id, again: Vec::new(), members: Vec::new() });
        }
        let count = part.units.len();
        let mut units: Vec<Option<Unit<R>>> = part.units.into_iter().map(Some).collect();
        let mut take = |at: usize| {
            units
                .get_mut(at)
                .and_then(Option::take)
                .ok_or_else(|| format!("{} named row {at} of {count}, or named it twice", self.destination.name))
        };
        let mut rest = Rest { id: part.id, again: Vec::new(), members: Vec::new() };
        for (at, refusal) in outcome.refused {
            self.refuse(take(at)?, refusal, &mut rest, written);
        }
        for at in outcome.again {
            rest.again.push(take(at)?);
        }
        Ok(rest)
    }

    /// Halves a part until the row at fault stands alone.
    fn isolate(&self, mut part: Part<R>, refusal: Refusal, written: &mut Written) -> Vec<Part<R>> {
        if part.units.len() > 1 {
            let second = part.units.split_off(part.units.len() / 2);
            return vec![
                Part { id: format!("{}-h0", part.id), units: part.units },
                Part { id: format!("{}-h1", part.id), units: second },
            ];
        }
        let mut rest = Rest { id: part.id, again: Vec::new(), members: Vec::new() };
        for unit in part.units {
            self.refuse(unit, refusal.clone(), &mut rest, written);
        }
        rest.members
    }

    /// A collapsed unit that the store refuses is written member by member: the messages whose
    /// values were collapsed away are done only when a newer value of theirs is stored.
    fn refuse(&self, unit: Unit<R>, refusal: Refusal, rest: &mut Rest<R>, written: &mut Written) {
        if let Some(row) = unit.alone() {
            written.verdicts.push(Verdict {
                message: self.batch.rows[row].1,
                refusal,
                sink: self.destination.name.clone(),
                attempts: self.attempts,
            });
            return;
        }
        for (round, member) in unit.split().enumerate() {
            if rest.members.len() <= round {
                rest.members.push(Part { id: format!("{}-m{round}", rest.id), units: Vec::new() });
            }
            rest.members[round].units.push(member);
        }
    }

    fn works(&self) {
        self.patience.away.works(self.patience.index);
        self.report.works();
    }

    /// Waits before the next attempt, but no longer than it is waited for at all.
    async fn pause(&self, pause: Duration) {
        sleep(self.patience.left().map_or(pause, |left| pause.min(left))).await;
    }

    /// The messages of what is not written yet.
    fn messages(&self, parts: &VecDeque<Part<R>>) -> Vec<usize> {
        let rows = parts.iter().flat_map(|part| &part.units).flat_map(Unit::members);
        rows.map(|row| self.batch.rows[row].1).collect()
    }

    fn failed(&self, kind: &'static str, reason: &str, denied: bool) {
        self.count_errors(kind, 1);
        self.patience.away.failed(self.patience.index);
        self.report.failed(reason, denied);
    }

    /// Says once a batch that it takes longer, and why.
    fn say_halving(&mut self, rows: usize, refusal: &Refusal) {
        if !std::mem::replace(&mut self.halved, true) {
            let destination = &self.destination.name;
            tracing::warn!(
                "{destination}: the store refuses some of {rows} rows and does not say which ({}); looking for \
                 them by halving",
                refusal.for_logs()
            );
        }
    }

    fn count_errors(&self, kind: &'static str, times: u64) {
        count_errors(&self.destination.name, kind, times);
    }
}

/// What is left of a part after an answer.
struct Rest<R> {
    id: String,
    again: Vec<Unit<R>>,
    /// Members of refused units, in rounds: no two rows of one round share a key.
    members: Vec<Part<R>>,
}

impl<R> Rest<R> {
    /// Other rows than before, so another id.
    fn again_part(&mut self) -> Part<R> {
        Part { id: format!("{}-r", self.id), units: std::mem::take(&mut self.again) }
    }
}
