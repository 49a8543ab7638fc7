//! Reading a topic beside its subscriptions.
//!
//! The service tells no ends: what was published before the reading began belongs to it, and it is over once nothing of that has come for
//! [`PubsubSettings::browse_idle`], whatever else does: topics are in use meanwhile. Positions are ids, which have no order, so a reading from one of them
//! begins with the earliest message and leaves out what comes before it; messages of one key come in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use super::client::{CALL_WITHIN, Clients};
use super::group::Group;
use super::source::{self, Reading};
use super::streams::Streams;
use super::temporary::{From, Temporary};
use super::topics;
use crate::bus::{Browse, BrowseFrom, BusError, Hold, Stretch, Subscription};
use crate::config::settings::PubsubSettings;
use crate::message::{Delivery, Message};

/// What may wait for whoever browses.
const HOLD: Hold = Hold { bytes: 16 << 20, messages: 10_000 };
/// How far this machine's clock may be behind Google's.
const CLOCKS_APART_MS: i64 = 60_000;
/// How long the first message of a reading is waited for: the subscription was only just made and set back.
const FIRST_WITHIN: Duration = Duration::from_secs(20);
/// The same, of a topic that is in use.
const FIRST_WITHIN_USE: Duration = Duration::from_secs(90);
/// How far back the last messages are looked for, in milliseconds, before everything is.
const BACK: [i64; 2] = [5 * 60 * 1000, 6 * 3600 * 1000];

/// Starts a reading.
pub(super) async fn browse(clients: &Arc<Clients>, topic: &str, from: BrowseFrom) -> Result<Box<dyn Browse>, BusError> {
    // Times are Google's, and this clock may be behind; an emulator's is this one.
    let until = now_ms() + if clients.settings.emulator.is_some() { 1 } else { CLOCKS_APART_MS };
    let whole = Span { from: 0, until };
    let browse = match from {
        BrowseFrom::Earliest => Reader::start(clients, topic, From::Time(0), whole, None).await?,
        BrowseFrom::Group(group) => {
            let topic = topics::described(clients, &group).await?.topic;
            Reader::start(clients, &topic, From::Subscription(&group), whole, None).await?
        }
        BrowseFrom::Position(_, offset) => Reader::start(clients, topic, From::Time(0), whole, Some(offset)).await?,
        BrowseFrom::Stretches(stretches) => {
            let from = stretches.iter().map(|stretch| stretch.from).min().unwrap_or_default();
            let until = stretches.iter().map(|stretch| stretch.until).max().unwrap_or_default();
            Reader::start(clients, topic, From::Time(from), Span { from, until }, None).await?
        }
        BrowseFrom::Last(count) => return last(clients, topic, count, until).await,
    };
    Ok(Box::new(browse))
}

/// The stretch between two times. Its positions are times: ids have no order.
pub(super) async fn stretch(
    clients: &Clients,
    topic: &str,
    from_ms: i64,
    until_ms: Option<i64>,
) -> Result<Vec<Stretch>, BusError> {
    let now = now_ms();
    let Some(kept) = topics::kept_for(clients, topic).await? else {
        return Err(BusError::Settings(format!(
            "topic `{topic}` keeps no messages that were read, so there is nothing to read again; set its \
             `message_retention_duration` (up to 31 days), which holds for what is published from then on"
        )));
    };
    let earliest = (now - kept.as_millis() as i64).max(0);
    let from = from_ms.max(earliest);
    let until = until_ms.unwrap_or(now + 1).max(from);
    Ok(vec![Stretch { partition: 0, from, until, earliest }])
}

/// A stretch as a source.
pub(super) async fn reread(
    clients: &Arc<Clients>,
    topic: &str,
    stretch: Stretch,
    hold: Hold,
) -> Result<Subscription, BusError> {
    let temporary = Temporary::make(clients, topic, From::Time(stretch.from)).await?;
    let reading = Reading {
        subscription: temporary.name.clone(),
        topic: topic.into(),
        hold,
        until_idle: Some(clients.settings.drain_idle),
        first_within: first_within(&clients.settings, true),
        until_ms: Some(stretch.until),
        temporary: Some(temporary),
    };
    Ok(source::read(clients, reading))
}

/// How long the first message of a subscription is waited for that was just made and set back, which takes effect by and by:
/// where the topic is in use, what is published now may come before what was. An emulator has it ready at once.
fn first_within(settings: &PubsubSettings, is_in_use: bool) -> Duration {
    match (&settings.emulator, is_in_use) {
        (Some(_), _) => Duration::ZERO,
        (None, false) => FIRST_WITHIN,
        (None, true) => FIRST_WITHIN_USE,
    }
}

/// The last messages: looked for a little way back first.
async fn last(clients: &Arc<Clients>, topic: &str, count: u64, until: i64) -> Result<Box<dyn Browse>, BusError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    // They come in no order.
    let mut kept = BTreeMap::new();
    for from in BACK.map(|back| until - back).into_iter().chain([0]) {
        kept.clear();
        let mut reader = Reader::start(clients, topic, From::Time(from), Span { from, until }, None).await?;
        loop {
            let messages = reader.next().await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                kept.insert((message.timestamp_ms, message.offset), message);
                if kept.len() > count {
                    kept.pop_first();
                }
            }
        }
        if kept.len() >= count {
            break;
        }
    }
    Ok(Box::new(Found(kept.into_values().collect())))
}

/// Messages that were found.
struct Found(Vec<Message>);

#[async_trait]
impl Browse for Found {
    async fn next(&mut self) -> Result<Vec<Message>, BusError> {
        Ok(std::mem::take(&mut self.0))
    }
}

/// Times in milliseconds since 1970: from the first up to before the last.
#[derive(Clone, Copy)]
struct Span {
    from: i64,
    until: i64,
}

/// A reading that is under way.
struct Reader {
    clients: Arc<Clients>,
    topic: Arc<str>,
    span: Span,
    /// The message that it begins with, until that has come.
    from: Option<i64>,
    streams: Option<(Streams, Temporary)>,
    quiet_since: Instant,
    has_come: bool,
    /// Whether messages have come that are none of this reading's.
    others_come: bool,
    /// Since when the stream has failed.
    failing_since: Option<Instant>,
    next: u64,
}

impl Reader {
    async fn start(
        clients: &Arc<Clients>,
        topic: &str,
        from: From<'_>,
        span: Span,
        position: Option<i64>,
    ) -> Result<Self, BusError> {
        let temporary = Temporary::make(clients, topic, from).await?;
        let streams = Streams::start(clients, &temporary.name, 1, HOLD);
        Ok(Self {
            clients: Arc::clone(clients),
            topic: topic.into(),
            span,
            from: position,
            streams: Some((streams, temporary)),
            quiet_since: Instant::now(),
            has_come: false,
            others_come: false,
            failing_since: None,
            next: 0,
        })
    }

    fn take(&mut self, delivered: Vec<Group>) -> Vec<Message> {
        let mut messages = Vec::with_capacity(delivered.iter().map(Group::len).sum());
        let all = delivered.into_iter().flat_map(|Group { block, messages, .. }| {
            messages.into_iter().map(move |(entry, handler)| (block.clone(), entry, handler))
        });
        for (block, entry, handler) in all {
            let message = entry.message(&block, &self.topic, Delivery(self.next));
            handler.ack();
            let at = message.timestamp_ms.unwrap_or(self.span.from);
            if at < self.span.until {
                self.quiet_since = Instant::now();
                self.has_come = true;
            } else {
                self.others_come = true;
            }
            if at < self.span.from || at >= self.span.until || self.from.is_some_and(|from| from != message.offset) {
                continue;
            }
            self.from = None;
            self.next += 1;
            messages.push(message);
        }
        messages
    }
}

#[async_trait]
impl Browse for Reader {
    async fn next(&mut self) -> Result<Vec<Message>, BusError> {
        // What whoever reads has done meanwhile was no silence.
        self.quiet_since = Instant::now();
        loop {
            let settings = &self.clients.settings;
            let first = if self.has_come { Duration::ZERO } else { first_within(settings, self.others_come) };
            let idle = settings.browse_idle.max(first);
            let Some((streams, temporary)) = &mut self.streams else { return Ok(Vec::new()) };
            let mut delivered = Vec::new();
            match timeout_at(self.quiet_since + idle, streams.receive(&mut delivered)).await {
                Ok(received) => {
                    if let Err(error) = received {
                        self.quiet_since = Instant::now();
                        let failing_since = *self.failing_since.get_or_insert(self.quiet_since);
                        // It is tried on by itself, and told again while it lasts.
                        if matches!(error, BusError::Unavailable(_)) && failing_since.elapsed() < CALL_WITHIN {
                            continue;
                        }
                        return Err(error);
                    }
                    if !delivered.is_empty() {
                        self.failing_since = None;
                    }
                    let messages = self.take(delivered);
                    if !messages.is_empty() {
                        return Ok(messages);
                    }
                    continue;
                }
                Err(_) if streams.are_in_trouble() => {
                    self.quiet_since = Instant::now();
                    continue;
                }
                Err(_) => {}
            }
            // Of a service that is away silence says nothing.
            topics::is_there(&self.clients, &temporary.name, &self.topic).await?;
            if let Some((streams, temporary)) = self.streams.take() {
                streams.end().await;
                temporary.delete().await;
            }
        }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::Identity;

    #[test]
    fn a_subscription_that_was_just_made_is_given_time_for_its_first_message_where_google_makes_it() {
        let settings = |emulator: Option<&str>| PubsubSettings {
            project: "p".to_owned(),
            emulator: emulator.map(str::to_owned),
            endpoint: None,
            streams: 1,
            drain_idle: Duration::from_secs(10),
            browse_idle: Duration::from_secs(5),
            stale_after: None,
            identity: Identity::default(),
        };
        assert_eq!(first_within(&settings(None), false), FIRST_WITHIN);
        assert_eq!(first_within(&settings(None), true), FIRST_WITHIN_USE);
        assert_eq!(first_within(&settings(Some("localhost:8085")), true), Duration::ZERO);
    }
}
