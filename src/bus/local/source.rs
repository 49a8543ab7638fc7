//! The async side of a consumer: numbers messages, and turns an acknowledged number into positions.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::Options;
use super::member::{Member, Plan};
use super::shared::{Acknowledged, Chunk, Shared, Span, State};
use super::transactions::LocalTransactions;
use crate::bus::{BusError, Received, Source, Subscribe, Subscription, Transactions};
use crate::message::Delivery;

/// Handovers that may wait to be heard; the next ones wait for the first anyway.
const HANDOVERS: usize = 4;

/// Joins a group; returns once the membership is in the file.
pub(super) async fn subscribe(
    path: PathBuf,
    subscribe: Subscribe,
    options: &Options,
) -> Result<Subscription, BusError> {
    let shared = Arc::new(Shared::new());
    let (handover_sender, handovers) = mpsc::channel(HANDOVERS);
    let (status_sender, status) = watch::channel(Vec::new());
    let (ready, joined) = oneshot::channel();
    let session_timeout = options.session_timeout;
    let transactions = subscribe.transactional.then(|| {
        let transactions = LocalTransactions::new(shared.clone(), subscribe.topic.as_str(), options.max_message_bytes);
        Arc::new(transactions) as Arc<dyn Transactions>
    });
    let plan = Plan { path, subscribe, options: options.clone() };
    // Made before the thread starts, so that a cancelled call makes it leave again.
    let source = LocalSource { shared: shared.clone(), session_timeout, next: 0 };
    std::thread::Builder::new()
        .name("bus-member".to_owned())
        .spawn(move || Member::run(plan, shared, handover_sender, status_sender, ready))
        .map_err(|error| BusError::Unavailable(format!("no thread for the consumer: {error}")))?;
    joined.await.map_err(|_| BusError::Failed("the consumer's thread has ended".to_owned()))??;
    Ok(Subscription { source: Box::new(source), handovers, status, transactions })
}

struct LocalSource {
    shared: Arc<Shared>,
    session_timeout: Duration,
    /// The next number to be given.
    next: u64,
}

#[async_trait]
impl Source for LocalSource {
    async fn next(&mut self) -> Result<Received, BusError> {
        let shared = self.shared.clone();
        loop {
            if let Some(received) = self.take() {
                return received;
            }
            // A bell rung before this line is kept, so nothing is missed.
            shared.news.notified().await;
        }
    }

    fn acknowledge(&mut self, last: Delivery) {
        let mut state = self.shared.lock();
        let State { spans, acknowledged, .. } = &mut *state;
        while let Some(span) = spans.front_mut()
            && span.delivery <= last.0
        {
            let done = (last.0 - span.delivery + 1).min(span.count);
            let position = span.offset + done as i64;
            acknowledged.insert(span.number, Acknowledged { generation: span.generation, position });
            if done == span.count {
                spans.pop_front();
            } else {
                *span = Span { delivery: span.delivery + done, offset: position, count: span.count - done, ..*span };
            }
        }
        drop(state);
        self.shared.work.notify_one();
    }

    async fn close(&mut self) -> Result<(), BusError> {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        loop {
            // The thread bounds its last attempts, and always leaves an answer.
            if let Some(closed) = &self.shared.lock().closed {
                return closed.clone();
            }
            self.shared.news.notified().await;
        }
    }
}

impl LocalSource {
    fn take(&mut self) -> Option<Result<Received, BusError>> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if let Some(error) = state.failed.clone().or_else(|| state.trouble.take()) {
            return Some(Err(error));
        }
        if state.closing {
            return Some(Err(BusError::Failed("the consumer is closed".to_owned())));
        }
        if state.ended {
            return Some(Ok(Received::End));
        }
        // After a stop of the whole process the thread has to look first at what is still ours.
        if state.seen.elapsed() > self.session_timeout {
            shared.work.notify_one();
            return None;
        }
        if let Some(chunk) = next_chunk(&mut state) {
            let messages = self.number(chunk, &mut state);
            drop(state);
            shared.work.notify_one();
            return Some(Ok(Received::Messages(messages)));
        }
        std::mem::take(&mut state.caught_up).then_some(Ok(Received::CaughtUp))
    }

    fn number(&mut self, mut chunk: Chunk, state: &mut State) -> Vec<crate::message::Message> {
        let count = chunk.messages.len() as u64;
        state.spans.push_back(Span {
            number: chunk.number,
            generation: chunk.generation,
            delivery: self.next,
            offset: chunk.messages[0].offset,
            count,
        });
        for message in &mut chunk.messages {
            message.delivery = Delivery(self.next);
            self.next += 1;
        }
        chunk.messages
    }
}

/// The next chunk of a partition that is still ours; others are dropped, for their new owner reads them.
fn next_chunk(state: &mut State) -> Option<Chunk> {
    while let Some(chunk) = state.chunks.pop_front() {
        state.bytes -= chunk.bytes;
        if state.deliverable.get(&chunk.number) == Some(&chunk.generation) {
            return Some(chunk);
        }
    }
    None
}

impl Drop for LocalSource {
    fn drop(&mut self) {
        // Without `close` nobody waits for it, but the group need not wait for the lease to run out.
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
    }
}
