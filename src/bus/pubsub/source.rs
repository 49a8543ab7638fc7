//! The messages of a subscription, numbered as they come, and acknowledged by number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::client::Clients;
use super::confirm::Confirming;
use super::group::{Group, Room};
use super::inspect;
use super::question::Question;
use super::streams::Streams;
use super::temporary::Temporary;
use super::topics;
use crate::bus::inspect::SetUp;
use crate::bus::{BusError, HeldUp, Hold, PartitionStatus, Received, Source, Subscribe, Subscription};
use crate::message::{Delivery, Message, Partition};

/// Nothing came for so long: for now, everything is read.
const CAUGHT_UP_AFTER: Duration = Duration::from_millis(300);
/// Nothing came for so long: the service is asked whether it is there, since a stream does not tell.
const ASKED_AFTER: Duration = Duration::from_secs(20);
/// How long the end waits for acknowledgements.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Reads a subscription, which [`Subscribe::group`] names.
pub(super) async fn subscribe(clients: &Arc<Clients>, subscribe: Subscribe) -> Result<Subscription, BusError> {
    let known = topics::described(clients, &subscribe.group).await?;
    for SetUp { name, found, fix } in inspect::set_up(&known.settings) {
        if let Some(fix) = fix {
            tracing::warn!(subscription = subscribe.group, "{name}: {found}; {fix}");
        }
    }
    let idle = drained_after(clients.settings.drain_idle, &known.settings);
    let reading = Reading {
        subscription: known.name,
        topic: known.topic.into(),
        hold: subscribe.hold,
        until_idle: subscribe.drain.then_some(idle),
        first_within: Duration::ZERO,
        until_ms: None,
        temporary: None,
    };
    Ok(read(clients, reading))
}

/// How long nothing comes before a subscription is empty. What another reader has handed back comes only when the retry policy lets
/// it: by its longest pause, and then as soon as anything else would.
fn drained_after(idle: Duration, subscription: &google_cloud_pubsub::model::Subscription) -> Duration {
    idle + inspect::pauses(subscription).map_or(Duration::ZERO, |(_, longest)| longest)
}

/// What is read, and how far.
pub(super) struct Reading {
    /// The subscription's whole name.
    pub(super) subscription: String,
    /// The topic, as people name it.
    pub(super) topic: Arc<str>,
    /// Delivered and not acknowledged at the most.
    pub(super) hold: Hold,
    /// End once nothing has come for so long, and everything is acknowledged.
    pub(super) until_idle: Option<Duration>,
    /// The first message is waited for at least so long.
    pub(super) first_within: Duration,
    /// Messages of this time or later are none of ours.
    pub(super) until_ms: Option<i64>,
    /// The subscription is made for this reading.
    pub(super) temporary: Option<Temporary>,
}

/// Starts a reading.
pub(super) fn read(clients: &Arc<Clients>, reading: Reading) -> Subscription {
    let streams = Streams::start(clients, &reading.subscription, clients.settings.streams, reading.hold);
    let partition = Partition { topic: Arc::clone(&reading.topic), number: 0 };
    let held_up = HeldUp::default();
    let known = PartitionStatus { partition, position: None, end: None, lag: Duration::ZERO, held_up };
    let (status_in, status) = watch::channel(vec![known]);
    let oldest_ms = Arc::new(AtomicI64::new(NOTHING));
    let (oldest, teller) = (Arc::clone(&oldest_ms), status_in.clone());
    let telling = tokio::spawn(async move {
        loop {
            tokio::time::sleep(TOLD_EVERY).await;
            tell(&teller, &oldest);
        }
    });
    let source = PubsubSource {
        oldest_ms,
        _telling: AbortOnDropHandle::new(telling),
        clients: Arc::clone(clients),
        confirming: Confirming::start(clients.short(&reading.subscription).to_owned()),
        reading,
        streams: Some(streams),
        fetched: Vec::new(),
        held: VecDeque::new(),
        rooms: VecDeque::new(),
        next: 0,
        quiet_since: Instant::now(),
        has_come: false,
        heard: Instant::now(),
        question: None,
        is_doubted: false,
        is_caught_up: false,
        status: status_in,
    };
    // Nothing is ever handed over: the channel is closed from the start.
    Subscription { source: Box::new(source), handovers: mpsc::channel(1).1, status, transactions: None }
}

/// A message that was delivered and is not acknowledged.
struct Held {
    delivery: u64,
    published_ms: Option<i64>,
    handler: Handler,
}

struct PubsubSource {
    clients: Arc<Clients>,
    reading: Reading,
    streams: Option<Streams>,
    confirming: Confirming,
    /// Taken from the streams and not given on: a wait that is dropped keeps it.
    fetched: Vec<Group>,
    held: VecDeque<Held>,
    /// What they take up, up to a delivery each.
    rooms: VecDeque<(u64, Room)>,
    next: u64,
    /// Since when nothing came and nothing was at work.
    quiet_since: Instant,
    /// Whether a message has come at all.
    has_come: bool,
    /// When the service was last heard of.
    heard: Instant,
    /// Whether the service is there, while that is being asked.
    question: Option<Question>,
    /// Something has failed, and the service was not heard of since: silence says nothing.
    is_doubted: bool,
    is_caught_up: bool,
    /// When the oldest message that is held was published, in milliseconds since 1970; [`NOTHING`] where none is.
    oldest_ms: Arc<AtomicI64>,
    status: watch::Sender<Vec<PartitionStatus>>,
    _telling: AbortOnDropHandle<()>,
}

/// No message is held.
const NOTHING: i64 = i64::MIN;
/// Between two looks at how old the oldest message is, which ages whether anything comes or not.
const TOLD_EVERY: Duration = Duration::from_secs(1);

#[async_trait]
impl Source for PubsubSource {
    async fn next(&mut self) -> Result<Received, BusError> {
        loop {
            if !self.fetched.is_empty() {
                match self.give() {
                    messages if messages.is_empty() => continue,
                    messages => return Ok(Received::Messages(messages)),
                }
            }
            let deadline = self.deadline();
            let Some(streams) = &mut self.streams else {
                return Err(BusError::Failed("the consumer is closed".to_owned()));
            };
            // Every branch is cancel-safe: what was received and the question that is under way are kept here.
            tokio::select! {
                biased;
                received = streams.receive(&mut self.fetched) => {
                    if let Err(error) = received {
                        self.doubts();
                        return Err(error);
                    }
                }
                answer = answered(&mut self.question) => {
                    if let Some(received) = self.answered(answer)? {
                        return Ok(received);
                    }
                }
                () = reached(deadline) => {
                    if let Some(received) = self.silence() {
                        return Ok(received);
                    }
                }
            }
        }
    }

    fn acknowledge(&mut self, last: Delivery) {
        while self.held.front().is_some_and(|held| held.delivery <= last.0)
            && let Some(held) = self.held.pop_front()
        {
            match held.handler {
                Handler::ExactlyOnce(handler) => self.confirming.confirm(handler),
                other => other.ack(),
            }
        }
        while self.rooms.pop_front_if(|(until, _)| *until <= last.0).is_some() {}
        if self.held.is_empty() {
            self.quiet_since = Instant::now();
        }
        self.tell();
    }

    async fn close(&mut self) -> Result<(), BusError> {
        let Some(streams) = self.streams.take() else { return Ok(()) };
        let ended = async {
            // First, or what is handed back would come by them again.
            streams.stop().await;
            // Dropped, they are handed back, and delivered to another consumer at once.
            self.fetched.clear();
            self.held.clear();
            self.rooms.clear();
            self.confirming.end().await;
            streams.end().await;
        };
        let ended = tokio::time::timeout(CLOSE_WITHIN, ended).await;
        if let Some(temporary) = self.reading.temporary.take() {
            temporary.delete().await;
        }
        ended.map_err(|_| {
            BusError::Unavailable(format!(
                "acknowledgements of subscription `{}` did not all arrive within {CLOSE_WITHIN:?}; what they were for comes again",
                self.clients.short(&self.reading.subscription)
            ))
        })
    }
}

impl PubsubSource {
    /// Something has come. What is behind the end of a stretch shows that the service is there, and is no reason to wait for more.
    fn hears(&mut self, is_ours: bool) {
        self.heard = Instant::now();
        self.is_doubted = false;
        if is_ours {
            self.is_caught_up = false;
            self.quiet_since = self.heard;
            self.has_come = true;
        }
    }

    /// Something has failed.
    fn doubts(&mut self) {
        self.is_caught_up = false;
        self.quiet_since = Instant::now();
        self.is_doubted = true;
    }

    /// Numbers what was fetched.
    fn give(&mut self) -> Vec<Message> {
        let mut messages = Vec::with_capacity(self.fetched.iter().map(Group::len).sum());
        for group in self.fetched.drain(..) {
            let first = self.next;
            for (entry, handler) in group.messages {
                let published_ms = entry.published_ms;
                if self.reading.until_ms.is_some_and(|until| published_ms.is_some_and(|at| at >= until)) {
                    handler.ack();
                    continue;
                }
                self.held.push_back(Held { delivery: self.next, published_ms, handler });
                messages.push(entry.message(&group.block, &self.reading.topic, Delivery(self.next)));
                self.next += 1;
            }
            if self.next > first {
                self.rooms.push_back((self.next - 1, group.room));
            }
        }
        self.hears(!messages.is_empty());
        self.tell();
        messages
    }

    /// Whether nothing is wrong that is known, so that silence means something.
    fn is_sound(&self) -> bool {
        !self.is_doubted && self.streams.as_ref().is_some_and(|streams| !streams.are_in_trouble())
    }

    /// From when on nothing more is to be expected, if nothing comes and the service is there; `None` where that is never so.
    fn ends_at(&self) -> Option<Instant> {
        let idle = self.reading.until_idle.filter(|_| self.held.is_empty() && self.is_sound())?;
        let first = if self.has_come { Duration::ZERO } else { self.reading.first_within };
        Some(self.quiet_since + idle.max(first))
    }

    /// When everything that there is for now has come, if nothing comes until then.
    fn caught_up_at(&self) -> Option<Instant> {
        (!self.is_caught_up && self.is_sound()).then(|| self.quiet_since + CAUGHT_UP_AFTER)
    }

    /// When the service is asked whether it is there.
    fn asks_at(&self) -> Option<Instant> {
        if self.question.is_some() {
            return None;
        }
        let asks = if self.is_doubted { self.quiet_since + CAUGHT_UP_AFTER } else { self.heard + ASKED_AFTER };
        Some(self.ends_at().map_or(asks, |ends| asks.min(ends)))
    }

    /// Until when a message is waited for, before silence means something.
    fn deadline(&self) -> Option<Instant> {
        [self.caught_up_at(), self.asks_at()].into_iter().flatten().min()
    }

    /// What it means that nothing came up to a deadline.
    fn silence(&mut self) -> Option<Received> {
        let now = Instant::now();
        if self.caught_up_at().is_some_and(|at| at <= now) {
            self.is_caught_up = true;
            return Some(Received::CaughtUp);
        }
        if self.asks_at().is_some_and(|at| at <= now) {
            self.question = Some(Question::ask(&self.clients, &self.reading.subscription, &self.reading.topic));
        }
        None
    }

    /// The service was asked whether it is there.
    fn answered(&mut self, (asked, answer): (Instant, Result<(), BusError>)) -> Result<Option<Received>, BusError> {
        match answer {
            Ok(()) => {}
            // Messages came while it was being asked, by a way that works.
            Err(_) if self.heard > asked => return Ok(None),
            // What is held comes first: once it is dealt with this is asked again.
            Err(BusError::NotFound(_) | BusError::Settings(_) | BusError::Gap(_)) if !self.held.is_empty() => {}
            Err(error) => {
                self.doubts();
                return Err(error);
            }
        }
        let is_over = self.ends_at().is_some_and(|ends| ends <= asked);
        self.heard = Instant::now();
        self.is_doubted = false;
        Ok(is_over.then_some(Received::End))
    }

    fn tell(&self) {
        let oldest = self.held.front().and_then(|held| held.published_ms);
        self.oldest_ms.store(oldest.unwrap_or(NOTHING), Ordering::Release);
        tell(&self.status, &self.oldest_ms);
    }
}

/// Waits for the answer to a question, where one is under way. Cancel-safe.
async fn answered(question: &mut Option<Question>) -> (Instant, Result<(), BusError>) {
    let Some(open) = question else { return std::future::pending().await };
    let answer = open.answer().await;
    let asked = open.at;
    *question = None;
    (asked, answer)
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn tell(status: &watch::Sender<Vec<PartitionStatus>>, oldest_ms: &AtomicI64) {
    let oldest = oldest_ms.load(Ordering::Acquire);
    let lag = if oldest == NOTHING { Duration::ZERO } else { age(oldest) };
    status.send_if_modified(|status| {
        let changes = status.iter().any(|status| status.lag != lag);
        for status in status.iter_mut() {
            status.lag = lag;
        }
        changes
    });
}

/// How long ago a time was.
fn age(published_ms: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(published_ms.max(0) as u64))
}

#[cfg(test)]
mod tests {
    use google_cloud_pubsub::model::{RetryPolicy, Subscription as Settings};

    use super::*;

    #[test]
    fn silence_means_nothing_while_a_retry_policy_may_keep_something_back() {
        let idle = Duration::from_secs(10);
        let seconds = |seconds| google_cloud_wkt::Duration::clamp(seconds, 0);
        assert_eq!(drained_after(idle, &Settings::new()), idle);
        let policy = RetryPolicy::new().set_minimum_backoff(seconds(5)).set_maximum_backoff(seconds(60));
        assert_eq!(drained_after(idle, &Settings::new().set_retry_policy(policy)), Duration::from_secs(70));
        // Google's default for the longest pause.
        let policy = RetryPolicy::new().set_minimum_backoff(seconds(5));
        assert_eq!(drained_after(idle, &Settings::new().set_retry_policy(policy)), Duration::from_secs(610));
    }
}
