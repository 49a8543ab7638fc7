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

use super::{BrowseFrom, Bus, BusError, HeldUp, PartitionStatus, Received, Source, Stretch, Subscription};
use crate::message::{Delivery, Message, Partition};

/// Chunks that may wait to be taken.
const WAITING: usize = 2;

/// Between two attempts at a bus that is away. The reader's own pauses come on top of it.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads stretches of a topic, once. `from_ms` is the time that they begin with, where they were
/// found by time: whoever has to go on after a stop is told from where.
///
/// A bus that is away is waited for without end, as by a member of a group: the source tells the
/// trouble and goes on where it was.
pub fn reread(bus: Arc<dyn Bus>, topic: &str, stretches: Vec<Stretch>, from_ms: Option<i64>) -> Subscription {
    let name: Arc<str> = topic.into();
    let status = |stretch: &Stretch| PartitionStatus {
        partition: Partition { topic: Arc::clone(&name), number: stretch.partition },
        position: Some(stretch.from),
        end: Some(stretch.until),
        lag: Duration::ZERO,
        held_up: HeldUp::default(),
    };
    let (status_in, status) = watch::channel(stretches.iter().map(status).collect());
    let (items_in, items) = mpsc::channel(WAITING);
    let left: Vec<Stretch> = stretches.into_iter().filter(|stretch| stretch.from < stretch.until).collect();
    let reached = left.iter().filter_map(|stretch| Some((stretch.partition, from_ms?))).collect();
    let feeding = tokio::spawn(feed(bus, topic.to_owned(), left, items_in)).abort_handle();
    let source = Reread { items, feeding, status: status_in, next: 0, given: VecDeque::new(), reached, read: false };
    // Nothing is ever handed over: the channel is closed from the start.
    Subscription { source: Box::new(source), handovers: mpsc::channel(1).1, status, transactions: None }
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
    /// Of each partition the time of the last message that is dealt with, where times matter.
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
            if let (Some(reached), Some(time)) = (self.reached.get_mut(&given.partition), given.timestamp_ms) {
                *reached = time;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::bus::{Browse, GroupPosition, Publisher, Step, Stepped, Subscribe, TopicInfo};
    use crate::message::Headers;

    /// A bus of one partition whose connections break after so many messages, in turn.
    struct Breaking {
        breaks: Mutex<VecDeque<usize>>,
        asked: Mutex<Vec<Vec<Stretch>>>,
    }

    struct Connection {
        offsets: std::ops::Range<i64>,
        lasts: usize,
    }

    #[async_trait]
    impl Browse for Connection {
        async fn next(&mut self) -> Result<Vec<Message>, BusError> {
            if self.lasts == 0 && !self.offsets.is_empty() {
                return Err(BusError::Unavailable("connection reset".to_owned()));
            }
            self.lasts = self.lasts.saturating_sub(1);
            Ok(self.offsets.next().map(message).into_iter().collect())
        }
    }

    fn message(offset: i64) -> Message {
        Message {
            delivery: Delivery(0),
            partition: Partition { topic: "t".into(), number: 3 },
            offset,
            timestamp_ms: Some(1_700_000_000_000 + offset * 1_000),
            key: None,
            headers: Headers::new(),
            payload: None,
        }
    }

    #[async_trait]
    impl Bus for Breaking {
        async fn browse(&self, _: &str, from: BrowseFrom) -> Result<Box<dyn Browse>, BusError> {
            let BrowseFrom::Stretches(stretches) = from else { unreachable!("only stretches are read") };
            let offsets = stretches[0].from..stretches[0].until;
            self.asked.lock().expect("no panic").push(stretches);
            let lasts = self.breaks.lock().expect("no panic").pop_front();
            Ok(Box::new(Connection { offsets, lasts: lasts.unwrap_or(usize::MAX) }))
        }

        async fn subscribe(&self, _: Subscribe) -> Result<Subscription, BusError> {
            unreachable!("no group is joined")
        }

        async fn publisher(&self) -> Result<Arc<dyn Publisher>, BusError> {
            unreachable!("nothing is published")
        }

        async fn topic(&self, _: &str) -> Result<TopicInfo, BusError> {
            unreachable!("the stretches say it all")
        }

        async fn create_topic(&self, _: &str, _: u32) -> Result<(), BusError> {
            unreachable!("nothing is made")
        }

        async fn stretch(&self, _: &str, _: i64, _: Option<i64>) -> Result<Vec<Stretch>, BusError> {
            unreachable!("they are given")
        }

        async fn positions(&self, _: &str, _: &str) -> Result<Vec<GroupPosition>, BusError> {
            unreachable!("no group is asked for")
        }

        async fn step(&self, _: &Step) -> Result<Stepped, BusError> {
            unreachable!("no position is moved")
        }
    }

    fn stretch(from: i64, until: i64) -> Stretch {
        Stretch { partition: 3, from, until, earliest: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bus_that_breaks_is_told_of_and_read_on_where_it_broke() {
        let bus = Breaking { breaks: Mutex::new([2, 0, 3].into()), asked: Mutex::default() };
        let bus = Arc::new(bus);
        let mut subscription = reread(Arc::clone(&bus) as Arc<dyn Bus>, "t", vec![stretch(10, 20)], None);
        let (mut offsets, mut troubles) = (Vec::new(), 0);
        loop {
            match subscription.source.next().await {
                Ok(Received::Messages(messages)) => offsets.extend(messages.iter().map(|message| message.offset)),
                Ok(Received::CaughtUp) => {}
                Ok(Received::End) => break,
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    troubles += 1;
                }
            }
        }
        assert_eq!(offsets, (10..20).collect::<Vec<_>>(), "each once, and in order");
        assert_eq!(troubles, 3);
        let asked = bus.asked.lock().expect("no panic").concat();
        assert_eq!(asked, [stretch(10, 20), stretch(12, 20), stretch(12, 20), stretch(15, 20)]);
    }

    #[tokio::test]
    async fn what_is_left_to_do_begins_with_the_last_message_that_is_dealt_with() {
        let bus = Arc::new(Breaking { breaks: Mutex::default(), asked: Mutex::default() });
        let (items_in, items) = mpsc::channel(9);
        let status = |position| PartitionStatus {
            partition: Partition { topic: "t".into(), number: 3 },
            position: Some(position),
            end: Some(12),
            lag: Duration::ZERO,
            held_up: HeldUp::default(),
        };
        let mut left = vec![stretch(10, 12)];
        read_on(&*bus, "t", &mut left, &items_in).await.expect("read");
        drop(items_in);
        let feeding = tokio::spawn(async {}).abort_handle();
        let (status, _keep) = watch::channel(vec![status(10)]);
        let reached = BTreeMap::from([(3, 1_700_000_000_000)]);
        let mut source = Reread { items, feeding, status, next: 0, given: VecDeque::new(), reached, read: false };
        for resume in ["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:30.000Z"] {
            assert_eq!(source.resume().as_deref(), Some(resume));
            assert!(matches!(source.next().await, Ok(Received::Messages(_))));
            source.acknowledge(Delivery(source.next - 1));
        }
        assert_eq!(source.resume(), None, "all of it is done");
        // The reading ended without saying that it was at its end.
        assert!(matches!(source.next().await, Err(BusError::Failed(_))));
    }
}
