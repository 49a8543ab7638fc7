//! One writer from its start to its end: the way of `--drain`, of a deployment and of `demo` alike.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::settings::{BusSettings, WriterSettings};
use crate::runtime::PipelineError;
use crate::telemetry::watched::{Identity, Phase, Watched};
use crate::writer;

use super::exit::{Exit, Failure};
use super::progress;
use super::signals::Signals;

/// A writer that is ready to be started.
pub(super) struct Session {
    /// What it runs by.
    pub settings: WriterSettings,
    /// Who looks on.
    pub watched: Arc<Watched>,
    /// Whether it ends when the bus is empty.
    pub drain: bool,
}

/// What may end it from outside.
pub(super) struct Stop<'a> {
    /// SIGTERM and SIGINT, where this process listens to them.
    pub signals: Option<&'a mut Signals>,
    /// The longest that a drain may take.
    pub limit: Option<Duration>,
}

/// What the port and the log call a writer.
pub(super) fn identity(settings: &WriterSettings) -> Identity {
    Identity {
        writer: settings.name.clone(),
        writer_type: settings.writer_type.as_str(),
        bus: bus_name(&settings.bus),
        topic: settings.subscription.clone(),
        group: settings.group.clone(),
    }
}

/// The bus as `bus_backend` names it.
const fn bus_name(bus: &BusSettings) -> &'static str {
    match bus {
        BusSettings::Local(_) => "LOCAL",
        BusSettings::Kafka(_) => "KAFKA",
        BusSettings::Pubsub => "PUBSUB",
    }
}

impl Session {
    /// Runs the writer to its end, and says in one line how it went.
    pub(super) async fn run(self, stop: Stop<'_>) -> Result<(), Failure> {
        let shutdown = CancellationToken::new();
        let result = tokio::select! {
            result = self.start_and_run(&shutdown, stop.limit) => result,
            failure = forced(stop.signals, &shutdown, &self.watched) => Err(failure),
            () = self.watched.keep_sampling() => unreachable_end(),
            () = progress::show(&self.watched), if self.drain => unreachable_end(),
        };
        self.watched.enter(Phase::Ended);
        self.summarize();
        result
    }
}
