//! `publish`: puts messages on a topic, from a file or made up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::bus::{Bus, BusError, Placed, Publisher, Undelivered};
use crate::config::settings::WriterSettings;
use crate::message::Outgoing;
use crate::result::unpack::Compression;

use super::deployment::{self, Deployment};
use super::exit::{Exit, Failure, OrExit};
use super::input::{self, Input};
use super::made;
use super::output::{self, count, grouped};
use super::topic::make_topic;

/// Publish messages from a file, or generated ones
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("source").args(["file", "generate"]).required(true)))]
#[command(group(ArgGroup::new("where").args(["topic", "writer_type"]).required(true)))]
pub(super) struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The topic
    #[arg(long)]
    topic: Option<String>,
    /// Instead of a topic: the one that the writer of this type reads
    #[arg(long = "type", value_name = "TYPE")]
    writer_type: Option<String>,
    /// JSON values, one message each: a `.json` file, a `.jsonl` file with one a line, or `-` for standard input
    #[arg(long)]
    file: Option<PathBuf>,
    /// The file is the body of one message, as it is, and of this type (`application/vnd.apache.arrow.file`)
    #[arg(long, value_name = "TYPE", requires = "file")]
    content_type: Option<String>,
    #[command(flatten)]
    made: made::MadeUp,
    /// Event type (`ce_type`) of messages from a file
    #[arg(long, value_name = "TYPE", default_value = "chalk.result.v1")]
    ce_type: String,
    /// Compress every body
    #[arg(long, value_name = "HOW", value_parser = compression)]
    compress: Option<Compression>,
    /// A header of every message, in place of one of that name; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// On Pub/Sub: a subscription of the topic, made where it is missing before anything is published
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Partitions of a topic that has to be made; on Kafka and Pub/Sub, without it, a missing topic is an error
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn compression(name: &str) -> Result<Compression, String> {
    let found = Compression::named(Some(name)).map_err(|refusal| refusal.message)?;
    found.ok_or_else(|| "to send bodies as they are, leave `--compress` out".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Arguments {
    /// A message as it is sent: compressed, and with the headers that were asked for.
    fn finished(&self, mut message: Outgoing) -> Result<Outgoing, Failure> {
        let mut headers = self.headers.clone();
        if let (Some(compression), Some(body)) = (self.compress, &message.payload) {
            message.payload = Some(compression.pack(body).or_exit(Exit::Failed)?.into());
            headers.insert(0, ("content-encoding".to_owned(), compression.as_str().to_owned()));
        }
        if !headers.is_empty() {
            let kept = message.headers.iter().filter(|(name, _)| headers.iter().all(|(other, _)| other != name));
            let given = headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes())));
            message.headers = kept.chain(given).collect();
        }
        Ok(message)
    }
}

/// Messages, and bytes, that one call hands to the bus.
const MESSAGES_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Messages that an error names by their numbers.
const NAMED: usize = 10;

/// What `publish --json` prints.
#[derive(Debug, Default, Serialize)]
pub(super) struct Published {
    topic: String,
    /// Messages that the bus has for good.
    pub(super) messages: u64,
    partitions: BTreeMap<i32, Landed>,
}

#[derive(Debug, Serialize)]
struct Landed {
    messages: u64,
    first_offset: i64,
    last_offset: i64,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let deployment = Deployment::load(&arguments.config)?;
    let bus = deployment.bus()?;
    let (topic, reader) = match (&arguments.topic, &arguments.writer_type) {
        (Some(topic), _) => (topic.clone(), None),
        (None, Some(writer_type)) => {
            let settings = deployment.writer(&deployment::by_type(writer_type)?)?;
            (read_by(&*bus, &settings).await?, Some(settings.writer_type))
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "`--topic` or `--type` is missing")),
    };
    let made = arguments.made.messages(&topic, reader)?;
    // Standard input is read once, so it cannot be looked through before: see `Publishing::finish`.
    let seekable = arguments.file.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(path) = seekable.filter(|_| arguments.content_type.is_none()) {
        for value in Input::open(path).or_exit(Exit::Failed)? {
            value.map_err(|error| {
                Failure::new(Exit::Failed, format_args!("{}: {error:#}; nothing was published", path.display()))
            })?;
        }
    }
    make_topic(&*bus, deployment.bus_settings(), &topic, arguments.partitions).await?;
    if let Some(subscription) = &arguments.subscription {
        bus.create_subscription(subscription, &topic).await?;
    }
    let mut publishing = Publishing::to(&*bus, &topic).await?;
    let result = match &arguments.file {
        Some(path) => publish_file(&mut publishing, path, &arguments).await,
        None => {
            let finished = made.map(|made| arguments.finished(made::with_its_files(made)?));
            publishing.all(finished).await
        }
    };
    let published = publishing.finish();
    if let Err(mut failure) = result {
        failure.text += &format!("; {} published", count(published.messages, "message"));
        return Err(failure);
    }
    if arguments.json { Ok(output::json(&published)?) } else { Ok(published.print()?) }
}

async fn publish_file(publishing: &mut Publishing, path: &Path, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(content_type) = &arguments.content_type {
        let body = input::whole(path).or_exit(Exit::Failed)?;
        let message = input::whole_message(body, &arguments.ce_type, content_type);
        publishing.push(arguments.finished(message)?).await?;
        return publishing.flush().await;
    }
    for value in Input::open(path).or_exit(Exit::Failed)? {
        let body = value.map_err(|error| Failure::new(Exit::Failed, format_args!("{}: {error}", path.display())))?;
        publishing.push(arguments.finished(input::message(&body, &arguments.ce_type))?).await?;
    }
    publishing.flush().await
}

/// The topic that a writer reads.
async fn read_by(bus: &dyn Bus, settings: &WriterSettings) -> Result<String, Failure> {
    let subscription = &settings.subscription;
    match bus.topic_of(subscription).await {
        Ok(topic) => Ok(topic),
        Err(BusError::NotFound(_)) => Err(Failure::new(
            Exit::Configuration,
            format_args!(
                "no subscription `{subscription}` on this bus, so the topic that it reads is not known; `--topic TOPIC \
                 --subscription {subscription}` makes it, with `--partitions 1` the topic too"
            ),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Messages on their way to one topic, some at a time, and where they landed.
pub(super) struct Publishing {
    publisher: std::sync::Arc<dyn Publisher>,
    waiting: Vec<Outgoing>,
    bytes: usize,
    /// Messages that were sent, whatever came of them.
    given: usize,
    published: Published,
}

impl Publishing {
    pub(super) async fn to(bus: &dyn Bus, topic: &str) -> Result<Self, Failure> {
        let published = Published { topic: topic.to_owned(), ..Published::default() };
        Ok(Self { publisher: bus.publisher().await?, waiting: Vec::new(), bytes: 0, given: 0, published })
    }

    pub(super) async fn all(
        &mut self,
        messages: impl Iterator<Item = Result<Outgoing, Failure>>,
    ) -> Result<(), Failure> {
        for message in messages {
            self.push(message?).await?;
        }
        self.flush().await
    }

    pub(super) async fn push(&mut self, mut message: Outgoing) -> Result<(), Failure> {
        message.topic.clone_from(&self.published.topic);
        self.bytes += message.payload.as_ref().map_or(0, Bytes::len);
        self.waiting.push(message);
        if self.waiting.len() >= MESSAGES_AT_ONCE || self.bytes >= BYTES_AT_ONCE { self.flush().await } else { Ok(()) }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let (placed, failed) = match self.publisher.publish(&self.waiting).await {
            Ok(placed) => (placed, None),
            Err(undelivered) => {
                let landed = undelivered.landings().iter().flatten().cloned().collect();
                (landed, Some(self.not_published(undelivered)))
            }
        };
        self.given += self.waiting.len();
        self.waiting.clear();
        self.bytes = 0;
        for Placed { partition, offset } in placed {
            self.published.messages += 1;
            let first = Landed { messages: 0, first_offset: offset, last_offset: offset };
            let landed = self.published.partitions.entry(partition.number).or_insert(first);
            landed.messages += 1;
            landed.first_offset = landed.first_offset.min(offset);
            landed.last_offset = landed.last_offset.max(offset);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Names those that did not land: the others have, before and after them.
    fn not_published(&self, undelivered: Undelivered) -> Failure {
        let missing = undelivered.landings().iter().zip(self.given + 1..).filter(|(landing, _)| landing.is_err());
        let missing: Vec<String> = missing.map(|(_, number)| number.to_string()).collect();
        let more = missing.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let mut failure = Failure::from(undelivered);
        let named = missing[..missing.len().min(NAMED)].join(", ");
        let given = self.given + self.waiting.len();
        failure.text +=
            &format!("; of the first {given} messages not published: {named}{more}; none after them was tried");
        failure
    }

    /// What the bus has; messages that were not flushed are not among it.
    pub(super) fn finish(self) -> Published {
        self.published
    }
}

impl Published {
    fn print(&self) -> anyhow::Result<()> {
        output::line(format!("published {} to `{}`", count(self.messages, "message"), self.topic))?;
        for (number, landed) in &self.partitions {
            output::line(format!(
                "  partition {number}: {} at {} to {}",
                grouped(landed.messages),
                landed.first_offset,
                landed.last_offset
            ))?;
        }
        Ok(())
    }
}
