//! How much a server may be asked: decided for each query, from what the answers before it were like.
//!
//! Three bounds stand over one another. A [bucket](super::bucket) bounds queries a second. A limit bounds
//! queries at once: it grows by one for as many good answers as it is large, more slowly where it had to shrink
//! not long ago, and never beyond its ceiling; it shrinks by half or less when answers become
//! [slower](super::pace). And when the server refuses (429, 502 to 504), does not answer in time, cannot be reached, or
//! fails at one query after the other, everything stops for a pause, which doubles from time to time, or is as
//! long as the server asks; behind it one query goes first, and others only after it was answered.
//!
//! Only good answers open anything, and only they tell how fast the server is: it fails faster than it works.
//!
//! Below one at once, the limit is the share of time in which that one is under way: a tenth is a query, then a
//! pause of nine times what it took.
//!
//! What may not be asked now is shed, and never asked later: a queue would only move the load to a worse time.
//! Nothing here waits or sees a clock; times are given.

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::pace::Pace;

/// Answers so many times as slow as usual are too slow.
const TOO_SLOW: f64 = 1.5;
/// By what part of a query the limit grows a round trip, right after it had to shrink.
const CAREFUL: f64 = 0.05;
/// The smallest share of time in which a slow server is asked.
const LEAST: f64 = 0.02;
/// So many failures without a good answer between them are no longer about the queries.
const IN_A_ROW: u32 = 8;
/// However long a server asks us to wait, it is asked again after this.
const LONGEST_ASKED: Duration = Duration::from_mins(10);

/// Bounds that people set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most queries at once.
    pub ceiling: usize,
    /// Most queries a second; `None` is no bound.
    pub per_second: Option<f64>,
    /// The first pause after trouble.
    pub first_pause: Duration,
    /// What pauses double up to.
    pub longest_pause: Duration,
}

impl Limits {
    /// So many at once and a second, with the usual pauses.
    pub const fn new(ceiling: usize, per_second: Option<f64>) -> Self {
        Self { ceiling, per_second, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(30) }
    }
}

/// Whether a query may be asked.
#[derive(Debug)]
pub enum Admission {
    /// Now.
    Go(Ticket),
    /// When one that is under way has been answered.
    Wait,
    /// Not at all, for this reason.
    Shed(&'static str),
}

/// A query that is under way.
#[derive(Debug)]
pub struct Ticket {
    sent: Instant,
}

/// There is a bound on queries a second, and it is reached.
pub const RATE: &str = "rate";
/// The server was in trouble, or slow, a moment ago.
pub const BACKING_OFF: &str = "backing_off";

/// Decides, and learns from the answers.
#[derive(Debug)]
pub struct Valve {
    limits: Limits,
    bucket: Option<Bucket>,
    pace: Pace,
    limit: f64,
    /// What the limit grows by for as many good answers as it is large.
    growth: f64,
    under_way: usize,
    /// Nothing goes before.
    closed_until: Instant,
    /// Queries sent before say nothing of how the server is now.
    changed_at: Instant,
    /// The server was in trouble, and has not answered since.
    probing: bool,
    /// Failures since the last good answer.
    failures: u32,
    next_pause: Duration,
}

impl Valve {
    /// Open for one query at a time, to begin with.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            bucket: limits.per_second.map(|per_second| Bucket::new(per_second, now)),
            pace: Pace::default(),
            limit: 1.0,
            growth: 1.0,
            under_way: 0,
            closed_until: now,
            changed_at: now,
            probing: false,
            failures: 0,
            next_pause: limits.first_pause,
        }
    }

    /// How many queries may be under way at once; below one, for what share of time one may.
    pub const fn limit(&self) -> f64 {
        self.limit
    }

    /// For how long nothing is asked from now on.
    pub fn closed_for(&self, now: Instant) -> Duration {
        self.closed_until.saturating_duration_since(now)
    }

    /// Whether one more query may be asked. Every [`Admission::Go`] is to be followed by one of the others.
    pub fn admit(&mut self, now: Instant) -> Admission {
        if now < self.closed_until || (self.under_way > 0 && (self.probing || self.limit < 1.0)) {
            return Admission::Shed(BACKING_OFF);
        }
        // A limit is at least one here, or nothing is under way.
        if self.under_way >= (self.limit as usize).max(1) {
            return Admission::Wait;
        }
        if self.bucket.as_mut().is_some_and(|bucket| !bucket.take(now)) {
            return Admission::Shed(RATE);
        }
        self.under_way += 1;
        Admission::Go(Ticket { sent: now })
    }

    /// The query was answered as it was meant to be.
    pub fn answered(&mut self, ticket: Ticket, query: &str, now: Instant) {
        self.under_way -= 1;
        let took = now.saturating_duration_since(ticket.sent);
        let slowness = self.pace.add(query, took, self.limit <= 1.0);
        // What was under way when the limit changed was asked under the old one.
        if ticket.sent <= self.changed_at {
            return;
        }
        self.probing = false;
        self.failures = 0;
        if slowness > TOO_SLOW {
            self.limit = (self.limit * (TOO_SLOW / slowness).max(0.5)).max(LEAST);
            self.growth = CAREFUL;
            self.changed_at = now;
        } else {
            let larger =
                if self.limit < 1.0 { (self.limit * 1.5).min(1.0) } else { self.limit + self.growth / self.limit };
            self.limit = larger.min(self.limits.ceiling.max(1) as f64);
            self.growth = (self.growth * 1.01).min(1.0);
            // Eight good answers forget half of a trouble.
            self.next_pause = (self.next_pause * 23 / 25).max(self.limits.first_pause);
        }
        self.rest(took, now);
    }

    /// The server took the query and failed at it. That may be the query's fault; after several in a row, or where a
    /// good answer was waited for, it is trouble like any other.
    pub fn failed(&mut self, ticket: Ticket, now: Instant) {
        if ticket.sent > self.changed_at {
            self.failures += 1;
        }
        if self.probing || self.failures >= IN_A_ROW {
            return self.troubled(ticket, None, now);
        }
        self.declined(ticket, now);
    }

    /// The server would not do what it was asked, or its answer cannot be read: no reason to ask it more, or less.
    pub fn declined(&mut self, ticket: Ticket, now: Instant) {
        self.under_way -= 1;
        self.rest(now.saturating_duration_since(ticket.sent), now);
    }

    /// The server refused the query, did not answer in time or could not be reached; it may have said how long it
    /// wants to be left alone.
    pub fn troubled(&mut self, ticket: Ticket, after: Option<Duration>, now: Instant) {
        self.under_way -= 1;
        let asked = after.unwrap_or_default().min(LONGEST_ASKED);
        if ticket.sent <= self.changed_at && self.probing {
            // One trouble of several queries at once is one.
            return self.close(asked, now);
        }
        self.close(self.next_pause.max(asked), now);
        self.next_pause = (self.next_pause * 2).min(self.limits.longest_pause);
        self.limit = (self.limit / 2.0).max(1.0);
        self.growth = CAREFUL;
        self.probing = true;
        self.changed_at = now;
    }

    /// The query was given up by us, which says nothing of the server.
    pub fn dropped(&mut self, _ticket: Ticket) {
        self.under_way -= 1;
    }

    /// Keeps to the share of time in which a slow server is asked.
    fn rest(&mut self, took: Duration, now: Instant) {
        if self.limit < 1.0 {
            let pause = took.mul_f64(1.0 / self.limit - 1.0);
            self.close(pause.min(self.limits.longest_pause), now);
        }
    }

    fn close(&mut self, pause: Duration, now: Instant) {
        self.closed_until = self.closed_until.max(now + pause);
    }
}

#[cfg(test)]
mod tests;
