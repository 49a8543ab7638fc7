//! Streams of one subscription: each a task that hands on what comes, until it is told to end.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_pubsub::model::Message as Given;
use google_cloud_pubsub::subscriber::ShutdownToken;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::Clients;
use super::errors;
use crate::bus::BusError;

/// How long a message stays ours after this process has fallen silent; it is renewed long before that.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// The same on Google's emulator, which goes on giving messages to a stream that was cut off until this has passed. The shortest there is.
const LEASE_OF_EMULATOR: Duration = Duration::from_secs(10);
/// Leases are renewed for as long as the process lives: a store that is away for days is waited for.
const LEASED_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Messages that may wait to be taken, beyond what is leased: none is decoded before there is room for it.
const WAITING: usize = 1000;
/// Between the end of a stream that the service has ended for good and the next one.
const PAUSE: Duration = Duration::from_secs(1);
/// Streams that ended and may still hold leases, which the end waits for.
const ENDED_STREAMS: usize = 8;

/// What a stream brings.
pub(super) enum Item {
    /// A message, and what acknowledges it. Dropped, it is handed back.
    Message(Box<Given>, Handler, Room),
    /// The service refuses the stream, for the reason; another one is opened.
    Trouble(BusError),
}

/// The room that a message takes up; dropped, there is room for others.
///
/// The service keeps to its own limits for each stream alone, and a stream that is opened anew begins with an empty one.
pub(super) type Room = OwnedSemaphorePermit;

/// What a message takes beside its body, in bytes.
const BESIDE_A_BODY: usize = 512;

/// How much may be delivered and not acknowledged, over all streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) bytes: usize,
    pub(super) messages: usize,
}

/// Running streams. Dropped, they end by themselves.
pub(super) struct Streams {
    pub(super) items: mpsc::Receiver<Item>,
    tasks: JoinSet<()>,
    ending: CancellationToken,
    _guard: DropGuard,
}

impl Streams {
    /// Opens so many streams of a subscription, by its whole name.
    pub(super) fn start(clients: &Arc<Clients>, subscription: &str, streams: usize, flow: Flow) -> Self {
        let (send, items) = mpsc::channel(WAITING);
        let ending = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let room = Arc::new(Semaphore::new(flow.bytes.clamp(1, Semaphore::MAX_PERMITS)));
        let most = u32::try_from(flow.bytes.max(1)).unwrap_or(u32::MAX);
        // What counts is bytes: a stream takes at least one message whatever the limit.
        let flow = Flow { bytes: (flow.bytes / streams).max(1), messages: (flow.messages / streams).max(1) };
        for _ in 0..streams {
            let pull = Pull {
                clients: Arc::clone(clients),
                subscription: subscription.to_owned(),
                flow,
                room: Arc::clone(&room),
                most,
                ending: ending.clone(),
                ended: Vec::new(),
            };
            tasks.spawn(pull.run(send.clone()));
        }
        Self { items, tasks, _guard: ending.clone().drop_guard(), ending }
    }

    /// Reads no more: what is handed back from here on goes to others.
    pub(super) fn stop(&self) {
        self.ending.cancel();
    }

    /// Reads no more, hands back what was not taken, and waits until the service has every acknowledgement.
    pub(super) async fn end(mut self) {
        self.ending.cancel();
        self.items.close();
        while self.items.recv().await.is_some() {}
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Pull {
    clients: Arc<Clients>,
    subscription: String,
    flow: Flow,
    /// Bytes of all streams that may still be delivered.
    room: Arc<Semaphore>,
    /// All of it: a larger message has to do with that.
    most: u32,
    ending: CancellationToken,
    ended: Vec<ShutdownToken>,
}

impl Pull {
    async fn run(mut self, items: mpsc::Sender<Item>) {
        let ending = self.ending.clone();
        while !ending.is_cancelled() {
            if let Err(trouble) = self.stream(&items).await {
                tokio::select! {
                    sent = items.send(Item::Trouble(trouble)) => if sent.is_err() { break },
                    () = ending.cancelled() => break,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = ending.cancelled() => break,
            }
        }
        drop(items);
        for ended in self.ended {
            ended.shutdown().await;
        }
    }

    /// One stream, to its end.
    async fn stream(&mut self, items: &mpsc::Sender<Item>) -> Result<(), BusError> {
        let subscriber = self.clients.subscriber().await?;
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
        loop {
            let item = tokio::select! {
                biased;
                () = self.ending.cancelled() => return Ok(()),
                item = stream.next() => item,
            };
            let (message, handler) = match item {
                None => return Ok(()),
                Some(Ok(delivered)) => delivered,
                Some(Err(error)) => {
                    let name = self.clients.short(&self.subscription);
                    return Err(errors::classify(&format!("subscription `{name}`"), &error));
                }
            };
            let size = u32::try_from(message.data.len() + BESIDE_A_BODY).unwrap_or(u32::MAX).min(self.most);
            let handed_on = async {
                let Ok(room) = Arc::clone(&self.room).acquire_many_owned(size).await else { return false };
                items.send(Item::Message(Box::new(message), handler, room)).await.is_ok()
            };
            tokio::select! {
                is_taken = handed_on => if !is_taken { return Ok(()) },
                () = self.ending.cancelled() => return Ok(()),
            }
        }
    }
}
