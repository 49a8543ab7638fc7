//! Whether the service is there, asked by a task of its own: whoever waits for the answer may be called away at any time, and the question
//! takes as long as a service that is away is tried.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::client::Clients;
use super::topics;
use crate::bus::BusError;

/// A question that is under way. Dropped, it is asked no more.
pub(super) struct Question {
    /// When it was asked.
    pub(super) at: Instant,
    answer: AbortOnDropHandle<Result<(), BusError>>,
}

impl Question {
    /// Asks about a subscription by its whole name, and the topic that it is read for.
    pub(super) fn ask(clients: &Arc<Clients>, subscription: &str, topic: &Arc<str>) -> Self {
        let (clients, subscription, topic) = (Arc::clone(clients), subscription.to_owned(), Arc::clone(topic));
        let answer = tokio::spawn(async move { topics::is_there(&clients, &subscription, &topic).await });
        Self { at: Instant::now(), answer: AbortOnDropHandle::new(answer) }
    }

    /// Waits for the answer. Cancel-safe; once it has been given there is no other.
    pub(super) async fn answer(&mut self) -> Result<(), BusError> {
        (&mut self.answer).await.map_err(|error| BusError::Failed(format!("a question to Pub/Sub ended: {error}")))?
    }
}
