//! The thread of a consumer: renews the lease, reads ahead, commits, hands over.

mod hand_over;
mod read_ahead;
mod status;
mod transact;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::file::BusFile;
use super::group::{Commit, Membership, Share};
use super::log::{self, Log, Reader};
use super::shared::{Acknowledged, Shared};
use super::{Options, no_file};
use crate::bus::{BusError, Handover, PartitionStatus, Subscribe};
use hand_over::Leaving;

/// How often the file is looked at for news of other processes; costs microseconds.
const POLL: Duration = Duration::from_millis(20);
/// The shortest time between two commits: each costs an `fsync`.
const COMMIT_INTERVAL: Duration = Duration::from_millis(50);
/// Pause after a failure that may pass.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long closing tries to commit.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// What a consumer is to do.
pub(super) struct Plan {
    pub(super) path: PathBuf,
    pub(super) subscribe: Subscribe,
    pub(super) options: Options,
}

/// A partition that this member owns.
struct Owned {
    log: Log,
    generation: i64,
    /// The next offset to be read.
    read: i64,
    acknowledged: i64,
    committed: i64,
    /// Offsets that nobody can acknowledge, because their messages are gone; the last such stretch.
    hole: Option<(i64, i64)>,
    /// Announced as going; nothing more is read or delivered.
    leaving: bool,
}

impl Owned {
    /// Moves the acknowledged position on, over a hole that begins there.
    fn acknowledge(&mut self, position: i64) {
        self.acknowledged = self.acknowledged.max(position);
        if let Some((start, end)) = self.hole
            && self.acknowledged >= start
        {
            self.acknowledged = self.acknowledged.max(end);
        }
    }
}

pub(super) struct Member {
    plan: Plan,
    shared: Arc<Shared>,
    handovers: mpsc::Sender<Handover>,
    status: watch::Sender<Vec<PartitionStatus>>,
    file: BusFile,
    reader: Reader,
    topic: Arc<str>,
    membership: Membership,
    owned: BTreeMap<i32, Owned>,
    shares: Vec<Share>,
    leaving: Option<Leaving>,
    /// Where a drain ends: the ends of all partitions at the first assignment.
    drain_ends: Option<BTreeMap<i32, i64>>,
    /// The version of the file at the last look; `None` asks for a look.
    version: Option<i64>,
    told_caught_up: bool,
    first_partition: usize,
    next_beat: Instant,
    last_commit: Option<Instant>,
    last_status: Option<Instant>,
    told_trouble: bool,
    /// Where messages without a key go next.
    turn: usize,
}

impl Member {
    /// Joins, tells `ready` how that went, and works until the source is closed or dropped.
    pub(super) fn run(
        plan: Plan,
        shared: Arc<Shared>,
        handovers: mpsc::Sender<Handover>,
        status: watch::Sender<Vec<PartitionStatus>>,
        ready: oneshot::Sender<Result<(), BusError>>,
    ) {
        // A runtime of its own, for waiting on bells, handovers and time at once: a busy or paused one
        // elsewhere cannot keep the lease from being renewed.
        let joined = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| BusError::Unavailable(format!("no runtime for the consumer's thread: {error}")))
            .and_then(|runtime| Ok((runtime, Self::join(plan, shared, handovers, status)?)));
        match joined {
            Ok((runtime, member)) => {
                // Where nobody waits any longer, the source was dropped, and `work` sees that it is closing.
                drop(ready.send(Ok(())));
                runtime.block_on(member.work());
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    }

    fn join(
        plan: Plan,
        shared: Arc<Shared>,
        handovers: mpsc::Sender<Handover>,
        status: watch::Sender<Vec<PartitionStatus>>,
    ) -> Result<Self, BusError> {
        let name = &plan.subscribe.topic;
        let file = BusFile::open(&plan.path)?.ok_or_else(|| no_file(name, &plan.path))?;
        let topic = file.read(|connection| log::topic(connection, name))?;
        let membership = Membership {
            topic: topic.id,
            group: plan.subscribe.group.clone(),
            member: uuid::Uuid::new_v4().to_string(),
            session_timeout: plan.options.session_timeout,
        };
        let mut member = Self {
            plan,
            shared,
            handovers,
            status,
            file,
            reader: Reader::default(),
            topic: topic.name,
            membership,
            owned: BTreeMap::new(),
            shares: Vec::new(),
            leaving: None,
            drain_ends: None,
            version: None,
            told_caught_up: false,
            first_partition: 0,
            next_beat: Instant::now(),
            last_commit: None,
            last_status: None,
            told_trouble: false,
            turn: fastrand::usize(..),
        };
        member.beat()?;
        Ok(member)
    }

    async fn work(mut self) {
        loop {
            if self.shared.lock().closing {
                return self.close().await;
            }
            let pause = match self.step() {
                Ok(pause) => {
                    if std::mem::take(&mut self.told_trouble) {
                        // Whoever has not heard of it yet need not any more.
                        self.shared.lock().trouble = None;
                        // Something to hear after the trouble, also where nothing is left to read.
                        self.told_caught_up = false;
                    }
                    pause
                }
                Err(error) if error.is_transient() => {
                    if !self.told_trouble {
                        self.told_trouble = true;
                        self.shared.lock().trouble = Some(error);
                        self.shared.news.notify_one();
                    }
                    RETRY_PAUSE
                }
                Err(error) => return self.fail(error),
            };
            self.wait(pause).await;
        }
    }

    /// One round of all duties; returns how long nothing is due.
    fn step(&mut self) -> Result<Duration, BusError> {
        if Instant::now() >= self.next_beat {
            self.beat()?;
        } else {
            self.look()?;
        }
        self.take_acknowledgements();
        self.transact();
        self.hand_over()?;
        let until_commit = self.commit_when_due()?;
        let more = self.read_ahead()?;
        self.check_drain()?;
        self.tell_status()?;
        Ok(if more { Duration::ZERO } else { until_commit.min(POLL) })
    }

    async fn wait(&mut self, pause: Duration) {
        let released = async {
            match self.leaving.as_mut().and_then(|leaving| leaving.released.as_mut()) {
                Some(released) => drop(released.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = released => {
                if let Some(leaving) = &mut self.leaving {
                    leaving.released = None;
                }
            }
            () = self.shared.work.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Renews the lease and takes what is due.
    fn beat(&mut self) -> Result<(), BusError> {
        // From before the transaction: the lease counts from then.
        let start = Instant::now();
        let shares = self.file.write(|transaction| self.membership.beat(transaction))?;
        self.next_beat = start + self.plan.options.session_timeout / 4;
        self.see(shares)
    }

    /// Sees what other processes have changed, if anything.
    fn look(&mut self) -> Result<(), BusError> {
        let version = self.file.version()?;
        if self.version.replace(version) == Some(version) {
            self.shared.lock().seen = Instant::now();
            return Ok(());
        }
        let shares = self.file.read(|connection| self.membership.look(connection))?;
        self.see(shares)?;
        if self.shares.iter().any(|share| share.wanted && share.free) {
            self.beat()?;
        }
        Ok(())
    }

    /// Takes over a view of the partitions: new ones, lost ones, new ends.
    fn see(&mut self, shares: Vec<Share>) -> Result<(), BusError> {
        let mut lost = Vec::new();
        for share in &shares {
            let number = share.log.number;
            match (share.owned, self.owned.get_mut(&number)) {
                (Some(generation), Some(owned)) if owned.generation == generation => {
                    owned.log.end = share.log.end;
                    owned.committed = share.committed;
                }
                (Some(generation), _) => self.take(share, generation)?,
                (None, Some(_)) => {
                    tracing::warn!(topic = %self.topic, partition = number, "partition lost to another consumer");
                    self.owned.remove(&number);
                    lost.push(number);
                }
                (None, None) => {}
            }
        }
        if self.plan.subscribe.drain && self.drain_ends.is_none() {
            self.drain_ends = Some(shares.iter().map(|share| (share.log.number, share.log.end)).collect());
        }
        self.shares = shares;
        self.publish_ownership();
        self.tell_lost(&lost);
        Ok(())
    }

    fn take(&mut self, share: &Share, generation: i64) -> Result<(), BusError> {
        let Share { log, committed, .. } = *share;
        let (topic, number, end) = (&self.topic, log.number, log.end);
        if committed > end {
            return Err(BusError::Gap(format!(
                "position {committed} of group {} in {topic}/{number} is beyond its end {end}: the topic was recreated; a \
                 writer of another `name` reads it from its start",
                self.membership.group
            )));
        }
        let owned =
            Owned { log, generation, read: committed, acknowledged: committed, committed, hole: None, leaving: false };
        self.owned.insert(number, owned);
        self.told_caught_up = false;
        Ok(())
    }

    /// Tells the async side what it may deliver.
    fn publish_ownership(&self) {
        let mut state = self.shared.lock();
        state.seen = Instant::now();
        state.deliverable = self
            .owned
            .iter()
            .filter(|(_, owned)| !owned.leaving)
            .map(|(number, owned)| (*number, owned.generation))
            .collect();
        drop(state);
        // It may wait for `seen` alone.
        self.shared.news.notify_one();
    }

    fn take_acknowledgements(&mut self) {
        let taken = std::mem::take(&mut self.shared.lock().acknowledged);
        if self.plan.subscribe.transactional {
            // Positions move in transactions, and have.
            return;
        }
        for (number, Acknowledged { generation, position }) in taken {
            if let Some(owned) = self.owned.get_mut(&number).filter(|owned| owned.generation == generation) {
                owned.acknowledge(position);
            }
        }
    }

    fn commits(&self) -> Vec<Commit> {
        self.owned
            .values()
            .filter(|owned| owned.acknowledged > owned.committed)
            .map(|owned| Commit { partition: owned.log.id, generation: owned.generation, position: owned.acknowledged })
            .collect()
    }

    /// Commits if it is time to; returns how long it is until then.
    fn commit_when_due(&mut self) -> Result<Duration, BusError> {
        let commits = self.commits();
        if commits.is_empty() {
            return Ok(Duration::MAX);
        }
        let since = self.last_commit.map_or(Duration::MAX, |last| last.elapsed());
        let left = COMMIT_INTERVAL.saturating_sub(since);
        if !left.is_zero() {
            return Ok(left);
        }
        self.file.write(|transaction| self.membership.commit(transaction, &commits))?;
        self.committed();
        self.look()?;
        Ok(Duration::MAX)
    }

    /// Notes a commit of our own, which `version` does not show.
    fn committed(&mut self) {
        self.last_commit = Some(Instant::now());
        self.version = None;
    }

    /// Commits, leaves and answers, with some attempts where the file is busy or the disk is full.
    async fn close(mut self) {
        let deadline = Instant::now() + CLOSE_LIMIT;
        let closed = loop {
            self.take_acknowledgements();
            let commits = self.commits();
            let done = self.file.write(|transaction| {
                self.membership.commit(transaction, &commits)?;
                self.membership.leave(transaction)
            });
            match done {
                Err(error) if error.is_transient() && Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                done => break done,
            }
        };
        self.tell_last_status(closed.is_ok());
        let mut state = self.shared.lock();
        state.closed = Some(closed);
        state.requests.clear();
        drop(state);
        self.shared.news.notify_one();
    }

    /// Ends with an error that no repetition heals. The lease runs out by itself.
    fn fail(mut self, error: BusError) {
        self.tell_last_status(false);
        let mut state = self.shared.lock();
        state.closed = Some(Err(error.clone()));
        state.requests.clear();
        state.failed = Some(error);
        drop(state);
        self.shared.news.notify_one();
    }
}
