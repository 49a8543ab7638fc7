//! Streams of one subscription, and what they have brought.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::Clients;
use super::group::Group;
use super::pull::Pull;
use super::troubles::Troubles;
use crate::bus::{BusError, Hold};

/// Messages that are taken in one call, about.
const TOGETHER: usize = 1000;
/// Groups that may wait to be taken, of messages for which there was room.
const WAITING: usize = 32;

/// Running streams. Dropped, they end by themselves.
pub(super) struct Streams {
    brought: mpsc::Receiver<Group>,
    troubles: Arc<Troubles>,
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
        let troubles = Arc::new(Troubles::of(streams));
        let mut tasks = JoinSet::new();
        let room = Arc::new(Semaphore::new(hold.bytes.clamp(1, Semaphore::MAX_PERMITS)));
        let most = u32::try_from(hold.bytes.max(1)).unwrap_or(u32::MAX);
        // What counts is bytes: a stream takes at least one message whatever the limit.
        let flow = Hold { bytes: (hold.bytes / streams).max(1), messages: (hold.messages / streams).max(1) };
        for number in 0..streams {
            let pull = Pull {
                clients: Arc::clone(clients),
                subscription: subscription.to_owned(),
                number,
                flow,
                room: Arc::clone(&room),
                most,
                troubles: Arc::clone(&troubles),
                told: None,
                openings: Arc::default(),
                ending: ending.clone(),
                cut: Arc::clone(&cut),
                ended: Vec::new(),
                silent_since: None,
            };
            tasks.spawn(pull.run(send.clone()));
        }
        Self { brought, troubles, tasks, _guard: ending.clone().drop_guard(), ending, cut, streams }
    }

    /// The next messages; none where a stream that was in trouble works again. What goes wrong with a stream is told once the messages
    /// before it were taken. Cancel-safe.
    pub(super) async fn receive(&mut self, into: &mut Vec<Group>) -> Result<(), BusError> {
        let mut next = self.brought.try_recv().ok();
        if next.is_none() {
            if let Some(trouble) = self.troubles.untold() {
                return Err(trouble);
            }
            next = tokio::select! {
                biased;
                group = self.brought.recv() => {
                    Some(group.ok_or_else(|| BusError::Failed("the streams have ended".to_owned()))?)
                }
                () = self.troubles.changed() => return self.troubles.untold().map_or(Ok(()), Err),
            };
        }
        let mut count = 0;
        while let Some(group) = next {
            count += group.len();
            into.push(group);
            next = if count < TOGETHER { self.brought.try_recv().ok() } else { None };
        }
        Ok(())
    }

    /// Whether one of them is in trouble: that it brings nothing says nothing.
    pub(super) fn are_in_trouble(&self) -> bool {
        self.troubles.are_there()
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
