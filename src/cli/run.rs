//! Runs one writer: the job of this program.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::bus::{self, Bus, BusError};
use crate::config::settings::{BusSettings, WriterSettings};
use crate::runtime::Health;
use crate::telemetry::http;
use crate::telemetry::metrics::{describe, recorder};
use crate::telemetry::watched::Watched;
use crate::writer;

use super::deployment::{self, Selection};
use super::exit::{Exit, Failure, OrExit};
use super::publish::make_topic;
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
    /// Address of probes, metrics and the status page; port 0 takes a free one, `off` opens none
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut signals = Signals::listen().or_exit(Exit::Failed)?;
    let settings = arguments.selection.load(arguments.listen.as_deref())?;
    let plan = writer::plan(&settings)?;
    let bus = bus::open(&settings.bus)?;
    let identity = session::identity(&settings);

    let labels = [("writer", identity.writer.clone()), ("type", identity.writer_type.to_owned())];
    let recorder = recorder(&labels).or_exit(Exit::Failed)?;
    let recorded = recorder.handle();
    metrics::set_global_recorder(recorder).or_exit(Exit::Failed)?;
    describe();

    let health = Arc::new(Health::default());
    let watched = Watched::new(identity, health, recorded, settings.tuning.drain_timeout);
    let port = match settings.listen.as_deref() {
        Some(address) => http::listen(address).await.or_exit(Exit::Failed)?,
        None => None,
    };
    announce(&watched, port.as_ref().map_or_else(|| "off".to_owned(), |(_, address)| address.to_string()));
    let _server = port.map(|(listener, _)| AbortOnDrop(tokio::spawn(http::serve(listener, Arc::clone(&watched)))));

    prepare_topics(&*bus, &settings).await?;
    let session = Session { plan, bus, watched, drain: arguments.drain };
    let stop = Stop { signals: Some(&mut signals), limit: arguments.drain_timeout };
    session.run(stop).await
}

/// On the embedded bus nobody makes topics beforehand: that of dead letters is made here, while one
/// of results that is not there has nothing to read, and rather is a wrong name.
async fn prepare_topics(bus: &dyn Bus, settings: &WriterSettings) -> Result<(), Failure> {
    let BusSettings::Local(_) = settings.bus else { return Ok(()) };
    let topic = &settings.subscription;
    if let Err(error @ BusError::NotFound(_)) = bus.topic(topic).await {
        let text = format!("topic `{topic}`: {error}; `chalk-writer publish --topic {topic}` makes it");
        return Err(Failure::new(Exit::Configuration, text));
    }
    if let Some(topic) = &settings.dlq_topic {
        make_topic(bus, &settings.bus, topic, Some(1)).await?;
    }
    Ok(())
}

fn announce(watched: &Watched, listening: String) {
    let identity = &watched.identity;
    tracing::info!(
        listening,
        writer = identity.writer,
        r#type = identity.writer_type,
        bus = identity.bus,
        topic = identity.topic,
        group = identity.group,
        version = env!("CARGO_PKG_VERSION"),
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
