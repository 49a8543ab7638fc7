//! Streams of one subscription: each a task that hands on what comes, until it is told to end.
//!
//! Of a connection that something on the way has forgotten a stream never hears: what it sends goes nowhere, and nothing comes. So one
//! that has brought nothing for long, and of which nothing is held, is opened anew over another connection. Of a subscription with
//! nothing in it that costs next to nothing. (Google's client cannot have its connections ask whether the other end is there.)

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use google_cloud_pubsub::model::Message as Given;
use google_cloud_pubsub::subscriber::ShutdownToken;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::Clients;
use crate::bus::{BusError, Hold};

/// How long a message stays ours after this process has fallen silent; it is renewed long before that.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// The same on Google's emulator, which never learns that a stream was cut off and goes on giving it messages, each for so long. The
/// shortest there is.
const LEASE_OF_EMULATOR: Duration = Duration::from_secs(10);
/// Leases are renewed for as long as the process lives: a store that is away for days is waited for.
const LEASED_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Messages that are handed on together at the most.
const GROUP: usize = 64;
/// Bytes of them at the most: what waits for room waits for room for all of them.
const GROUP_BYTES: u32 = 256 * 1024;
/// Messages that are taken in one call, about.
const TOGETHER: usize = 1000;
/// Groups that may wait to be taken, of messages for which there was room.
const WAITING: usize = 32;
/// Between the end of a stream that the service has ended for good and the next one.
const PAUSE: Duration = Duration::from_secs(1);
/// Streams that ended and may still hold leases, which the end waits for.
const ENDED_STREAMS: usize = 8;

/// A message, and what acknowledges it. Dropped, it is handed back.
pub(super) struct Delivered {
    pub(super) given: Given,
    pub(super) handler: Handler,
    pub(super) room: Room,
}

/// What a stream brings.
enum Brought {
    /// What had come when it was looked at: each handing on wakes whoever takes it.
    Messages(Vec<Delivered>),
    /// The service refuses the stream, for the reason; another one is opened.
    Trouble(BusError),
}

/// The room that a message takes up; dropped, there is room for others.
///
/// The service keeps to its own limits for each stream alone, and a stream that is opened anew begins with an empty one.
pub(super) struct Room {
    _room: OwnedSemaphorePermit,
    /// Counted by the stream that brought it.
    _of: Arc<()>,
}

/// What a message takes beside its body, in bytes.
const BESIDE_A_BODY: usize = 512;

/// Running streams. Dropped, they end by themselves.
pub(super) struct Streams {
    brought: mpsc::Receiver<Brought>,
    /// Came behind messages that were taken before it.
    trouble: Option<BusError>,
    tasks: JoinSet<()>,
    ending: CancellationToken,
    /// Has one for each stream that is cut off for good.
    cut: Arc<Semaphore>,
    streams: usize,
    _guard: DropGuard,
}

impl Streams {
    /// Opens so many streams of a subscription, by its whole name. What may be held is so over all of them.
    pub(super) fn start(clients: &Arc<Clients>, subscription: &str, streams: usize, hold: Hold) -> Self {
        let (send, brought) = mpsc::channel(WAITING);
        let ending = CancellationToken::new();
        let cut = Arc::new(Semaphore::new(0));
        let mut tasks = JoinSet::new();
        let room = Arc::new(Semaphore::new(hold.bytes.clamp(1, Semaphore::MAX_PERMITS)));
        let most = u32::try_from(hold.bytes.max(1)).unwrap_or(u32::MAX);
        // What counts is bytes: a stream takes at least one message whatever the limit.
        let flow = Hold { bytes: (hold.bytes / streams).max(1), messages: (hold.messages / streams).max(1) };
        for _ in 0..streams {
            let pull = Pull {
                clients: Arc::clone(clients),
                subscription: subscription.to_owned(),
                flow,
                room: Arc::clone(&room),
                most,
                ending: ending.clone(),
                cut: Arc::clone(&cut),
                ended: Vec::new(),
                silent_since: None,
            };
            tasks.spawn(pull.run(send.clone()));
        }
        Self { brought, trouble: None, tasks, _guard: ending.clone().drop_guard(), ending, cut, streams }
    }

    /// The next messages: at least one. What goes wrong with a stream is told once the messages before it were taken. Cancel-safe.
    pub(super) async fn receive(&mut self, into: &mut Vec<Delivered>) -> Result<(), BusError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let ended = || BusError::Failed("the streams have ended".to_owned());
        let mut next = Some(self.brought.recv().await.ok_or_else(ended)?);
        while let Some(brought) = next {
            match brought {
                Brought::Messages(messages) => into.extend(messages),
                Brought::Trouble(trouble) if into.is_empty() => return Err(trouble),
                Brought::Trouble(trouble) => {
                    self.trouble = Some(trouble);
                    break;
                }
            }
            next = if into.len() < TOGETHER { self.brought.try_recv().ok() } else { None };
        }
        Ok(())
    }

    /// Reads no more: what is handed back once this is done goes to others.
    pub(super) async fn stop(&self) {
        self.ending.cancel();
        // It is never closed.
        let _ = self.cut.acquire_many(u32::try_from(self.streams).unwrap_or(u32::MAX)).await;
    }

    /// Reads no more, hands back what was not taken, and waits until the service has every acknowledgement.
    pub(super) async fn end(mut self) {
        self.ending.cancel();
        self.brought.close();
        while self.brought.recv().await.is_some() {}
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Pull {
    clients: Arc<Clients>,
    subscription: String,
    flow: Hold,
    /// Bytes of all streams that may still be delivered.
    room: Arc<Semaphore>,
    /// All of it: a larger message has to do with that.
    most: u32,
    ending: CancellationToken,
    cut: Arc<Semaphore>,
    ended: Vec<ShutdownToken>,
    /// Nothing has come since, over a connection that was made before: that one is not used again.
    silent_since: Option<Instant>,
}

impl Pull {
    async fn run(mut self, brought: mpsc::Sender<Brought>) {
        let ending = self.ending.clone();
        while !ending.is_cancelled() {
            if let Err(trouble) = self.stream(&brought).await {
                tokio::select! {
                    sent = brought.send(Brought::Trouble(trouble)) => if sent.is_err() { break },
                    () = ending.cancelled() => break,
                }
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
    async fn stream(&mut self, brought: &mpsc::Sender<Brought>) -> Result<(), BusError> {
        let subscriber = self.clients.subscriber(self.silent_since).await?;
        let mut stream = subscriber
            .subscribe(&self.subscription)
            .set_max_lease(LEASED_FOR)
            .set_max_lease_extension(if self.clients.settings.emulator.is_some() { LEASE_OF_EMULATOR } else { LEASE })
            .set_max_outstanding_bytes(self.flow.bytes as i64)
            .set_max_outstanding_messages(self.flow.messages as i64)
            .build();
        if self.ended.len() == ENDED_STREAMS {
            self.ended.remove(0);
        }
        self.ended.push(stream.shutdown_token());
        // Those who hold a message of this stream, and it itself.
        let held = Arc::new(());
        let mut group = Group::default();
        loop {
            let since = Instant::now();
            // What is there is taken without waiting, until there are enough together, or no more.
            let at_hand = if group.is_full() { None } else { stream.next().now_or_never() };
            let item = match at_hand {
                Some(item) => item,
                None if !group.messages.is_empty() => {
                    if !self.hand_on(&mut group, brought, &held).await {
                        return Ok(());
                    }
                    continue;
                }
                None => tokio::select! {
                    biased;
                    () = self.ending.cancelled() => return Ok(()),
                    item = stream.next() => item,
                    () = silence(&held, self.clients.settings.stale_after) => {
                        tracing::debug!(subscription = self.subscription, "a stream was silent for long and is opened anew");
                        self.silent_since = Some(since);
                        return Ok(());
                    }
                },
            };
            match item {
                Some(Ok((given, handler))) => {
                    let size = u32::try_from(given.data.len() + BESIDE_A_BODY).unwrap_or(u32::MAX).min(self.most);
                    if group.bytes.saturating_add(size) > self.most && !self.hand_on(&mut group, brought, &held).await {
                        return Ok(());
                    }
                    group.bytes += size;
                    group.messages.push((given, handler, size));
                }
                ended => {
                    self.hand_on(&mut group, brought, &held).await;
                    let Some(Err(error)) = ended else { return Ok(()) };
                    let name = self.clients.short(&self.subscription);
                    return Err(self.clients.classify(&format!("subscription `{name}`"), &error));
                }
            }
        }
    }

    /// Hands a group on once there is room for it; whether anybody still takes it.
    async fn hand_on(&self, group: &mut Group, brought: &mpsc::Sender<Brought>, held: &Arc<()>) -> bool {
        let Group { messages, bytes } = std::mem::take(group);
        if messages.is_empty() {
            return true;
        }
        let handed_on = async {
            let Ok(mut room) = Arc::clone(&self.room).acquire_many_owned(bytes).await else { return false };
            // Each message gives back its own part.
            let delivered = messages.into_iter().filter_map(|(given, handler, size)| {
                let room = Room { _room: room.split(size as usize)?, _of: Arc::clone(held) };
                Some(Delivered { given, handler, room })
            });
            let delivered = delivered.collect();
            brought.send(Brought::Messages(delivered)).await.is_ok()
        };
        tokio::select! {
            is_taken = handed_on => is_taken,
            () = self.ending.cancelled() => false,
        }
    }
}

/// Messages that are handed on together.
#[derive(Default)]
struct Group {
    /// Each with the room that it takes.
    messages: Vec<(Given, Handler, u32)>,
    bytes: u32,
}

impl Group {
    const fn is_full(&self) -> bool {
        self.messages.len() >= GROUP || self.bytes >= GROUP_BYTES
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
