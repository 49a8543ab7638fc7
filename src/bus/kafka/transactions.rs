//! The async side of a consumer's transactions: says under which assignment each message was read, and waits
//! for the [`Transactor`], which works on threads that may wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;

use super::ledger::{Claim, Ledger};
use super::rebalance::Shared;
use super::transactor::Transactor;
use crate::bus::{BusError, Committed, Consumed, Subscribe, Transactions};
use crate::config::settings::KafkaSettings;
use crate::message::{Outgoing, Partition};

/// How long closing waits for a transaction that is under way.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Transactions of one consumer.
pub(super) struct KafkaTransactions {
    topic: Arc<str>,
    shared: Arc<Shared>,
    ending: Arc<AtomicBool>,
    /// One transaction after the other; one that nobody waits for any more is waited for by the next.
    transactor: Arc<Mutex<Transactor>>,
    /// Positions that moved without a message are being committed.
    passing: Arc<AtomicBool>,
    runtime: Handle,
}

impl KafkaTransactions {
    /// Makes the producer, which hears whether it may.
    pub(super) async fn start(
        settings: &Arc<KafkaSettings>,
        subscribe: &Subscribe,
        shared: &Arc<Shared>,
    ) -> Result<Self, BusError> {
        let (runtime, ending) = (Handle::current(), Arc::new(AtomicBool::default()));
        let (settings, shared) = (Arc::clone(settings), Arc::clone(shared));
        let transactor =
            Transactor::new(settings, subscribe, Arc::clone(&shared), Arc::clone(&ending), runtime.clone());
        let transactor = Arc::new(Mutex::new(transactor));
        let topic = Arc::from(subscribe.topic.as_str());
        let started = Self { topic, shared, ending, transactor, passing: Arc::default(), runtime };
        started.with(Transactor::prepare).await?;
        Ok(started)
    }

    /// Commits positions that moved without a message, if there are any, and waits for nothing.
    pub(super) fn pass(&self) {
        let claims = self.shared.ledger.unclaimed();
        if claims.is_empty() || self.passing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (transactor, passing) = (Arc::clone(&self.transactor), Arc::clone(&self.passing));
        self.runtime.spawn_blocking(move || {
            let passed = lock(&transactor).land(&[], &claims);
            // Tried again with the next tick.
            tracing::debug!(?claims, ?passed, "positions without messages");
            passing.store(false, Ordering::Release);
        });
    }

    /// Ends what is under way, in one way or the other, and takes nothing more.
    pub(super) async fn end(&self) {
        self.ending.store(true, Ordering::Release);
        let ended = self.with(|transactor| {
            transactor.discard();
            Ok(())
        });
        if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
            tracing::warn!(
                topic = &*self.topic,
                "a transaction was left open; its readers wait until the broker ends it"
            );
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transactor) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        let transactor = Arc::clone(&self.transactor);
        let done = tokio::task::spawn_blocking(move || work(&mut lock(&transactor))).await;
        done.map_err(|error| BusError::Failed(format!("a transaction ended abnormally: {error}")))?
    }
}

/// After a panic the producer's state is unknown, and found out as after every other failure.
fn lock(transactor: &Mutex<Transactor>) -> std::sync::MutexGuard<'_, Transactor> {
    transactor.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Transactions for KafkaTransactions {
    async fn commit(&self, messages: &[Outgoing], consumed: &[Consumed]) -> Result<Committed, BusError> {
        let claims = consumed.iter().map(|consumed| claim(&self.shared.ledger, consumed));
        let claims = claims.collect::<Result<Vec<_>, _>>()?;
        let messages = messages.to_vec();
        let lost = self.with(move |transactor| transactor.land(&messages, &claims)).await?;
        if lost.is_empty() {
            return Ok(Committed::Done);
        }
        let partition = |number| Partition { topic: Arc::clone(&self.topic), number };
        Ok(Committed::Lost(lost.into_iter().map(partition).collect()))
    }
}

fn claim(ledger: &Ledger, consumed: &Consumed) -> Result<Claim, BusError> {
    let Consumed { partition, last, next } = consumed;
    ledger.claim(partition.number, *last, *next).ok_or_else(|| {
        BusError::Failed(format!(
            "delivery {} of {}/{} is not open, and its position cannot be committed",
            last.0, partition.topic, partition.number
        ))
    })
}
