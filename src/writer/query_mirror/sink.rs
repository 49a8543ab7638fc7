//! Asks queries again, as far as the server has room for them, and publishes what came of it.
//!
//! Trouble with the server is no trouble of this sink: a query that was not answered is not asked again, so the
//! runtime is never told to repeat a write for it. Only publishing is repeated, of outcomes that are kept meanwhile.
//! They are not kept to the end of a large batch: as soon as they take more memory than they may, asking pauses
//! until the bus has them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use prost::Message as _;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::progress::{Progress, Published};
use super::trouble::{Complaints, Trouble, UNANSWERED};
use crate::message::envelope::{Carrier, Event};
use crate::message::{EventType, Outgoing};
use crate::mirror::compare::Tolerance;
use crate::mirror::outcome::{fitted, outcome};
use crate::mirror::{
    Admission, BACKING_OFF, Client, Limits, Mirrored, RATE, Reply, Stance, Tally, Ticket, Valve, Verdict,
};
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};
use crate::value::time::now;
use crate::writer::outlet::Outlet;

/// No answer freed a slot in time.
const NO_SLOT: &str = "no_slot";
/// Why a query was not asked.
const SHED: [&str; 3] = [RATE, BACKING_OFF, NO_SLOT];

/// The one destination of a mirror.
pub struct MirrorSink {
    client: Arc<Client>,
    valve: Mutex<Valve>,
    tolerance: Tolerance,
    outlet: Outlet,
    source: String,
    tally: Mutex<Tally>,
    complaints: Mutex<Complaints>,
    /// Bytes of outcomes that may be kept before they are published.
    most_kept: usize,
    progress: Mutex<Progress>,
}

/// A query that is under way; dropped without an answer, it gives its place back.
struct UnderWay<'a> {
    sink: &'a MirrorSink,
    ticket: Option<Ticket>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            locked(&self.sink.valve).dropped(ticket);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MirrorSink {
    /// For the writer of a group, which keeps so many bytes of outcomes until the bus has them.
    pub fn new(
        client: Arc<Client>,
        limits: Limits,
        tolerance: Tolerance,
        outlet: Outlet,
        group: &str,
        most_kept: usize,
    ) -> Self {
        for reason in SHED.into_iter().chain(UNANSWERED) {
            count_shed(reason, 0);
        }
        for verdict in Verdict::ALL {
            count_asked(verdict, 0);
        }
        Self {
            client,
            valve: Mutex::new(Valve::new(limits, Instant::now())),
            tolerance,
            outlet,
            source: format!("chalk-writer/{group}"),
            tally: Mutex::default(),
            complaints: Mutex::default(),
            most_kept,
            progress: Mutex::default(),
        }
    }

    /// Asks what may be asked, and keeps what comes of each query that was; pauses where that is too much. Whether
    /// anything is kept.
    async fn ask_on<'a>(&'a self, rows: &'a [&'a Mirrored]) -> bool {
        // What finds no place until then is shed, so that a write has an end however slow the server is.
        let (begun, left) = (Instant::now(), locked(&self.progress).left);
        let mut under_way: FuturesUnordered<BoxFuture<'a, Published>> = FuturesUnordered::new();
        loop {
            while let Some((at, row)) = self.next(rows) {
                let now = Instant::now();
                match self.admit(now, now.duration_since(begun) < left) {
                    Admission::Go(ticket) => under_way.push(self.under_way(at, row, ticket)),
                    Admission::Wait if !under_way.is_empty() => break,
                    Admission::Wait => self.shed(NO_SLOT),
                    Admission::Shed(reason) => self.shed(reason),
                }
                // Before it is asked: whatever becomes of this write, its repetition asks it no more.
                locked(&self.progress).next = at + 1;
            }
            match under_way.next().await {
                Some(outcome) => locked(&self.progress).keep(outcome),
                None => break,
            }
        }
        let mut progress = locked(&self.progress);
        progress.left = left.saturating_sub(begun.elapsed());
        progress.kept_bytes() > 0
    }

    /// The next row to be dealt with, unless so much is kept already that it is to be published first.
    fn next<'a>(&self, rows: &[&'a Mirrored]) -> Option<(usize, &'a Mirrored)> {
        let progress = locked(&self.progress);
        if progress.kept_bytes() > self.most_kept { None } else { Some((progress.next, *rows.get(progress.next)?)) }
    }

    fn admit(&self, now: Instant, in_time: bool) -> Admission {
        let mut valve = locked(&self.valve);
        if in_time {
            return valve.admit(now);
        }
        Admission::Shed(if valve.closed_for(now).is_zero() { NO_SLOT } else { BACKING_OFF })
    }

    fn under_way<'a>(&'a self, at: usize, row: &'a Mirrored, ticket: Ticket) -> BoxFuture<'a, Published> {
        let under = UnderWay { sink: self, ticket: Some(ticket) };
        async move { Published { row: at, message: self.ask(row, under).await } }.boxed()
    }

    async fn ask(&self, row: &Mirrored, mut under: UnderWay<'_>) -> Result<Outgoing, Refusal> {
        let reply = self.client.ask(&row.query, &row.environment).await;
        let mirrored_at = now();
        let name = row.query.name();
        self.learn(&reply, name.as_deref().unwrap_or_default(), &mut under);
        let outcome = outcome(&row.logged, name, &reply, self.tolerance, mirrored_at);
        let trouble = Trouble::of(&reply, &outcome);
        if let Some(trouble) = &trouble {
            locked(&self.complaints).note(trouble, self.client.url().as_str(), Instant::now());
            locked(&self.tally).trouble(trouble.what.clone());
        }
        match trouble.and_then(|trouble| trouble.unanswered()) {
            Some(reason) => self.shed(reason),
            None => {
                let verdict = Verdict::of(&outcome);
                let recorded = outcome.recorded.as_ref().and_then(|answer| answer.duration_seconds);
                let mirrored = outcome.mirrored.as_ref().and_then(|answer| answer.duration_seconds);
                count_asked(verdict, 1);
                for (side, seconds) in [("recorded", recorded), ("mirrored", mirrored)] {
                    if let Some(seconds) = seconds {
                        metrics::histogram!("chalk_writer_mirror_seconds", "side" => side).record(seconds);
                    }
                }
                locked(&self.tally).mirrored(verdict, recorded, mirrored);
            }
        }
        let id = format!("{}/mirror", row.event);
        let event = Event {
            id: &id,
            source: &self.source,
            event_type: EventType::QueryMirror,
            time: Some(mirrored_at),
            content_type: "application/protobuf",
            environment: &row.environment,
            deployment: &row.logged.deployment_id,
            operation: &row.logged.operation_id,
        };
        let headers = event.headers(Carrier::Kafka);
        let room = self.outlet.room(None, &headers);
        let body = Bytes::from(fitted(outcome, room).encode_to_vec());
        if body.len() > room {
            let why = format!("its outcome has {} bytes at the least, and the topic takes {room}", body.len());
            return Err(Refusal::new(ErrorClass::TooLarge, why).harmless());
        }
        Ok(self.outlet.message(None, headers, body))
    }

    /// Tells the valve what an answer was like.
    fn learn(&self, reply: &Reply, query: &str, under: &mut UnderWay<'_>) {
        let Some(ticket) = under.ticket.take() else { return };
        let (now, mut valve) = (Instant::now(), locked(&self.valve));
        match reply {
            Reply::Answered { status, answer, .. } => match Stance::of(*status, answer.is_ok()) {
                Stance::Works => valve.answered(ticket, query, now),
                Stance::Declines => valve.declined(ticket, now),
                Stance::Denies | Stance::Fails => valve.failed(ticket, now),
            },
            Reply::Throttled { after, .. } => valve.troubled(ticket, *after, now),
            Reply::TimedOut { .. } | Reply::Unreachable(_) | Reply::NoToken(_) => valve.troubled(ticket, None, now),
            Reply::Unaskable(_) => valve.dropped(ticket),
        }
        metrics::gauge!("chalk_writer_mirror_concurrency").set(valve.limit());
    }

    fn shed(&self, reason: &'static str) {
        count_shed(reason, 1);
        locked(&self.tally).shed(reason);
    }

    /// Publishes what is kept; the rows of those that the topic does not take are refused, and what may pass is left.
    async fn publish(&self) -> Result<(), SinkError> {
        let kept = locked(&self.progress).kept();
        if kept.is_empty() {
            return Ok(());
        }
        let (mut rows, mut messages) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
        let (mut refused, mut left, mut failed) = (Vec::new(), Vec::new(), None);
        for Published { row, message } in kept {
            match message {
                Ok(message) => {
                    rows.push(row);
                    messages.push(message);
                }
                Err(refusal) => refused.push((row, refusal)),
            }
        }
        let landings = self.outlet.publish(&messages).await;
        for ((row, message), landing) in rows.into_iter().zip(messages).zip(landings) {
            match landing {
                Ok(()) => {}
                Err(SinkError::Poisoned(refusal)) => refused.push((row, refusal)),
                Err(error) => {
                    left.push(Published { row, message: Ok(message) });
                    failed.get_or_insert(error);
                }
            }
        }
        locked(&self.progress).published(refused, left);
        failed.map_or(Ok(()), Err)
    }
}

fn count_shed(reason: &'static str, times: u64) {
    metrics::counter!("chalk_writer_mirror_shed_total", "reason" => reason).increment(times);
}

fn count_asked(verdict: Verdict, times: u64) {
    metrics::counter!("chalk_writer_mirror_queries_total", "outcome" => verdict.as_str()).increment(times);
}

#[async_trait]
impl Sink<Mirrored> for MirrorSink {
    async fn probe(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, write: Write<'_, Mirrored>) -> Result<Outcome, SinkError> {
        locked(&self.progress).begin(write.id, self.client.deadline());
        loop {
            // First what an attempt before this one has left.
            self.publish().await?;
            if !self.ask_on(write.rows).await {
                return Ok(locked(&self.progress).end());
            }
        }
    }

    fn collapse(&self, key: &Infallible, _: &[&Mirrored]) -> Mirrored {
        match *key {}
    }

    fn summary(&self) -> Option<Json> {
        let (limit, closed_for) = {
            let valve = locked(&self.valve);
            (valve.limit(), valve.closed_for(Instant::now()))
        };
        let closed_for = Duration::from_millis(closed_for.as_millis() as u64);
        Some(locked(&self.tally).summary(limit, closed_for))
    }
}
