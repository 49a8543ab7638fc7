//! `/status.json`: one writer, as a person wants to see it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::build;
use super::scrape::{away_seconds, lag_messages, lag_seconds, open_seconds};
use super::summary::{self, Measure};
use super::watched::{Identity, Phase, Watched};

/// The whole of `/status.json`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// Revision of its sources; `unknown` where the build was not told.
    pub revision: &'static str,
    /// Which writer.
    #[serde(flatten)]
    pub identity: Identity,
    /// Where it stands.
    pub phase: Phase,
    /// Since it was started.
    pub uptime_seconds: f64,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// Why it does not.
    pub not_ready: Vec<NotReady>,
    /// Messages acknowledged since the start.
    pub acknowledged: u64,
    /// Values that a store holds because of it.
    pub stored: u64,
    /// Values that a store did not take: it had them, or newer ones, or they had expired.
    pub stale: u64,
    /// Messages in the dead letter topic because of it.
    pub buried: u64,
    /// Messages parked, because their store had been away for long.
    pub parked: u64,
    /// Values left out on purpose; `measures` says why.
    pub skipped: u64,
    /// Messages that were read and are not acknowledged.
    pub in_hand: u64,
    /// Acknowledged messages per second.
    pub messages_per_second: Rates,
    /// Messages that are not acknowledged, over all assigned partitions; unknown without any.
    pub lag_messages: Option<u64>,
    /// The assigned partitions.
    pub partitions: Vec<PartitionLag>,
    /// What does not work at this moment.
    pub troubles: Vec<TroubleNow>,
    /// What destinations say of themselves, by name; those that say nothing are not there.
    pub destinations: BTreeMap<String, serde_json::Value>,
    /// The last errors, newest last.
    pub last_errors: Vec<PastError>,
    /// Freshness, batch sizes, store latency, dead letters and skipped values since the start.
    pub measures: Vec<Measure>,
}

/// One reason for not being ready.
#[derive(Debug, Serialize)]
pub struct NotReady {
    /// A destination, the bus, the dead letter topic, or the writer itself.
    pub part: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Speeds.
#[derive(Debug, Serialize)]
pub struct Rates {
    /// Over the last ten seconds.
    pub last_10_seconds: f64,
    /// Over the last minute.
    pub last_60_seconds: f64,
}

/// One assigned partition.
#[derive(Debug, Serialize)]
pub struct PartitionLag {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The next offset to be acknowledged, where known.
    pub position: Option<i64>,
    /// The end of the partition, where known.
    pub end: Option<i64>,
    /// The difference of both.
    pub lag_messages: Option<u64>,
    /// Age of the oldest message that is not acknowledged, where known.
    pub lag_seconds: Option<f64>,
    /// Why it cannot be read; nothing where it can.
    pub away: Option<String>,
    /// For how long it cannot.
    pub away_seconds: Option<f64>,
    /// Messages behind the beginning of its oldest open transaction, which nobody may read yet.
    pub open_transaction_messages: u64,
    /// For how long that one has been the oldest.
    pub open_transaction_seconds: Option<f64>,
}

/// A part that does not work now.
#[derive(Debug, Serialize)]
pub struct TroubleNow {
    /// Which part.
    pub part: String,
    /// What it says.
    pub reason: String,
    /// For how long already.
    pub since_seconds: f64,
    /// Whether rights are missing.
    pub denied: bool,
    /// Whether the work goes on without it: no reason for not being ready.
    pub spared: bool,
}

/// An error that was met.
#[derive(Debug, Serialize)]
pub struct PastError {
    /// RFC 3339, UTC.
    pub time: String,
    /// What happened.
    pub error: String,
}

impl Status {
    /// The status now.
    pub fn of(writer: &Watched) -> Self {
        let state = writer.health.state();
        let not_ready: Vec<_> =
            writer.not_ready().into_iter().map(|(part, reason)| NotReady { part, reason }).collect();
        let partitions = writer.partitions().into_iter().map(|status| PartitionLag {
            topic: status.partition.topic.to_string(),
            partition: status.partition.number,
            position: status.position,
            end: status.end,
            lag_messages: lag_messages(&status),
            lag_seconds: lag_seconds(&status),
            away_seconds: away_seconds(&status),
            open_transaction_messages: status.held_up.open.map_or(0, |(messages, _)| messages),
            open_transaction_seconds: open_seconds(&status),
            away: status.held_up.away.map(|(_, why)| why),
        });
        let troubles = state.troubles.into_iter().map(|(part, trouble)| TroubleNow {
            part,
            reason: trouble.reason,
            since_seconds: trouble.since.elapsed().as_secs_f64(),
            denied: trouble.denied,
            spared: trouble.spared,
        });
        let errors = state.last_errors.into_iter().map(|(time, error)| PastError {
            time: DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true),
            error,
        });
        Self {
            version: build::VERSION,
            revision: build::REVISION,
            identity: writer.identity.clone(),
            phase: writer.phase(),
            uptime_seconds: writer.started.elapsed().as_secs_f64(),
            ready: not_ready.is_empty(),
            not_ready,
            acknowledged: state.acknowledged,
            stored: state.stored,
            stale: state.stale,
            buried: state.buried,
            parked: state.parked,
            skipped: state.skipped,
            in_hand: state.in_hand,
            messages_per_second: Rates {
                last_10_seconds: writer.rate(Duration::from_secs(10)),
                last_60_seconds: writer.rate(Duration::from_secs(60)),
            },
            lag_messages: writer.lag_messages(),
            partitions: partitions.collect(),
            troubles: troubles.collect(),
            destinations: state.summaries,
            last_errors: errors.collect(),
            measures: summary::measures(&writer.recorded()),
        }
    }
}
