//! A running writer as the HTTP port, the progress line and the last log line see it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::bus::PartitionStatus;
use crate::runtime::Health;

use super::process::Process;
use super::scrape;
use super::throughput::Throughput;

/// Which writer this is: in the first log line, on the page, and a label of every metric.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Identity {
    /// The writer's name.
    pub writer: String,
    /// `ONLINE_WRITER`, …
    #[serde(rename = "type")]
    pub writer_type: &'static str,
    /// `LOCAL`, `KAFKA`, …
    pub bus: &'static str,
    /// What it reads, as the configuration names it: a subscription on a bus that has them, elsewhere a topic.
    pub subscription: String,
    /// Consumer group.
    pub group: String,
}

/// Where a writer stands between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Phase {
    /// Looking at the bus and opening stores.
    Starting,
    /// Reading and writing.
    Running,
    /// Asked to stop: writing what is at hand.
    Stopping,
    /// The pipeline has ended.
    Ended,
}

/// One running writer.
pub struct Watched {
    /// Which one.
    pub identity: Identity,
    /// What its pipeline says of itself.
    pub health: Arc<Health>,
    /// When the process started it.
    pub started: Instant,
    drain_within: Duration,
    phase: AtomicU8,
    partitions: Mutex<Option<watch::Receiver<Vec<PartitionStatus>>>>,
    throughput: Mutex<Throughput>,
    recorded: PrometheusHandle,
}

/// The loop turns every second, also when there is nothing to read or a store is away. The one thing
/// that holds it up is writing what is at hand for a rebalance or for the end, and that has a limit
/// of its own; beyond that and this it is stuck.
const MARGIN: Duration = Duration::from_secs(60);

/// After so long without partitions the log says so; a rebalance takes less.
const IDLE_FOR: Duration = Duration::from_secs(5);

/// How long the last figures of a bus may take that was not closed in order.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

impl Watched {
    /// A writer that is starting, and that may take `drain_within` for writing what is at hand.
    pub fn new(
        identity: Identity,
        health: Arc<Health>,
        recorded: PrometheusHandle,
        drain_within: Duration,
    ) -> Arc<Self> {
        // Its start is noted by the clock of now.
        let _ = Process::read();
        Arc::new(Self {
            identity,
            health,
            started: Instant::now(),
            drain_within,
            phase: AtomicU8::new(Phase::Starting as u8),
            partitions: Mutex::default(),
            throughput: Mutex::default(),
            recorded,
        })
    }

    /// The subscription stands, and says through this how far behind it is; another one than before, where there was one.
    pub fn subscribed(&self, partitions: watch::Receiver<Vec<PartitionStatus>>) {
        *self.told() = Some(partitions);
        self.enter(Phase::Running);
    }

    /// Moves on to a later phase; never back.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Running,
            2 => Phase::Stopping,
            _ => Phase::Ended,
        }
    }

    fn told(&self) -> MutexGuard<'_, Option<watch::Receiver<Vec<PartitionStatus>>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far behind each assigned partition is; empty before there is an assignment.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        self.told().as_ref().map(|partitions| partitions.borrow().clone()).unwrap_or_default()
    }

    /// Messages of the assigned partitions that are not acknowledged; `None` where there is no
    /// assignment, or one whose ends are not all known: that is not the same as none.
    pub fn lag_messages(&self) -> Option<u64> {
        let partitions = self.partitions();
        if partitions.is_empty() {
            return None;
        }
        partitions.iter().map(scrape::lag_messages).sum()
    }

    /// Messages that were left at the end. Only what the bus told last, when it was closed, counts:
    /// while it works, its figures come later than the acknowledgements.
    pub async fn left(&self) -> Option<u64> {
        let mut partitions = self.told().clone()?;
        let closed = async { while partitions.changed().await.is_ok() {} };
        timeout(CLOSED_WITHIN, closed).await.ok()?;
        self.lag_messages()
    }

    /// Whether it runs, and nothing is assigned to it: right where the group has more members than
    /// the topic partitions, and only there.
    pub fn is_idle(&self) -> bool {
        self.phase() == Phase::Running && self.partitions().is_empty()
    }

    /// Acknowledged messages per second over the last so long.
    pub fn rate(&self, over: Duration) -> f64 {
        self.throughput.lock().unwrap_or_else(PoisonError::into_inner).rate(over)
    }

    /// Why it is not ready, per part; empty when it is.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        let phase = match self.phase() {
            Phase::Running => None,
            Phase::Starting => Some("starting: not subscribed yet"),
            Phase::Stopping => Some("stopping: writing what is at hand"),
            Phase::Ended => Some("ended"),
        };
        let mut reasons: Vec<_> = phase.map(|reason| ("writer".to_owned(), reason.to_owned())).into_iter().collect();
        if self.phase() == Phase::Starting {
            // It is not ready anyway, so trouble is told at once, without the patience of a running one.
            reasons.extend(self.health.state().troubles.into_iter().map(|(part, trouble)| (part, trouble.reason)));
        } else {
            reasons.extend(self.health.not_ready());
        }
        reasons
    }

    /// Why it should be started anew, where it should.
    pub fn dead(&self) -> Option<String> {
        let state = self.health.state();
        match (self.phase(), state.turned, state.bus_stuck) {
            (Phase::Ended, ..) => Some("the pipeline has ended".to_owned()),
            (Phase::Running | Phase::Stopping, Some(turned), _) if turned.elapsed() >= self.drain_within + MARGIN => {
                Some(format!("the pipeline's loop has not turned for {} s", turned.elapsed().as_secs()))
            }
            (Phase::Running | Phase::Stopping, _, Some(stuck)) => Some(format!(
                "the thread that reads the bus has not come round for {} s, which is longer than it waits for any broker",
                stuck.as_secs()
            )),
            _ => None,
        }
    }

    /// What is recorded, as Prometheus reads it.
    pub fn recorded(&self) -> String {
        metrics::gauge!("chalk_writer_ready").set(if self.not_ready().is_empty() { 1. } else { 0. });
        self.recorded.render()
    }

    /// The labels that every metric carries.
    pub fn labels(&self) -> [(&'static str, String); 2] {
        [("writer", self.identity.writer.clone()), ("type", self.identity.writer_type.to_owned())]
    }

    /// Everything of `/metrics`.
    pub fn exposition(&self) -> String {
        let mut text = self.recorded();
        scrape::append_assigned(&mut text, &self.labels(), &self.partitions());
        scrape::append_trouble(&mut text, &self.labels(), &self.health.state());
        scrape::append_lag(&mut text, &self.labels(), &self.partitions());
        scrape::append_process(&mut text, &self.labels());
        text
    }

    /// Takes a sample every second until it is dropped: for the rates, and so that what histograms
    /// collect between two scrapes does not pile up. Says once when no partitions come.
    pub async fn keep_sampling(&self) -> Infallible {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let mut idle_since = None;
        let mut said = false;
        loop {
            second.tick().await;
            if !self.is_idle() {
                (idle_since, said) = (None, false);
            } else if !said && idle_since.get_or_insert_with(Instant::now).elapsed() >= IDLE_FOR {
                said = true;
                let Identity { group, subscription, .. } = &self.identity;
                tracing::warn!(
                    subscription,
                    "waiting for partitions of group {group}: right where it has more members than the topic partitions"
                );
            }
            let acknowledged = self.health.state().acknowledged;
            self.throughput.lock().unwrap_or_else(PoisonError::into_inner).sample(Instant::now(), acknowledged);
            self.recorded.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::recorder;

    #[test]
    fn a_thread_that_is_stuck_is_dead_and_a_bus_that_is_away_is_not() {
        let identity = Identity {
            writer: "w".to_owned(),
            writer_type: "ONLINE_WRITER",
            bus: "KAFKA",
            subscription: "t".to_owned(),
            group: "g".to_owned(),
        };
        let health = Arc::new(Health::default());
        let recorded = recorder(&[]).expect("the buckets are sound").handle();
        let watched = Watched::new(identity, Arc::clone(&health), recorded, Duration::from_secs(25));
        watched.subscribed(watch::channel(Vec::new()).1);
        health.failed("bus", "no broker answers", true);
        assert_eq!(watched.dead(), None);
        health.update(|state| state.bus_stuck = Some(Duration::from_secs(600)));
        assert!(watched.dead().is_some_and(|why| why.contains("has not come round for 600 s")), "{:?}", watched.dead());
    }
}
