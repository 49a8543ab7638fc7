//! The async side of a consumer's transactions: says in which ownership each message was delivered, and waits.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::append;
use super::shared::{Moved, Request, Shared, State};
use crate::bus::{BusError, Committed, Consumed, Transactions};
use crate::message::{Outgoing, Partition};

/// Transactions of one consumer, which its thread makes.
pub(super) struct LocalTransactions {
    shared: Arc<Shared>,
    topic: Arc<str>,
    max_message_bytes: usize,
}

impl LocalTransactions {
    pub(super) fn new(shared: Arc<Shared>, topic: &str, max_message_bytes: usize) -> Self {
        Self { shared, topic: topic.into(), max_message_bytes }
    }
}

#[async_trait]
impl Transactions for LocalTransactions {
    async fn commit(&self, messages: &[Outgoing], consumed: &[Consumed]) -> Result<Committed, BusError> {
        messages.iter().try_for_each(|message| append::check_size(message, self.max_message_bytes))?;
        let gone = || BusError::Failed("the consumer is closed".to_owned());
        let answer = {
            let mut state = self.shared.lock();
            if state.closing || state.closed.is_some() {
                return Err(gone());
            }
            let moved = consumed.iter().map(|consumed| moved(&state, consumed)).collect::<Result<Vec<_>, _>>()?;
            let (reply, answer) = oneshot::channel();
            state.requests.push_back(Request { messages: messages.to_vec(), moved, reply });
            answer
        };
        self.shared.work.notify_one();
        let lost = answer.await.map_err(|_| gone())??;
        if lost.is_empty() {
            return Ok(Committed::Done);
        }
        let partition = |number| Partition { topic: self.topic.clone(), number };
        Ok(Committed::Lost(lost.into_iter().map(partition).collect()))
    }
}

/// The position that stands for a message, in the generation in which that was delivered.
fn moved(state: &State, consumed: &Consumed) -> Result<Moved, BusError> {
    let Consumed { partition, last, next } = consumed;
    let after = state.spans.partition_point(|span| span.delivery <= last.0);
    let span = after.checked_sub(1).and_then(|at| state.spans.get(at));
    match span.filter(|span| last.0 < span.delivery + span.count && span.number == partition.number) {
        Some(span) => Ok(Moved { number: span.number, generation: span.generation, next: *next }),
        None => Err(BusError::Failed(format!(
            "delivery {} of {}/{} is not open, and its position cannot be committed",
            last.0, partition.topic, partition.number
        ))),
    }
}
