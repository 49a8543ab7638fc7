//! A stretch of a topic as a source: read again, by itself and up to its end, outside every group.
//!
//! Nothing is committed anywhere, and nothing is handed over: an acknowledgement is progress, which
//! the status shows, and no more. Works on every bus, through [`Bus::browse`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::{BrowseFrom, Bus, BusError, PartitionStatus, Received, Source, Stretch, Subscription};
use crate::message::{Delivery, Message, Partition};

/// Chunks that may wait to be taken.
const WAITING: usize = 2;

/// Between two attempts at a bus that is away. The reader's own pauses come on top of it.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads stretches of a topic, once. `from_ms` is the time that they begin with, for whoever has to
/// go on after a stop.
///
/// A bus that is away is waited for without end, as by a member of a group: the source tells the
/// trouble and goes on where it was.
pub fn reread(bus: Arc<dyn Bus>, topic: &str, stretches: Vec<Stretch>, from_ms: i64) -> Subscription {
    let name: Arc<str> = topic.into();
    let status = |stretch: &Stretch| PartitionStatus {
        partition: Partition { topic: Arc::clone(&name), number: stretch.partition },
        position: Some(stretch.from),
        end: Some(stretch.until),
        lag: Duration::ZERO,
    };
    let (status_in, status) = watch::channel(stretches.iter().map(status).collect());
    let (items_in, items) = mpsc::channel(WAITING);
    let left: Vec<Stretch> = stretches.into_iter().filter(|stretch| stretch.from < stretch.until).collect();
    let reached = left.iter().map(|stretch| (stretch.partition, from_ms)).collect();
    let feeding = tokio::spawn(feed(bus, topic.to_owned(), left, items_in)).abort_handle();
    let source = Reread { items, feeding, status: status_in, next: 0, given: VecDeque::new(), reached, read: false };
    // Nothing is ever handed over: the channel is closed from the start.
    Subscription { source: Box::new(source), handovers: mpsc::channel(1).1, status }
}

/// What the reading task has to say.
enum Item {
    Messages(Vec<Message>),
    Trouble(BusError),
    End,
}

/// Reads to the end, or until nobody listens any more.
async fn feed(bus: Arc<dyn Bus>, topic: String, mut left: Vec<Stretch>, items: mpsc::Sender<Item>) {
    loop {
        let (item, over) = match read_on(&*bus, &topic, &mut left, &items).await {
            Ok(()) => (Item::End, true),
            Err(error) => {
                let over = !error.is_transient();
                (Item::Trouble(error), over)
            }
        };
        if items.send(item).await.is_err() || over {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read_on(
    bus: &dyn Bus,
    topic: &str,
    left: &mut Vec<Stretch>,
    items: &mpsc::Sender<Item>,
) -> Result<(), BusError> {
    if left.is_empty() {
        return Ok(());
    }
    let mut browse = bus.browse(topic, BrowseFrom::Stretches(left.clone())).await?;
    loop {
        let messages = browse.next().await?;
        if messages.is_empty() || items.is_closed() {
            return Ok(());
        }
        for message in &messages {
            for stretch in left.iter_mut().filter(|stretch| stretch.partition == message.partition.number) {
                stretch.from = message.offset + 1;
            }
        }
        left.retain(|stretch| stretch.from < stretch.until);
        // The receiver's end is the end of the task too.
        let _ = items.send(Item::Messages(messages)).await;
    }
}

/// A message that was given out and is not acknowledged.
struct Given {
    delivery: u64,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
}

struct Reread {
    items: mpsc::Receiver<Item>,
    feeding: AbortHandle,
    status: watch::Sender<Vec<PartitionStatus>>,
    /// The next number to be given.
    next: u64,
    given: VecDeque<Given>,
    /// Of each partition the time of the last message that is dealt with.
    reached: BTreeMap<i32, i64>,
    /// Everything was given out.
    read: bool,
}

#[async_trait]
impl Source for Reread {
    async fn next(&mut self) -> Result<Received, BusError> {
        // The only await: what was received is dealt with before the next one, so nothing is lost by a drop.
        match self.items.recv().await {
            Some(Item::Messages(mut messages)) => {
                for message in &mut messages {
                    message.delivery = Delivery(self.next);
                    self.given.push_back(Given {
                        delivery: self.next,
                        partition: message.partition.number,
                        offset: message.offset,
                        timestamp_ms: message.timestamp_ms,
                    });
                    self.next += 1;
                }
                Ok(Received::Messages(messages))
            }
            Some(Item::End) => {
                self.read = true;
                self.tell();
                Ok(Received::End)
            }
            Some(Item::Trouble(error)) => Err(error),
            None if self.read => Ok(Received::End),
            None => Err(BusError::Failed("the reading task has ended".to_owned())),
        }
    }

    fn acknowledge(&mut self, last: Delivery) {
        let mut positions = BTreeMap::new();
        while let Some(given) = self.given.front().filter(|given| given.delivery <= last.0) {
            positions.insert(given.partition, given.offset + 1);
            if let Some(time) = given.timestamp_ms {
                self.reached.insert(given.partition, time);
            }
            self.given.pop_front();
        }
        self.status.send_modify(|status| {
            for status in status {
                if let Some(position) = positions.get(&status.partition.number) {
                    status.position = Some(*position);
                }
            }
        });
        self.tell();
    }

    async fn close(&mut self) -> Result<(), BusError> {
        self.feeding.abort();
        if let Some(time) = self.resume() {
            tracing::warn!("not read to its end; `--from-time {time}` goes on from where everything before is done");
        }
        Ok(())
    }
}

impl Reread {
    /// Once all is given out and acknowledged the partitions are at their ends, whatever lies between
    /// the last message and an end: markers of transactions are no messages.
    fn tell(&mut self) {
        if self.read && self.given.is_empty() {
            self.status.send_modify(|status| status.iter_mut().for_each(|status| status.position = status.end));
        }
    }

    /// The time before which nothing is left to do; `None` where nothing is left at all.
    fn resume(&self) -> Option<String> {
        let status = self.status.borrow();
        let unfinished = status.iter().filter(|status| status.position < status.end);
        let oldest = unfinished.filter_map(|status| self.reached.get(&status.partition.number)).min()?;
        Some(DateTime::from_timestamp_millis(*oldest)?.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Drop for Reread {
    fn drop(&mut self) {
        self.feeding.abort();
    }
}
