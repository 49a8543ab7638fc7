//! Streams of one subscription: each a task that hands on what comes, until it is told to end.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_pubsub::model::Message as Given;
use google_cloud_pubsub::subscriber::ShutdownToken;
use google_cloud_pubsub::subscriber::handler::Handler;
use tokio::sync::mpsc;
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
    Message(Box<Given>, Handler),
    /// The service refuses the stream, for the reason; another one is opened.
    Trouble(BusError),
}

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
        // What counts is bytes: a stream takes at least one message whatever the limit.
        let flow = Flow { bytes: (flow.bytes / streams).max(1), messages: (flow.messages / streams).max(1) };
        for _ in 0..streams {
            let pull = Pull {
                clients: Arc::clone(clients),
                subscription: subscription.to_owned(),
                flow,
                ending: ending.clone(),
                ended: Vec::new(),
            };
            tasks.spawn(pull.run(send.clone()));
        }
        Self { items, tasks, _guard: ending.clone().drop_guard(), ending }
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
    ending: CancellationToken,
    ended: Vec<ShutdownToken>,
}

impl Pull {
    async fn run(mut self, items: mpsc::Sender<Item>) {
        let ending = self.ending.clone();
        while !ending.is_cancelled() {
            let trouble = match self.stream(&items).await {
                Ok(()) => continue,
                Err(trouble) => Item::Trouble(trouble),
            };
            tokio::select! {
                sent = items.send(trouble) => if sent.is_err() { break },
                () = ending.cancelled() => break,
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
            tokio::select! {
                sent = items.send(Item::Message(Box::new(message), handler)) => if sent.is_err() { return Ok(()) },
                () = self.ending.cancelled() => return Ok(()),
            }
        }
    }
}
