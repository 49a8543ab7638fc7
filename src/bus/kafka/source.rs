//! The reading end of a consumer: takes what the poll thread fetched, acknowledges, closes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::access::Access;
use super::chunk::Item;
use super::poll::Poller;
use super::rebalance::Shared;
use super::transactions::KafkaTransactions;
use super::{positions, properties, topics};
use crate::bus::{BusError, Received, Source, Subscribe, Subscription, Transactions};
use crate::config::settings::KafkaSettings;
use crate::message::Delivery;

/// Chunks that may wait between the two threads.
const WAITING: usize = 4;
/// Handovers that may wait; each stands for a rebalance.
const HANDOVERS: usize = 16;
/// How long leaving may take: the last commit, the group, and librdkafka's own threads. While a
/// rebalance waits for another member the broker answers no commit, and this is all we wait for it.
const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// Every call that its thread makes has a bound far below this, whatever the brokers do; and the group has given up a member
/// that takes half of it.
const STUCK_AFTER: Duration = Duration::from_secs(600);

/// How long a start waits to hear whether the topic is there.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// Starts a consumer. Its thread lives until the source is closed or dropped.
pub(super) async fn subscribe(settings: Arc<KafkaSettings>, subscribe: Subscribe) -> Result<Subscription, BusError> {
    let access = Access::fetch(&settings).await?;
    let topic = subscribe.topic.clone();
    let known = topics::ask(&settings, &access, move |consumer| positions::partitions(consumer, &topic, KNOWN_WITHIN));
    // A missing topic is the caller's business; while Kafka is away the thread says so and tries on.
    if let Err(BusError::NotFound(_)) = known.await {
        return Err(BusError::NotFound(subscribe.topic));
    }
    let (items_in, items) = mpsc::channel(WAITING);
    let (handovers_in, handovers) = mpsc::channel(HANDOVERS);
    let (status_in, status) = watch::channel(Vec::new());
    let (ready_in, ready) = oneshot::channel();
    let (done_in, done) = oneshot::channel();
    let shared = Arc::new(Shared::new(subscribe.transactional));
    let stuck_after = STUCK_AFTER.max(2 * properties::max_poll_interval(&settings));
    let transactions = if subscribe.transactional {
        Some(Arc::new(KafkaTransactions::start(&settings, &subscribe, &shared).await?))
    } else {
        None
    };
    let poller = Poller::new(
        settings,
        subscribe,
        Arc::clone(&shared),
        items_in,
        handovers_in,
        status_in,
        Handle::current(),
        transactions.clone(),
    );
    let thread = std::thread::Builder::new()
        .name("kafka-poll".to_owned())
        .spawn(move || {
            let _ = done_in.send(poller.run(access, ready_in));
        })
        .map_err(|error| BusError::Failed(format!("no thread for the consumer: {error}")))?;
    // Bounded: the thread answers before it contacts anyone, or ends.
    ready.await.map_err(|_| BusError::Failed("the consumer's thread ended at once".to_owned()))??;
    let thread = thread.thread().clone();
    let (done, kept) = (Some(done), transactions.clone());
    let source = KafkaSource { shared, items, thread, done, failure: None, transactions: kept, stuck_after };
    let transactions = transactions.map(|transactions| transactions as Arc<dyn Transactions>);
    Ok(Subscription { source: Box::new(source), handovers, status, transactions })
}

struct KafkaSource {
    shared: Arc<Shared>,
    items: mpsc::Receiver<Item>,
    thread: Thread,
    done: Option<oneshot::Receiver<Result<(), BusError>>>,
    failure: Option<BusError>,
    transactions: Option<Arc<KafkaTransactions>>,
    /// Without coming round for so long its thread is stuck.
    stuck_after: Duration,
}

impl KafkaSource {
    fn leave(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn next(&mut self) -> Result<Received, BusError> {
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            // The only await: what was received is dealt with before the next one, so nothing is lost by a drop.
            let item = self.items.recv().await;
            self.thread.unpark();
            match item {
                Some(Item::Chunk(chunk)) => {
                    let messages = self.shared.ledger.hand_out(chunk);
                    if !messages.is_empty() {
                        return Ok(Received::Messages(messages));
                    }
                }
                Some(Item::CaughtUp) => return Ok(Received::CaughtUp),
                Some(Item::End) => return Ok(Received::End),
                Some(Item::Trouble(error)) => return Err(error),
                Some(Item::Failed(error)) => self.failure = Some(error),
                None => self.failure = Some(BusError::Failed("the consumer's thread has ended".to_owned())),
            }
        }
    }

    fn acknowledge(&mut self, last: Delivery) {
        self.shared.ledger.acknowledge(last);
    }

    async fn close(&mut self) -> Result<(), BusError> {
        if let Some(transactions) = self.transactions.take() {
            // While this is still a member: what is under way may yet land.
            transactions.end().await;
        }
        self.leave();
        let Some(done) = self.done.take() else { return Ok(()) };
        // What is left is not numbered, hence not acknowledged, hence read again by someone.
        self.items.close();
        match tokio::time::timeout(CLOSE_WITHIN, done).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(BusError::Failed("the consumer's thread ended by itself".to_owned())),
            Err(_) => Err(BusError::Unavailable(format!(
                "the consumer did not leave within {} s: {} is delivered again",
                CLOSE_WITHIN.as_secs(),
                self.shared.unsettled()
            ))),
        }
    }

    fn stuck(&self) -> Option<Duration> {
        Some(self.shared.turned().elapsed()).filter(|silent| *silent >= self.stuck_after)
    }

    fn unsettled(&self) -> Option<String> {
        Some(self.shared.unsettled())
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.leave();
    }
}
