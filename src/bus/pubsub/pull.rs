//! One stream of a subscription at a time, in a task that hands on what comes until it is told to end.
//!
//! Of a connection that something on the way has forgotten a stream never hears: what it sends goes nowhere, and nothing comes. So one
//! that has brought nothing for long, and of which nothing is held, is opened anew over another connection. Of a subscription with
//! nothing in it that costs next to nothing. (Google's client cannot have its connections ask whether the other end is there.)

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use google_cloud_pubsub::Error;
use google_cloud_pubsub::model::Message as Given;
use google_cloud_pubsub::subscriber::handler::Handler;
use google_cloud_pubsub::subscriber::{MessageStream, ShutdownToken};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Clients;
use super::group::{Filling, Group, Room};
use super::message;
use super::openings::Openings;
use super::troubles::Troubles;
use crate::bus::{BusError, Hold};

/// How long a message stays ours after this process has fallen silent; it is renewed long before that.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// The same on Google's emulator, which never learns that a stream was cut off and goes on giving it messages, each for so long. The
/// shortest there is.
const LEASE_OF_EMULATOR: Duration = Duration::from_secs(10);
/// Leases are renewed for as long as the process lives: a store that is away for days is waited for.
const LEASED_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Between the end of a stream that the service has ended for good and the next one.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at how a stream fares that brings nothing.
const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// A trouble that lasts is told again after so long: other streams may have brought something, which tells of a bus that works.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What a stream brings: a message with what acknowledges it, or why it has ended.
type Item = Option<Result<(Given, Handler), Error>>;

/// What is known of a stream, and of the one before it.
pub(super) struct Pull {
    pub(super) clients: Arc<Clients>,
    /// Its whole name.
    pub(super) subscription: String,
    /// Which of the streams this is.
    pub(super) number: usize,
    /// What it may have delivered and not acknowledged.
    pub(super) flow: Hold,
    /// Bytes of all streams that may still be delivered.
    pub(super) room: Arc<Semaphore>,
    /// All of it: a larger message has to do with that.
    pub(super) most: u32,
    /// Where it says what is wrong.
    pub(super) troubles: Arc<Troubles>,
    /// When it said so last of attempts that follow one another.
    pub(super) told: Option<Instant>,
    pub(super) openings: Arc<Openings>,
    pub(super) ending: CancellationToken,
    /// Gets one once nothing more is read.
    pub(super) cut: Arc<Semaphore>,
    /// Those that are over and may still hold leases, which the end waits for.
    pub(super) ended: Vec<ShutdownToken>,
    /// Nothing has come since, over a connection that was made before: that one is not used again.
    pub(super) silent_since: Option<Instant>,
}

impl Pull {
    /// Reads until the end.
    pub(super) async fn run(mut self, brought: mpsc::Sender<Group>) {
        let ending = self.ending.clone();
        while !ending.is_cancelled() {
            let openings = Arc::clone(&self.openings);
            if let Err(trouble) = openings.count(self.stream(&brought)).await {
                self.troubles.begin(self.number, trouble);
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = ending.cancelled() => break,
            }
        }
        self.cut.add_permits(1);
        drop(brought);
        for ended in self.ended {
            ended.shutdown().await;
        }
    }

    /// One stream, to its end.
    async fn stream(&mut self, brought: &mpsc::Sender<Group>) -> Result<(), BusError> {
        self.openings.reset();
        let subscriber = self.clients.subscriber(self.silent_since).await?;
        let mut stream = subscriber
            .subscribe(&self.subscription)
            .set_max_lease(LEASED_FOR)
            .set_max_lease_extension(if self.clients.settings.emulator.is_some() { LEASE_OF_EMULATOR } else { LEASE })
            .set_max_outstanding_bytes(self.flow.bytes as i64)
            .set_max_outstanding_messages(self.flow.messages as i64)
            .build();
        // Of those that are over, one that holds nothing and whose acknowledgements have arrived is done at once.
        self.ended.retain(|ended| ended.shutdown().now_or_never().is_none());
        self.ended.push(stream.shutdown_token());
        // Those who hold a message of this stream, and it itself.
        let held = Arc::new(());
        let mut filling = Filling::default();
        loop {
            // What is there is taken without waiting, until there are enough together, or no more.
            let at_hand = if filling.is_empty() || filling.is_full() { None } else { stream.next().now_or_never() };
            let item = match at_hand {
                Some(item) => item,
                None if !filling.is_empty() => {
                    if !self.hand_on(&mut filling, brought, &held).await {
                        return Ok(());
                    }
                    continue;
                }
                None => match self.wait(&mut stream, &held).await {
                    Some(item) => item,
                    None => return Ok(()),
                },
            };
            match item {
                Some(Ok((given, handler))) => {
                    let size = u32::try_from(message::room(&given)).unwrap_or(u32::MAX).min(self.most);
                    if filling.size().saturating_add(size) > self.most
                        && !self.hand_on(&mut filling, brought, &held).await
                    {
                        return Ok(());
                    }
                    filling.push(&given, handler, size);
                }
                ended => {
                    self.hand_on(&mut filling, brought, &held).await;
                    let Some(Err(error)) = ended else { return Ok(()) };
                    let name = self.clients.short(&self.subscription);
                    return Err(self.clients.classify(&format!("subscription `{name}`"), &error));
                }
            }
        }
    }

    /// What a stream brings next; `None` where it is not waited for any longer.
    async fn wait(&mut self, stream: &mut MessageStream, held: &Arc<()>) -> Option<Item> {
        let since = Instant::now();
        let is_silent = silence(held, self.clients.settings.stale_after);
        // Not anew after each look: a stream that is being opened would be opened from the beginning.
        let next = stream.next();
        tokio::pin!(is_silent, next);
        loop {
            tokio::select! {
                biased;
                () = self.ending.cancelled() => return None,
                item = &mut next => {
                    if matches!(item, Some(Ok(_))) {
                        self.openings.reset();
                        self.troubles.end(self.number);
                    }
                    return Some(item);
                }
                () = &mut is_silent => {
                    tracing::debug!(subscription = self.subscription, "a stream was silent for long and is opened anew");
                    self.silent_since = Some(since);
                    return None;
                }
                () = tokio::time::sleep(LOOKS_EVERY) => self.look(),
            }
        }
    }

    /// How the stream fares, of which nothing comes.
    fn look(&mut self) {
        if let Some(what) = self.openings.trouble() {
            if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN_AFTER) || !self.troubles.has(self.number) {
                let name = self.clients.short(&self.subscription);
                self.troubles.begin(self.number, BusError::Unavailable(format!("subscription `{name}`: {what}")));
                self.told = Some(Instant::now());
            }
        } else if self.openings.has_settled() {
            self.troubles.end(self.number);
        }
    }

    /// Hands on what was gathered once there is room for it; whether anybody still takes it.
    async fn hand_on(&self, filling: &mut Filling, brought: &mpsc::Sender<Group>, held: &Arc<()>) -> bool {
        if filling.is_empty() {
            return true;
        }
        let handed_on = async {
            let Ok(room) = Arc::clone(&self.room).acquire_many_owned(filling.size()).await else { return false };
            let group = filling.seal(Room::of(room, Arc::clone(held)));
            brought.send(group).await.is_ok()
        };
        tokio::select! {
            is_taken = handed_on => is_taken,
            () = self.ending.cancelled() => false,
        }
    }
}

/// Ends once nothing of a stream was held for so long. What is held keeps the service from sending more, and whoever acknowledges it does
/// so by the stream that brought it.
async fn silence(held: &Arc<()>, stale_after: Option<Duration>) {
    let Some(stale_after) = stale_after else { return std::future::pending().await };
    loop {
        tokio::time::sleep(stale_after).await;
        if Arc::strong_count(held) == 1 {
            return;
        }
    }
}
