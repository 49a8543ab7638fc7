//! One writer from its start to its end: the way of `--drain`, of a deployment and of `demo` alike.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, PartitionStatus};
use crate::config::settings::WriterSettings;
use crate::runtime::{PipelineError, stops_within};
use crate::telemetry::watched::{Identity, Phase, Watched};
use crate::writer::{Again, Start, StartError};

use super::clock;
use super::exit::{Exit, Failure};
use super::output::count;
use super::plans::{self, Plans};
use super::progress;
use super::signals::Signals;

/// What a drain that ran out of time still has for writing what is at hand and leaving the group.
const MOMENT: Duration = Duration::from_secs(3);

/// Beyond what stopping may take: until whoever waits for something stops waiting by himself and says what is left,
const LAST_WORDS: Duration = Duration::from_secs(1);
/// and until the process ends whatever holds it up.
const LAST: Duration = Duration::from_secs(3);

/// A writer that is ready to be started.
pub(super) struct Session {
    /// What it decided by its settings, and by what is described elsewhere.
    pub plans: Plans,
    /// Where its messages come from.
    pub bus: Arc<dyn Bus>,
    /// Who looks on.
    pub watched: Arc<Watched>,
    /// Whether it ends when the bus is empty.
    pub drain: bool,
    /// What it is to read again, where it does nothing but that.
    pub again: Option<Again>,
}

/// What may end it from outside.
pub(super) struct Stop<'a> {
    /// SIGTERM and SIGINT, where this process listens to them.
    pub signals: Option<&'a mut Signals>,
    /// The longest that a drain may take.
    pub limit: Option<Duration>,
    /// The longest that stopping may take, from the first signal on: `drain_timeout`.
    pub within: Duration,
}

/// What the port and the log call a writer.
pub(super) fn identity(settings: &WriterSettings) -> Identity {
    Identity {
        writer: settings.name.clone(),
        writer_type: settings.writer_type.as_str(),
        bus: settings.bus.name(),
        subscription: settings.subscription.clone(),
        group: settings.group.clone(),
    }
}

impl Session {
    /// Runs the writer to its end, and says in one line how it went.
    pub(super) async fn run(self, stop: Stop<'_>) -> Result<(), Failure> {
        let shutdown = CancellationToken::new();
        let (watched, again) = (Arc::clone(&self.watched), self.again.is_some());
        let looker = Arc::clone(&self.watched);
        let minds_the_clock = self.bus.waits_by_the_time_of_day();
        let _clock = minds_the_clock.then(|| clock::Watch::begin(move |back| give_up(back, &looker)));
        // Either way it ends by itself, and whoever started it waits for that.
        let drain = self.drain || again;
        let result = tokio::select! {
            result = self.start_and_run(&shutdown, stop.limit) => result,
            failure = forced(stop.signals, stop.within, &shutdown, &watched) => Err(failure),
            never = watched.keep_sampling() => match never {},
            never = progress::show(&watched), if drain => match never {},
        };
        watched.enter(Phase::Ended);
        let drained = drain && result.is_ok() && !shutdown.is_cancelled();
        let left = if drained { Some(0) } else { watched.left().await };
        let state = watched.health.state();
        if again && state.stored == 0 && state.stale > 0 {
            tracing::warn!(
                stale = state.stale,
                "nothing was stored: the stores had all of it already, or newer; what is there stays as it is"
            );
        }
        summarize(&watched, left);
        if again && result.is_ok() && left != Some(0) {
            return Err(Failure::new(Exit::Failed, unfinished(&watched)));
        }
        result
    }

    async fn start_and_run(self, shutdown: &CancellationToken, limit: Option<Duration>) -> Result<(), Failure> {
        let watched = Arc::clone(&self.watched);
        let mut running = Box::pin(self.run_plans(shutdown));
        let Some(limit) = limit else { return running.await };
        tokio::select! {
            result = &mut running => return result,
            () = sleep(limit) => {}
        }
        watched.enter(Phase::Stopping);
        shutdown.cancel();
        // Who sets a limit wants it kept: what is at hand gets a moment, not the time of a shutdown.
        if let Ok(Err(failure)) = timeout(MOMENT, &mut running).await
            && failure.exit != Exit::Failed
        {
            return Err(failure);
        }
        // A bus that has not been left yet is left by this, and tells then how far it came.
        drop(running);
        let left = match watched.left().await {
            Some(left) => format!("{} left", count(left, "message")),
            None => "how many messages are left is unknown".to_owned(),
        };
        let text = format!("not drained after {limit:?} (`--drain-timeout`): {left}");
        Err(Failure::new(Exit::Failed, text))
    }
}

impl Session {
    /// Runs by one plan after the other, each until there is another one: what is at hand is written and acknowledged
    /// as at an end, and the next one goes on from there.
    async fn run_plans(self, shutdown: &CancellationToken) -> Result<(), Failure> {
        let Self { mut plans, bus, watched, drain, again } = self;
        loop {
            let Some(plan) = plans.next(&watched.health, shutdown).await? else { return Ok(()) };
            let turn = shutdown.child_token();
            let with = Start {
                bus: Arc::clone(&bus),
                health: Arc::clone(&watched.health),
                drain,
                again: again.clone(),
                shutdown: turn.clone(),
                may_come: plans.may_come(),
            };
            let running = async {
                match plan.start(with).await {
                    Ok(pipeline) => {
                        watched.subscribed(pipeline.status());
                        match pipeline.run(turn.clone()).await {
                            // Nothing is lost of what was not written or committed in time: it is delivered again, to
                            // the next plan.
                            Err(error)
                                if is_for_the_next(&error) && !shutdown.is_cancelled() && turn.is_cancelled() =>
                            {
                                tracing::warn!("{error}");
                                Ok(())
                            }
                            other => Ok(other?),
                        }
                    }
                    // Nothing had been read, so nothing is left.
                    Err(StartError::Stopped(_)) if turn.is_cancelled() => Ok(()),
                    Err(error) => Err(error.into()),
                }
            };
            let mut running = Box::pin(running);
            let ended: Result<(), Failure> = tokio::select! {
                ended = &mut running => return ended,
                () = plans.changed(&watched.health) => {
                    tracing::info!("the environments have changed; going on with what is described now");
                    turn.cancel();
                    running.await
                }
            };
            ended?;
            // What was described before may be gone, and nobody would be left to say that it works again.
            watched.health.begins_anew(plans::PART);
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
    }
}

/// Whether a run that was ended for another plan has left behind only what the next one gets again.
fn is_for_the_next(error: &PipelineError) -> bool {
    match error {
        PipelineError::DrainTimeout { .. } => true,
        PipelineError::Bus(error) => error.is_transient(),
        _ => false,
    }
}

/// Asks for the end at the first signal, and gives up at the second, or when the time is over that everything after the
/// first shares.
async fn forced(
    signals: Option<&mut Signals>,
    within: Duration,
    shutdown: &CancellationToken,
    watched: &Arc<Watched>,
) -> Failure {
    let Some(signals) = signals else { return std::future::pending().await };
    let first = signals.next().await;
    let within = stops_within(within);
    tracing::info!(?within, "{first}: stopping; a second signal does not wait for what is at hand");
    watched.enter(Phase::Stopping);
    shutdown.cancel();
    end_after(within + LAST, watched);
    let why = tokio::select! {
        second = signals.next() => format!("{second} while stopping"),
        () = sleep(within + LAST_WORDS) => format!("not stopped within {within:?} (`drain_timeout`)"),
    };
    Failure::new(Exit::Failed, format!("{why}: {}", left_behind(watched)))
}

/// What nobody waits for any more.
fn left_behind(watched: &Watched) -> String {
    let left = count(watched.health.state().in_hand, "message");
    format!("{left} not written, which will be delivered again, as will what was written and is not committed")
}

/// Ends the process, by a thread that waits for no other: closing a client may take as long as a broker that is silent.
fn end_after(limit: Duration, watched: &Arc<Watched>) {
    let watched = Arc::clone(watched);
    let end = move || {
        std::thread::sleep(limit);
        summarize(&watched, None);
        let left = left_behind(&watched);
        tracing::error!(exit_code = Exit::Failed as u8, "not ended {limit:?} after the signal: {left}");
        std::process::exit(Exit::Failed as i32)
    };
    if let Err(error) = std::thread::Builder::new().name("last".to_owned()).spawn(end) {
        tracing::warn!(%error, "no thread that ends the process in time");
    }
}

/// Ends the process at once: threads that sleep by a clock that was set back cannot be joined.
fn give_up(back: Duration, watched: &Watched) -> ! {
    summarize(watched, None);
    tracing::error!(
        exit_code = Exit::Failed as u8,
        "the clock was set back by {} s: the client of the bus would stand still for as long; started again, the writer \
         goes on where it was",
        back.as_secs()
    );
    std::process::exit(Exit::Failed as i32)
}

/// Where a run that was to read a stretch again was when it was stopped: a job that is not done does
/// not end as one that is.
fn unfinished(watched: &Watched) -> String {
    let at = |status: &PartitionStatus| {
        let (position, end) = status.position.zip(status.end).filter(|(position, end)| position < end)?;
        Some(format!("partition {} at {position} of {end}", status.partition.number))
    };
    let places: Vec<String> = watched.partitions().iter().filter_map(at).collect();
    let places = if places.is_empty() { "nothing was read".to_owned() } else { places.join(", ") };
    format!(
        "stopped before the end of what was to be read again: {places}; what is written stays, and it can be repeated"
    )
}

/// The last line of every run; `left` is missing where nobody knows it.
fn summarize(watched: &Watched, left: Option<u64>) {
    let state = watched.health.state();
    let seconds = watched.started.elapsed().as_secs_f64();
    tracing::info!(
        acknowledged = state.acknowledged,
        stored = state.stored,
        stale = state.stale,
        buried = state.buried,
        parked = state.parked,
        skipped = state.skipped,
        left,
        seconds = (seconds * 1000.).round() / 1000.,
        per_second = (state.acknowledged as f64 / seconds).round(),
        "writer ends"
    );
}
