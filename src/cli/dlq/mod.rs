//! `dlq list`, `dlq show` and `dlq replay`: what lies in the dead letter topic, and sending it again,
//! on every bus alike.

mod edit;
mod letters;
mod list;
mod make;
mod redrive;
mod replay;
mod show;
mod summary;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use crate::bus::Bus;
use crate::config::Selection;
use crate::dead_letter::Filter;
use crate::sink::ErrorClass;
use crate::writer::WriterType;

use super::deployment::{self, Deployment};
use super::exit::{Exit, Failure};

pub(super) use list::{List, list};

/// Look at the messages that could not be written, and send them again
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List dead letters, oldest first
    List(List),
    /// Show one dead letter: what is noted about it, its headers and its body
    Show(show::Show),
    /// Send dead letters again, to the topic that each came from and for the writer that buried it
    ///
    /// Without a position all that the filters leave are meant, but for those that were sent before.
    /// It says first what would go, and asks. It can be repeated, also after it was killed: what was
    /// sent is marked in the dead letter topic.
    Replay(Box<replay::Replay>),
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The dead letter topic, where it is not the one of the configuration
    #[arg(long)]
    topic: Option<String>,
}

/// Which letters are meant.
#[derive(Args, Debug, Default)]
pub(super) struct Choice {
    /// Only those of writers of this type
    #[arg(long = "type", alias = "writer-type", value_name = "TYPE", conflicts_with = "writer")]
    writer_type: Option<WriterType>,
    /// Only those of the writer of this name
    #[arg(long, value_name = "NAME")]
    writer: Option<String>,
    /// Only those of this error class
    #[arg(long, value_parser = class)]
    class: Option<String>,
    /// Only those of this environment
    #[arg(long)]
    environment: Option<String>,
    /// Only those of this table or namespace
    #[arg(long)]
    table: Option<String>,
    /// Only those buried at this time or later: RFC 3339, or so long ago (`2h`)
    #[arg(long, value_name = "TIME", value_parser = deployment::moment)]
    since: Option<DateTime<Utc>>,
    /// Only those buried before this time
    #[arg(long, value_name = "TIME", value_parser = deployment::moment)]
    until: Option<DateTime<Utc>>,
}

impl Choice {
    fn filter(&self, deployment: &Deployment) -> Result<Filter, Failure> {
        let mut filter = Filter {
            writer: self.writer_type.map(|writer_type| writer_type.as_str().to_owned()),
            group: None,
            class: self.class.clone(),
            environment: self.environment.clone(),
            table: self.table.clone(),
            from: self.since,
            until: self.until,
        };
        if let Some(name) = &self.writer {
            let writer = deployment.writer(&Selection::Writer(name.clone()))?;
            filter.writer = Some(writer.writer_type.as_str().to_owned());
            filter.group = Some(writer.group);
        }
        Ok(filter)
    }
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(arguments) => show::show(arguments).await,
        Command::Replay(arguments) => replay::replay(*arguments).await,
    }
}

/// Where dead letters are.
struct Opened {
    deployment: Deployment,
    bus: Arc<dyn Bus>,
    topic: String,
    /// The first writer makes the topic: until then there are no letters, and that is no error.
    may_be_missing: bool,
}

fn open(place: &Place) -> Result<Opened, Failure> {
    let deployment = Deployment::load(&place.config)?;
    let topic = place.topic.clone().or_else(|| deployment.dlq_topic());
    let topic = topic.ok_or_else(|| no_topic(&place.config, "`--topic` takes one"))?;
    // A topic that was named for this look must be there.
    let may_be_missing = place.topic.is_none() && deployment.bus_settings().is_embedded();
    let bus = deployment.bus()?;
    Ok(Opened { deployment, bus, topic, may_be_missing })
}

/// The failure where no dead letter topic is configured; `way_out` says what to do.
pub(super) fn no_topic(config: &Path, way_out: &str) -> Failure {
    let config = config.display();
    Failure::new(
        Exit::Configuration,
        format_args!("{config} names no dead letter topic (`kafka_dlq_topic`); {way_out}"),
    )
}

fn class(text: &str) -> Result<String, String> {
    let known = ErrorClass::ALL.map(ErrorClass::as_str);
    known
        .into_iter()
        .find(|class| class.eq_ignore_ascii_case(text))
        .map(str::to_owned)
        .ok_or_else(|| format!("unknown error class; known are {}", known.join(", ")))
}

/// `PARTITION/OFFSET`, or with a colon between.
pub(super) fn position(text: &str) -> Result<(i32, i64), String> {
    let parsed = text.split_once(['/', ':']).and_then(|(partition, offset)| {
        Some((partition.parse().ok()?, offset.parse().ok().filter(|offset: &i64| *offset >= 0)?))
    });
    parsed.ok_or_else(|| "expected PARTITION/OFFSET, as in 0/17".to_owned())
}
