//! Runs one writer: the job of this program.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use crate::bus;
use crate::config::Overrides;
use crate::config::units::show_duration;
use crate::runtime::Health;
use crate::telemetry::metrics::{describe, recorder};
use crate::telemetry::watched::Watched;
use crate::telemetry::{build, http};
use crate::writer::Again;

use super::deployment::{self, Selection};
use super::exit::{Exit, Failure, OrExit};
use super::plans::Plans;
use super::session::{self, Session, Stop};
use super::signals::Signals;

/// Which writer, and how to run it.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Stop once every message that was there at the start is dealt with
    #[arg(long)]
    drain: bool,
    /// Give a drain up after so long (`30s`, `5m`), with exit code 1
    #[arg(long, value_name = "DURATION", requires = "drain", value_parser = deployment::duration)]
    drain_timeout: Option<Duration>,
    /// On Pub/Sub, which tells no ends: a subscription is empty once nothing has come for so long (`pubsub.drain_idle`, 10s)
    #[arg(long, value_name = "DURATION", requires = "drain", value_parser = deployment::duration)]
    drain_idle: Option<Duration>,
    /// Read a stretch of the topic again, outside the consumer group: from this time on, RFC 3339, or so long ago (`2h`)
    #[arg(long, value_name = "TIME", value_parser = deployment::moment, conflicts_with = "drain")]
    from_time: Option<DateTime<Utc>>,
    /// Where that stretch ends; without it, with what is there now
    #[arg(long, value_name = "TIME", value_parser = deployment::moment, requires = "from_time")]
    until: Option<DateTime<Utc>>,
    /// Read it again also where that leaves double rows, or brings back what was evicted
    #[arg(long, requires = "from_time")]
    force: bool,
    /// Address of probes, metrics and the status page; port 0 takes a free one, `off` opens none. With `--from-time`
    /// none is opened unless it is given here
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

impl Arguments {
    /// What stands above the file: the environment, and the flags that are fields of it.
    fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::from_process();
        // Beside the writer itself, which has the port: one that reads again listens only where it is told to.
        if let Some(listen) = self.listen.as_deref().or_else(|| self.from_time.map(|_| "off")) {
            overrides = overrides.flag("--listen", "http.listen", listen);
        }
        if let Some(idle) = self.drain_idle {
            overrides = overrides.flag("--drain-idle", "pubsub.drain_idle", show_duration(idle));
        }
        overrides
    }

    fn again(&self) -> Result<Option<Again>, Failure> {
        let Some(from) = self.from_time else { return Ok(None) };
        if let Some(until) = self.until.filter(|until| *until <= from) {
            let text =
                format!("nothing lies between `--from-time` {from:?} and `--until` {until:?}; the first is later");
            return Err(Failure::new(Exit::Usage, text));
        }
        let until_ms = self.until.map(|until| until.timestamp_millis());
        Ok(Some(Again::Between { from_ms: from.timestamp_millis(), until_ms, force: self.force }))
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut signals = Signals::listen().or_exit(Exit::Failed)?;
    let again = arguments.again()?;
    let at_start = arguments.selection.read(arguments.overrides())?;
    let settings = at_start.as_it_stands()?;
    if arguments.drain_idle.is_some() && !settings.bus.has_subscriptions() {
        let bus = settings.bus.name();
        let text = format!("`--drain-idle` means nothing on {bus}, which tells its ends: `--drain` stops there");
        return Err(Failure::new(Exit::Usage, text));
    }
    let bus = bus::open(&settings.bus)?;
    let identity = session::identity(&settings);

    let labels = [("writer", identity.writer.clone()), ("type", identity.writer_type.to_owned())];
    let recorder = recorder(&labels).or_exit(Exit::Failed)?;
    let recorded = recorder.handle();
    metrics::set_global_recorder(recorder).or_exit(Exit::Failed)?;
    describe(&identity.group, &identity.subscription);
    // Only now: what it asks for from its first moment on is counted.
    let plans = Plans::of(&settings, at_start)?;

    let health = Arc::new(Health::default());
    let watched = Watched::new(identity, health, recorded, settings.tuning.drain_timeout);
    let port = match settings.listen.as_deref() {
        Some(address) => http::listen(address).await.or_exit(Exit::Failed)?,
        None => None,
    };
    announce(&watched, port.as_ref().map_or_else(|| "off".to_owned(), |(_, address)| address.to_string()));
    let _server = port.map(|(listener, _)| AbortOnDrop(tokio::spawn(http::serve(listener, Arc::clone(&watched)))));

    let session = Session { plans, bus, watched, drain: arguments.drain, again };
    let stop =
        Stop { signals: Some(&mut signals), limit: arguments.drain_timeout, within: settings.tuning.drain_timeout };
    session.run(stop).await
}

fn announce(watched: &Watched, listening: String) {
    let identity = &watched.identity;
    tracing::info!(
        listening,
        writer = identity.writer,
        r#type = identity.writer_type,
        bus = identity.bus,
        subscription = identity.subscription,
        group = identity.group,
        version = build::VERSION,
        revision = build::REVISION,
        "writer starts"
    );
}

/// The port closes with the writer, also where it ends early.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
