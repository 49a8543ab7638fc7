//! Asks queries again, as far as the server has room for them, and publishes what came of it.
//!
//! Trouble with the server is no trouble of this sink: a query that was not answered is not asked again, so the
//! runtime is never told to repeat a write for it. Only publishing is repeated, of outcomes that are kept meanwhile.

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

use crate::message::envelope::{Carrier, Event};
use crate::message::{EventType, Outgoing};
use crate::mirror::compare::Tolerance;
use crate::mirror::outcome::{fitted, outcome};
use crate::mirror::{Admission, BACKING_OFF, Client, Limits, Mirrored, RATE, Reply, Tally, Ticket, Valve, Verdict};
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};
use crate::value::time::now;
use crate::writer::outlet::Outlet;

/// No answer freed a slot in time.
const NO_SLOT: &str = "no_slot";
/// The server asked for less.
const THROTTLED: &str = "throttled";
/// It did not answer in time.
const TIMED_OUT: &str = "timed_out";
/// It could not be reached, or went away in mid-answer.
const UNREACHABLE: &str = "unreachable";
/// It gave no token.
const NO_TOKEN: &str = "no_token";

const SHED: [&str; 7] = [RATE, BACKING_OFF, NO_SLOT, THROTTLED, TIMED_OUT, UNREACHABLE, NO_TOKEN];

/// The one destination of a mirror.
pub struct MirrorSink {
    client: Arc<Client>,
    valve: Mutex<Valve>,
    tolerance: Tolerance,
    outlet: Outlet,
    source: String,
    tally: Mutex<Tally>,
    /// Outcomes of the write that is under way, until the bus has them; there is one write at a time.
    kept: Mutex<Option<(String, Vec<Published>)>>,
}

/// An outcome on its way, and the row that it is of.
#[derive(Clone)]
struct Published {
    row: usize,
    message: Result<Outgoing, Refusal>,
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
    /// For the writer of a group.
    pub fn new(client: Arc<Client>, limits: Limits, tolerance: Tolerance, outlet: Outlet, group: &str) -> Self {
        for reason in SHED {
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
            kept: Mutex::default(),
        }
    }

    /// Asks what may be asked; each query that was is in the answer.
    async fn ask_all<'a>(&'a self, rows: &'a [&'a Mirrored]) -> Vec<Published> {
        // What finds no place until then is shed, so that a write has an end however slow the server is.
        let until = Instant::now() + self.client.deadline();
        let mut next = 0;
        let mut under_way: FuturesUnordered<BoxFuture<'a, Published>> = FuturesUnordered::new();
        let mut published = Vec::new();
        loop {
            while let Some(row) = rows.get(next) {
                let now = Instant::now();
                let admission = self.admit(now, now < until);
                match admission {
                    Admission::Go(ticket) => {
                        under_way.push(self.under_way(next, row, ticket));
                    }
                    Admission::Wait if !under_way.is_empty() => break,
                    Admission::Wait => self.shed(NO_SLOT),
                    Admission::Shed(reason) => self.shed(reason),
                }
                next += 1;
            }
            match under_way.next().await {
                Some(outcome) => published.push(outcome),
                None if next == rows.len() => return published,
                None => {}
            }
        }
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
        match trouble(&reply) {
            Some(reason) => {
                self.shed(reason);
                locked(&self.tally).trouble(outcome.error.clone().unwrap_or_default());
            }
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
        let id = format!("{}/mirror", row.event_id);
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
            Reply::Answered { .. } => valve.answered(ticket, query, now),
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

    /// Publishes outcomes; the rows of those that the topic finds too large are refused.
    async fn publish(&self, published: &[Published]) -> Result<Outcome, SinkError> {
        let mut outcome = Outcome::default();
        let mut messages = Vec::with_capacity(published.len());
        for Published { row, message } in published {
            match message {
                Ok(message) => messages.push((*row, message.clone())),
                Err(refusal) => outcome.refused.push((*row, refusal.clone())),
            }
        }
        let all: Vec<Outgoing> = messages.iter().map(|(_, message)| message.clone()).collect();
        match self.send(&all).await {
            Err(SinkError::Poisoned(_)) => {
                // The topic takes less than it said: which of them, only one by one will tell.
                for (row, message) in messages {
                    match self.send(&[message]).await {
                        Err(SinkError::Poisoned(refusal)) => outcome.refused.push((row, refusal)),
                        other => other?,
                    }
                }
            }
            other => other?,
        }
        Ok(outcome)
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<(), SinkError> {
        if messages.is_empty() { Ok(()) } else { self.outlet.publish(messages).await }
    }
}

/// Why a query is as good as not asked; `None` of one that the server took.
fn trouble(reply: &Reply) -> Option<&'static str> {
    match reply {
        Reply::Answered { .. } | Reply::Unaskable(_) => None,
        Reply::Throttled { .. } => Some(THROTTLED),
        Reply::TimedOut { .. } => Some(TIMED_OUT),
        Reply::Unreachable(_) => Some(UNREACHABLE),
        Reply::NoToken(_) => Some(NO_TOKEN),
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
        let kept = locked(&self.kept).take().filter(|(id, _)| id == write.id);
        let published = match kept {
            Some((_, published)) => published,
            None => self.ask_all(write.rows).await,
        };
        // Kept before it is published, so that a repetition asks nobody.
        *locked(&self.kept) = Some((write.id.to_owned(), published.clone()));
        let mut outcome = self.publish(&published).await?;
        *locked(&self.kept) = None;
        outcome.stored = (published.len() - outcome.refused.len()) as u64;
        Ok(outcome)
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
