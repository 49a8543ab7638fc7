//! Acknowledgements that the service confirms: those of subscriptions that deliver exactly once.

use google_cloud_pubsub::subscriber::handler::ExactlyOnce;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// A task that waits for confirmations.
pub(super) struct Confirming {
    handlers: Option<mpsc::UnboundedSender<ExactlyOnce>>,
    task: Option<JoinHandle<()>>,
}

impl Confirming {
    /// For one subscription.
    pub(super) fn start(subscription: String) -> Self {
        let (send, handlers) = mpsc::unbounded_channel();
        metrics::counter!("chalk_writer_acknowledgements_lost_total").increment(0);
        Self { handlers: Some(send), task: Some(tokio::spawn(confirm(subscription, handlers))) }
    }

    /// Acknowledges a message. Where that is refused it comes again, and the store has it already.
    pub(super) fn confirm(&self, handler: ExactlyOnce) {
        if let Some(handlers) = &self.handlers {
            // The task ends after its last sender only.
            handlers.send(handler).ok();
        }
    }

    /// Waits until all have an answer.
    pub(super) async fn end(&mut self) {
        self.handlers = None;
        if let Some(task) = self.task.take() {
            task.await.ok();
        }
    }
}

async fn confirm(subscription: String, mut handlers: mpsc::UnboundedReceiver<ExactlyOnce>) {
    let mut open = JoinSet::new();
    let mut is_told = false;
    loop {
        let answer = tokio::select! {
            handler = handlers.recv() => match handler {
                Some(handler) => {
                    open.spawn(handler.confirmed_ack());
                    continue;
                }
                None => match open.join_next().await {
                    Some(answer) => answer,
                    None => return,
                },
            },
            Some(answer) = open.join_next() => answer,
        };
        let Ok(Err(error)) = answer else { continue };
        metrics::counter!("chalk_writer_acknowledgements_lost_total").increment(1);
        if is_told {
            tracing::debug!(subscription, "an acknowledgement was not taken: {error}");
        } else {
            is_told = true;
            tracing::warn!(
                subscription,
                "an acknowledgement was not taken, and its message, which is written, comes again: {error} (others are \
                 counted in chalk_writer_acknowledgements_lost_total)"
            );
        }
    }
}
